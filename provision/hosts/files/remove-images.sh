# shellcheck shell=sh
# sh remove-images.sh PULLED PUSHED KEPT...: remove images that are no longer needed.  Run it as a user who may use Docker.
# Images that a hub's registry gave have a repository that ends with PULLED.  They are removed, except the refs KEPT.
# PUSHED is the repository that pushes use.  A tag in it is left over from a push that was killed, and is removed.
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
