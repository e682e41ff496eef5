# shellcheck shell=sh
# Make ready for reference data that the client sends to the hub. kept.sh comes before this text.
# sh kept-receive.sh KEPT RUNS RUN NAME DIGEST BYTES READ
#   KEPT, RUNS             the folders with reference data, and with the folders of runs
#   RUN                    the run that sends it
#   NAME, DIGEST, BYTES    the version that is wanted, and its size
#   READ                   if not empty, a version that is there is read, though it looks as it did
# Print "have" if the version is there, else "take" and the options of rsync that name the other versions. Exit with 28
# if there is no room.
kept=$1 runs=$2 run=$3 name=$4 digest=$5 bytes=$6 read=$7
mkdir -p "$kept/$name" && exec 9>"$kept/lock" && flock 9 || exit 1
version=$kept/$name/$digest
[ -z "$read" ] || rm -f "$version/looks"
if is_good "$version" "$digest"; then touch "$version"; echo have; exit 0; fi
drop "$version"
prune "$runs" "$name" "$digest"
part=$kept/$name/.$digest.$run
begin "$part" "$name" "$bytes" || exit
echo "take $(others "$name" "$part")"
