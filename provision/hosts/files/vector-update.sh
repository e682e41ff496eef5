# shellcheck shell=sh
# sh vector-update.sh SOURCES PACKAGE=VERSION
# Update apt's lists from the file SOURCES only.  Fail if they do not have the package in that version.
export LC_ALL=C
apt-get -q -o Acquire::Retries=1 -o Acquire::http::Timeout=10 -o Acquire::https::Timeout=10 \
  -o APT::Update::Error-Mode=any -o "Dir::Etc::sourcelist=$1" -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0 \
  update || exit 1
apt-cache madison "${2%%=*}" | grep -qF " ${2#*=} " || { echo "it does not have ${2%%=*} ${2#*=}" >&2; exit 1; }
