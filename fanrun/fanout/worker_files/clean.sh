# shellcheck shell=sh
# Remove from a host what earlier runs left there, and the reference data that it keeps. end.sh and kept.sh come before
# this text.
# sh clean.sh KEPT RUNS EXPIRY LOOK DEAD...
#   KEPT, RUNS    the folders with reference data, and with the folders of runs
#   EXPIRY        minutes without a sign of life after which a run is dead
#   LOOK          if not empty, nothing is removed
#   DEAD          runs that are over however young their folders are
# Print a line for each thing: "run RUN", "data NAME DIGEST BYTES", "part NAME" for data that did not come to their end,
# "used NAME DIGEST BYTES" for data that stay because a run uses them, and "left RUN" for a run that could not be ended.
kept=$1 runs=$2 expiry=$3 look=$4
shift 4
dead=" $* " over=' '
# in_use NAME DIGEST: succeed if a run that is not over uses the version.
in_use() {
  for file in "$runs"/*/reference; do
    home=${file%/reference}
    case $over in *" ${home##*/} "*) ;; *) if grep -qsxF "$1 $2" "$file"; then return; fi ;; esac
  done
  return 1
}
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
[ -d "$kept" ] && exec 9>"$kept/lock" && flock 9 || exit 0
for size in "$kept"/*/*/size; do
  [ -e "$size" ] || continue
  version=${size%/size} bytes=$(cat "$size")
  digest=${version##*/} name=${version%/*}
  name=${name##*/}
  if in_use "$name" "$digest"; then echo "used $name $digest $bytes"; continue; fi
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
