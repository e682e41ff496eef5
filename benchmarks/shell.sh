#!/bin/sh
# The job by hand, with nothing of Fanrun: on every host at once rsync, docker run, rsync.
# Usage: shell.sh CONNECTIONS SSH_CONFIG IMAGE LISTS SRC DST HOST...
#   CONNECTIONS   each: a connection for every command; shared: one for each host, made here and ended here
#   LISTS         a folder with a file for each host, of that name: its share of the files under SRC, ended by NULs
# It leaves its two folders on the hosts.
set -eu
connections=$1 config=$2 image=$3 lists=$4 src=$5 dst=$6
shift 6
in=/var/lib/fanrun/bench.in out=/var/lib/fanrun/bench.out
case $connections in
    each) control='-o ControlPath=none' ;;
    shared)
        sockets=$(mktemp -d)
        control="-o ControlMaster=auto -o ControlPersist=60 -o ControlPath=$sockets/%n"
        ;;
    *) echo "shell.sh: CONNECTIONS is each or shared" >&2; exit 2 ;;
esac
export RSYNC_RSH="ssh -F '$config' $control"

share() {
    rsync --archive --from0 --files-from="$lists/$1" "$src/" "$1:$in/"
    # shellcheck disable=SC2086  # several words
    ssh -F "$config" $control "$1" \
        "mkdir $out && sudo docker run --rm --user \$(id -u) --volume $in:/in:ro --volume $out:/out $image /in /out"
    rsync --archive "$1:$out/" "$dst/"
    # shellcheck disable=SC2086
    [ "$connections" = each ] || ssh -F "$config" $control -O exit "$1" 2>/dev/null
}

pids=
for host; do
    share "$host" &
    pids="$pids $!"
done
for pid in $pids; do wait "$pid"; done
[ "$connections" = each ] || rmdir "$sockets"
