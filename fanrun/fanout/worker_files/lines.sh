# shellcheck shell=sh
# Print the lines of some batches from the log of a run.
# sh lines.sh SPOOL BYTES BATCH...
#   SPOOL    the log of the run on this worker; without it nothing is printed
#   BYTES    the most that is printed
# Names of batches have nothing that JSON escapes, so their lines are found by the text that log_filter.py wrote.
spool=$1 bytes=$2; shift 2
[ -e "$spool" ] || exit 0
for batch; do printf '"batch":"%s","stream"\n' "$batch"; done | LC_ALL=C grep -a -F -f - -- "$spool" | head -c "$bytes"
