# shellcheck shell=sh
# sh expire-logs.sh FOLDER DAYS BYTES: remove logs older than DAYS, then the oldest until all take at most BYTES.
#
# FOLDER has a folder for each run and each service, and in it a file for each host.  Links are neither followed nor
# removed.  What was written within the last ten minutes stays: Vector may have it open.
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

find . -mindepth 2 -maxdepth 2 -type f -mmin +"$((days * 1440))" -delete
total=$(find . -mindepth 2 -maxdepth 2 -type f -printf '%s\n' | awk '{ total += $1 } END { printf "%.0f", total }')
find . -mindepth 2 -maxdepth 2 -type f -mmin +10 -printf '%T@ %s %p\n' | sort -n |
  while read -r _ size file; do
    [ "$total" -gt "$bytes" ] || break
    rm -f "$file"
    total=$((total - size))
  done
find . -mindepth 1 -maxdepth 1 -type d -mmin +10 -empty -delete
