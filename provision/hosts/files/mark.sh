# shellcheck shell=sh
# sh mark.sh MARK FLEET ID VERSION: make the mark name this fleet, its id and this version.
# Prints "marked" if it had to be changed.  Lines about other things stay.
set -eu
has() { [ "$(sed -n "s/^$1 //p" "$mark" 2>/dev/null)" = "$2" ]; }
mark=$1
if has fleet "$2" && has id "$3" && has version "$4"; then exit 0; fi
{
  printf 'fleet %s\nid %s\nversion %s\n' "$2" "$3" "$4"
  if [ -e "$mark" ]; then grep -v -e '^fleet ' -e '^id ' -e '^version ' "$mark" || :; fi
} >"$mark.new"
mv "$mark.new" "$mark"
echo marked
