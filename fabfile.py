"""The tasks people type; each parses, calls one function, prints, exits."""

from __future__ import annotations

import contextlib
import importlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

# Fabric puts this folder first in sys.path. Libraries come before it, so that no file here takes the place of one. Our
# own packages are imported before that, so that no library takes the place of one of them.
ROOT = Path(__file__).resolve().parent
for package in ("fanout", "provision", "service"):
    importlib.import_module(package)
sys.path.sort(key=lambda folder: folder == str(ROOT))

from fabric import Connection, task
from loguru import logger

from fanout import report as reports
from fanout import run as runs
from fanout import sample as samples
from fanout import verify as verdicts
from provision import config, lifecycle
from provision import status as statuses
from provision.errors import FanrunError, FleetError, HostsFailed, RunUnfinished, UsageError
from provision.fleet import Fleet, Folder, Image
from provision.progress import Board
from provision.providers import base as providers
from service import fleet as services

FLEET = "the fleet's name (default: default)"
LEAST_MEMORY = 6 * 1024**2  # Docker's own
TAKE_OVER = "end the hosts with this id, that another folder made or one that was lost"
LIMITS = {
    "retries": f"how often a failed input is tried again, elsewhere if it can be (default: {runs.Limits.retries})",
    "timeout": f"seconds without anything finished that end a program, 0: none (default: {runs.Limits.timeout})",
    "memory": "most memory for the program on a worker, as 512m or 4g (default: nine tenths of it)",
}


MACHINES = {
    "host": "static: a machine that exists, as user@address[:port] or as your ssh_config knows it; repeatable",
    "hub": "static: the machine that is the hub, one of those or another (default: the first of them)",
    "known-hosts": "static: the file with the machines' host keys (default: those of your ssh)",
    "ssh-config": "static: the file that says how to reach them, by which jump hosts (default: your ssh's)",
}
WISHES = {
    "region": "EC2: the region (default: the one of your AWS settings)",
    "instance-type": "EC2: what workers are (default: c6i.large, or c7g.large if this machine is an ARM)",
    "hub-type": "EC2: what the hub is (default: t3.small or t4g.small)",
    "ami": "EC2: the image that hosts start from (default: Debian's newest)",
    "spot": "EC2: workers at the spot price, that Amazon may end at any time",
    "disk": "EC2: GiB of disk a host (default: 30)",
    "subnet": "EC2: the subnet (default: one of the default VPC)",
    "allow": "EC2: networks that may reach SSH besides this machine, as 203.0.113.0/24,198.51.100.7/32",
    "ttl": "EC2: time after the last fab command when hosts end themselves, as 90m, 4h or 2d (default: 4h)",
    "min-hosts": "EC2: be content with so many workers if Amazon has no more (default: all or none)",
    "prices": "EC2: a file of prices to reckon with (default: provision/aws/prices.json)",
}


def _settings(context: Connection, **flags: str | None) -> config.Settings:
    found = context.config.get("fanrun")
    if found is not None and not hasattr(found, "items"):
        raise UsageError("fabric.yaml: `fanrun:` holds settings, a line `name: value` each")
    return config.settings(ROOT, dict(found or {}), os.environ, flags)


def _paint(text: str, colour: int) -> str:
    plain = not sys.stderr.isatty() or "NO_COLOR" in os.environ
    return text if plain else f"\033[{colour}m{text}\033[0m"


def _ask(text: str) -> bool:
    """Whether a person at the terminal answers with yes; UsageError where there is no terminal."""
    if not sys.stdin.isatty():
        raise UsageError("--scan asks a person: run it in a terminal, or name a file with --known-hosts")
    _say(f"{text} [yes/no]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _fail(error: BaseException | str, code: int) -> NoReturn:
    _say(f"{_paint('error:', 31)} {error}")
    raise SystemExit(code)


@contextlib.contextmanager
def _advice(code: int) -> Iterator[None]:
    """Turn our errors into one line and an exit code: 2 for usage, 3 for an unfinished run, else `code`."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    except (UsageError, FleetError) as error:
        _fail(error, 2)
    except RunUnfinished as error:
        _fail(error, 3)
    except FanrunError as error:
        _fail(error, code)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except BrokenPipeError:
        # The reader of our output has gone; Python would complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None


@task(
    iterable=["host"],
    help={
        "hosts": "how many workers, 1 or more (default: as many as it has, 2 for a new one); a hub comes with them",
        "provider": f"where hosts come from: {', '.join(providers.names())} (default: local)",
        "dry-run": "print what would be done and what it would cost, and change nothing",
        **WISHES,
        **MACHINES,
        "scan": "static: show the host keys that the machines offer, and take them if told so",
        "take-over": f"first {TAKE_OVER}",
        "fleet": FLEET,
    },
)
def up(
    context: Connection,
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
    take_over: str | None = None,
    fleet: str | None = None,
) -> None:
    """Make a fleet of a hub and so many workers, or bring one to that number and repair it."""
    with _advice(1):
        settings = _settings(
            context, hosts=hosts, provider=provider, fleet=fleet, region=region, instance_type=instance_type,
            hub_type=hub_type, ami=ami, spot="true" if spot else None, disk=disk, subnet=subnet, allow=allow, ttl=ttl,
            min_hosts=min_hosts, prices=prices, host=",".join(host or ()) or None, hub=hub, known_hosts=known_hosts,
            ssh_config=ssh_config,
        )  # fmt: skip
        folder = Folder(settings.home, settings.fleet)
        chosen = _provider(folder, settings, provider)
        chosen.ask = _ask if scan else None
        _say(f"fleet {settings.fleet}, by provider {chosen.name}")
        if dry_run:
            size = folder.load().size if folder.exists() else Fleet.size
            print("\n".join(lifecycle.plan(chosen, chosen.workers(settings.hosts) or size) or ["nothing to change"]))
            return
        board = Board()
        if take_over:
            lifecycle.take_over(folder, _provider_of(folder, settings, provider, take_over), board.say)
        try:
            done, changes = lifecycle.up(folder, chosen, settings.hosts, settings.wishes, ROOT, board.say, board.step)
        except (FanrunError, KeyboardInterrupt):
            board.close()
            chosen.ask = None
            _say(_exists(chosen))
            raise
        board.close()
        image = done.images[lifecycle.OWN].ref.rpartition("@")[2]
        _say("nothing to change" if not changes else f"{len(changes)} changes")
        _say(f"{_paint('ready:', 32)} {len(done.workers)} workers with {lifecycle.OWN} {image[:19]}")


@task(help={"fleet": FLEET})
def deploy(context: Connection, fleet: str | None = None) -> None:
    """Build the image of process.py and bring it to every worker; the hosts stay as they are."""
    with _advice(1):
        settings = _settings(context, fleet=fleet)
        board = Board()
        with contextlib.closing(board):
            image = lifecycle.deploy(Folder(settings.home, settings.fleet), ROOT, board.say)
        _say(f"deployed {image.name} {image.ref.rpartition('@')[2]}")


@task(
    iterable=["include", "exclude"],
    help={
        "src": "the folder of inputs",
        "dst": "the folder for results, made if it isn't there",
        "image": "an image to run instead of process.py's",
        "args": "arguments for the program, in one string, quoted as for a shell",
        "include": "take only inputs that match this glob (of the name; of the path if it has a /); repeatable",
        "exclude": "leave out inputs that match this glob; repeatable",
        "force": "do again what is done already",
        **LIMITS,
        "dry-run": "print the plan and do nothing",
        "json_": "print the report (or the plan) as JSON",
        "fleet": FLEET,
    },
)
def run(
    context: Connection,
    src: str | None = None,
    dst: str | None = None,
    image: str | None = None,
    args: str = "",
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    force: bool = False,
    retries: str | None = None,
    timeout: str | None = None,
    memory: str | None = None,
    dry_run: bool = False,
    json_: bool = False,
    fleet: str | None = None,
) -> None:
    """Bring every input under SRC through the image on all workers, and the results to DST.

    The same command again does only what is missing.
    """
    with _advice(2):
        if not src or not dst:
            raise UsageError("fab run needs --src and --dst; `fab --help run` shows all it takes")
        settings = _settings(context, fleet=fleet)
        folder = Folder(settings.home, settings.fleet)
        request = runs.Request(
            os.path.abspath(src), os.path.abspath(dst), _words(args), tuple(include or ()), tuple(exclude or ()),
            _limits(retries, timeout, memory), force,
        )  # fmt: skip
        name = image or lifecycle.OWN
        if dry_run:
            known = folder.load()
            planned = runs.dry_run(request, known, known.images.get(name))
            print(reports.plan_json(planned, name) if json_ else reports.plan_text(planned, name))
            return
        _run(folder, _provider(folder, settings, None), request, name, json_)


@task(
    help={
        "dst": "the folder with the results of a run",
        **LIMITS,
        "json_": "print the report as JSON",
        "fleet": FLEET,
    }
)
def retry(
    context: Connection,
    dst: str | None = None,
    retries: str | None = None,
    timeout: str | None = None,
    memory: str | None = None,
    json_: bool = False,
    fleet: str | None = None,
) -> None:
    """Try again the inputs that failed in the last run into DST, with its image and arguments."""
    with _advice(2):
        if not dst:
            raise UsageError("fab retry needs --dst; `fab --help retry` shows all it takes")
        settings = _settings(context, fleet=fleet)
        request, name = runs.again(os.path.abspath(dst), _limits(retries, timeout, memory))
        if not request.only:
            _say(f"nothing failed in the last run into {dst}")
            return
        folder = Folder(settings.home, settings.fleet)
        _run(folder, _provider(folder, settings, None), request, name, json_)


@task(help={"dst": "the folder with the results of a run", "json_": "print the verdict as JSON"})
def verify(context: Connection, dst: str | None = None, json_: bool = False) -> None:
    """Prove that every input has its result, and that each is as it was made; asks no host."""
    with _advice(2):
        if not dst:
            raise UsageError("fab verify needs --dst; `fab --help verify` shows all it takes")
        board = Board(unit="inputs")
        with contextlib.closing(board):
            verdict = verdicts.verify(os.path.abspath(dst), board.count)
        print(verdicts.to_json(verdict) if json_ else "\n".join(verdicts.lines(verdict)))
        if verdict.faults:
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
    context: Connection,
    replicas: str | None = None,
    args: str | None = None,
    tokens: str | None = None,
    fleet: str | None = None,
) -> None:
    """Run the image program as a gRPC service: processors on the workers, the API on the hub.

    The same command with another number changes it while requests flow.
    """
    with _advice(1):
        if replicas is None:
            raise UsageError("fab serve needs --replicas; `fab --help serve` shows all it takes")
        number = config.whole("replicas", replicas, 0, config.MOST_HOSTS)
        settings = _settings(context, fleet=fleet)
        folder = Folder(settings.home, settings.fleet)
        board = Board()
        with contextlib.closing(board):
            if number == 0:
                services.end(folder, board.say)
                _say("the service has ended")
                return
            asked = services.Asked(None if args is None else _words(args), _text(tokens))
            running = services.serve(folder, ROOT, number, asked, board.say)
        hub, port = running[0].host, running[0].port
        _say(f"{_paint('serving:', 32)} {number} processors, the API at {hub.inner}:{port}")
        _say("\n".join(services.how_to_call(folder, ROOT, running[0], os.environ)))


@task(help={"json_": "print it as JSON", "fleet": FLEET})
def status(context: Connection, json_: bool = False, fleet: str | None = None) -> None:
    """Show the fleet's hosts: role, address, reachable, Docker, image, load and disk."""
    with _advice(1):
        settings = _settings(context, fleet=fleet)
        folder = Folder(settings.home, settings.fleet)
        known = folder.load()
        rows, chosen = statuses.status(folder, known), _provider(folder, settings, None)
        bill: providers.Bill | None = None
        problem: FanrunError | None = None
        try:
            if not all(row.reachable for row in rows):
                rows = statuses.explained(rows, chosen.fates())
            bill = chosen.bill()
        except FanrunError as error:  # what the hosts have said is shown all the same
            problem = error
        lines = [statuses.table(rows), *statuses.serving(rows), *statuses.costs(rows, bill)]
        print(statuses.to_json(known, rows, bill) if json_ else "\n".join(lines))
        if problem:
            raise problem
        if not all(row.reachable for row in rows):
            raise SystemExit(1)


@task(help={"host": "the host's name, as `fab status` shows it (default: worker-1)", "fleet": FLEET})
def ssh(context: Connection, host: str = "worker-1", fleet: str | None = None) -> None:
    """Open a shell on a host."""
    with _advice(1):
        settings = _settings(context, fleet=fleet)
        folder = Folder(settings.home, settings.fleet)
        known = folder.load()
        name = known.host(host).name
        runs.check_tools()
        with lifecycle.keep(folder, _provider(folder, settings, None), known.hosts):
            raise SystemExit(subprocess.call(["ssh", "-F", str(folder.ssh_config), name]))


@task(name="exec", help={"command": "a line of shell, run on every worker", "fleet": FLEET})
def execute(context: Connection, command: str = "", fleet: str | None = None) -> None:
    """Run a command on every worker and show every result; one bad host hides no other."""
    with _advice(1):
        if not command.strip():
            raise UsageError('fab exec needs --command "…"')
        settings = _settings(context, fleet=fleet)
        folder = Folder(settings.home, settings.fleet)
        known = folder.load()
        results, errors = lifecycle.execute(folder, _provider(folder, settings, None), known, command)
        for host in known.workers:
            if host.name in errors:
                _say(f"{host.name}: {_paint('error:', 31)} {errors[host.name]}")
                continue
            result = results[host.name]
            for line in result.stdout.splitlines():
                print(f"{host.name}: {line}")
            for line in result.stderr.splitlines():
                _say(f"{host.name}: {line}")
            if result.exit_code != 0:
                _say(f"{host.name}: {_paint('error:', 31)} exit {result.exit_code}")
        if errors or any(result.exit_code for result in results.values()):
            raise SystemExit(1)


@task(
    help={
        "delete": "remove every image of yours that was made so in the region, with its snapshots",
        "provider": "with --delete: whose images, where there is no fleet (default: local)",
        "region": WISHES["region"],
        "fleet": FLEET,
    }
)
def bake(
    context: Connection,
    delete: bool = False,
    provider: str | None = None,
    region: str | None = None,
    fleet: str | None = None,
) -> None:
    """Make an image of a worker that is set up, so that the next hosts start with all installed (EC2)."""
    with _advice(1):
        settings = _settings(context, provider=provider, region=region, fleet=fleet)
        folder = Folder(settings.home, settings.fleet)
        chosen = _provider(folder, settings, provider)
        if delete:
            _say(f"removed: {', '.join(chosen.unbake()) or 'there were no images'}")
            return
        board = Board()
        with contextlib.closing(board):
            made = lifecycle.bake(folder, chosen, board.say)
        _say(f"{made} is what new hosts start from; `fab bake --delete` removes it")


@task(
    iterable=["host"],
    help={
        "provider": "who lent the hosts, where the fleet's folder was lost (default: local)",
        "region": WISHES["region"],
        **MACHINES,
        "take-over": f"{TAKE_OVER}; the fleet of this folder stays",
        "fleet": FLEET,
    },
)
def down(
    context: Connection,
    provider: str | None = None,
    region: str | None = None,
    host: Sequence[str] | None = None,
    hub: str | None = None,
    known_hosts: str | None = None,
    ssh_config: str | None = None,
    take_over: str | None = None,
    fleet: str | None = None,
) -> None:
    """End the fleet's hosts, or give them back as they were, and forget it; harmless when there is none."""
    with _advice(1):
        settings = _settings(
            context, provider=provider, region=region, host=",".join(host or ()) or None, hub=hub,
            known_hosts=known_hosts, ssh_config=ssh_config, fleet=fleet,
        )  # fmt: skip
        folder = Folder(settings.home, settings.fleet)
        board = Board()
        if take_over:
            other = _provider_of(folder, settings, provider, take_over)
            with contextlib.closing(board):
                ended = lifecycle.take_over(folder, other, board.say)
            _say(f"ended what has id {take_over}: {', '.join(ended.hosts) or 'there were no hosts'}")
            return
        chosen, known = _provider(folder, settings, provider), folder.exists()
        with contextlib.closing(board):
            ended = lifecycle.down(folder, chosen, board.say)
        _tell_ended(folder, chosen, ended, known=known or provider is not None)


@task(help={"dst": "the folder for them, made if it isn't there", "count": "how many, 1 or more (default: 59)"})
def sample(context: Connection, dst: str | None = None, count: str = "59") -> None:
    """Draw images to try Fanrun with: JPEG plates of plants, the same ones every time."""
    with _advice(1):
        if not dst:
            raise UsageError("fab sample needs --dst; `fab --help sample` shows all it takes")
        folder, number = Path(os.path.abspath(dst)), config.whole("count", count, 1, samples.MOST)
        size = samples.make(folder, number)
        _say(f"{number} plates, {reports.amount(size)}, in {folder}")


def _provider(folder: Folder, settings: config.Settings, flag: str | None) -> providers.Provider:
    """The provider of the fleet, if it was begun; else the one that the settings name."""
    name, wishes = settings.provider, settings.wishes
    if folder.exists():
        try:
            known = folder.load()
        except FleetError:  # whose hosts they are must be said: another provider would find none, and forget them
            if flag is None:
                raise
            return providers.load(flag, folder, config.wishes(wishes))
        name, wishes = known.provider, {**known.wishes, **wishes}
        for wish in ("account", "region", "profile", "owner"):  # elsewhere its hosts would not be found any more
            if known.wishes.get(wish, wishes.get(wish)) != wishes.get(wish):
                raise UsageError(
                    f"fleet {settings.fleet} was begun with {wish} {known.wishes[wish]!r}, not {wishes[wish]!r}; "
                    "`fab down` ends it, --fleet names another"
                )
        if flag not in (None, name):
            raise UsageError(
                f"fleet {settings.fleet} was begun with provider {name}, not {flag}; "
                "`fab down` ends it, --fleet names another"
            )
    return providers.load(name, folder, config.wishes(wishes))


def _provider_of(folder: Folder, settings: config.Settings, flag: str | None, fleet_id: str) -> providers.Provider:
    """Return the provider of the hosts with that id, wherever this folder's own fleet may be."""
    name, wishes = flag or settings.provider, settings.wishes
    with contextlib.suppress(FleetError):
        known = folder.load()
        if flag in (None, known.provider):
            name, wishes = known.provider, {**known.wishes, **wishes}
    return providers.load(name, folder, config.wishes(wishes), fleet_id)


def _tell_ended(folder: Folder, chosen: providers.Provider, ended: lifecycle.Ended, *, known: bool) -> None:
    """Tell what `down` ended and left alone; FanrunError where hosts are there that may be the fleet's."""
    for other in ended.others:
        command = shlex.join(["fab", "down", *other.options, f"--fleet={folder.name}", f"--take-over={other.id}"])
        _say(f"left alone: {lifecycle.describe(other)}; `{command}` ends it")
    if ended.others and not ended.hosts:
        if not folder.exists():
            raise FanrunError(
                f"nothing was ended: no fleet {folder.name} is known in {folder.path.parent}, and the hosts above "
                "carry its name; if they are yours, their command ends them"
            )
        raise FanrunError(
            f"nothing was ended: no host is left with the id {folder.id}, and those above carry the same name; if none "
            f"of them is yours, `rm -r {shlex.quote(str(folder.path))}` forgets the fleet"
        )
    if ended.hosts:
        _say(f"fleet {folder.name} is gone: {', '.join(ended.hosts)}")
        return
    elsewhere = "" if known else "; nothing is known of a fleet of another --provider here"
    _say(f"fleet {folder.name} is gone: there were no hosts in {chosen.looked()}{elsewhere}")


def _text(path: str | None) -> str | None:
    """What a file holds, as it is for None and ""; UsageError if it can't be read."""
    if not path:
        return path
    try:
        return Path(path).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from error


def _exists(chosen: providers.Provider) -> str:
    """What stands after an `up` that did not end."""
    try:
        found = sorted(f"{item.host.name} ({item.state})" for item in chosen.find())
    except FanrunError:
        found = []
    what = ", ".join(found) or "no hosts yet"
    return f"what exists: {what}; `fab up` goes on from here, `fab down` removes it"


def _words(args: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(args))
    except ValueError as error:
        raise UsageError(f"--args {args!r}: {error}") from error


def _limits(retries: str | None, timeout: str | None, memory: str | None) -> runs.Limits:
    usual = runs.Limits()
    return runs.Limits(
        retries=usual.retries if retries is None else config.whole("retries", retries, 0, 100),
        timeout=usual.timeout if timeout is None else config.whole("timeout", timeout, 0, 10**7),
        memory=usual.memory if memory is None else config.size("memory", memory, LEAST_MEMORY),
    )


@contextlib.contextmanager
def _unfinished() -> Iterator[None]:
    """A run that is interrupted before it works is unfinished like any other."""
    try:
        yield
    except KeyboardInterrupt:
        raise RunUnfinished("interrupted before anything was done; the same command again begins anew") from None


def _run(folder: Folder, chosen: providers.Provider, request: runs.Request, name: str, as_json: bool) -> None:
    """Do what is asked for with the image of that name, and tell what came of it."""
    known = folder.load()
    found = runs.check(request)
    board = Board(total=len(found[0]), unit="images")
    with contextlib.closing(board), _unfinished(), lifecycle.keep_hub(folder, chosen, known):
        logger.remove()
        logger.add(board.write, level="WARNING", format="{level}: {message}")
        image = _deployed(folder, known, name, board)
        done = runs.run(request, found, known, folder, image, board, chosen.fates)
    print(reports.to_json(done) if as_json else reports.summary(done))
    if any(worker.lost for worker in done.workers):
        _say("workers were lost; `fab status` says what became of them, `fab up` makes them anew")
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
