# shellcheck shell=sh
# sh vector-receive.sh FILE: make FILE of the standard input, and print its checksum.
set -eu
cat >"$1.new"
sha256sum "$1.new" | cut -d ' ' -f 1
mv "$1.new" "$1"
