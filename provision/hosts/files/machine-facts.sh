# shellcheck shell=sh
# Print what a machine is, and whose: lines of "name value". as-root.sh comes before this text.
# sh machine-facts.sh HOW WORK FOLDER PROGRAM...
#   HOW        the argument of as-root.sh
#   WORK       the work folder, where its file "fleet" says which fleet the machine belongs to; it may not be there
#   FOLDER     the name of the work folder in the login's home, where sudo is not used
#   PROGRAM    a program that a machine needs where sudo is not used
work=$1 folder=$2; shift 2
# shellcheck source=/dev/null
. /etc/os-release 2>/dev/null
echo "os ${ID:-$(uname -s)} ${VERSION_ID:-}"
echo "machine $(uname -m)"
[ ! -e /snap/bin/docker ] || echo "snap yes"
# shellcheck disable=SC2154  # as-root.sh sets it
if [ "$how" != none ]; then
  if ! command -v sudo >/dev/null; then echo "sudo missing"
  elif sudo -k -n true 2>/dev/null; then echo "sudo free"
  elif [ "$how" = password ]; then echo "sudo password"
  fi
  as_root cat "$work/fleet" 2>/dev/null
  exit 0
fi
[ ! -e "$work" ] || echo "prepared yes"
echo "sudo none"
echo "work $HOME/$folder"
echo "login $(id -un)"
PATH=$PATH:/usr/sbin:/sbin
missing=
for program; do command -v "$program" >/dev/null || missing="$missing $program"; done
echo "missing$missing"
if command -v docker >/dev/null; then
  said=$(LC_ALL=C timeout 20 docker version --format ok 2>&1) && said=ok
  echo "docker $(printf '%s' "$said" | tr '\n' ' ')"
  echo "security $(timeout 20 docker info --format '{{.SecurityOptions}}' 2>/dev/null)"
fi
cat "$HOME/$folder/fleet" 2>/dev/null
exit 0
