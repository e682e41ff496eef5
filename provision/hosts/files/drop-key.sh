# shellcheck shell=sh
# Take a line out of a file of keys, or leave the file as it was: nobody may be locked out because a disk is full.
# sh drop-key.sh FILE KEY
#   FILE    may be a link, and may not be there
#   KEY     the line; if it is empty, nothing is done
if [ -z "$2" ] || ! grep -qaxF -e "$2" "$1" 2>/dev/null; then exit 0; fi
place=$(readlink -f "$1")
cp -p "$place" "$place.fanrun" || { rm -f "$place.fanrun"; exit 1; }
grep -avxF -e "$2" "$place" >"$place.fanrun" || [ $? -eq 1 ] || { rm -f "$place.fanrun"; exit 1; }
mv "$place.fanrun" "$place"
