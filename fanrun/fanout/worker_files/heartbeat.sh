# shellcheck shell=sh
# Print a sign of life every few seconds, until nobody reads it. Run as root.
# sh heartbeat.sh FOLDER SECONDS LEASE RUN USAGE SPOT NOTICE
#   FOLDER     whose file system is looked at
#   SECONDS    between two signs
#   LEASE      touched at each sign, so that a host that ends itself lives on
#   RUN        the folder of the run, touched at each sign: the run is alive
#   USAGE      if not empty, a line every second says what the run's containers use
#   SPOT       this file exists where Amazon may end the host at any time (a spot instance)
#   NOTICE     the program for python3 that prints a line if Amazon has announced the end; it runs after each sign
# A sign of life is a line "CODE BLOCKS SIZE LOAD PROCESSORS":
#   CODE          the exit code of `docker version`: 0 if Docker answers, 124 if it does not answer in time
#   BLOCKS        the number of free blocks of the file system
#   SIZE          the size of a block in bytes
#   LOAD          the load of the last minute
#   PROCESSORS    the number of processors
# A line of usage is "use UPTIME AVAILABLE MEMORY DISKS [ID:CPU:BYTES]...":
#   UPTIME        the seconds since the machine started
#   AVAILABLE     the memory that is available, in kB
#   MEMORY        the percentage of the last 10 seconds in which a process waited for memory
#   DISKS         the percentage of the last 10 seconds in which all processes waited for disks
#   ID            the first 12 characters of a container's id
#   CPU           the CPU time of the container: microseconds, or nanoseconds if an "n" follows
#   BYTES         the memory of the container in bytes
# The part that runs every second starts no other programs except `sleep`.
# If Docker does not answer in time, it is asked again at once. At the start it has just answered.
cgroups=/sys/fs/cgroup
pressure() { # KIND some|full: set `part` to its avg10, 0 where the kernel does not count it
  part=0
  [ -r "/proc/pressure/$1" ] || return 0
  while read -r what part _; do [ "$what" != "$2" ] || break; done <"/proc/pressure/$1" 2>/dev/null
  part=${part#avg10=}
}
container() { # ID: set `cpu` and `bytes`; fail if its cgroup is not found
  for folder in "$cgroups/system.slice/docker-$1.scope" "$cgroups/docker/$1"; do
    [ -r "$folder/cpu.stat" ] || continue
    read -r _ cpu <"$folder/cpu.stat" && read -r _ bytes <"$folder/memory.stat" && return
  done
  for folder in "docker/$1" "system.slice/docker-$1.scope"; do
    [ -r "$cgroups/cpuacct/$folder/cpuacct.usage" ] || continue
    read -r cpu <"$cgroups/cpuacct/$folder/cpuacct.usage" && cpu=${cpu}n &&
      { read -r _ _ && read -r _ bytes; } <"$cgroups/memory/$folder/memory.stat" && return
  done 2>/dev/null
  return 1
}
usage() {
  read -r uptime _ </proc/uptime
  while read -r key available _; do [ "$key" != MemAvailable: ] || break; done </proc/meminfo
  pressure memory some; line="use $uptime $available $part"
  pressure io full; line="$line $part"
  for file in "$1"/*.container; do
    [ -r "$file" ] && read -r id <"$file"
    [ -n "$id" ] && container "$id" && line="$line ${id%"${id#????????????}"}:$cpu:$bytes"
    id=
  done 2>/dev/null
  echo "$line"
}
pause() { # SECONDS RUN USAGE
  if [ -z "$3" ]; then sleep "$1"; return; fi
  second=0
  while [ $second -lt "$1" ]; do sleep 1; usage "$2" || return; second=$((second + 1)); done
}
code=0
while :; do
  [ $code -eq 124 ] || pause "$2" "$4" "$5" || exit
  timeout 4 docker version >/dev/null 2>&1; code=$?
  read -r load _ </proc/loadavg
  echo "$code $(stat -f -c '%a %S' "$1") $load $(nproc)" || exit
  for file in "$3" "$4"; do [ ! -e "$file" ] || touch "$file"; done
  [ ! -e "$6" ] || timeout 4 python3 -c "$7" 2>/dev/null
done
