# shellcheck shell=sh
# Note a path as Fanrun's, unless it is there already. Run as root, before the path is made.
# sh note-path.sh ADDED KIND PATH
#   ADDED    the file that lists what Fanrun added
#   KIND     "file", or "tree" for a folder that is Fanrun's with all that will be in it
[ -e "$3" ] || echo "$2 $3" >>"$1"
