# shellcheck shell=sh
# Allow a key of a run to read reference data on the hub, or remove the keys of the run.
# sh kept-let-in.sh KEPT COMMENT [KEY]
#   KEPT       the folder with reference data
#   COMMENT    names the keys of the run
#   KEY        the public key that is allowed; without it the keys of the run are removed
# With this key the hub runs nothing but an rsync that can only read, whatever command is asked for. The key expires after
# 12 hours, in case it is not removed before.
kept=$1 comment=$2 key=${3-}
keys=$(readlink -f "$HOME/.ssh/authorized_keys")
umask 077
mkdir -p "$kept" && exec 9>"$kept/lock" && flock 9 || exit 1
# The file may belong to root. It is replaced in one step, so that a full disk can't leave a file with only some keys.
text=$(sudo -n cat "$keys") || exit 1
replace() {
  { sudo -n cp -p "$keys" "$keys.fanrun" && printf '%s\n' "$1" | sudo -n tee "$keys.fanrun" >/dev/null &&
    sudo -n mv "$keys.fanrun" "$keys"; } || { sudo -n rm -f "$keys.fanrun"; exit 1; }
}
if [ -z "$key" ]; then
  case $text in *" $comment"*) replace "$(printf '%s\n' "$text" | grep -av " $comment\$")" ;; esac
  exit
fi
# The file is replaced in one step, because the rsync of another worker may read it at the same time.
{
  echo "use chroot = no"
  [ "$(id -u)" -ne 0 ] || printf 'uid = 0\ngid = 0\n'
  printf '[reference]\npath = %s\nread only = yes\nlist = no\n' "$kept"
} >"$kept/rsyncd.conf.new" && mv "$kept/rsyncd.conf.new" "$kept/rsyncd.conf" || exit
until=$(date -d '+12 hours' +%Y%m%d%H%M)
command="rsync --server --daemon --config=$kept/rsyncd.conf ."
replace "$text
restrict,expiry-time=\"$until\",command=\"$command\" $key $comment"
