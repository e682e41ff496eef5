# shellcheck shell=sh
# Let the keys of a run read reference data on the hub, or let them do so no more.
# sh kept-let-in.sh KEPT COMMENT [KEY]
#   KEPT       the folder with reference data
#   COMMENT    names the keys of the run
#   KEY        the public half of a key, which is let in; without it those of the run are removed
# The key can't do anything else: whatever command comes with it, an rsync that only reads answers. After 12 hours it
# can't do that either, should nobody come to remove it.
kept=$1 comment=$2 key=${3-}
keys=$(readlink -f "$HOME/.ssh/authorized_keys")
umask 077
mkdir -p "$kept" && exec 9>"$kept/lock" && flock 9 || exit 1
# The file may be root's. It is replaced as a whole: nobody may be locked out because a disk is full.
text=$(sudo -n cat "$keys") || exit 1
replace() {
  { sudo -n cp -p "$keys" "$keys.fanrun" && printf '%s\n' "$1" | sudo -n tee "$keys.fanrun" >/dev/null &&
    sudo -n mv "$keys.fanrun" "$keys"; } || { sudo -n rm -f "$keys.fanrun"; exit 1; }
}
if [ -z "$key" ]; then
  case $text in *" $comment"*) replace "$(printf '%s\n' "$text" | grep -av " $comment\$")" ;; esac
  exit
fi
# It is replaced as a whole, as another worker's rsync may begin just now.
{
  echo "use chroot = no"
  [ "$(id -u)" -ne 0 ] || printf 'uid = 0\ngid = 0\n'
  printf '[reference]\npath = %s\nread only = yes\nlist = no\n' "$kept"
} >"$kept/rsyncd.conf.new" && mv "$kept/rsyncd.conf.new" "$kept/rsyncd.conf" || exit
until=$(date -d '+12 hours' +%Y%m%d%H%M)
command="rsync --server --daemon --config=$kept/rsyncd.conf ."
replace "$text
restrict,expiry-time=\"$until\",command=\"$command\" $key $comment"
