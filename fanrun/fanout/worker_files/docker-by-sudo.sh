# shellcheck shell=sh
# Function that calls Docker by sudo. It comes before scripts on hosts where the login may not use Docker itself.
# The quotes say that the program is meant, and not this function, which sudo does not know.
docker() { sudo -n 'docker' "$@"; }
