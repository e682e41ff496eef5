# shellcheck shell=sh
# Extend the lease of this machine, if it has one. Run as root.
# sh lease-extend.sh LEASE [SECONDS]
#   LEASE      the file with the seconds that the machine lives on after the file was last touched
#   SECONDS    written to LEASE if it has another number
# Print "changed" if it had another number.
[ -e "$1" ] || exit 0
touch "$1"
if [ -z "$2" ] || [ "$(cat "$1")" = "$2" ]; then exit 0; fi
echo "$2" >"$1.new" && mv "$1.new" "$1" && echo changed
