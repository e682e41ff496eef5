# shellcheck shell=sh
# Run as root: sh service-start.sh NAME [anew]: have one of Vector's services start with the machine.
# With "anew" it is started anew now.  So it is where files of it are newer than its start, as after an `up` that was
# interrupted; then this prints "started anew".
set -e
folder=/etc/fanrun/vector half=host anew=${2:-}
case $1 in *-hub) half=hub ;; esac
stamp=$folder/$1.started
for file in "$folder/ca.crt" "$folder/$1.toml" "$folder/$half.crt" "/etc/systemd/system/$1.service" "/etc/init.d/$1"; do
  if [ -n "$anew" ] || [ ! -e "$file" ]; then continue; fi
  if [ ! -e "$stamp" ] || [ -n "$(find "$file" -newer "$stamp")" ]; then
    anew=yes
    echo "started anew"
  fi
done
if [ -d /run/systemd/system ]; then
  [ -z "$anew" ] || systemctl daemon-reload
  systemctl is-enabled --quiet "$1" 2>/dev/null || systemctl enable --quiet "$1"
  [ -z "$anew" ] || systemctl restart "$1"
else
  enabled=
  for link in /etc/rc2.d/S[0-9][0-9]"$1"; do [ ! -L "$link" ] || enabled=yes; done
  [ -n "$enabled" ] || update-rc.d "$1" defaults
  [ -z "$anew" ] || "/etc/init.d/$1" restart >&2
fi
[ -z "$anew" ] || touch "$stamp"
