# shellcheck shell=sh
# Succeed if the lease of this machine is watched. Run as root.
# sh lease-watched.sh WATCHING
#   WATCHING    the file with the process that watches
kill -0 "$(cat "$1" 2>/dev/null)" 2>/dev/null
