# shellcheck shell=sh
# End a run: remove its containers and delete its folder. end.sh comes before this text.
# sh stop.sh RUNS RUN
#   RUNS    the folder that has the folders of all runs
#   RUN     the run
# Print nothing. Exit with 1, and keep an empty folder of the run, if a container may be left.
forbid "$1" "$2"
end "$1" "$2" || { mkdir -p "$1/$2"; exit 1; }
