# shellcheck shell=sh
# Write the environment variables of a run's program to a file that only the login can read.
# sh variables.sh SIZE FILE
#   SIZE    the bytes of the text on standard input
#   FILE    the file, in the folder of the run
# Print nothing. Exit with 1 if the text did not arrive completely.
umask 077
cat >"$2.new" || exit 1
[ "$(stat -c %s "$2.new")" -eq "$1" ] || { echo "the variables did not arrive completely" >&2; exit 1; }
mv "$2.new" "$2"
