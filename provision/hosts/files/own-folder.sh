# shellcheck shell=sh
# Succeed if a folder belongs to this login and nobody else may read it.
# sh own-folder.sh FOLDER
[ "$(stat -c "%u %a" "$1")" = "$(id -u) 700" ]
