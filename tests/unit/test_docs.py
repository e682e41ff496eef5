"""The docs are tested: every task and every option stands in the README."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from invoke.collection import Collection

import fabfile
from service.common.settings import read_api, read_processor

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
NEW = ("provision/providers/hetzner", "gpu.py")
"""What the page on the architecture names as something to be added."""
CONTEXTS = {str(context.name): context for context in Collection.from_module(fabfile).to_contexts()}
OPTIONS = [(task, flag) for task, context in CONTEXTS.items() for flag in context.flags if flag.startswith("--")]


def test_the_tasks_are_those_that_people_know() -> None:
    assert {"up", "deploy", "run", "status", "ssh", "exec", "down"} <= set(CONTEXTS)
    assert {("run", "--dry-run"), ("run", "--json"), ("up", "--hosts")} <= set(OPTIONS)


@pytest.mark.parametrize("task", CONTEXTS)
def test_every_task_is_in_the_readme(task: str) -> None:
    assert re.search(rf"\bfab {task}\b(?!-)", README.read_text("utf-8"))


@pytest.mark.parametrize(("task", "flag"), OPTIONS)
def test_every_option_is_in_the_readme(task: str, flag: str) -> None:
    assert re.search(rf"(?<![\w-]){flag}(?![\w-])", README.read_text("utf-8")), f"fab {task} {flag}"


@pytest.mark.parametrize(("task", "flag"), OPTIONS)
def test_every_option_has_a_help_text(task: str, flag: str) -> None:
    assert CONTEXTS[task].flags[flag].help


@pytest.mark.parametrize("read", [read_api, read_processor])
def test_every_flag_of_the_servers_is_in_the_readme(
    read: Callable[[list[str], dict[str, str]], object], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        read(["--help"], {})
    flags = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert {"--listen", "--metrics", "--deadline"} < flags
    assert {flag for flag in flags if f"`{flag}" not in README.read_text("utf-8")} == set()


@pytest.mark.parametrize("task", CONTEXTS)
def test_every_task_has_a_docstring(task: str) -> None:
    assert Collection.from_module(fabfile)[task].__doc__


def test_what_the_page_on_the_architecture_names_is_there() -> None:
    texts = re.findall(r"`([\w./-]+/[\w.-]*|[\w./-]+\.(?:py|sh|toml|md|proto))`", ARCHITECTURE.read_text("utf-8"))
    assert {"fanrun/fanout/schedule/scheduler.py", "provision/hosts/files/vector-hub.toml", "imaging/"} <= set(texts)
    # The map names what is in the folder of its line by its last part alone.
    names = ("fanrun/fanout", "service", "tests", "provision/hosts", "provision/providers")
    folders = [ROOT, *(ROOT / name for name in names)]
    missing = [text for text in texts if not any((folder / text).exists() for folder in folders)]
    assert [text for text in missing if not text.startswith(NEW)] == []


def test_the_page_on_the_architecture_names_every_folder_of_code() -> None:
    text = ARCHITECTURE.read_text("utf-8")
    packages = {path.parent.relative_to(ROOT) for top in ("fanrun", "provision") for path in (ROOT / top).rglob("*.py")}
    assert [str(path) for path in sorted(packages) if f"{path}/" not in text and path.name not in text] == []
