# shellcheck shell=sh
# Update the lists of packages. Run as root. apt-get.sh comes before this text.
# There are up to five tries, for two reasons:
#   - Another program, as unattended-upgrades, may use the lists at the moment. apt does not wait for it.
#   - A download may fail. apt succeeds even then, but a package that is in no list can't be installed. So a try counts as
#     failed here if any list could not be downloaded.
# In the last try some of the lists are enough, because a source may be broken permanently.
# Exit with 100 if the last try fails.
tries=1
until apt_get -o APT::Update::Error-Mode=any update; do
  if [ $tries -ge 5 ]; then apt_get update || exit 100; break; fi
  tries=$((tries + 1)); sleep 3
done
