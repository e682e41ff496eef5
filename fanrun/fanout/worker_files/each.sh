# shellcheck shell=sh
# Run a command for each input of a batch. The sh of the user's container image runs this, whatever sh that is.
# sh each.sh JOBS [TICKETS]
#   JOBS       how many commands run at the same time
#   TICKETS    for the processes that do so: how the paths begin of the files by which they share the inputs. The process
#              that makes the file TICKETS.N runs the command of input N
# each.py adds lines to this text. The first line sets each_mark. After the text there is a line for each input,
# "each N COMMAND [ARG]...", and then a line that exits.
# When a command ends, this script writes a line "MARK N CODE TIME" to stderr. MARK is the value of each_mark, N the
# number of the input, CODE the exit code of the command, and TIME its duration in hundredths of a second.
# The exit code of this script is 0 if all commands exited with 0, else 1. After SIGTERM it starts no further command.
# This script uses only commands that are built into every sh. The names of all its variables begin with each_, because
# the commands must get the other variables as the container image sets them.
trap 'exit 143' TERM
each_failed=0
if [ "$1" -gt 1 ]; then
  each_left=$1 each_processes=
  while [ "$each_left" -gt 0 ]; do
    /bin/sh "$0" 1 "$HOME/.fanrun-each" &
    each_processes="$each_processes $!" each_left=$((each_left - 1))
  done
  for each_process in $each_processes; do wait "$each_process" || each_failed=1; done
  exit $each_failed
fi
each_tickets=${2-}
unset FANRUN_REPORT
exec 3>&2
# Succeed if nobody has made this file before.
each_take() {
  set -C
  { true >"$1"; } 2>/dev/null
  set -- $?
  set +C
  return "$1"
}
# Set each_now to the hundredths of a second since the machine started. `date` has whole seconds in some images.
each_time() {
  each_now=0.00
  { read -r each_now _ </proc/uptime; } 2>/dev/null
  each_now=$((${each_now%.*} * 100 + 1${each_now#*.} - 100))
}
each() {
  each_input=$1
  shift
  [ -z "$each_tickets" ] || each_take "$each_tickets.$each_input" || return 0
  each_time
  each_begun=$each_now
  # Without exec a command could be one of the functions here, or a word of the shell, as exit. The shell itself must
  # write nothing: many have a line of their own for a command that was killed.
  { (exec "$@" </dev/null 2>&3 3>&-); each_code=$?; } 2>/dev/null
  [ $each_code -eq 0 ] || each_failed=1
  each_time
  # A program may have made stderr non-blocking for all that share it, and it may be full.
  # shellcheck disable=SC2154  # each.py sets each_mark
  until echo "$each_mark $each_input $each_code $((each_now - each_begun))" >&3; do :; done 2>/dev/null
}
