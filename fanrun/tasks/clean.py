"""The task that makes room on the hosts of a fleet."""

from __future__ import annotations

from collections.abc import Mapping

from fanrun.fanout import cleaning
from fanrun.tasks import target
from fanrun.tasks.console import RED, Console
from fanrun.tasks.options import FLEET, YES
from fanrun.tasks.task import task
from provision import keepalive


@task(help={"dry-run": "print what would be removed, and change nothing", "yes": YES, "fleet": FLEET})
def clean(console: Console, dry_run: bool = False, yes: bool = False, fleet: str | None = None) -> None:
    """Remove the data that hosts keep for later runs, and the files that earlier runs left there."""
    folder = target.folder(console, fleet)
    known = folder.load()
    with keepalive.keep(folder, target.provider(console, fleet), known.hosts):
        found = cleaning.clean(folder, known, look=True)
        _tell(console, found.removed, "")
        _tell(console, found.stays, "stays: ")
        if not dry_run and any(found.removed.values()):
            console.confirm("this removes what is listed, but for what stays", yes=yes)
            found = cleaning.clean(folder, known, look=False)
            console.say("removed")
        elif not any(found.removed.values()):
            console.say("there is nothing to remove")
    for name, error in sorted(found.errors.items()):
        console.say(f"{name}: {console.paint('error:', RED)} {error}")
    if found.errors:
        raise SystemExit(1)


def _tell(console: Console, things: Mapping[str, list[str]], head: str) -> None:
    for name, lines in sorted(things.items()):
        for line in lines:
            console.show(f"{name}: {head}{line}")
