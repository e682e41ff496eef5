# shellcheck shell=sh
# Fetch reference data from the hub to a worker. kept.sh comes before this text.
# sh kept-fetch.sh KEPT RUNS RUN LOGIN ADDRESS PORT HOST_KEY NAME DIGEST BYTES
#   KEPT, RUNS              the folders with reference data, and with the folders of runs
#   RUN                     the run that uses it
#   LOGIN, ADDRESS, PORT    the user at the hub, and where its sshd is
#   HOST_KEY                the public key of the hub
#   NAME, DIGEST, BYTES     the version, and its size
# Print nothing. Exit with 4 if what came is not what was wanted, with 28 if it has no room.
# The hub lets the run's key here do nothing but read reference data by rsync.
kept=$1 runs=$2 run=$3 login=$4 address=$5 port=$6 host_key=$7 name=$8 digest=$9
shift 9
bytes=$1
home=$runs/$run
(
  mkdir -p "$kept/$name" && exec 9>"$kept/lock" && flock 9 || exit 1
  prune "$runs" "$name" "$digest"
)
part=$kept/$name/.$digest.$run
begin "$part" "$name" "$bytes" || exit
bases=$(others "$name" "$part")
echo "hub $host_key" >"$home/hub.key" || exit
shell="ssh -F /dev/null -T -i $home/reference.key -o HostName=$address -o Port=$port -o User=$login -o BatchMode=yes"
shell="$shell -o IdentitiesOnly=yes -o HostKeyAlias=hub -o StrictHostKeyChecking=yes -o UserKnownHostsFile=$home/hub.key"
shell="$shell -o GlobalKnownHostsFile=/dev/null -o ConnectTimeout=10 -o ServerAliveInterval=5 -o LogLevel=ERROR"
# As long as the fetch goes on the run is alive; if its folder is gone, it was ended.
watch() {
  while sleep 5; do
    if [ -d "$home" ]; then touch "$home"; else kill "$1"; exit; fi
  done
}
# fetch [OPTION]: run rsync, and print what it says of errors. A disk that is full can't hold that.
fetch() {
  # shellcheck disable=SC2086  # there are no blanks in the options
  rsync --recursive --times --omit-dir-times --perms --partial --timeout=60 "$@" $bases --rsh="$shell" -- \
    "hub::reference/$name/$digest/data/" "$part/data/" 2>&1 &
  rsync=$!
  watch $rsync </dev/null >/dev/null 2>&1 &
  watch=$!
  wait $rsync
  code=$?
  kill $watch 2>/dev/null
  return $code
}
# A file may look as one of another version, and be different: then the contents are compared.
for how in "" --checksum; do
  if ! error=$(fetch ${how:+"$how"}); then
    case $error in *"No space left on device"* | *"Disk quota exceeded"*) no_room "$part" "$name" "$bytes"; exit ;; esac
    echo "it can't fetch reference data from the hub at $address, port $port: $(echo "$error" | head -n 1)" >&2
    exit 1
  fi
  finish "$part" "$kept/$name/$digest" "$digest" "$bytes" && exit
done
exit 4
