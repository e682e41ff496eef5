# shellcheck shell=sh
# Function that runs apt-get with the settings of all of Fanrun's calls: it asks nothing, and a download that stalls is
# started again sooner than after the two minutes that apt itself waits for each file.
#
# apt_get ARGUMENTS...
export DEBIAN_FRONTEND=noninteractive
apt_get() { apt-get -q -o Acquire::Retries=2 -o Acquire::http::Timeout=15 -o Acquire::https::Timeout=15 "$@"; }
