# shellcheck shell=sh
# Let a login use Docker without sudo: make it a member of the group docker. Run as root.
# sh docker-member.sh ADDED LOGIN
#   ADDED    the file that lists what Fanrun added
# Print "added" if it was not a member before. This takes effect at the next login.
set -eu
if [ "$(id -u "$2")" -eq 0 ] || id -nG "$2" | tr ' ' '\n' | grep -qx docker; then exit 0; fi
echo "member docker:$2" >>"$1"
usermod --append --groups docker "$2"
echo added
