# shellcheck shell=sh
# Print what a machine is, and whose: lines of "name value".
# sh machine-facts.sh MARK
#   MARK    the file that says which fleet the machine belongs to; it may not be there
# shellcheck source=/dev/null
. /etc/os-release 2>/dev/null
echo "os ${ID:-$(uname -s)} ${VERSION_ID:-}"
echo "machine $(uname -m)"
[ ! -e /snap/bin/docker ] || echo "snap yes"
sudo -n true 2>/dev/null && echo "sudo yes"
sudo -n cat "$1" 2>/dev/null
exit 0
