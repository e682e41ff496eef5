# shellcheck shell=sh
# Print a sign of life every few seconds, until nobody reads it. Run as root.
# sh heartbeat.sh FOLDER SECONDS LEASE RUN
#   FOLDER     whose file system is looked at
#   SECONDS    between two signs
#   LEASE      touched at each sign, so that a host that ends itself lives on
#   RUN        the folder of the run, touched at each sign: the run is alive
# Each line has five numbers: the exit code of `docker version` (0 if Docker answers, 124 if it is late), the free
# blocks, their size in bytes, the load, and the number of processors.
# A Docker that is late is asked again at once. At the start it has just answered.
code=0
while :; do
  [ $code -eq 124 ] || sleep "$2"
  timeout 4 docker version >/dev/null 2>&1; code=$?
  read -r load _ </proc/loadavg
  echo "$code $(stat -f -c '%a %S' "$1") $load $(nproc)" || exit
  for file in "$3" "$4"; do [ ! -e "$file" ] || touch "$file"; done
done
