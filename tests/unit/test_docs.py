"""The docs are tested: every task, option, setting, exit code and flag stands in the page that describes it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fanrun.fanout import commands
from fanrun.fanout.reference import KEPT
from fanrun.fleet.config import LOGS, settings
from fanrun.fleet.errors import UsageError
from fanrun.fleet.exit_codes import ExitCode
from fanrun.fleet.layout import USUAL
from fanrun.fleet.probe import LEASE, MARK
from fanrun.fleet.store import Folder
from fanrun.tasks import collection
from provision import catalog
from provision.hosts import footprint
from tests.unit.pages import ROOT, TASKS, read, section

REFERENCE = "docs/reference.md"
NEW = ("provision/providers/hetzner", "gpu.py")
"""What the page on the architecture names as something to be added."""
CONTEXTS = {str(context.name): context for context in TASKS}
OPTIONS = [(task, flag) for task, context in CONTEXTS.items() for flag in context.flags if flag.startswith("--")]
PROGRAMS = {
    "process.py": ("docs/process.md", ["process.py"], "--shard"),
    "api": ("docs/service.md", ["-m", "service.api"], "--listen"),
    "processor": ("docs/service.md", ["-m", "service.processor"], "--queue"),
    "client": ("docs/service.md", ["service/loadtest/client.py"], "--token-file"),
    "load generator": ("docs/service.md", ["-m", "service.loadtest.load"], "--concurrency"),
}
"""The page that describes each program, how it is started, and one of its flags."""


def setting_names() -> list[str]:
    """Return the settings that fabric.yaml may have, as the code itself names them where one is wrong."""
    with pytest.raises(UsageError) as caught:
        settings(Path(), {"nothing": 1}, {}, {}, catalog.setting_names())
    return str(caught.value).partition("; it has ")[2].split(", ")


SETTINGS = setting_names()
VARIABLES = [f"FANRUN_{name.upper()}" for name in (*SETTINGS, *(f"logs_{each}" for each in LOGS))]


def test_the_tasks_are_those_that_people_know() -> None:
    assert {"up", "deploy", "run", "status", "ssh", "exec", "down"} <= set(CONTEXTS)
    assert {("run", "--dry-run"), ("run", "--json"), ("up", "--hosts")} <= set(OPTIONS)


@pytest.mark.parametrize("task", CONTEXTS)
def test_every_task_is_in_the_reference(task: str) -> None:
    assert re.search(rf"\bfab {task}\b(?!-)", read(REFERENCE))


@pytest.mark.parametrize(("task", "flag"), OPTIONS)
def test_every_option_is_in_the_reference(task: str, flag: str) -> None:
    assert re.search(rf"(?<![\w-]){flag}(?![\w-])", read(REFERENCE)), f"fab {task} {flag}"


def test_the_settings_are_those_that_people_know() -> None:
    assert {"provider", "fleet", "home", "region", "host", "logs"} <= set(SETTINGS)
    assert {"FANRUN_FLEET", "FANRUN_MIN_HOSTS", "FANRUN_LOGS", "FANRUN_LOGS_DAYS"} <= set(VARIABLES)


@pytest.mark.parametrize("name", [*SETTINGS, *LOGS])
def test_every_setting_is_in_the_reference(name: str) -> None:
    assert re.search(rf"[`.]{name}[`:]", read(REFERENCE))


@pytest.mark.parametrize("name", VARIABLES)
def test_every_variable_is_in_the_reference(name: str) -> None:
    assert re.search(rf"\b{name}\b", read(REFERENCE))


@pytest.mark.parametrize("code", [code for code in ExitCode if code is not ExitCode.READER_GONE], ids=repr)
def test_every_exit_code_is_in_the_reference(code: ExitCode) -> None:
    # 141, as of every program whose reader has gone, needs no explanation.
    assert re.search(rf"^[|*-] *[`*]*{code.value}\b", section(read(REFERENCE), "Exit codes"), re.MULTILINE)


@pytest.mark.parametrize(("task", "flag"), OPTIONS)
def test_every_option_has_a_help_text(task: str, flag: str) -> None:
    assert CONTEXTS[task].flags[flag].help


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_flag_of_a_program_is_in_its_page(program: str) -> None:
    page, argv, known = PROGRAMS[program]
    done = subprocess.run([sys.executable, *argv, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", done.stdout)) - {"--help"}
    assert known in flags
    assert {flag for flag in flags if not re.search(rf"`{flag}(?![\w-])", read(page))} == set()


@pytest.mark.parametrize("task", CONTEXTS)
def test_every_task_has_a_docstring(task: str) -> None:
    assert collection.TASKS[task].__doc__


def test_what_the_page_on_the_architecture_names_is_there() -> None:
    texts = re.findall(r"`([\w./-]+/[\w.-]*|[\w./-]+\.(?:py|sh|toml|md|proto))`", read("docs/architecture.md"))
    assert {"fanrun/fanout/schedule/scheduler.py", "provision/hosts/files/vector-hub.toml", "imaging/"} <= set(texts)
    # The map names what is in the folder of its line by its last part alone.
    names = ("fanrun/fanout", "service", "tests", "provision/hosts", "provision/providers")
    folders = [ROOT, *(ROOT / name for name in names)]
    missing = [text for text in texts if not any((folder / text).exists() for folder in folders)]
    assert [text for text in missing if not text.startswith(NEW)] == []


def test_the_page_on_the_architecture_names_every_folder_of_code() -> None:
    text = read("docs/architecture.md")
    packages = {path.parent.relative_to(ROOT) for top in ("fanrun", "provision") for path in (ROOT / top).rglob("*.py")}
    assert [str(path) for path in sorted(packages) if f"{path}/" not in text and path.name not in text] == []


def test_every_file_of_the_fleets_folder_is_described(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "default")
    names = {path.name for path in vars(folder).values() if isinstance(path, Path)} - {folder.path.name}
    assert {"fleet.json", "drained", "lock"} <= names
    text = section(read(REFERENCE), "Files and folders")
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


def test_every_place_on_a_host_is_described() -> None:
    text = section(read(REFERENCE), "Files and folders")
    places = (commands.RUNS, USUAL.cache, USUAL.logs, LEASE, MARK, footprint.ADDED, KEPT)
    assert [place for place in places if f"`{place}" not in text] == []
