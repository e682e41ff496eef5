# shellcheck shell=sh
# Run as root: sh service-end.sh NAMES: have services run no more, also not after a reboot.  Prints those that ran.
for service; do
  if service "$service" status </dev/null >/dev/null 2>&1; then echo "$service"; fi
  if [ -e "/etc/systemd/system/$service.service" ]; then
    systemctl disable --quiet --now "$service"
  elif [ -e "/etc/init.d/$service" ]; then
    "/etc/init.d/$service" stop
    update-rc.d "$service" remove
  fi >&2
done
