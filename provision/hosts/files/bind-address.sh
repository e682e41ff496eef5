# shellcheck shell=sh
# Print the host's own address that the fleet's members know it by, "$1".
# Where that is none of its own, as behind NAT, print "$2".
own=$(getent ahostsv4 "$1" | sed -n '1s/ .*//p')
if [ -n "$own" ] && ip -4 -o addr show | grep -qF " inet $own/"; then echo "$own"; else echo "$2"; fi
