# shellcheck shell=sh
# Remove images that Fanrun loaded on a machine where sudo is not used.
# sh remove-own-images.sh REPOSITORY IDS KEPT...
#   REPOSITORY    the end of the repository of these images; a name and a slash come before it
#   IDS           the ids of the fleet, with which the tags of its images begin
#   KEPT          images that stay, as repository:tag
# Exit with 0 if images were removed. Docker refuses to remove an image that a container uses.
repository=$1 ids=$2
shift 2
docker image ls --format '{{.Repository}}:{{.Tag}}' | {
  removed=1
  while read -r ref; do
    for id in $ids; do
      case "$ref" in */"$repository:$id"-*) ;; *) continue ;; esac
      for kept; do [ "$kept" != "$ref" ] || continue 2; done
      docker rmi "$ref" >/dev/null 2>&1 && removed=0
    done
  done
  exit $removed
}
