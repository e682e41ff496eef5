# shellcheck shell=sh
# Note which reference data a run uses on a worker, and look which are there. kept.sh comes before this text.
# sh kept-look.sh KEPT RUNS RUN [NAME DIGEST]...
#   KEPT, RUNS      the folders with reference data, and with the folders of runs
#   RUN             the run
#   NAME, DIGEST    a version that it uses
# Print "lack NAME" for each version that is not there or not right. If there is any, also print "key" and the public
# half of a new key: its private half never leaves this host.
kept=$1 runs=$2 run=$3
shift 3
home=$runs/$run
mkdir -p "$kept" && exec 9>"$kept/lock" && flock 9 && cd "$home" || exit 1
lacking=
while [ $# -gt 0 ]; do
  grep -qsxF "$1 $2" reference || echo "$1 $2" >>reference
  if is_good "$kept/$1/$2" "$2"; then touch "$kept/$1/$2"
  else drop "$kept/$1/$2"; lacking=1; echo "lack $1"; fi
  shift 2
done
[ -n "$lacking" ] || exit 0
[ -e reference.key ] || ssh-keygen -q -t ed25519 -N "" -C "" -f reference.key </dev/null >/dev/null || exit
echo "key $(cut -d ' ' -f 1,2 reference.key.pub)"
