"""Cleaning hosts: removing the reference data and inputs that they keep, and the files that earlier runs left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fanrun.fanout.commands import BY_SUDO, SCRIPTS, layout_argv
from fanrun.fanout.leftovers import Leftovers
from fanrun.fanout.reference import KEPT
from fanrun.fanout.results.report import amount
from fanrun.fleet.errors import FanrunError
from fanrun.fleet.layout import USUAL, Layout
from fanrun.fleet.model import Fleet
from fanrun.fleet.parallel import on_hosts
from fanrun.fleet.probe import EXPIRY
from fanrun.fleet.script import read_script
from fanrun.fleet.ssh import Remote
from fanrun.fleet.store import Folder
from fanrun.fleet.text import counted

CLEAN = BY_SUDO + read_script(SCRIPTS, "end.sh", "kept.sh", "clean.sh")


@dataclass(frozen=True)
class Found:
    """What is on the hosts: lines by host of what goes and of what stays, and why hosts did not answer."""

    removed: Mapping[str, list[str]]
    stays: Mapping[str, list[str]]
    errors: Mapping[str, FanrunError]


def clean_argv(dead: Sequence[str], layout: Layout = USUAL, *, look: bool) -> list[str]:
    """Remove from a host what no run uses; with `look` only say what that is.  `dead` are runs that are over."""
    return layout_argv(layout, CLEAN, KEPT, layout.runs, str(EXPIRY), "look" if look else "", *dead)


def clean(folder: Folder, fleet: Fleet, *, look: bool) -> Found:
    """Remove from all hosts what no run uses, or with `look` find out what that is."""
    leftovers = Leftovers(folder.path / "runs")
    dead = leftovers.dead()

    def ask(remote: Remote) -> list[str]:
        argv = clean_argv(sorted(dead), remote.host.layout, look=look)
        return remote.run(argv, timeout=300).stdout.splitlines()

    machines = {(host.address, host.port): host for host in fleet.hosts}  # one may be the hub and a worker
    answers, errors = on_hosts(folder, machines.values(), ask)
    if not look:
        for run in dead:
            swept = [name for name, lines in answers.items() if f"left {run}" not in lines]
            leftovers.cleaned(run, swept)
        leftovers.forget_all_but([host.name for host in fleet.hosts])
    lines = {name: [told for line in answers[name] if (told := describe(line))] for name in answers}
    stays = {name: [text for stays, text in each if stays] for name, each in lines.items()}
    removed = {name: [text for stays, text in each if not stays] for name, each in lines.items()}
    return Found(removed, stays, errors)


def describe(line: str) -> tuple[bool, str] | None:
    """Return whether a thing stays, and what it is, by a line that clean.sh wrote; None for another line."""
    kind, *words = line.split()
    if kind == "run":
        return False, f"what run {words[0]} left"
    if kind == "left":
        return True, f"what run {words[0]} left, as Docker does not answer"
    if kind == "part":
        return False, f"reference data {words[0]} that did not come to their end"
    if kind == "cache":
        return False, f"{counted(int(words[0]), 'input')} of earlier runs, {amount(int(words[1]))}"
    if kind in ("data", "used"):
        text = f"reference data {words[0]} {words[1][:12]}, {amount(int(words[2]))}"
        return kind == "used", f"{text}, which a run uses" if kind == "used" else text
    return None
