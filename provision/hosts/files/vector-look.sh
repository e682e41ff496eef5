# shellcheck shell=sh
# Run as root, with the file that lists what Fanrun added: print what there is of Vector, as lines of "name value".
echo "architecture $(dpkg --print-architecture)"
if [ -d /run/systemd/system ]; then echo "systemd yes"; fi
if program=$(command -v vector); then
  echo "program $program"
  # "vector 0.57.0 (x86_64-unknown-linux-gnu …)"
  echo "version $(timeout 20 "$program" --version 2>/dev/null | sed -n '1s/^vector \([^ ]*\).*/\1/p')"
fi
case $(dpkg-query -W -f '${db:Status-Status}' vector 2>/dev/null) in
  "" | not-installed | config-files | installed) ;;
  *) echo "halfway yes" ;;
esac
if grep -qsx 'package vector' "$1"; then echo "ours yes"; fi
if getent passwd vector >/dev/null && getent group vector >/dev/null; then echo "user yes"; fi
for file in /etc/init.d/fanrun-vector-hub /etc/systemd/system/fanrun-vector-hub.service; do
  if [ -e "$file" ]; then echo "receiver yes"; fi
done
