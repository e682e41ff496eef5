# shellcheck shell=sh
# Print those of some programs that are not on this host.
# sh missing-programs.sh PROGRAM...
PATH=$PATH:/usr/sbin:/sbin
for program; do command -v "$program" >/dev/null || echo "$program"; done
