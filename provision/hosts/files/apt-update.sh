# shellcheck shell=sh
# Update the lists of packages, in up to five tries. Run as root. apt-get.sh comes before this text.
# apt's own setting for waiting does not cover the lock of these lists, which unattended-upgrades may hold.
# Exit with 100 if no try works.
tries=1
until apt_get update; do
  [ $tries -lt 5 ] || exit 100
  tries=$((tries + 1)); sleep 3
done
