"""The tasks people type; each parses, calls one function, prints, exits."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

# Fabric puts this folder first in sys.path. Libraries come before it, so that no file here takes the place of one. Our
# own packages are imported before that, so that no library takes the place of one of them.
ROOT = Path(__file__).resolve().parent
for package in ("fanrun", "provision", "service"):
    importlib.import_module(package)
sys.path.sort(key=lambda folder: folder == str(ROOT))

from fanrun.fleet import environment

environment.clean(os.environ)  # before the libraries that read it

from fanrun.tasks import boundary

boundary.install()  # before the packages that may be missing

from loguru import logger

from fanrun import sample as samples
from fanrun.fanout import preflight
from fanrun.fanout import request as requests
from fanrun.fanout import run as runs
from fanrun.fanout import verify as verdicts
from fanrun.fanout.context import RunContext
from fanrun.fanout.expect import expected
from fanrun.fanout.results import report as reports
from fanrun.fanout.results.log_lines import LEVELS
from fanrun.fleet import config
from fanrun.fleet.errors import FanrunError, FleetDamaged, HostsFailed, RunUnfinished, UsageError
from fanrun.fleet.model import Fleet, Image
from fanrun.fleet.progress import Board
from fanrun.fleet.store import Folder
from fanrun.serving import service as services
from fanrun.tasks import ending, options, target
from fanrun.tasks import logs as logs_task
from fanrun.tasks.console import GREEN, RED, Console
from fanrun.tasks.log_printer import Printer
from fanrun.tasks.log_reader import Reader
from fanrun.tasks.options import FLEET, INSTANCES, LIMITS, MACHINES, RESULTS, TAKE_OVER, YES
from fanrun.tasks.service_logs import ServiceReader
from fanrun.tasks.task import task
from provision import lifecycle
from provision import status as statuses
from provision.hosts import shipping
from provision.providers import base as providers


@task(
    iterable=["host"],
    help={
        "hosts": "how many workers, 1 or more (default: as many as it has, 2 for a new one); a hub comes with them",
        "provider": f"where hosts come from: {', '.join(providers.names())} (default: local)",
        "dry-run": "print what would be done and what it would cost, and change nothing",
        **INSTANCES,
        **MACHINES,
        "scan": "static: show the host keys that the machines offer, and take them if told so",
        "vector": "a file with Vector's Debian package, for hosts that can't reach Vector's own repository",
        "take-over": f"first {TAKE_OVER}",
        "yes": YES,
        "fleet": FLEET,
    },
)
def up(
    console: Console,
    hosts: str | None = None,
    provider: str | None = None,
    dry_run: bool = False,
    region: str | None = None,
    instance_type: str | None = None,
    hub_type: str | None = None,
    ami: str | None = None,
    spot: bool = False,
    disk: str | None = None,
    subnet: str | None = None,
    allow: str | None = None,
    ttl: str | None = None,
    min_hosts: str | None = None,
    prices: str | None = None,
    host: Sequence[str] | None = None,
    hub: str | None = None,
    known_hosts: str | None = None,
    ssh_config: str | None = None,
    scan: bool = False,
    vector: str | None = None,
    take_over: str | None = None,
    yes: bool = False,
    fleet: str | None = None,
) -> None:
    """Make a fleet of a hub and so many workers, or bring one to that number and repair it."""
    flags = {
        "region": region, "instance_type": instance_type, "hub_type": hub_type, "ami": ami, "spot": spot, "disk": disk,
        "subnet": subnet, "allow": allow, "ttl": ttl, "min_hosts": min_hosts, "prices": prices, "host": host,
        "hub": hub, "known_hosts": known_hosts, "ssh_config": ssh_config, "scan": scan,
    }  # fmt: skip
    aim = target.target(console, provider, fleet, flags, hosts=hosts, vector=vector)
    shipping.check(aim.settings.logs)
    taken = None if take_over is None else target.with_id(aim, take_over)
    chosen = aim.provider
    chosen.ask = console.ask_about_keys if scan else None
    console.say(f"fleet {aim.settings.fleet}, by provider {chosen.name}")
    if dry_run or taken:
        lifecycle.check_up(chosen, take_over or "")
    if dry_run:
        if taken:
            ending.plan_take_over(console, taken)
        console.show("\n".join(lifecycle.plan(chosen, _workers(aim)) or ["nothing to change"]))
        return
    if taken:
        ending.take_over(console, taken, yes)
    done, changes = _up(console, aim, yes)
    image = done.images[lifecycle.OWN].ref.rpartition("@")[2]
    console.say("nothing to change" if not changes else f"{len(changes)} changes")
    console.say(f"{console.paint('ready:', GREEN)} {len(done.workers)} workers with {lifecycle.OWN} {image[:19]}")


@task(help={"fleet": FLEET})
def deploy(console: Console, fleet: str | None = None) -> None:
    """Build the image of process.py and bring it to every worker; the hosts stay as they are."""
    folder = target.folder(console, fleet)
    board, chosen = console.board(), target.provider(console, fleet)
    with contextlib.closing(board), lifecycle.keep(folder, chosen, folder.load().hosts):
        image = lifecycle.deploy(folder, ROOT, board.say)
    console.say(f"deployed {image.name} {image.ref.rpartition('@')[2]}")


@task(
    code=2,
    iterable=["include", "exclude"],
    help={
        "src": "the folder of inputs",
        "dst": "the folder for results, made if it isn't there",
        "image": "an image to run instead of process.py's",
        "args": "arguments for the program, in one string, quoted as for a shell",
        "include": "take only inputs that match this glob (of the name; of the path if it has a /); repeatable",
        "exclude": "leave out inputs that match this glob; repeatable",
        "junk": "take also what file managers and editors leave, such as .DS_Store, Thumbs.db, *~",
        "force": "do again what is done already",
        "by-content": "take the results of an equal input, as of one that was renamed (default for the own image)",
        **RESULTS,
        **LIMITS,
        "keep-going": "try every input, though every batch fails for the same reason",
        "dry-run": "print the plan and do nothing",
        "json_": "print the report (or the plan) as JSON",
        "fleet": FLEET,
    },
)
def run(
    console: Console,
    src: str | None = None,
    dst: str | None = None,
    image: str | None = None,
    args: str = "",
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    junk: bool = False,
    force: bool = False,
    by_content: bool = False,
    expect: str | None = None,
    ignore_results: str | None = None,
    retries: str | None = None,
    timeout: str | None = None,
    memory: str | None = None,
    tmp: str | None = None,
    shm: str | None = None,
    keep_going: bool = False,
    dry_run: bool = False,
    json_: bool = False,
    fleet: str | None = None,
) -> None:
    """Bring every input under SRC through the image on all workers, and the results to DST.

    The same command again does only what is missing.
    """
    if not src or not dst:
        raise UsageError("fab run needs --src and --dst; `fab --help run` shows all it takes")
    folder = target.folder(console, fleet)
    request = requests.Request(
        options.path("src", src), options.path("dst", dst), options.words(args), tuple(include or ()),
        tuple(exclude or ()), options.limits(retries, timeout, memory, tmp, shm), force, None,
        expected(expect, ignore_results), by_content, keep_going, junk, target.log_limits(console, fleet),
    )  # fmt: skip
    name = image or lifecycle.OWN
    if dry_run:
        known = folder.load()
        planned = preflight.dry_run(request, known, known.images.get(name))
        print(reports.plan_json(planned, name) if json_ else reports.plan_text(planned, name))
        return
    _run(console, folder, target.provider(console, fleet), request, name, json_)


@task(
    code=2,
    help={
        "dst": "the folder with the results of a run",
        **LIMITS,
        "json_": "print the report as JSON",
        "fleet": FLEET,
    },
)
def retry(
    console: Console,
    dst: str | None = None,
    retries: str | None = None,
    timeout: str | None = None,
    memory: str | None = None,
    tmp: str | None = None,
    shm: str | None = None,
    json_: bool = False,
    fleet: str | None = None,
) -> None:
    """Try again the inputs that failed in the last run into DST, with its image and arguments."""
    if not dst:
        raise UsageError("fab retry needs --dst; `fab --help retry` shows all it takes")
    folder = target.folder(console, fleet)
    request, name = requests.retry_request(options.path("dst", dst), options.limits(retries, timeout, memory, tmp, shm))
    request = dataclasses.replace(request, logs=target.log_limits(console, fleet))
    if not request.only:
        console.say(f"nothing failed in the last run into {dst}")
        return
    _run(console, folder, target.provider(console, fleet), request, name, json_)


@task(code=2, help={"dst": "the folder with the results of a run", "json_": "print the verdict as JSON"})
def verify(console: Console, dst: str | None = None, json_: bool = False) -> None:
    """Prove that every input has its result, and that each is as it was made; asks no host."""
    if not dst:
        raise UsageError("fab verify needs --dst; `fab --help verify` shows all it takes")
    board = console.board(unit="inputs")
    with contextlib.closing(board):
        verdict = verdicts.verify(options.path("dst", dst), board.count)
    print(verdicts.to_json(verdict) if json_ else "\n".join(verdicts.lines(verdict)))
    if verdict.faults:
        raise SystemExit(1)


@task(
    help={
        "follow": "go on with what is written, until the run is over",
        "run": "the run, by the name that its report has (default: the last one)",
        "host": "only lines of this worker",
        "batch": "only lines of this batch",
        "input_": "only what was written while this input was processed (its path under SRC)",
        "grep": "only messages that match this regular expression",
        "level": f"only lines of this level or above: {', '.join(LEVELS)}",
        "since": "only lines since then: a time ago, as 10m or 2h, or a time, as 2026-01-31T12:00:00Z",
        "json_": "print each line as a JSON object",
        "service": "show what the containers of `fab serve` wrote, and not those of a run",
        "dst": "the folder with the results, where the fleet's folder does not know the run",
        "fleet": FLEET,
    },
)
def logs(
    console: Console,
    follow: bool = False,
    run: str | None = None,
    host: str | None = None,
    batch: str | None = None,
    input_: str | None = None,
    grep: str | None = None,
    level: str | None = None,
    since: str | None = None,
    json_: bool = False,
    service: bool = False,
    dst: str | None = None,
    fleet: str | None = None,
) -> None:
    """Show what the containers of a run wrote: where, when, and while which input was processed."""
    folder = target.folder(console, fleet)
    wanted = {"host": host, "batch": batch, "input": input_, "grep": grep, "level": level, "since": since}
    printer = Printer(lambda text: print(text, flush=follow), as_json=json_)
    reader: Reader | ServiceReader
    if service:
        options.refuse({"run": run, "batch": batch, "input": input_, "dst": dst}, "--service is about no run")
        name, is_over = "the service", False
        reader = ServiceReader(logs_task.choose(None, wanted, logs_task.now()), folder)
    else:
        place = logs_task.locate(folder, run, None if dst is None else options.path("dst", dst))
        name, is_over = f"run {place.run}", place.is_over
        reader = Reader(place, logs_task.choose(place, wanted, logs_task.now()), folder)
    with contextlib.closing(reader):
        logs_task.show(reader, printer, is_followed=follow and not is_over)
    for host_name, why in sorted(reader.problems.items()):
        console.say(f"{host_name}: {console.paint('error:', RED)} its lines could not be read: {why}")
    if not printer.count:
        said = "no line is as asked for" if any(wanted.values()) else "its containers wrote nothing"
        console.say(f"{name}: {said}")
    if reader.problems:
        raise SystemExit(1)


@task(
    help={
        "replicas": "how many processors, dealt to the workers; 0 ends the service",
        "args": "flags for the API, in one string: --size, --margin, --how, --grayscale, … (default: as the last time)",
        "tokens": "a file of bearer tokens that callers need, a line each: NAME TOKEN (default: as the last time)",
        "fleet": FLEET,
    }
)
def serve(
    console: Console,
    replicas: str | None = None,
    args: str | None = None,
    tokens: str | None = None,
    fleet: str | None = None,
) -> None:
    """Run the image program as a gRPC service: processors on the workers, the API on the hub.

    The same command with another number changes it while requests flow.
    """
    if replicas is None:
        raise UsageError("fab serve needs --replicas; `fab --help serve` shows all it takes")
    number = config.whole("replicas", replicas, 0, config.MOST_HOSTS)
    folder = target.folder(console, fleet)
    board = console.board()
    with contextlib.closing(board):
        if number == 0:
            services.end(folder, board.say)
            console.say("the service has ended")
            return
        asked = services.Asked(None if args is None else options.words(args), options.text("tokens", tokens))
        with lifecycle.keep(folder, target.provider(console, fleet), folder.load().hosts):
            running = services.serve(folder, ROOT, number, asked, board.say)
    hub, port = running[0].host, running[0].port
    console.say(f"{console.paint('serving:', GREEN)} {number} processors, the API at {hub.inner}:{port}")
    console.say("\n".join(services.how_to_call(folder, ROOT, running[0], os.environ)))


@task(help={"json_": "print it as JSON", "fleet": FLEET})
def status(console: Console, json_: bool = False, fleet: str | None = None) -> None:
    """Show the fleet's hosts: role, address, reachable, Docker, image, load and disk."""
    folder = target.folder(console, fleet)
    known = folder.load()
    rows = statuses.status(folder, known)
    bill: providers.Bill | None = None
    problem: FanrunError | None = None
    try:
        chosen = target.provider(console, fleet)
        if not all(row.reachable for row in rows):
            rows = statuses.explained(rows, chosen.fates())
        bill = chosen.bill()
    except FanrunError as error:  # what the hosts have said is shown all the same
        problem = error
    rows = [dataclasses.replace(row, error=console.word(row.error)) for row in rows]
    lines = [statuses.table(rows), *statuses.serving(rows), *statuses.costs(rows, bill)]
    print(statuses.to_json(known, rows, bill) if json_ else "\n".join(lines))
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
    with lifecycle.keep(folder, target.provider(console, fleet), known.hosts):
        raise SystemExit(subprocess.call(["ssh", "-F", str(folder.ssh_config), name]))


@task(name="exec", help={"command": "a line of shell, run on every worker", "fleet": FLEET})
def execute(console: Console, command: str = "", fleet: str | None = None) -> None:
    """Run a command on every worker and show every result; one bad host hides no other."""
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


@task(
    help={
        "delete": "remove every image of yours that was made so in the region, with its snapshots",
        "provider": "with --delete: whose images, where there is no fleet (default: local)",
        "region": INSTANCES["region"],
        "yes": YES,
        "fleet": FLEET,
    }
)
def bake(
    console: Console,
    delete: bool = False,
    provider: str | None = None,
    region: str | None = None,
    yes: bool = False,
    fleet: str | None = None,
) -> None:
    """Make an image of a worker that is set up, so that the next hosts start with all installed (EC2)."""
    flags = {"region": region}
    aim = target.named(console, provider, fleet, flags) if delete and provider else None
    aim = aim or target.target(console, provider, fleet, flags)
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
    iterable=["host"],
    help={
        "provider": "who lent the hosts, where the fleet's folder was lost (default: local)",
        "region": INSTANCES["region"],
        **MACHINES,
        "take-over": f"{TAKE_OVER}; the fleet of this folder stays",
        "dry-run": "print what would be ended, and change nothing",
        "yes": YES,
        "fleet": FLEET,
    },
)
def down(
    console: Console,
    provider: str | None = None,
    region: str | None = None,
    host: Sequence[str] | None = None,
    hub: str | None = None,
    known_hosts: str | None = None,
    ssh_config: str | None = None,
    take_over: str | None = None,
    dry_run: bool = False,
    yes: bool = False,
    fleet: str | None = None,
) -> None:
    """End the fleet's hosts, or give them back as they were, and forget it; harmless when there is none."""
    flags = {"region": region, "host": host, "hub": hub, "known_hosts": known_hosts, "ssh_config": ssh_config}
    if take_over is not None:
        aim = target.other(console, provider, fleet, flags, take_over)
    else:
        aim = target.target(console, provider, fleet, flags)
    if dry_run and take_over is not None:
        ending.plan_take_over(console, aim)
    elif dry_run:
        ending.plan(console, aim)
    elif take_over is not None:
        ending.take_over(console, aim, yes)
    else:
        ending.down(console, aim, yes, chosen=provider is not None or aim.folder.exists())


@task(help={"dst": "the folder for them, made if it isn't there", "count": "how many, 1 or more (default: 59)"})
def sample(console: Console, dst: str | None = None, count: str = "59") -> None:
    """Draw images to try Fanrun with: JPEG plates of plants, the same ones every time."""
    if not dst:
        raise UsageError("fab sample needs --dst; `fab --help sample` shows all it takes")
    folder, number = Path(options.path("dst", dst)), config.whole("count", count, 1, samples.MOST)
    size = samples.make(folder, number)
    console.say(f"{number} plates, {reports.amount(size)}, in {folder}")


def _workers(aim: target.Target) -> int:
    """The number of workers that `fab up` brings the fleet to."""
    size = aim.folder.load().size if aim.folder.exists() else Fleet.size
    return aim.provider.workers(aim.settings.hosts) or size


def _up(console: Console, aim: target.Target, yes: bool) -> tuple[Fleet, list[str]]:
    """Bring the fleet up; where that fails, say what exists."""
    board, chosen, made = console.board(), aim.provider, aim.settings
    try:
        if console.asks(yes):
            chosen.check()
            if ends := lifecycle.needed(chosen, _workers(aim)).ends:
                console.confirm(f"fleet {made.fleet}: this will {ends}", yes=yes)
        return lifecycle.up(aim.folder, chosen, made.hosts, made.wishes, ROOT, board.say, board.step, made.logs)
    except (FanrunError, KeyboardInterrupt) as error:
        board.close()
        chosen.ask = None
        if told := _exists(chosen, error):
            console.say(told)
        raise
    finally:
        board.close()


def _exists(chosen: providers.Provider, error: BaseException) -> str:
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


@contextlib.contextmanager
def _unfinished() -> Iterator[None]:
    """Treat a run that is interrupted before it works, or finds no room, as unfinished like any other."""
    try:
        yield
    except KeyboardInterrupt:
        raise RunUnfinished("interrupted before anything was done; the same command again begins anew") from None
    except OSError as error:
        text, _ = boundary.told(error, None, 3)
        if not text:
            raise
        raise RunUnfinished(text) from error


def _run(
    console: Console, folder: Folder, chosen: providers.Provider, request: requests.Request, name: str, as_json: bool
) -> None:
    """Do what is asked for with the image of that name, and tell what came of it."""
    known = folder.load()
    # Inputs may take hours to be listed and hashed, before any worker is spoken to.
    with lifecycle.keep(folder, chosen, known.hosts):
        found = preflight.check(request)
        board = console.board(total=len(found[0]), unit="images")
        with contextlib.closing(board), _unfinished():
            logger.remove()
            logger.add(board.write, level="WARNING", format="{level}: {message}")
            if name != lifecycle.OWN and not request.args:
                lifecycle.check_command(name)
            image = _deployed(folder, known, name, board)
            done = runs.run(RunContext(request, known, image, found[1].junk), found, folder, board, chosen.fates)
    print(reports.to_json(done) if as_json else reports.summary(done))
    if away := [worker.name for worker in done.workers if worker.away]:
        console.say(f"not back: {', '.join(away)}; `fab status` says what became of them, `fab up` makes them anew")
    if done.failed:
        raise SystemExit(1)


def _deployed(folder: Folder, known: Fleet, name: str, board: Board) -> Image:
    """The image as the workers have it: deployed now, if it changed since it last was."""
    if lifecycle.current(known, name, ROOT):
        return known.images[name]
    board.say("deploy", f"{name} is new or has changed")
    try:
        return lifecycle.deploy(folder, ROOT, board.say, name)
    except HostsFailed as error:  # the hub has it; whoever can't pull it now is looked at by the run itself
        for host, why in error.errors.items():
            logger.warning("{}: {}", host, why)
        return folder.load().images[name]
