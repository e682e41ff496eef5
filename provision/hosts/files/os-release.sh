# shellcheck shell=sh
# Print the name and the version of this system, as "debian 13".
# shellcheck source=/dev/null
. /etc/os-release && echo "$ID $VERSION_ID"
