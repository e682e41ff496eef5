"""The task runs: what runs there were, and which are at work."""

from __future__ import annotations

from collections.abc import Sequence

from fanrun.fanout import history, run_list
from fanrun.fanout.run_list import RunRow
from fanrun.fleet.store import Folder
from fanrun.tasks import options, target
from fanrun.tasks.console import Console
from fanrun.tasks.options import FLEET
from fanrun.tasks.task import task

MANY = 20
"""So many of the last runs of a fleet are shown."""


@task(
    help={
        "dst": "show the runs into this folder, and ask no host",
        "json_": "print them as JSON",
        "fleet": FLEET,
    }
)
def runs(console: Console, dst: str | None = None, json_: bool = False, fleet: str | None = None) -> None:
    """Show the last runs on the fleet, and those that are at work now; or the runs into a folder."""
    folder = target.folder(console, fleet)
    rows = run_list.of_dst(options.path("dst", dst)) if dst else _of_fleet(console, folder)
    if json_:
        print(run_list.to_json(rows))
    elif rows:
        print(run_list.table(rows))
    else:
        console.say("no run is known of this fleet; `fab run --src A --dst B` starts one")


def _of_fleet(console: Console, folder: Folder) -> Sequence[RunRow]:
    """Ask the fleet's workers which runs are at work; return these, and the last ones that this machine made."""
    from provision import status as statuses

    working: dict[str, list[str]] = {}
    for row in statuses.status(folder, folder.load()):
        for run in row.runs:
            working.setdefault(run, []).append(row.name)
        if not row.reachable:
            console.say(f"{row.name} does not answer, so it is not known what is at work there: {row.error}")
    return run_list.of_fleet(history.last(folder.path, MANY), working)
