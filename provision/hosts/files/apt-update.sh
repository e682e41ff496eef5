# shellcheck shell=sh
# Update the lists of packages. Run as root. apt-get.sh comes before this text.
# This is tried up to five times for two reasons. apt does not wait for the lock of the lists, which unattended-upgrades
# may hold. And a download may fail: normally apt succeeds even if it could not download all lists. But a package that
# is in no list can't be installed, so here such a try counts as failed.
# A source may be broken permanently. So in the last try it is enough that some of the lists can be downloaded.
# Exit with 100 if the last try fails.
tries=1
until apt_get -o APT::Update::Error-Mode=any update; do
  if [ $tries -ge 5 ]; then apt_get update || exit 100; break; fi
  tries=$((tries + 1)); sleep 3
done
