# shellcheck shell=sh
# Function that runs a command as root. Scripts come after this text, and their first argument says how:
#   free        by sudo, which asks for no password
#   password    by sudo, with the password that is the first line of standard input
#   none        as the login
# The password is in a variable of this shell only: printf is a part of the shell, and no process gets it as an argument.
how=$1; shift
[ "$how" != password ] || IFS= read -r password
as_root() {
  case $how in
    free) sudo -n "$@" ;;
    password) printf '%s\n' "$password" | sudo -k -S -p '' -- "$@" ;;
    none) "$@" ;;
  esac
}
