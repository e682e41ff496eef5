# shellcheck shell=sh
# Run a program over one batch, keep what it prints, and hash each result on the worker.
# sh batch.sh TARGET CONTAINER OWNER TIMEOUT ROOM SPOOL FIELDS BATCH_BYTES SPOOL_BYTES EXPIRY SLOT \
#   COUNT [SPENT]... PROGRAM...
#   TARGET       the folder for what comes of the batch, in the folder of the run
#   CONTAINER    the name of the container that PROGRAM starts
#   OWNER        UID:GID of the program, which owns what it writes to if the login is root
#   TIMEOUT      seconds without a result after which the program has hung; 0 for no limit
#   ROOM         if fewer bytes are free, the SPENT folders and the cache are deleted before the program starts
#   SPOOL, FIELDS, BATCH_BYTES, SPOOL_BYTES   arguments of log_filter.py, which starts the container
#   EXPIRY       minutes without a sign of life after which the run is over
#   SLOT         which of the worker's containers this is: those with the same number follow each other
#   COUNT        how many SPENT folders follow
#   SPENT        a folder of an earlier batch that is not needed any more
#   PROGRAM      the command to run, with its arguments
# Print nothing. Exit with 0 if TARGET is complete: then the file "exit" in it has the program's exit code, its time in
# nanoseconds, and the free space, which tells a full disk from a bad input. "exit" is written last.
#
# A container that writes nothing to /out and to its report for TIMEOUT seconds is stopped. The file "late" says so,
# because the exit code could be the program's own. If the run gives no sign of life any more, its container is stopped
# as well: nobody would fetch the results.
# Only one container of a slot works at a time. The script of the next batch waits for its turn here, and not at the
# other end of a busy connection. A batch that ended while it waited (its folder is gone, or "halt" is there) does not
# start. Batches that have their turn share the lock of the file "turn": who opens or ends a run locks it for itself.
# The SPENT folders are only renamed if there is room: a file system may be slow to create files where many were just
# deleted (ext4 passes over each inode that was freed in the last minute).
target=$1 name=$2 owner=$3 timeout=$4 room=$5 spool=$6 fields=$7 batch_bytes=$8 spool_bytes=$9; shift 9
expiry=$1 slot=$2 spent=$3; shift 3
home=${target%/*}
while [ "$spent" -gt 0 ]; do mv "$1" "$home/.gone-${1##*/}" 2>/dev/null; shift; spent=$((spent - 1)); done
fail() { echo "it can't keep its results ($(df -Ph "$target" | tail -n 1))" >&2; exit 1; }
# A late command must not start a run again that was ended.
{ [ -d "$home" ] && mkdir -p "$target/data" && exec 8>"$home/slot.$slot" 9>"$home/turn"; } || fail
stat -f -c '%a %S %c %d' "$home" | if read -r blocks size inodes left \
  && { [ $((blocks * size)) -lt "$room" ] || [ $((left * 2)) -lt "$inodes" ]; }
then setsid nice rm -rf "$home"/.gone-* "${home%/*/*}/cache" </dev/null >/dev/null 2>&1 8>&- 9>&- &
fi
{ flock 8 && flock -s 9; } || fail
[ -d "$target" ] && [ ! -e "$home/halt" ] || exit 1
[ -e "$home/identity/env" ] || fail
: >"$target/report.jsonl" || fail
# The program is never root, and can't write to a folder of root's.
[ "$(id -u)" -ne 0 ] || chown "$owner" "$target/data" "$target/report.jsonl" || fail
silent=0
is_over() {
  # A run that is alive says so every few seconds. A clock may jump, so one look is not enough.
  if [ -n "$(find "$home" -maxdepth 0 -mmin "-$expiry")" ]; then silent=0; else silent=$((silent + 1)); fi
  [ $silent -ge 2 ]
}
is_late() {
  [ "$timeout" -gt 0 ] &&
    [ -z "$(find "$target/data" "$target/report.jsonl" -newerct "-$timeout seconds" -print -quit)" ]
}
watch() {
  often=30
  # A short timeout must not include the start of the container.
  if [ "$timeout" -gt 0 ] && [ "$timeout" -lt 300 ]; then
    often=1
    until [ -n "$(docker ps --quiet --filter "name=$name")" ]; do sleep 0.2; done
  fi
  touch "$target/report.jsonl"
  while sleep $often & wait $!; do
    if is_over; then touch "$home/halt"
    elif is_late; then echo 124 >"$target/code"; : >"$target/late"
    else continue; fi
    docker kill "$name"; return
  done
}
# The trap also ends the sleep. If the login shell is csh, every process has extra copies of the output streams, and
# sshd closes the connection only when no process has them open.
(exec </dev/null >/dev/null 2>&1 8>&- 9>&-; trap 'kill $!; exit' TERM; watch) &
begun=$(date +%s%N)
# It is imported as a module, so that it is compiled only once.
filter='import sys; sys.path.insert(0, sys.argv.pop(1)); import log_filter; sys.exit(log_filter.main())'
python3 -I -S -c "$filter" "$home" "$target" "$spool" "$fields" "$batch_bytes" "$spool_bytes" "$@" </dev/null
code=$?
[ -e "$target/code" ] || echo $code >"$target/code"
echo $(($(date +%s%N) - begun)) >>"$target/code"
exec 8>&- 9>&-
kill $! 2>/dev/null
rm -f "${target%.out}.container"
{ chmod -R u+rwX "$target/data" && cd "$target/data"; } || fail
find . -type f -print0 | xargs -0 -r sha256sum -z -- >"$target/manifest" || fail
find . ! -type f ! -type d -print0 >"$target/links" || fail
late=0
[ ! -e "$target/late" ] || late=1
{ echo "$(stat -f -c '%a %S %c %d' .) $late" >>"$target/code" && mv "$target/code" "$target/exit"; } || fail
