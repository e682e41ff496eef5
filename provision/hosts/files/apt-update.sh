# shellcheck shell=sh
# Update the lists of packages. Run as root. apt-get.sh comes before this text.
# apt's own setting for waiting does not cover the lock of these lists, which unattended-upgrades may hold, so this is
# tried up to five times. apt also succeeds if it could download some lists only; that is tried again as well, because a
# package that is not in a list can't be installed. One source of several may be broken for good. Then, in the end, what
# the others have is enough.
# Exit with 100 if no try works.
tries=1
until apt_get -o APT::Update::Error-Mode=any update; do
  if [ $tries -ge 5 ]; then apt_get update || exit 100; break; fi
  tries=$((tries + 1)); sleep 3
done
