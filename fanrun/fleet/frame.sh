# shellcheck shell=sh
# Run a command, and print a mark before and after what it prints, on both streams.
# sh -c FRAME NONCE WORDS...
#   NONCE    is part of the mark
#   WORDS    the command as a line of shell, in pieces that printf's %b decodes
# Exit as the command does.
#
# The login shell gets this text in single quotes, so it has no single quotes. The code is one line and has no
# exclamation marks, because csh interprets line breaks and exclamation marks even in single quotes.
printf "<%s>" "$0" >&2; printf "<%s>" "$0"; eval "$(printf %b "$@")"; code=$?; printf "<%s>" "$0"; exit "$code"
