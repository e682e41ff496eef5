"""Tasks that make and end fleets: up, deploy, bake, down."""

from __future__ import annotations

import contextlib

from fanrun.fleet.errors import FanrunError, FleetDamaged, UsageError
from fanrun.fleet.model import Fleet
from fanrun.fleet.places import SOURCES
from fanrun.fleet.text import counted
from fanrun.tasks import target
from fanrun.tasks.console import GREEN, Console
from fanrun.tasks.fleet_choice import FleetChoice, choice
from fanrun.tasks.options import FLEET, TAKE_OVER, YES
from fanrun.tasks.task import task
from provision import catalog, deployment, keepalive
from provision.providers.base import Provider

# Modules that only some tasks need are imported by these: what is imported here costs every task time.


@task(
    help={
        "hosts": "how many workers, 1 or more (default: as many as it has, 2 for a new one); a hub comes with them",
        "dry-run": "print what would be done and what it would cost, and change nothing",
        "vector": "a file with Vector's Debian package, for hosts that can't reach Vector's own repository",
        "take-over": f"first {TAKE_OVER}",
        "yes": YES,
    },
    group=choice("up", f"where hosts come from: {', '.join(catalog.names())} (default: local)"),
)
def up(
    console: Console,
    fleet: FleetChoice,
    hosts: str | None = None,
    dry_run: bool = False,
    vector: str | None = None,
    take_over: str | None = None,
    yes: bool = False,
) -> None:
    """Make a fleet of a hub and so many workers, or bring one to that number and repair it."""
    from fanrun.tasks import ending
    from provision import lifecycle
    from provision.hosts import shipping

    aim = target.target(console, fleet, hosts=hosts, vector=vector)
    shipping.check(aim.settings.logs, uses_sudo=aim.provider.uses_sudo)
    target.ask_if_wanted(console, aim, launches=True)
    taken = None if take_over is None else target.with_id(aim, take_over)
    aim.provider.confirm = console.ask_about_keys
    console.say(f"fleet {aim.settings.fleet}, by provider {aim.provider.name}")
    if dry_run or taken:
        lifecycle.check_up(aim.provider, take_over or "")
    if dry_run:
        _print_plan(console, aim, taken)
        return
    if taken:
        ending.take_over(console, taken, yes)
    done, changes = _up(console, aim, yes)
    console.say("nothing to change" if not changes else counted(len(changes), "change"))
    console.say(f"{console.paint('ready:', GREEN)} {_capacity(done)}")


@task(help={"fleet": FLEET})
def deploy(console: Console, fleet: str | None = None) -> None:
    """Build the image of process.py and bring it to every worker; the hosts stay as they are."""
    folder = target.folder(console, fleet)
    board, chosen = console.board(), target.provider(console, fleet)
    with contextlib.closing(board), keepalive.keep(folder, chosen, folder.load().hosts):
        image = deployment.deploy(folder, SOURCES, board.say)
    console.say(f"deployed {image.name} {image.digest}")


@task(
    help={
        "delete": "remove every image of yours that was made so in the region, with its snapshots",
        "yes": YES,
    },
    group=choice("bake", "with --delete: whose images, where there is no fleet (default: local)"),
)
def bake(console: Console, fleet: FleetChoice, delete: bool = False, yes: bool = False) -> None:
    """Make an image of a worker that is set up, so that the next hosts start with all installed (EC2)."""
    from provision import lifecycle

    aim = target.named(console, fleet, fleet.provider) if delete and fleet.provider else target.target(console, fleet)
    chosen = aim.provider
    if delete:
        if console.asks(yes):
            console.confirm(f"this removes {chosen.baked()}", yes=yes)
        console.say(f"removed: {', '.join(chosen.unbake()) or 'there were no images'}")
        return
    board = console.board()
    with contextlib.closing(board):
        made = lifecycle.bake(aim.folder, chosen, board.say)
    console.say(f"{made} is what new hosts start from; `fab bake --delete` removes it")


@task(
    help={
        "hosts": "end only the workers that are more than so many, once they have finished what they have",
        "take-over": f"{TAKE_OVER}; the fleet of this folder stays",
        "dry-run": "print what would be ended, and change nothing",
        "yes": YES,
    },
    group=choice("down", "who lent the hosts, where the fleet's folder was lost (default: local)"),
)
def down(
    console: Console,
    fleet: FleetChoice,
    hosts: str | None = None,
    take_over: str | None = None,
    dry_run: bool = False,
    yes: bool = False,
) -> None:
    """End the fleet's hosts, or give them back as they were, and forget it; harmless when there is none."""
    from fanrun.tasks import ending

    if hosts is not None and take_over is not None:
        raise UsageError("--hosts is about the fleet of this folder, --take-over about another; give one of them")
    aim = target.target(console, fleet, hosts=hosts) if take_over is None else target.other(console, fleet, take_over)
    target.ask_if_wanted(console, aim)
    if hosts is not None:
        ending.shrink(console, aim, yes=yes, dry_run=dry_run)
    elif dry_run and take_over is not None:
        ending.plan_take_over(console, aim)
    elif dry_run:
        ending.plan(console, aim)
    elif take_over is not None:
        ending.take_over(console, aim, yes)
    else:
        ending.down(console, aim, yes, chosen=fleet.provider is not None or aim.folder.exists())


def _print_plan(console: Console, aim: target.Target, taken: target.Target | None) -> None:
    """Print what `fab up` would do; first it would end the hosts of `taken`."""
    from fanrun.tasks import ending
    from provision import host_changes

    if taken:
        ending.plan_take_over(console, taken)
    console.show("\n".join(host_changes.plan(aim.provider, _workers(aim)) or ["nothing to change"]))


def _capacity(fleet: Fleet) -> str:
    """Return how many workers a fleet has, and the version of Fanrun's own image there."""
    digest = fleet.images[deployment.OWN].digest
    return f"{counted(len(fleet.workers), 'worker')} with {deployment.OWN} {digest[:19]}"


def _workers(aim: target.Target) -> int:
    """The number of workers that `fab up` brings the fleet to."""
    size = aim.folder.load().size if aim.folder.exists() else Fleet.size
    return aim.provider.workers(aim.settings.hosts) or size


def _up(console: Console, aim: target.Target, yes: bool) -> tuple[Fleet, list[str]]:
    """Bring the fleet up; where that fails, say what exists."""
    from provision import host_changes, lifecycle

    board, chosen, made = console.board(), aim.provider, aim.settings
    try:
        if console.asks(yes):
            chosen.check()
            if ends := host_changes.needed(chosen, _workers(aim)).ends:
                console.confirm(f"fleet {made.fleet}: this will {ends}", yes=yes)
        request = lifecycle.UpRequest(made.hosts, made.provider_options, SOURCES, made.logs)
        reporter = lifecycle.Reporter(board.say, board.step)
        return lifecycle.up(aim.folder, chosen, request, reporter), reporter.changes
    except (FanrunError, KeyboardInterrupt) as error:
        board.close()
        chosen.confirm = None
        if told := _exists(chosen, error):
            console.say(told)
        raise
    finally:
        board.close()


def _exists(chosen: Provider, error: BaseException) -> str:
    """Say what stands after an `up` that failed with `error`, which is told after it; "" if nothing began."""
    if isinstance(error, FleetDamaged):
        return ""
    goes_on = "`fab up` goes on from here, `fab down` removes it"
    try:
        names = sorted(f"{item.host.name} ({item.state})" for item in chosen.find())
    except FanrunError as problem:
        why = "" if str(problem) in str(error) else f" ({problem})"
        return f"provider {chosen.name} could not be asked what exists{why}; {goes_on}"
    if isinstance(error, UsageError) and not names:
        return ""
    return f"what exists: {', '.join(names) or 'no hosts yet'}; {goes_on}"
