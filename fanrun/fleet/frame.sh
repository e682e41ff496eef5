# shellcheck shell=sh
# Run a command, and print a mark before and after what it prints, on both streams.
# sh -c FRAME NONCE WORDS...
#   NONCE    is part of the mark
#   WORDS    the command as a line of shell, in pieces that printf's %b decodes
# Exit as the command does.
#
# A login shell gets this text within single quotes. So it is a single line without single quotes and exclamation marks:
# csh takes the last, and line breaks, for its own even within quotes.
printf "<%s>" "$0" >&2; printf "<%s>" "$0"; eval "$(printf %b "$@")"; code=$?; printf "<%s>" "$0"; exit "$code"
