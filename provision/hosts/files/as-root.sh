# shellcheck shell=sh
# Function that runs a command as root. Other scripts come after this text. Their first argument says how:
#   free        use sudo, which asks for no password
#   password    use sudo, and give it the first line of standard input as the password
#   none        do not use sudo: run the command as the user who is logged in
# Only a variable of this shell holds the password. printf is built into the shell, so that the password is never an
# argument of a process.
how=$1; shift
[ "$how" != password ] || IFS= read -r password
as_root() {
  case $how in
    free) sudo -n "$@" ;;
    password) printf '%s\n' "$password" | sudo -k -S -p '' -- "$@" ;;
    none) "$@" ;;
  esac
}
