# shellcheck shell=sh
# Remove what Fanrun has on a machine where sudo is not used. Run as the login. fleet-id.sh comes before this text.
# sh remove-home.sh WORK IDS DROP_KEY REMOVE_IMAGES REPOSITORY
#   WORK             the work folder, in the login's home
#   IDS              the ids of the fleet: what another one has there is left as it is
#   DROP_KEY         the text of drop-key.sh
#   REMOVE_IMAGES    the text of remove-own-images.sh
#   REPOSITORY       its argument
# Print a line for each kind of thing that was removed. Others may have runs of Fanrun on the machine as well, so only
# containers of runs that have a folder here are removed.
set -u
export LC_ALL=C
work=$1 ids=$2 drop_key=$3 remove_images=$4 repository=$5
mark=$work/fleet
[ -n "$(fleet_id "$mark")" ] || exit 0
case " $ids " in *" $(fleet_id "$mark") "*) ;; *) exit 0 ;; esac
added() { sed -n "s/^$1 //p" "$work/added" 2>/dev/null | sort -u; }

if ! said=$(timeout 20 docker version 2>&1); then
  echo "Docker does not answer, so what Fanrun has in it can't be removed ($(echo "$said" | tail -n 1))" >&2
  exit 1
fi
chmod -R u+rwX "$work"
for run in "$work"/runs/[0-9]*; do
  found=$(docker ps -aq --filter "label=fanrun.run=${run##*/}")
  # shellcheck disable=SC2086  # ids
  [ -z "$found" ] || docker rm -f -v $found >/dev/null || exit 1
done
# shellcheck disable=SC2086  # ids
sh -c "$remove_images" sh "$repository" "$ids" && echo "images removed"

# The mark goes last: whatever comes between, this can be done again.
find "$work" -xdev -mindepth 1 -maxdepth 1 ! -name fleet ! -name added -exec rm -rf {} +
keys=$(mark_value "$mark" home)/.ssh/authorized_keys
sh -c "$drop_key" sh "$keys" "$(mark_value "$mark" key)" ||
  { echo "$keys can't be written, so the fleet's key is still in it" >&2; exit 1; }
[ -s "$keys" ] || [ -z "$(added keys)" ] || rm -f "$keys"
added folder | while read -r folder; do rmdir "$folder" 2>/dev/null; done
rm -rf "${work:?}"
echo "key and folder removed"
