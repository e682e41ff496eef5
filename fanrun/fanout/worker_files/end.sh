# shellcheck shell=sh
# Functions that end a run. Other scripts come after this text and call them.
#
# end RUNS RUN: remove the run's containers, and delete its folder. Fail if Docker does not answer, or can't remove a
# container: then something may be left, and the caller keeps a folder of the run, so that somebody ends it later.
# forbid RUNS RUN: leave a file which says that the run was ended.
# discard RUNS/RUN: delete the folder of a run, after its inputs have been moved to the cache.
# - With thousands of files this takes seconds. So the folder is renamed first, and a background process does the rest.
# - The file variables, which may hold secrets, is deleted before that.
# - The program cache.py in the folder moves the inputs. The file cache.limit says how many bytes the cache may hold.
# - If the shell variable keep_none is set, no input is moved: all are deleted with the folder.
discard() {
  gone=${1%/*}/.gone-${1##*/}
  mv "$1" "$gone" 2>/dev/null || return 0
  rm -f "$gone"/variables*
  # shellcheck disable=SC2016  # the inner shell expands them
  setsid nice sh -c '
    [ -n "$3" ] || python3 -I -S "$1/cache.py" keep "$2/cache" "$(cat "$1/cache.limit")" "$1"
    exec rm -rf "$1"
  ' sh "$gone" "${1%/*/*}" "${keep_none-}" </dev/null >/dev/null 2>&1 8>&- &
}
# A container whose batch has a folder stays: the run came back meanwhile, and the batch is a new one.
remove() {
  found=$(docker ps --all --filter "label=fanrun.run=$2" --format '{{.ID}} {{.Names}}') || return
  found=$(echo "$found" | while read -r id name; do [ -e "$1/$2/${name#"fanrun-$2-"}.out" ] || echo "$id"; done)
  # shellcheck disable=SC2086  # ids
  [ -z "$found" ] || docker rm --force $found >/dev/null
}
end() {
  if [ ! -e "$1/$2/turn" ]; then discard "$1/$2"; remove "$1" "$2"; return; fi
  exec 8<>"$1/$2/turn"
  discard "$1/$2"
  tries=0
  # A batch that has its turn may be about to start its container.
  until remove "$1" "$2"; is_clean=$?; flock -n 8; do
    [ $tries -lt 50 ] || break
    sleep 0.2; tries=$((tries + 1)); is_clean=1
  done
  exec 8>&-
  return $is_clean
}
# A late command may be about to make the folder of a run that is being ended: this file tells it not to.
forbid() { touch "$1/.ended-$2" 2>/dev/null || :; }
