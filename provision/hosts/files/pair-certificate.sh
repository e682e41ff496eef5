# shellcheck shell=sh
# Print a certificate if its key is there as well. Run as root.
# sh pair-certificate.sh KEY CERTIFICATE
test -s "$1" && cat "$2"
