# shellcheck shell=sh
# Print "foreign" if this host has a Prometheus that is not Fanrun's. Run as root.
# sh prometheus-foreign.sh CONFIG ADDED
#   CONFIG    Prometheus' settings
#   ADDED     the file that lists what Fanrun added
[ -e "$1" ] && ! grep -q '^# Written by Fanrun' "$1" && ! grep -qs '^package prometheus$' "$2" && echo foreign
exit 0
