# shellcheck shell=sh
# Run as root before Vector's package is installed, with the file that lists what Fanrun added.
# The package's own service would run with the package's example: it never starts.
set -eu
unit=/etc/systemd/system/vector.service
if [ -e "$unit" ] || [ -L "$unit" ]; then exit 0; fi
echo "file $unit" >>"$1"
mkdir -p "${unit%/*}"
ln -s /dev/null "$unit"
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
