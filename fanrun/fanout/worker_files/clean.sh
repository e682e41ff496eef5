# shellcheck shell=sh
# Remove from a host the reference data, the cached inputs, and the files that earlier runs left.
# It needs the functions of end.sh and kept.sh: they are sent in front of it.
# sh clean.sh KEPT RUNS EXPIRY LOOK DEAD...
#   KEPT, RUNS    the folders with reference data, and with the folders of runs
#   EXPIRY        minutes without a sign of life after which a run is dead
#   LOOK          if not empty, print the lines and remove nothing
#   DEAD          runs that are known to be over, even if their folders were changed a moment ago
# Print one of these lines for each thing:
#   cache FILES BYTES         inputs of earlier runs; they are removed
#   run RUN                   files of a run that is over; they are removed
#   left RUN                  files of a run that is over; they stay, because Docker could not remove its containers
#   data NAME DIGEST BYTES    reference data that no run uses; they are removed
#   used NAME DIGEST BYTES    reference data that a run uses; they stay
#   part NAME                 reference data of which only a part was received; it is removed
kept=$1 runs=$2 expiry=$3 look=$4
shift 4
# shellcheck disable=SC2034  # end.sh reads keep_none
dead=" $* " over=' ' keep_none=yes cache=${runs%/*}/cache
# shellcheck disable=SC2044  # names of runs have no blanks
for run in $(find "$runs" -mindepth 1 -maxdepth 1 -name '[0-9]*' -printf '%f\n' 2>/dev/null); do
  case $dead in
    *" $run "*) ;;
    *) [ -n "$(find "$runs/$run" -maxdepth 0 -mmin "+$expiry")" ] || continue ;;
  esac
  echo "run $run"
  over="$over$run "
  [ -z "$look" ] || continue
  forbid "$runs" "$run"
  end "$runs" "$run" || { mkdir -p "$runs/$run"; echo "left $run"; }
done
[ -n "$look" ] || rm -rf "${runs%/*}/identity"
if [ -d "$cache" ]; then
  (
    # cache.py may still be moving the inputs of a run that has just ended. Wait until it has finished.
    exec 7>>"$cache/lock" && flock -w 60 7
    size=$(cat "$cache/size" 2>/dev/null)
    [ "${size:-0 0}" = "0 0" ] || echo "cache $size"
    [ -n "$look" ] || rm -rf "$cache"
  )
fi
[ -d "$kept" ] && exec 9>"$kept/lock" && flock 9 || exit 0
for size in "$kept"/*/*/size; do
  [ -e "$size" ] || continue
  version=${size%/size} bytes=$(cat "$size")
  digest=${version##*/} name=${version%/*}
  name=${name##*/}
  if is_used "$runs" "$name" "$digest" "$over"; then echo "used $name $digest $bytes"; continue; fi
  echo "data $name $digest $bytes"
  [ -n "$look" ] || drop "$version"
done
for part in "$kept"/*/.[0-9a-f]*; do
  [ -d "$part" ] || continue
  case $dead in
    *" ${part##*.} "*) ;;
    *) [ -z "$(find "$part" -cmin -60 -print -quit)" ] || continue ;;
  esac
  name=${part%/*}
  echo "part ${name##*/}"
  [ -n "$look" ] || drop "$part"
done
[ -n "$look" ] || rmdir "$kept"/* 2>/dev/null
exit 0
