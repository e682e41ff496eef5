# shellcheck shell=sh
# Run as root, with the registry's ports: stop its services, and wait until nothing of it listens there.
# A process that its service does not know any more is ended too.
for service in fanrun-registry docker-registry; do
  service "$service" stop </dev/null >/dev/null 2>&1
done
processes() {
  for port; do ss -Hltnp "sport = :$port"; done | sed -n 's/.*"docker-registry",pid=\([0-9]*\).*/\1/p' | sort -u
}
tries=0
while found=$(processes "$@") && [ -n "$found" ]; do
  tries=$((tries + 1))
  case $tries in
    25) echo "$found" | xargs kill ;;
    50) echo "$found" | xargs kill -9 ;;
    75) exit 1 ;;
  esac
  sleep 0.2
done
