# shellcheck shell=sh
# Run as root: sh spool-folder.sh FOLDER LOGIN MODE ADDED
# Make the folder for logs. Only LOGIN and Vector can read it.
# Delete logs that nothing was written to for more than a day.
# Print "made" if the folder was missing, or had another owner, group or mode.
set -eu
folder=$1 login=$2 mode=$3
if [ -L "$folder" ]; then echo "$folder is a link; remove it" >&2; exit 1; fi
group=$(id -gn "$login")
if getent group vector >/dev/null; then group=vector; fi
if [ ! -d "$folder" ]; then
  echo "tree $folder" >>"$4"
  mkdir -p "$folder"
fi
if [ "$(stat -c '%U %G %a' "$folder")" != "$login $group $mode" ]; then
  chown "$login:$group" "$folder"
  chmod "$mode" "$folder"
  echo made
fi
find "$folder" -maxdepth 1 -type f -name '*.jsonl' -mmin +1440 -delete
