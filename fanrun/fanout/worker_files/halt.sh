# shellcheck shell=sh
# Ask the containers of a run to end, and end them after a while. What they wrote stays.
# sh halt.sh RUN SECONDS RUNS
#   RUN        the run, as the label of its containers names it
#   SECONDS    after which a container that still runs is killed
#   RUNS       the folder that has the folders of all runs
# Print nothing. A batch that has its turn may be about to start its container, so this goes on for up to 10 seconds.
halt() {
  found=$(docker ps --quiet --filter "label=fanrun.run=$1")
  # shellcheck disable=SC2086  # ids
  [ -z "$found" ] || docker stop -t "$2" $found >/dev/null
}
touch "$3/$1/halt" 2>/dev/null
if [ ! -e "$3/$1/turn" ]; then halt "$1" "$2"; exit; fi
exec 8<>"$3/$1/turn"
tries=0
while halt "$1" "$2"; ! flock -n 8 && [ $tries -lt 50 ]; do sleep 0.2; tries=$((tries + 1)); done
