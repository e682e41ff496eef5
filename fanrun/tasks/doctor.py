"""The task doctor: checks of this machine, each with the next step."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from fanrun.fanout import preflight
from fanrun.fleet import config, places
from fanrun.fleet.check import Check
from fanrun.fleet.errors import FanrunError, ToolMissing, UsageError
from fanrun.fleet.exit_codes import ExitCode
from fanrun.fleet.model import NAME
from fanrun.fleet.setting_sources import setting_sources
from fanrun.fleet.store import Folder
from fanrun.fleet.text import counted
from fanrun.tasks import core, target
from fanrun.tasks.console import Console
from fanrun.tasks.task import task
from provision import catalog
from provision.machine_checks import check_aws, check_docker

OLDEST_PYTHON = (3, 10)
SECONDS = 8.0
"""How long all checks together may take."""


@task(help={"json_": "print the checks as JSON"})
def doctor(console: Console, json_: bool = False) -> None:
    """Check this machine: Docker, rsync, ssh, Python, AWS, the settings and where they come from, the fleets."""
    made, settings = _settings(console)
    checks = [*_machine(made), *settings, *_fleets(made.home)]
    if json_:
        print(json.dumps([each._asdict() for each in checks], indent=2))
    else:
        width = max(len(each.name) for each in checks)
        console.show("\n".join(f"{each.state:<7}  {each.name:<{width}}  {each.text}" for each in checks))
    if any(each.state == "error" for each in checks):
        raise SystemExit(ExitCode.FAILED)


def _settings(console: Console) -> tuple[config.Settings, list[Check]]:
    """Return the settings, and a line on each; the usual ones where one of them is wrong."""
    given = console.config.get("fanrun")
    file = dict(given) if given is not None and hasattr(given, "items") else {}
    config_file = core.command_line().config
    file_name = f"fabric.yaml or {config_file}" if config_file else "fabric.yaml"
    found = {each.name: each for each in setting_sources(_setting_names(), file, file_name, os.environ)}
    checks = [Check(f"setting {each.name}", "ok", f"{each.value} ({each.source})") for each in found.values()]
    try:
        made = target.settings(console)
        catalog.parse(made.provider, made.provider_options)
    except UsageError as error:
        return config.Settings(places.state_folder(os.environ)), [*checks, Check("settings", "error", str(error))]
    usual = {"provider": made.provider, "fleet": made.fleet, "home": made.home, "owner": config.me()}
    usual |= {"hosts": "as many as the fleet has, 2 for a new one", "logs": "on", "cache": "on"}
    missing = {name: value for name, value in usual.items() if not any(name == key.partition(".")[0] for key in found)}
    return made, [*checks, *(Check(f"setting {name}", "ok", f"{value} (default)") for name, value in missing.items())]


def _setting_names() -> tuple[str, ...]:
    """Return the names of all settings that are not within others."""
    return ("provider", "fleet", "hosts", "home", *catalog.setting_names().names)


def _machine(made: config.Settings) -> Iterator[Check]:
    """Yield the checks of programs and accounts, which are made at the same time: some may have to wait."""
    given = made.provider_options
    region, profile, is_ec2 = given.get("region", ""), given.get("profile", ""), made.provider == "ec2"
    return _together(
        {
            "Docker": lambda: check_docker(made.provider),
            "rsync": lambda: _check_tool("rsync", ["rsync", "--version"]),
            "ssh": lambda: _check_tool("ssh", ["ssh", "-V"]),
            "Python": _check_python,
            "AWS": lambda: check_aws(region, profile, needed=is_ec2),
        }
    )


def _together(checks: Mapping[str, Callable[[], Check]]) -> Iterator[Check]:
    """Make all checks at the same time, and yield them in their order; none is waited for longer than SECONDS."""
    done = dict[str, Check]()
    # No pool: Python waits at its end for the threads of one, and a name server may not answer for a minute.
    threads = {
        name: threading.Thread(target=lambda name=name, check=check: done.update({name: check()}), daemon=True)
        for name, check in checks.items()
    }
    end = time.monotonic() + SECONDS
    for thread in threads.values():
        thread.start()
    for name, thread in threads.items():
        thread.join(max(end - time.monotonic(), 0))
        late = Check(name, "warning", f"no answer within {SECONDS:.0f} s; check the network, and try again")
        yield done.get(name, late)


def _check_tool(tool: str, argv: Sequence[str]) -> Check:
    """Check a program that tells its version in its first line."""
    try:
        preflight.check_tools(tool)
        said = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False)
    except ToolMissing as error:
        return Check(tool, "error", str(error))
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(tool, "error", f"{tool} can't be run ({error}); script/setup installs it")
    return Check(tool, "ok", (said.stdout or said.stderr).strip().partition("\n")[0])


def _check_python() -> Check:
    text = f"version {platform.python_version()}, {platform.system()}"
    if sys.version_info < OLDEST_PYTHON:
        return Check("Python", "error", f"{text}; 3.10 or later is needed: script/setup makes an environment with one")
    return Check("Python", "ok", text)


def _fleets(home: Path) -> list[Check]:
    """Return a line on each fleet that this machine knows."""
    try:
        names = sorted(path.name for path in home.iterdir() if NAME.fullmatch(path.name))
    except FileNotFoundError:
        names = []
    except OSError as error:
        return [Check("fleets", "error", f"{home} can't be read ({error.strerror}); make it readable for you")]
    known = [_check_fleet(Folder(home, name)) for name in names if Folder(home, name).exists()]
    return known or [Check("fleets", "ok", "none yet; `fab up` starts one")]


def _check_fleet(folder: Folder) -> Check:
    name = f"fleet {folder.name}"
    try:
        fleet = folder.load()
    except (FanrunError, OSError) as error:
        return Check(name, "error", str(error))
    return Check(name, "ok", f"provider {fleet.provider}, {counted(len(fleet.hosts), 'host')}")
