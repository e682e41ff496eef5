# shellcheck shell=sh
# Open a run on a worker, then ask the host about itself: two commands in one round trip.
# sh open-and-probe.sh PROBE WORK LEASE MARK EXPIRY PREFIX COMMAND...
#   PROBE          the text of probe.sh
#   WORK, LEASE, MARK, EXPIRY, PREFIX    its arguments; the words of PREFIX are one argument here
#   COMMAND        the command that opens the run
# Print what COMMAND prints, then the answers. Without an answer the run was not opened.
probe=$1 work=$2 lease=$3 mark=$4 expiry=$5 prefix=$6; shift 6
# shellcheck disable=SC2086  # several words, or none
"$@" && exec sh -c "$probe" sh "$work" "$lease" "$mark" "$expiry" $prefix
