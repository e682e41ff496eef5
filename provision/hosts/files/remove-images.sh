# shellcheck shell=sh
# Remove container images that are no longer needed. Run this as a user who may use Docker.
# sh remove-images.sh PULLED PUSHED KEPT...
#   PULLED    how the repositories of images end that were pulled from the hub
#   PUSHED    the repository that is used to push images; a tag in it was left by a push that was killed
#   KEPT      the references of images that stay
# All images of PULLED and PUSHED are removed, except KEPT. Docker refuses to remove an image that a container uses.
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
