#!/bin/sh
# The job by GNU parallel, on the same hosts: it brings each file there and each result back, a container takes many.
# Usage: parallel.sh SSH IMAGE LIST SRC DST FILES JOBS HOST...
#   SSH     the ssh command with its options
#   LIST    a file that names the files under SRC, each ended by a NUL
#   FILES   how many of them a container takes
#   JOBS    how many containers run at the same time on each host
# The results are in DST/out.
set -eu
ssh=$1 image=$2 list=$3 src=$4 dst=$5 files=$6 jobs=$7
shift 7
folder=${src%/*} name=${src##*/}
hosts=
for host; do hosts="$hosts --sshlogin $jobs/$host"; done
# It quotes file names for the far shell by itself, which rsync 3.2.4 and later would do once more.
export RSYNC_OLD_ARGS=1
cd "$dst"
# ": {}" only makes it take more than one file for a job.
# shellcheck disable=SC2086 # several words
exec parallel --will-cite --null --arg-file "$list" --max-replace-args "$files" --jobs "$jobs" $hosts --ssh "$ssh" \
    --workdir ... --cleanup --transferfile "$folder/./$name/{}" --return 'out/{}' \
    ": {} ; mkdir out && sudo docker run --rm --user \$(id -u) \
    --volume \$PWD/$name:/in:ro --volume \$PWD/out:/out $image /in /out"
