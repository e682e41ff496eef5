#!/bin/sh
# The job by hand, with nothing of Fanrun: on every host at once rsync, docker run, rsync.
# Usage: shell.sh SSH_CONFIG IMAGE LISTS SRC DST HOST...
#   LISTS   a folder with a file for each host, of that name: its share of the files under SRC, ended by NULs
# It leaves its two folders on the hosts.
set -eu
config=$1 image=$2 lists=$3 src=$4 dst=$5
shift 5
in=/var/lib/fanrun/bench.in out=/var/lib/fanrun/bench.out
export RSYNC_RSH="ssh -F '$config' -o ControlPath=none"

share() {
    rsync --archive --from0 --files-from="$lists/$1" "$src/" "$1:$in/"
    ssh -F "$config" -o ControlPath=none "$1" \
        "mkdir $out && sudo docker run --rm --user \$(id -u) --volume $in:/in:ro --volume $out:/out $image /in /out"
    rsync --archive "$1:$out/" "$dst/"
}

pids=
for host; do
    share "$host" &
    pids="$pids $!"
done
for pid in $pids; do wait "$pid"; done
