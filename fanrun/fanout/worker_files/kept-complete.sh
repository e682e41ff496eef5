# shellcheck shell=sh
# Check the reference data that the client has sent, and keep them. kept.sh comes before this text.
# sh kept-complete.sh KEPT RUN NAME DIGEST BYTES FULL
#   KEPT                   the folder with reference data
#   RUN                    the run that sent it
#   NAME, DIGEST, BYTES    the version, and its size
#   FULL                   if not empty, the disk was full: nothing is kept
# Exit with 4 if they are not what was to be sent, with 28 if they have no room.
kept=$1 run=$2 name=$3 digest=$4 bytes=$5 full=$6
part=$kept/$name/.$digest.$run
if [ -n "$full" ]; then no_room "$part" "$name" "$bytes"; exit; fi
finish "$part" "$kept/$name/$digest" "$digest" "$bytes"
