"""The commands of a run, as argv lists: pure, so that tests compare them to the letter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from provision.probe import WORK, Probe

PIDS = 1024
SCRATCH = "/tmp:rw,nosuid,nodev,size=256m"  # noqa: S108 - inside the container
SILENCE = 60
"""Seconds without a byte after which rsync gives a connection up."""


@dataclass(frozen=True)
class Place:
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


# The container's last 64 KiB of output are kept, however much it writes.  `exit` comes last:
# where it is, the batch ran to its end.
BATCH = r"""
target=$1; shift
mkdir -p "$target/data" && : >"$target/report.jsonl" || exit 1
{ "$@" </dev/null 2>&1; echo $? >"$target/code"; } | tail -c 65536 >"$target/log"
chmod -R u+rwX "$target/data" && cd "$target/data" || exit 1
find . -type f -print0 | xargs -0 -r sha256sum -z -- >"$target/manifest" || exit 1
mv "$target/code" "$target/exit"
"""

# A run that was killed leaves its folder; a day later nobody comes back for it.
OPEN = r"""
find "$1" -mindepth 1 -maxdepth 1 -mmin +1440 -exec rm -rf {} + 2>/dev/null
mkdir -p "$2" || exit 1
"""

# Deleting some thousand files may take seconds that nobody need wait for: out of the way at
# once, gone a little later.
DISCARD = r"""
for path; do
  gone=${path%/*}/.gone-${path##*/}
  if mv "$path" "$gone" 2>/dev/null; then setsid nice rm -rf "$gone" </dev/null >/dev/null 2>&1 & fi
done
"""

STOP = (
    r"""
sudo -n docker ps --quiet --filter "label=fanrun.run=$1" | xargs -r sudo -n docker rm --force >/dev/null
shift
"""
    + DISCARD
)


def run_folder(run: str) -> str:
    """The folder of one run on a worker."""
    return f"{WORK}/runs/{run}"


def open_argv(run: str) -> list[str]:
    """Make the run's folder, and clear away those that died more than a day ago."""
    return ["sh", "-c", OPEN, "sh", f"{WORK}/runs", run_folder(run)]


def stop_argv(run: str) -> list[str]:
    """End the run's containers and delete its folder."""
    return ["sh", "-c", STOP, "sh", run, run_folder(run)]


def forget_argv(place: Place) -> list[str]:
    """Delete what a batch left, once its results are home."""
    return ["sh", "-c", DISCARD, "sh", place.source, place.target]


def push_argv(shell: str, src: str, host: str, place: Place) -> list[str]:
    """Send the files whose names stand on standard input (`names`) under their keys."""
    return [
        "rsync", "--files-from=-", "--from0", "--relative", "--times", "--copy-links",
        "--chmod=D755,F644", f"--timeout={SILENCE}", f"--rsh={shell}",
        "--", src.rstrip("/") + "/", f"{host}:{place.source}/",
    ]  # fmt: skip


def names(keys: Sequence[bytes]) -> bytes:
    """The list that push_argv reads; "./" keeps a leading # ; or - from meaning anything."""
    return b"".join(b"./" + key + b"\0" for key in keys)


def pull_argv(shell: str, host: str, place: Place, staging: str) -> list[str]:
    """Bring home what the batch left: regular files alone, no links, no devices."""
    return [
        "rsync", "--recursive", "--times", f"--timeout={SILENCE}", f"--rsh={shell}",
        "--", f"{host}:{place.target}/", staging.rstrip("/") + "/",
    ]  # fmt: skip


def batch_argv(place: Place, image: str, args: Sequence[str], probe: Probe) -> list[str]:
    """Run the image over a batch, keep its last words, and hash every result where it was made."""
    return ["sh", "-c", BATCH, "sh", place.target, *docker_argv(place, image, args, probe)]


def docker_argv(place: Place, image: str, args: Sequence[str], probe: Probe) -> list[str]:
    """The container of the contract: no network, nothing writable but /out, no more than its share.

    Nine tenths of the host's memory: a program that eats it all is ended by the kernel, the
    host's sshd and dockerd live on.
    """
    return [
        "sudo", "-n", "docker", "run", "--rm", "--name", f"fanrun-{place.run}-{place.batch}",
        "--label", f"fanrun.run={place.run}", "--network", "none", "--read-only", "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges", "--user", f"{probe.uid}:{probe.gid}",
        "--memory", str(probe.memory * 9 // 10), "--pids-limit", str(PIDS),
        "--tmpfs", SCRATCH, "--log-driver", "none",
        "--env", "FANRUN_REPORT=/report.jsonl", "--volume", f"{place.source}:/in:ro",
        "--volume", f"{place.target}/data:/out", "--volume", f"{place.target}/report.jsonl:/report.jsonl",
        image, *args, "/in", "/out",
    ]  # fmt: skip
