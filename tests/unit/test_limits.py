"""Limits on the length of files and functions, on the number of parameters, and on comments that silence a check."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

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


def test_files_are_short() -> None:
    counts = {name: len((ROOT / name).read_text("utf-8").splitlines()) for name in listed("*.py", "*.sh")}
    assert {name: count for name, count in counts.items() if count > MAX_FILE_LINES} == {}


def test_functions_are_short_and_have_few_parameters() -> None:
    assert [wrong for name in PYTHON for function in functions(name) if (wrong := too_much(name, function))] == []


def too_much(name: str, function: Function) -> str:
    """Return what is too long in a function, "" if nothing is."""
    assert function.end_lineno is not None
    lines, count = function.end_lineno - function.lineno, parameters(function)
    if lines >= MAX_FUNCTION_LINES:
        return f"{name}: {function.name} has {lines + 1} lines"
    return f"{name}: {function.name} has {count} parameters" if count > MAX_PARAMETERS and not is_task(function) else ""


def test_what_a_check_passes_over_has_a_reason() -> None:
    lines = [(name, line) for name in PYTHON for line in (ROOT / name).read_text("utf-8").splitlines()]
    silenced = [(name, line) for name, line in lines if SILENCED.search(line) and "re.compile" not in line]
    assert [(name, line) for name, line in silenced if not REASON.search(line)] == []


def test_marks_stand_at_tests() -> None:
    """A mark does nothing at a helper function."""
    names = [name for name in PYTHON if name.startswith("tests/")]
    marked = [
        (name, each.name)
        for name in names
        for each in functions(name)
        if any("pytest.mark" in ast.unparse(mark) for mark in each.decorator_list)
    ]
    assert [(name, function) for name, function in marked if not function.startswith("test_")] == []


def test_no_test_of_a_module_wants_the_machine_for_itself() -> None:
    """script/test looks for such tests in two folders alone: to collect all tests takes some seconds."""
    marked = [name for name in listed("tests/**/*.py") if "mark.alone" in (ROOT / name).read_text("utf-8")]
    marked.remove("tests/unit/test_limits.py")
    assert marked != []
    assert [name for name in marked if not name.startswith(("tests/fleet/", "tests/service/"))] == []
