# shellcheck shell=sh
# Make the folder of a run on a worker. Stop the containers of dead runs and delete their folders.
# It needs the functions of end.sh and identity.sh: they are sent in front of it.
# sh open.sh RUNS RUN IMAGE NOBODY LOGS EXPIRY DAYS FILTER FILES SPOOL CACHE LIMIT DEAD...
#   RUNS      the folder that has the folders of all runs
#   RUN       the run that begins
#   IMAGE     the image of its containers
#   NOBODY    the user and group id of a program where the login is root
#   LOGS      the folder that has a log for each run; those older than a day are deleted
#   EXPIRY    minutes without a sign of life after which a run is dead
#   DAYS      for which the identity files of an image that no run uses are kept
#   FILTER    the text of log_filter.py
#   FILES     the text of log_files.py
#   SPOOL     the text of log_spool.py
#   CACHE     the text of cache.py
#   LIMIT     the maximum number of bytes of inputs that the worker keeps for later runs; -1 is a quarter of the free disk
#   DEAD      runs that are ended however young they are; this may be RUN itself
# Print "left RUN" for each dead run that may have left something.
#
# The passwd, group and env files are written in the background. Meanwhile the file "turn" is locked, so the first batch
# does not start before the files exist.
runs=$1 own=$2 image=$3 nobody=$4 logs=$5 expiry=$6 days=$7 filter=$8 files=$9
spool=${10} cache=${11} limit=${12}
shift 12
# shellcheck disable=SC2044  # names of runs have no blanks
for run in $(find "$runs" -mindepth 1 -maxdepth 1 -name '[0-9]*' -mmin "+$expiry" -printf '%f\n' 2>/dev/null) "$@"; do
  [ "$run" = "$own" ] || forbid "$runs" "$run"
  end "$runs" "$run" || { mkdir -p "$runs/$run"; echo "left $run"; }
done
find "$runs" -mindepth 1 -maxdepth 1 '(' -name '.gone-*' -o -name '.ended-*' ')' -mmin "+$expiry" -exec rm -rf {} + \
  2>/dev/null
mkdir -p "$runs/$own/identity" && cd "$runs/$own/identity" && exec 9>../turn || exit 1
flock 9
if [ -e "$runs/.ended-$own" ]; then discard "$runs/$own"; exit 1; fi
printf %s "$filter" >../log_filter.py && printf %s "$files" >../log_files.py && printf %s "$spool" >../log_spool.py &&
  printf %s "$cache" >../cache.py && echo "$limit" >../cache.limit || exit 1
find "$logs" -mindepth 1 -maxdepth 1 -type f -mtime +0 -exec rm -f {} + 2>/dev/null
known=${runs%/*}/identity/${image##*:}
touch -c "$known"
find "${runs%/*}/identity" -mindepth 1 -maxdepth 1 -mtime "+$days" -exec rm -rf {} + 2>/dev/null
if ! cp -p "$known/passwd" "$known/group" . 2>/dev/null || ! cp -p "$known/env" . 2>/dev/null; then
  (exec </dev/null >/dev/null 2>&1; identity "$image" "$own" "$nobody" "$known") &
fi
