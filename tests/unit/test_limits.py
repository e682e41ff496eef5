"""Limits on the length of files and functions, on the number of parameters, and on comments that silence a check."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_FILE_LINES = 250
MAX_FUNCTION_LINES = 30
MAX_PARAMETERS = 5
Function = ast.FunctionDef | ast.AsyncFunctionDef
SILENCED = re.compile(r"#\s*(?:noqa|type:\s*ignore|fmt:\s*\w+|pragma:)")
REASON = re.compile(r"# noqa: [A-Z0-9, ]+ - \S|# type: ignore\[[\w-]+\]|# pragma: no cover - \S")


def listed(*patterns: str) -> list[str]:
    """Return the project's files that match, but for generated ones."""
    argv = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    found = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(name for name in set(found) if "_pb2" not in name and (ROOT / name).is_file())


PYTHON = listed("*.py")


def functions(name: str) -> Iterator[Function]:
    """Yield the functions of a file."""
    for node in ast.walk(ast.parse((ROOT / name).read_text("utf-8"))):
        if isinstance(node, Function):
            yield node


def is_task(function: Function) -> bool:
    """Return whether it is a task of Fabric's, whose parameters are the options of a command."""
    calls = [each.func if isinstance(each, ast.Call) else each for each in function.decorator_list]
    return any(isinstance(each, ast.Name) and each.id == "task" for each in calls)


def parameters(function: Function) -> int:
    """Return how many parameters it has, without self and cls."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return sum(each.arg not in ("self", "cls") for each in every)


def test_the_files_are_found() -> None:
    assert {"fabfile.py", "process.py", "fanrun/fanout/run.py", "tests/unit/test_limits.py"} <= set(PYTHON)


@pytest.mark.parametrize("name", listed("*.py", "*.sh"))
def test_a_file_is_short(name: str) -> None:
    assert len((ROOT / name).read_text("utf-8").splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize("name", PYTHON)
def test_functions_are_short_and_have_few_parameters(name: str) -> None:
    for function in functions(name):
        assert function.end_lineno is not None
        assert function.end_lineno - function.lineno < MAX_FUNCTION_LINES, function.name
        assert is_task(function) or parameters(function) <= MAX_PARAMETERS, function.name


@pytest.mark.parametrize("name", PYTHON)
def test_what_a_check_passes_over_has_a_reason(name: str) -> None:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    silenced = [line for line in lines if SILENCED.search(line) and "re.compile" not in line]
    assert [line for line in silenced if not REASON.search(line)] == []


@pytest.mark.parametrize("name", [name for name in PYTHON if name.startswith("tests/")])
def test_marks_stand_at_tests(name: str) -> None:
    """A mark does nothing at a helper function."""
    marked = [
        each for each in functions(name) if any("pytest.mark" in ast.unparse(mark) for mark in each.decorator_list)
    ]
    assert [function.name for function in marked if not function.name.startswith("test_")] == []
