# shellcheck shell=sh
# Run as root: sh service-start.sh NAME [anew]: have a service start with the machine; "anew" starts it now as well.
set -e
if [ -d /run/systemd/system ]; then
  [ -z "${2:-}" ] || systemctl daemon-reload
  systemctl is-enabled --quiet "$1" 2>/dev/null || systemctl enable --quiet "$1"
  [ -z "${2:-}" ] || systemctl restart "$1"
else
  enabled=
  for link in /etc/rc2.d/S[0-9][0-9]"$1"; do [ ! -L "$link" ] || enabled=yes; done
  [ -n "$enabled" ] || update-rc.d "$1" defaults
  [ -z "${2:-}" ] || "/etc/init.d/$1" restart
fi
