"""The commands that begin and end a run on a worker, as argv lists."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from fanrun.fanout.commands import BY_SUDO, SCRIPTS, UNPRIVILEGED, layout_argv, run_folder, variables_path
from fanrun.fleet.layout import USUAL, Layout
from fanrun.fleet.probe import EXPIRY, LEASE, PROBE, SPOT
from fanrun.fleet.script import read_script, script_argv

DAYS = 30
"""How long a worker keeps the identity files of an image that no run uses."""
LOG_FILTER = ("log_filter.py", "log_files.py", "log_spool.py")
"""The program that writes down what containers print; its files lie in the run's folder on a worker."""
CACHE = (resources.files(SCRIPTS) / "cache.py").read_text("utf-8")
QUARTER = -1
"""The limit of a cache that may take a quarter of the free disk, as worker_files/cache.py has it."""
HEARTBEAT = read_script(SCRIPTS, "heartbeat.sh")
SPOT_NOTICE = (resources.files(SCRIPTS) / "spot_notice.py").read_text("utf-8")
HALT = BY_SUDO + read_script(SCRIPTS, "halt.sh")
OPEN = BY_SUDO + read_script(SCRIPTS, "end.sh", "identity.sh", "open.sh")
OPEN_AND_PROBE = read_script(SCRIPTS, "open-and-probe.sh")
VARIABLES = read_script(SCRIPTS, "variables.sh")
STOP = BY_SUDO + read_script(SCRIPTS, "end.sh", "stop.sh")


def open_argv(
    run: str, ref: str, dead: Sequence[str] = (), layout: Layout = USUAL, *, cache: int | None = None
) -> list[str]:
    """Make the run's folder, with the files for containers of the image `ref`; end what `dead` runs left behind.

    At the run's end the worker keeps up to `cache` bytes of inputs (None: QUARTER).
    """
    head = [layout.runs, run, ref, str(UNPRIVILEGED), layout.logs, str(EXPIRY), str(DAYS)]
    limit = str(QUARTER if cache is None else cache)
    return layout_argv(layout, OPEN, *head, *log_filter(), CACHE, limit, *dead)


def open_and_probe_argv(
    run: str, ref: str, dead: Sequence[str] = (), layout: Layout = USUAL, *, cache: int | None = None
) -> list[str]:
    """Do what open_argv does, then ask the host what probe_argv asks; this saves a round trip."""
    words = [PROBE, layout.work, LEASE, layout.mark, str(EXPIRY), " ".join(layout.prefix)]
    return script_argv(OPEN_AND_PROBE, *words, *open_argv(run, ref, dead, layout, cache=cache))


def log_filter() -> tuple[str, ...]:
    """Return the texts of LOG_FILTER."""
    return tuple((resources.files(SCRIPTS) / name).read_text("utf-8") for name in LOG_FILTER)


def variables_argv(run: str, size: int, layout: Layout = USUAL) -> list[str]:
    """Keep the environment variables of the run's program, so many bytes that stand on standard input."""
    return script_argv(VARIABLES, str(size), variables_path(run, layout))


def stop_argv(run: str, layout: Layout = USUAL) -> list[str]:
    """End the run's containers and delete its folder."""
    return layout_argv(layout, STOP, layout.runs, run)


def halt_argv(run: str, grace: int, layout: Layout = USUAL) -> list[str]:
    """Ask the run's containers to end, and make them after `grace` seconds; what they did stays."""
    return layout_argv(layout, HALT, run, str(grace), layout.runs)


def hold_argv(run: str, layout: Layout = USUAL) -> list[str]:
    """Let no batch of the run start that waits for its turn; containers that run come to their end."""
    return ["touch", "--", f"{run_folder(run, layout)}/halt"]


def heartbeat_argv(run: str, seconds: int, *, usage: bool = False, layout: Layout = USUAL) -> list[str]:
    """Write a line every so many seconds: the exit code of a question to Docker, and the room left.

    With `usage` also write one every second about what the run's containers use.  On a spot instance write a line when
    its end is announced.
    """
    words = [layout.work, str(seconds), LEASE, run_folder(run, layout), "usage" if usage else "", SPOT, SPOT_NOTICE]
    return [*layout.prefix, *script_argv(HEARTBEAT, *words)]
