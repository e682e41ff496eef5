"""The docs are tested: every task and every option stands in the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from invoke.collection import Collection

import fabfile

README = Path(__file__).resolve().parents[2] / "README.md"
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


@pytest.mark.parametrize("task", CONTEXTS)
def test_every_task_has_a_docstring(task: str) -> None:
    assert Collection.from_module(fabfile)[task].__doc__
