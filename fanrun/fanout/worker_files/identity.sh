# shellcheck shell=sh
# Function that writes the passwd, group and env files for a run's containers to the working directory.
#
# identity IMAGE RUN NOBODY KNOWN
#   IMAGE     the container image
#   RUN       the run, for the label of the container that is made to read files from
#   NOBODY    the user and group id of a program where the login is root
#   KNOWN     the folder where the files are kept for the next run of the image: they depend on the image alone, and
#             it takes a quarter of a second to make them
#
# Containers run with the uid of the worker's login, which has no entry in most images. Without one, Python's getpass
# and pathlib, Java, Hadoop, git, ssh and whoami fail. So the image's own files are copied, and an entry for the uid is
# written before the others. The entry has the user name that the image gives to the uid, if it gives one. Its home is
# always /tmp, because the program can write there. "env" has the variables that the image does not set. It is written
# last: if it exists, the other files exist as well.
identity() {
  image=$1 run=$2 nobody=$3 known=$4 uid=$(id -u) gid=$(id -g)
  [ "$uid" -ne 0 ] || uid=$nobody
  [ "$gid" -ne 0 ] || gid=$nobody
  container=$(docker create --network none --label "fanrun.run=$run" "$image" none) || container=
  # If Docker fails in between, the files are for this run alone.
  is_whole=$container
  for file in passwd group; do
    if [ -n "$container" ]; then docker cp -L "$container:/etc/$file" - | tar -xO; fi >"image-$file"
  done
  set=$(docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$container") || is_whole=
  [ -z "$container" ] || docker rm "$container" || is_whole=
  has() { printf '%s\n' "$set" | grep -q "^$1="; }
  user=$(awk -F: -v id="$uid" '$3 == id { print $1; exit }' image-passwd)
  user=${user:-fanrun}
  { echo "$user:x:$uid:$gid:$user:/tmp:/bin/sh"; cat image-passwd; } >passwd &&
  { grep "^[^:]*:[^:]*:$gid:" image-group || echo "$user:x:$gid:"; cat image-group; } >group &&
  {
    has LANG || has LC_ALL || echo LANG=C.UTF-8
    has USER || echo "USER=$user"
    has LOGNAME || echo "LOGNAME=$user"
  } >new-env && chmod 644 passwd group && mv new-env env || return
  [ -n "$is_whole" ] || return
  { mkdir -p "$known.$run" && cp -p passwd group env "$known.$run" && mv -T "$known.$run" "$known"; } ||
    rm -rf "$known.$run"
}
