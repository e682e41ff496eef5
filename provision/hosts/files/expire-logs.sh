# shellcheck shell=sh
# sh expire-logs.sh FOLDER DAYS BYTES: remove logs older than DAYS, then the oldest while all take more than BYTES or
# less than 5 % of the disk is free.
#
# FOLDER has a folder for each run and each service, and in it a file for each host.  Links are neither followed nor
# removed.  Vector may have a file open that was written within the last ten minutes, and would write to it after its
# removal, where nobody could read it: such a file is emptied instead.  Vector appends, so it goes on at the new end.
set -eu
export LC_ALL=C
folder=$1 days=$2 bytes=$3
[ -d "$folder" ] && [ ! -L "$folder" ] || exit 0
cd "$folder"

# A run's files end with the run.  A service's would grow for ever: beyond 64 MiB they get another name.
today=$(date -u +%Y%m%d)
find . -mindepth 2 -maxdepth 2 -type f -name '*.jsonl' -size +65536k \
  ! -path './[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]-*' ! -name '*.[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9].jsonl' |
  while IFS= read -r file; do
    new=${file%.jsonl}.$today.jsonl
    [ -e "$new" ] || mv "$file" "$new"
  done

is_too_much() {
  [ "$total" -gt "$bytes" ] || stat -f -c '%a %b' . | awk '{ exit $1 * 20 >= $2 }'
}

find . -mindepth 2 -maxdepth 2 -type f -mmin +"$((days * 1440))" -delete
total=$(find . -mindepth 2 -maxdepth 2 -type f -printf '%s\n' | awk '{ total += $1 } END { printf "%.0f", total }')
recent=$(($(date +%s) - 600))
find . -mindepth 2 -maxdepth 2 -type f -size +0 -printf '%T@ %s %p\n' | sort -n |
  while read -r time size file; do
    is_too_much || break
    if [ "${time%.*}" -lt "$recent" ]; then
      rm -f "$file"
    else
      dd if=/dev/null of="$file" oflag=nofollow status=none
    fi
    total=$((total - size))
  done
find . -mindepth 1 -maxdepth 1 -type d -mmin +10 -empty -delete
