# shellcheck shell=sh
# Note a service as Fanrun's. Run as root, before the service is made.
# sh note-service.sh ADDED SERVICE
#   ADDED    the file that lists what Fanrun added
grep -qsx "service $2" "$1" || echo "service $2" >>"$1"
