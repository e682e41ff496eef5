# shellcheck shell=bash
# Succeed if something listens at a port of the loopback. Run by bash: other shells do not know /dev/tcp.
# bash port-answers.sh PORT
(: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null
