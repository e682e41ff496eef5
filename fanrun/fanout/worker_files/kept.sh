# shellcheck shell=sh
# Functions for the reference data that a host keeps. Other scripts come after this text. Their first argument is
# KEPT, the folder with all reference data.
# KEPT/NAME/DIGEST has one version: the folder "data", the file "size" with its bytes, and "looks" with what the files
# looked like when they were found to be right. KEPT/NAME/.DIGEST.RUN is a version that is not complete.
# A run that uses a version has a line "NAME DIGEST" in the file "reference" of its folder.
export LC_ALL=C
kept=$1
# content FOLDER: print the hash of names, contents and executable bits, as reference_content.py computes it.
content() {
  (
    cd "$1" || exit
    find . -type f -print0 | sort -z | xargs -0 -r sha256sum -z --
    find . -type f -perm -100 -print0 | sort -z
    find . ! -type f ! -type d -print0
  ) | sha256sum | cut -c 1-64
}
# looks FOLDER: print a hash of the names, modes, sizes, times and inode numbers of all files. It is another one after a
# file was changed. The times of the inodes are not in it, because they change when another version gets a link to a file.
looks() { find "$1" -type f -printf '%P %m %s %T@ %i\0' | sort -z | sha256sum; }
# is_good VERSION DIGEST: succeed if a version is complete and has the hash DIGEST. Its files are read only if the hash
# that `looks` prints has changed.
is_good() {
  [ -d "$1/data" ] || return
  now=$(looks "$1/data")
  [ "$now" != "$(cat "$1/looks" 2>/dev/null)" ] || return 0
  [ "$(content "$1/data")" = "$2" ] && echo "$now" >"$1/looks"
}
# drop FOLDER: rename a folder, so that it is not used as a version any more, and delete it in the background.
drop() {
  gone=$kept/.gone-${1##*/}.$$
  if mv "$1" "$gone" 2>/dev/null; then setsid nice rm -rf "$gone" </dev/null >/dev/null 2>&1 8>&- 9>&- & fi
}
# is_used RUNS NAME DIGEST [OVER]: succeed if a run on this host uses the version. OVER are runs that do not count; there
# is a space before and after each of their names.
is_used() {
  for user in "$1"/*/reference; do
    run_of_user=${user%/reference}
    case ${4-} in *" ${run_of_user##*/} "*) ;; *) if grep -qsxF "$2 $3" "$user"; then return; fi ;; esac
  done
  return 1
}
# prune RUNS NAME DIGEST: remove old versions of the data NAME. These stay: the version DIGEST, the version that was used
# last before it, and all versions that runs use. Remove also what came of versions that were never complete, if nothing
# in it has changed for an hour.
prune() {
  others=0
  find "$kept" -mindepth 1 -maxdepth 1 -name '.gone-*' -cmin +60 -exec rm -rf {} +
  # shellcheck disable=SC2044  # names of versions are hashes
  for old in $(find "$kept/$2" -mindepth 1 -maxdepth 1 ! -name '.*' -printf '%T@ %f\n' | sort -rn | cut -d ' ' -f 2); do
    [ "$old" != "$3" ] || continue
    others=$((others + 1))
    [ $others -le 1 ] || is_used "$1" "$2" "$old" || drop "$kept/$2/$old"
  done
  for part in "$kept/$2"/.[0-9a-f]*; do
    if [ -d "$part" ] && [ -z "$(find "$part" -cmin -60 -print -quit)" ]; then drop "$part"; fi
  done
}
# others NAME PART: print options for rsync that name the other versions. rsync takes equal files from these.
others() {
  for base in "$kept/$1"/*/data "$kept/$1"/.[0-9a-f]*/data; do
    if [ -d "$base" ] && [ "$base" != "$2/data" ]; then printf ' --link-dest=%s' "$base"; fi
  done | cut -d ' ' -f 2-20 # rsync takes 20 of them
}
# begin PART NAME BYTES: make the folder for a version that will be sent. Return 28 if there is no room for it. If there
# are other versions, this is not checked: only rsync can say how many bytes are different.
begin() {
  mkdir -p "$1/data" && chmod 755 "$1/data" || return
  [ -z "$(others "$2" "$1")" ] || return 0
  free=$(stat -f -c '%a %S' "$kept" | { read -r blocks size; echo $((blocks * size)); })
  [ "$free" -lt $(($3 + 67108864)) ] || return 0
  no_room "$1" "$2" "$3"
}
# no_room PART NAME BYTES: print that there is no room for a version, remove the part of it that is here, and return 28.
no_room() {
  free=$(stat -f -c '%a %S' "$kept" | { read -r blocks size; echo $((blocks * size / 1000000)); })
  echo "it has no room for the reference data $2 ($(($3 / 1000000)) MB, and $free MB are free); \`fab clean\` makes some" >&2
  drop "$1"
  return 28
}
# finish PART VERSION DIGEST BYTES: check a version that was sent, and rename its folder from PART to VERSION. Return 4 if
# it does not have the hash DIGEST.
finish() {
  now=$(looks "$1/data")
  [ "$(content "$1/data")" = "$3" ] || return 4
  echo "$4" >"$1/size" && echo "$now" >"$1/looks" || return
  mv -T "$1" "$2" 2>/dev/null || drop "$1"
}
