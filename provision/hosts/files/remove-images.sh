# shellcheck shell=sh
# Run as root: PULLED PUSHED KEPT...  Removes the images that were pulled from a hub, whose repository ends with PULLED,
# but for the refs KEPT, and what a push that was killed has left of PUSHED.  Docker itself keeps what a container uses.
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
