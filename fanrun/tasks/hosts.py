"""Tasks about the hosts of a fleet: status, ssh, exec."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

from fanrun.fanout import preflight
from fanrun.fanout.drain import wait_until_free
from fanrun.fleet.errors import FanrunError, UsageError
from fanrun.tasks import target
from fanrun.tasks.console import RED, Console
from fanrun.tasks.options import FLEET
from fanrun.tasks.task import task
from provision import keepalive
from provision.providers import base as providers

# Modules that only some tasks need are imported by these: what is imported here costs every task time.


@task(help={"json_": "print it as JSON", "fleet": FLEET})
def status(console: Console, json_: bool = False, fleet: str | None = None) -> None:
    """Show the fleet's hosts and what they do: address, reachable, Docker, load, disk, image, runs."""
    from provision import status as statuses

    folder = target.folder(console, fleet)
    known = folder.load()
    rows = statuses.status(folder, known)
    bill: providers.Bill | None = None
    problem: FanrunError | None = None
    try:
        chosen = target.provider(console, fleet)
        if not all(row.reachable for row in rows):
            rows = statuses.explained(rows, chosen.termination_reasons())
        bill = chosen.bill()
    except FanrunError as error:  # what the hosts have said is shown all the same
        problem = error
    rows = [dataclasses.replace(row, error=console.word(row.error)) for row in rows]
    lines = [statuses.table(rows), *statuses.working(rows), *statuses.serving(rows), *statuses.kept(rows)]
    lines += statuses.costs(rows, bill)
    print(statuses.to_json(known, rows, bill) if json_ else "\n".join(lines))
    if (drained := sorted(folder.drained())) and not json_:
        console.say(f"drained: {', '.join(drained)}; `fab drain --undo --host NAME` lets one work again")
    wrong = statuses.problems(rows)
    if wrong and not json_:
        console.say(f"{', '.join(wrong)}; `fab up` repairs the fleet")
    if problem:
        raise problem
    if wrong:
        raise SystemExit(1)


@task(help={"host": "the host's name, as `fab status` shows it (default: worker-1)", "fleet": FLEET})
def ssh(console: Console, host: str = "worker-1", fleet: str | None = None) -> None:
    """Open a shell on a host."""
    folder = target.folder(console, fleet)
    known = folder.load()
    name = known.host(host).name
    preflight.check_tools("ssh")
    with keepalive.keep(folder, target.provider(console, fleet), known.hosts):
        raise SystemExit(subprocess.call(["ssh", "-F", str(folder.ssh_config), name]))


@task(
    help={
        "host": "the worker's name, as `fab status` shows it",
        "undo": "let it work again",
        "fleet": FLEET,
    }
)
def drain(console: Console, host: str | None = None, undo: bool = False, fleet: str | None = None) -> None:
    """Give a worker nothing more to do, and wait until it has finished what it has; or let it work again."""
    if not host:
        raise UsageError("fab drain needs --host; `fab status` shows the workers")
    folder = target.folder(console, fleet)
    known = folder.load()
    worker = known.host(host)
    if worker.role != "worker":
        raise UsageError(f"--host {host}: it is the hub, which runs no batches")
    drained = folder.drained()
    folder.set_drained(drained - {host} if undo else drained | {host})
    if undo:
        console.say(f"{host} works again" if host in drained else f"{host} was not drained")
        return
    with keepalive.keep(folder, target.provider(console, fleet), known.hosts):
        wait_until_free(folder, worker, lambda text: console.say(f"{host}: {text}"))
    console.say(f"{host} is free; `fab drain --undo --host {host}` lets it work again")


@task(name="exec", help={"command": "a line of shell, run on every worker", "fleet": FLEET})
def execute(console: Console, command: str = "", fleet: str | None = None) -> None:
    """Run a command on every worker and show every result; one bad host hides no other."""
    from provision import lifecycle

    if not command.strip():
        raise UsageError('fab exec needs --command "…"')
    folder = target.folder(console, fleet)
    known = folder.load()
    results, errors = lifecycle.execute(folder, target.provider(console, fleet), known, command)
    for host in known.workers:
        if host.name in errors:
            console.say(f"{host.name}: {console.paint('error:', RED)} {errors[host.name]}")
            continue
        result = results[host.name]
        for line in result.stdout.splitlines():
            print(f"{host.name}: {line}")
        for line in result.stderr.splitlines():
            print(f"{host.name}: {line}", file=sys.stderr)
        if result.exit_code != 0:
            console.say(f"{host.name}: {console.paint('error:', RED)} exit {result.exit_code}")
    if errors or any(result.exit_code for result in results.values()):
        raise SystemExit(1)
