# shellcheck shell=sh
# sh remove-images.sh PULLED PUSHED KEPT...: remove images that are no longer needed.  Run it as root.
# PULLED is how the repository of an image ends that was pulled from a hub; such images are removed, except those with
# one of the refs KEPT.  PUSHED is the repository that pushes use; a tag there is left over from a push that was killed.
# Docker refuses to remove an image that a container uses.
pulled=$1 pushed=$2
shift 2
docker image ls --digests --format '{{.Repository}} {{.Tag}} {{.Digest}}' | while read -r repository tag digest; do
  case "$repository $tag" in
    "$pushed <none>") continue ;;
    "$pushed "*) ref=$repository:$tag ;;
    *"$pulled <none>") ref=$repository@$digest ;;
    *) continue ;;
  esac
  for kept; do [ "$kept" != "$ref" ] || continue 2; done
  docker rmi "$ref" >/dev/null 2>&1
done
exit 0
