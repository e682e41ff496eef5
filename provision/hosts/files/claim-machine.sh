# shellcheck shell=sh
# Make a machine that was there before a host of a fleet. Run as the login. as-root.sh and fleet-id.sh come before this
# text.
# sh claim-machine.sh HOW WORK FLEET OWNER ROLES KEY IDS DROP_KEY
#   HOW         the argument of as-root.sh
#   WORK        the work folder, in which "fleet" says whose the machine is and "added" what Fanrun added to it
#   FLEET, OWNER, ROLES    written to the mark
#   KEY         the public key that may log in from now on
#   IDS         the ids of the fleet, the first of which is written to the mark; hosts with the others are its as well
#   DROP_KEY    the text of drop-key.sh
# Print nothing. Exit with 1, and change nothing, if the machine belongs to another fleet by now.
# The mark comes first: what has one is found, and cleaned up.
set -eu
export LC_ALL=C
work=$1 fleet=$2 owner=$3 roles=$4 key=$5 ids=$6 drop_key=$7
mark=$work/fleet added=$work/added
as_root install -d -m 700 -o "$(id -un)" "$work"
as_root touch "$work/lock" "$added" "$mark"
as_root chown "$(id -un)" "$work/lock" "$added" "$mark"
exec 9>"$work/lock"
flock -w 30 9
if [ -s "$mark" ]; then
  case " $ids " in
    *" $(fleet_id "$mark") "*) ;;
    *)
      other="fleet $(mark_value "$mark" fleet) of $(mark_value "$mark" owner), id $(fleet_id "$mark")"
      echo "belongs to $other, since a moment ago" >&2
      exit 1 ;;
  esac
fi
old=$(mark_value "$mark" key) home=$(mark_value "$mark" home)
version=$(mark_value "$mark" version)
printf 'fleet %s\nowner %s\nroles %s\nuser %s\nhome %s\nkey %s\nid %s\n' \
  "$fleet" "$owner" "$roles" "$(id -un)" "$HOME" "$key" "${ids%% *}" >"$mark.new"
[ -z "$version" ] || echo "version $version" >>"$mark.new"
mv "$mark.new" "$mark"
if [ "$old" != "$key" ]; then sh -c "$drop_key" sh "$HOME/.ssh/authorized_keys" "$old"; fi
if [ -n "$home" ] && [ "$home" != "$HOME" ]; then
  as_root sh -c "$drop_key" sh "$home/.ssh/authorized_keys" "$old"
fi
umask 077
keys=$HOME/.ssh/authorized_keys
[ -d "$HOME/.ssh" ] || { echo "folder $HOME/.ssh" >>"$added"; mkdir "$HOME/.ssh"; }
[ -e "$keys" ] || { echo "keys $keys" >>"$added"; : >"$keys"; }
grep -qaxF -e "$key" "$keys" || {
  [ -z "$(tail -c 1 "$keys")" ] || echo >>"$keys"
  printf '%s\n' "$key" >>"$keys"
}
