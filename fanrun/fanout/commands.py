"""The commands of a run, as argv lists: pure, so that tests compare them to the letter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from fanrun.fleet.probe import LEASE, WORK, Probe

PIDS = 1024
MIB = 1024**2
TMP, SHM = "/tmp", "/dev/shm"  # noqa: S108 - inside the container
UNPRIVILEGED = 65532
"""The user and group id of a program where the login is root.

"nonroot" has this id in many container images, ours too; Debian gives accounts lower ones.
"""
EXPIRY = 15
"""Minutes without a sign of life after which a run is over, for its workers and for the next run on them."""
DAYS = 30
"""How long a worker keeps the identity files of an image that no run uses."""
SILENCE = 60
"""Seconds without a byte after which rsync gives a connection up."""


@dataclass(frozen=True)
class Scratch:
    """The bytes that a container's /tmp and /dev/shm hold; what is in them counts as its memory."""

    tmp: int = 256 * MIB
    shm: int = 64 * MIB


USUAL = Scratch()


@dataclass(frozen=True)
class Program:
    """What is run over every batch; `ref` is what workers pull.

    It has hung when it finishes nothing for `timeout` seconds (0: however long); `memory` in bytes (0: the usual).
    """

    ref: str
    args: tuple[str, ...] = ()
    timeout: int = 0
    memory: int = 0
    scratch: Scratch = USUAL


@dataclass(frozen=True)
class LogLimits:
    """The bytes of lines that are kept of a batch (the first and the last so many), and of a run on each worker."""

    batch: int = 32 * MIB
    spool: int = 1024 * MIB


@dataclass(frozen=True)
class LogSource:
    """Whose lines they are that containers write on one worker, and how many are kept."""

    fleet: str
    host: str
    limits: LogLimits = LogLimits()


@dataclass(frozen=True)
class BatchFolder:
    """Where a batch lies on a worker: `source` holds its inputs, `target` all that comes of them."""

    run: str
    batch: str

    @property
    def home(self) -> str:
        return run_folder(self.run)

    @property
    def source(self) -> str:
        return f"{self.home}/{self.batch}.in"

    @property
    def target(self) -> str:
        return f"{self.home}/{self.batch}.out"

    @property
    def container(self) -> str:
        return f"fanrun-{self.run}-{self.batch}"

    @property
    def identity(self) -> str:
        return f"{self.home}/identity"


# The log filter starts the container and writes down what it prints.  A container that writes nothing to /out and to
# its report for `timeout` seconds is stopped; the file `late` says so, because the exit code could be the program's
# own.  The file `exit` is written last: where it exists, the batch ran to its end.  It also has the free space, which
# tells a full disk from a bad input.  If the run gives no sign of life any more, its container is stopped: nobody would
# fetch the results.
# One container at a time: the next batch's script waits here for its turn, not at the other end of a busy line; what
# came to an end meanwhile (its folder is gone, or `halt` is there) has no turn any more.
# What earlier batches left is deleted when the run ends, unless room is short: a file system may take long over new
# files where many were just deleted (ext4 passes over each inode that was freed in the last minute).
BATCH = r"""
target=$1 name=$2 owner=$3 timeout=$4 room=$5 spool=$6 fields=$7 batch_bytes=$8 spool_bytes=$9; shift 9
spent=$1; shift
home=${target%/*}
while [ "$spent" -gt 0 ]; do mv "$1" "$home/.gone-${1##*/}" 2>/dev/null; shift; spent=$((spent - 1)); done
fail() { echo "it can't keep its results ($(df -Ph "$target" | tail -n 1))" >&2; exit 1; }
# What was ended is not begun anew by a command that was late.
[ -d "$home" ] && mkdir -p "$target/data" && exec 9>"$home/turn" || fail
stat -f -c '%a %S %c %d' "$home" | if read -r blocks size inodes left \
  && { [ $((blocks * size)) -lt "$room" ] || [ $((left * 2)) -lt "$inodes" ]; }
then setsid nice rm -rf "$home"/.gone-* </dev/null >/dev/null 2>&1 9>&- &
fi
flock 9 || fail
[ -d "$target" ] && [ ! -e "$home/halt" ] || exit 1
[ -e "$home/identity/env" ] || fail
: >"$target/report.jsonl" || fail
# Root's folder is not writable for the program, which never is root.
[ "$(id -u)" -ne 0 ] || chown "$owner" "$target/data" "$target/report.jsonl" || fail
silent=0
is_over() {
  # Twice in a row, as a clock may jump: a run that is alive says so every few seconds.
  if [ -n "$(find "$home" -maxdepth 0 -mmin -EXPIRY)" ]; then silent=0; else silent=$((silent + 1)); fi
  [ $silent -ge 2 ]
}
is_late() {
  [ "$timeout" -gt 0 ] &&
    [ -z "$(find "$target/data" "$target/report.jsonl" -newerct "-$timeout seconds" -print -quit)" ]
}
watch() {
  often=30
  # A short time begins with the program; of a long one the container's start is no great part.
  if [ "$timeout" -gt 0 ] && [ "$timeout" -lt 300 ]; then
    often=1
    until [ -n "$(sudo -n docker ps --quiet --filter "name=$name")" ]; do sleep 0.2; done
  fi
  touch "$target/report.jsonl"
  while sleep $often; do
    if is_over; then touch "$home/halt"
    elif is_late; then echo 124 >"$target/code"; : >"$target/late"
    else continue; fi
    sudo -n docker kill "$name"; return
  done
}
(exec </dev/null >/dev/null 2>&1 9>&-; watch) &
begun=$(date +%s%N)
# As a module, so that it is compiled once.
filter='import sys; sys.path.insert(0, sys.argv.pop(1)); import log_filter; sys.exit(log_filter.main())'
python3 -I -S -c "$filter" "$home" "$target" "$spool" "$fields" "$batch_bytes" "$spool_bytes" "$@" </dev/null
code=$?
[ -e "$target/code" ] || echo $code >"$target/code"
echo $(($(date +%s%N) - begun)) >>"$target/code"
exec 9>&-
kill $! 2>/dev/null
chmod -R u+rwX "$target/data" && cd "$target/data" || fail
find . -type f -print0 | xargs -0 -r sha256sum -z -- >"$target/manifest" || fail
find . ! -type f ! -type d -print0 >"$target/links" || fail
late=0
[ ! -e "$target/late" ] || late=1
echo "$(stat -f -c '%a %S %c %d' .) $late" >>"$target/code" && mv "$target/code" "$target/exit" || fail
""".replace("EXPIRY", str(EXPIRY))

# Every few seconds it writes a sign of life, a line of five numbers: the exit code of a question to Docker (0 if it
# answered), the number of free blocks and their size in bytes, the load, and the number of processors.
# A Docker that is late is asked again at once; at the start it has just answered.  A host that ends itself when nobody
# works with it is told that somebody does, and the run's folder says that the run is alive.
HEARTBEAT = r"""
code=0
while :; do
  [ $code -eq 124 ] || sleep "$2"
  timeout 4 docker version >/dev/null 2>&1; code=$?
  read -r load rest </proc/loadavg
  echo "$code $(stat -f -c '%a %S' "$1") $load $(nproc)" || exit  # nobody listens any more
  for file in "$3" "$4"; do [ ! -e "$file" ] || touch "$file"; done
done
"""

# A batch that has its turn may be about to start its container.
HALT = r"""
halt() { sudo -n docker ps --quiet --filter "label=fanrun.run=$1" | xargs -r sudo -n docker stop -t "$2" >/dev/null; }
touch "$3/$1/halt" 2>/dev/null
if [ ! -e "$3/$1/turn" ]; then halt "$1" "$2"; exit; fi
exec 8<>"$3/$1/turn"
tries=0
while halt "$1" "$2"; ! flock -n 8 && [ $tries -lt 50 ]; do sleep 0.2; tries=$((tries + 1)); done
"""

# Deleting some thousand files may take seconds that nobody need wait for: out of the way at once, gone a little later.
# `end` fails where Docker can't tell, or can't remove what it has: then something may be left, and the run's folder has
# to stay, so that somebody ends it later.
END = r"""
discard() {
  gone=${1%/*}/.gone-${1##*/}
  if mv "$1" "$gone" 2>/dev/null; then setsid nice rm -rf "$gone" </dev/null >/dev/null 2>&1 8>&- & fi
}
# A container is left alone if its batch has a folder: then the run came back meanwhile, and the batch is a new one.
remove() {
  found=$(sudo -n docker ps --all --filter "label=fanrun.run=$2" --format '{{.ID}} {{.Names}}') || return
  echo "$found" | while read -r id name; do
    [ -e "$1/$2/${name#"fanrun-$2-"}.out" ] || echo "$id"
  done | xargs -r sudo -n docker rm --force >/dev/null
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
# A command that was late may be about to make the folder of a run that is being ended: this tells it not to.
forbid() { touch "$1/.ended-$2" 2>/dev/null || :; }
"""
# Write the passwd, group and env files for the run's containers.  They run with the uid of the worker's login, which
# has no entry in most images; without one, Python's getpass and pathlib, Java, Hadoop, git, ssh and whoami fail.  So
# the image's own files are copied, and an entry for the uid is written before the others.  The entry has the user name
# that the image gives to the uid, if it gives one.  Its home is always /tmp, because the program can write there.
# `env` has the variables that the image does not set.  It is written last: if it exists, the other files exist as well.
# The files depend on the image alone.  To make them takes a quarter of a second, so they are kept in the folder `known`
# for the next run of the image.
IDENTITY = r"""
identity() {
  image=$1 run=$2 uid=$(id -u) gid=$(id -g)
  [ "$uid" -ne 0 ] || uid=$nobody
  [ "$gid" -ne 0 ] || gid=$nobody
  container=$(sudo -n docker create --network none --label "fanrun.run=$run" "$image" none) || container=
  is_whole=$container  # what Docker gave while it was being stopped is for this run alone
  for file in passwd group; do
    if [ -n "$container" ]; then sudo -n docker cp -L "$container:/etc/$file" - | tar -xO; fi >"image-$file"
  done
  set=$(sudo -n docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$container") || is_whole=
  [ -z "$container" ] || sudo -n docker rm "$container" || is_whole=
  has() { printf '%s
' "$set" | grep -q "^$1="; }
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
  mkdir -p "$known.$run" && cp -p passwd group env "$known.$run" && mv -T "$known.$run" "$known" || rm -rf "$known.$run"
}
"""
# End runs that have died: those that are named, and those whose folder was not touched for EXPIRY minutes.  If
# something of a run may be left, print a line that begins with "left".
# Write the passwd, group and env files in the background.  The lock on `turn` is held until they are written, and the
# first batch waits for the lock.
OPEN = (
    END
    + IDENTITY
    + r"""
runs=$1 own=$2 image=$3 nobody=$4 logs=$5 filter=$6 files=$7; shift 7
for run in $(find "$runs" -mindepth 1 -maxdepth 1 -name '[0-9]*' -mmin +EXPIRY -printf '%f\n' 2>/dev/null) "$@"; do
  [ "$run" = "$own" ] || forbid "$runs" "$run"
  end "$runs" "$run" || { mkdir -p "$runs/$run"; echo "left $run"; }
done
find "$runs" -mindepth 1 -maxdepth 1 '(' -name '.gone-*' -o -name '.ended-*' ')' -mmin +EXPIRY -exec rm -rf {} + \
  2>/dev/null
mkdir -p "$runs/$own/identity" && cd "$runs/$own/identity" && exec 9>../turn || exit 1
flock 9
if [ -e "$runs/.ended-$own" ]; then discard "$runs/$own"; exit 1; fi
printf %s "$filter" >../log_filter.py && printf %s "$files" >../log_files.py || exit 1
find "$logs" -mindepth 1 -maxdepth 1 -type f -mtime +0 -exec rm -f {} + 2>/dev/null
known=${runs%/*}/identity/${image##*:}
touch -c "$known"
find "${runs%/*}/identity" -mindepth 1 -maxdepth 1 -mtime +DAYS -exec rm -rf {} + 2>/dev/null
if ! cp -p "$known/passwd" "$known/group" . 2>/dev/null || ! cp -p "$known/env" . 2>/dev/null; then
  (exec </dev/null >/dev/null 2>&1; identity "$image" "$own") &
fi
""".replace("EXPIRY", str(EXPIRY)).replace("DAYS", str(DAYS))
)
STOP = END + 'forbid "$1" "$2"; end "$1" "$2" || { mkdir -p "$1/$2"; exit 1; }'
# Write the lines of these batches that are in the log of a run. JSON escapes nothing that names of batches have.
REST = r"""
spool=$1 most=$2; shift 2
[ -e "$spool" ] || exit 0
for batch; do printf '"batch":"%s","stream"\n' "$batch"; done | LC_ALL=C grep -a -F -f - -- "$spool" | head -c "$most"
"""
RUNS = f"{WORK}/runs"
LOGS = "/var/log/fanrun"
"""Where each run has its log on a worker, which is kept for a day after the run."""


def run_folder(run: str) -> str:
    """The folder of one run on a worker."""
    return f"{RUNS}/{run}"


def open_argv(run: str, ref: str, dead: Sequence[str] = ()) -> list[str]:
    """Make the run's folder, with the files for containers of the image `ref`; end what `dead` runs left behind."""
    return ["sh", "-c", OPEN, "sh", RUNS, run, ref, str(UNPRIVILEGED), LOGS, *log_filter(), *dead]


def log_filter() -> tuple[str, ...]:
    """Return the program that writes down what containers print: log_filter.py and log_files.py."""
    folder = resources.files("fanrun") / "fanout" / "worker_files"
    return tuple((folder / name).read_text("utf-8") for name in ("log_filter.py", "log_files.py"))


def spool_path(run: str) -> str:
    """Return the file on a worker that has the lines of all batches of a run."""
    return f"{LOGS}/{run}.jsonl"


def rest_argv(run: str, batches: Sequence[str], limit: int) -> list[str]:
    """Write the lines of these batches, up to so many bytes."""
    return ["sh", "-c", REST, "sh", spool_path(run), str(limit), *batches]


def stop_argv(run: str) -> list[str]:
    """End the run's containers and delete its folder."""
    return ["sh", "-c", STOP, "sh", RUNS, run]


def halt_argv(run: str, grace: int) -> list[str]:
    """Ask the run's containers to end, and make them after `grace` seconds; what they did stays."""
    return ["sh", "-c", HALT, "sh", run, str(grace), RUNS]


def heartbeat_argv(run: str, seconds: int) -> list[str]:
    """Write a line every so many seconds: the exit code of a question to Docker, and the room left."""
    return ["sudo", "-n", "sh", "-c", HEARTBEAT, "sh", WORK, str(seconds), LEASE, run_folder(run)]


def push_argv(shell: str, src: str, host: str, place: BatchFolder) -> list[str]:
    """Send the files whose names stand on standard input (`names`) under their keys, readable for every user."""
    return [
        "rsync", "--files-from=-", "--from0", "--relative", "--times", "--copy-links", "--perms",
        "--chmod=D755,F644", f"--timeout={SILENCE}", f"--rsh={shell}",
        "--", src.rstrip("/") + "/", f"{host}:{place.source}/",
    ]  # fmt: skip


def names(keys: Sequence[bytes]) -> bytes:
    """The list that push_argv reads; "./" keeps a leading # ; or - from meaning anything."""
    return b"".join(b"./" + key + b"\0" for key in keys)


def pull_argv(shell: str, host: str, place: BatchFolder, staging: str) -> list[str]:
    """Bring home what the batch left: regular files alone, no links, no devices."""
    return [
        "rsync", "--recursive", "--times", f"--timeout={SILENCE}", f"--rsh={shell}",
        "--", f"{host}:{place.target}/", staging.rstrip("/") + "/",
    ]  # fmt: skip


def batch_argv(
    place: BatchFolder, program: Program, probe: Probe, source: LogSource, spent: Sequence[BatchFolder] = ()
) -> list[str]:
    """Run the program over a batch, keep what it prints, and hash every result where it was made.

    What the batches at the `spent` places left is deleted if less than half the room is left that was there.
    """
    old = [path for each in spent for path in (each.source, each.target)]
    head = ["sh", "-c", BATCH, "sh", place.target, place.container, container_user(probe)]
    limits = [str(program.timeout), str(probe.disk_free // 2)]
    log = [spool_path(place.run), log_fields(place, source), str(source.limits.batch), str(source.limits.spool)]
    return [*head, *limits, *log, str(len(old)), *old, *docker_argv(place, program, probe)]


def log_fields(place: BatchFolder, source: LogSource) -> str:
    """Return the part of a line's JSON that is the same for a whole batch."""
    fields = {"fleet": source.fleet, "run": place.run, "host": source.host, "batch": place.batch}
    return json.dumps(fields, separators=(",", ":"))[1:-1]


def discard_argv(place: BatchFolder) -> list[str]:
    """Delete what a batch left, inputs and results."""
    return ["rm", "-rf", "--", place.source, place.target]


def container_user(probe: Probe) -> str:
    """Return UID:GID for a container: those of the login, but neither is ever root's."""
    return f"{probe.uid or UNPRIVILEGED}:{probe.gid or UNPRIVILEGED}"


def memory_limit(program: Program, probe: Probe) -> int:
    """Bytes of memory for a container: what was asked for, else nine tenths of the host's.

    A program that eats it all is ended by the kernel, the host's sshd and dockerd live on.
    """
    return program.memory or probe.memory * 9 // 10


def docker_argv(place: BatchFolder, program: Program, probe: Probe) -> list[str]:
    """The container of the contract: no network, nothing writable but /out, no more than its share."""
    memory, scratch = str(memory_limit(program, probe)), program.scratch
    return [
        "sudo", "-n", "docker", "run", "--rm", "--name", place.container,
        "--label", f"fanrun.run={place.run}", "--network", "none", "--read-only", "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges", "--user", container_user(probe),
        "--memory", memory, "--memory-swap", memory, "--pids-limit", str(PIDS),
        "--tmpfs", f"{TMP}:rw,exec,nosuid,nodev,size={scratch.tmp}", "--shm-size", str(scratch.shm),
        "--log-driver", "none", "--env", "FANRUN_REPORT=/report.jsonl", "--env", f"HOME={TMP}",
        "--env-file", f"{place.identity}/env",
        *_bind(f"{place.identity}/passwd", "/etc/passwd", writable=False),
        *_bind(f"{place.identity}/group", "/etc/group", writable=False),
        *_bind(place.source, "/in", writable=False),
        *_bind(f"{place.target}/data", "/out"),
        *_bind(f"{place.target}/report.jsonl", "/report.jsonl"),
        program.ref, *program.args, "/in", "/out",
    ]  # fmt: skip


def _bind(source: str, target: str, *, writable: bool = True) -> list[str]:
    """Return docker's options to show a path of the host in a container.

    Where --volume would make a folder of root's in the place of a path that is gone, as after a run was ended, this
    fails.
    """
    return ["--mount", f"type=bind,source={source},target={target}{'' if writable else ',readonly'}"]
