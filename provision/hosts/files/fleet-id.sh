# shellcheck shell=sh
# Functions that read the mark of a machine, which says whose it is.
#
# mark_value MARK NAME: print the value of a line of the mark.
# fleet_id MARK: print the id of the fleet. It is made from the key if the mark is from before fleets had ids.
mark_value() { sed -n "s/^$2 //p" "$1" 2>/dev/null; }
fleet_id() {
  id=$(mark_value "$1" id) key=$(mark_value "$1" key)
  [ -n "$id" ] || [ -z "$key" ] || id=old-$(printf %s "$key" | sha256sum | cut -c 1-12)
  echo "$id"
}
