"""What checks a change before it is merged: the workflow and the hook call the scripts that people call."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]


def read(name: str) -> dict[str, Any]:
    """Return a YAML file of the project."""
    content: dict[str, Any] = yaml.safe_load((ROOT / name).read_text("utf-8"))
    return content


def test_the_hook_runs_the_linters() -> None:
    hooks = [hook for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert [(hook["entry"], hook["always_run"], hook["pass_filenames"]) for hook in hooks] == [
        ("script/lint", True, False)
    ]


def test_each_job_runs_a_script_of_the_project() -> None:
    jobs = read(".github/workflows/ci.yml")["jobs"]
    runs = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in jobs.items()}
    assert {name: [run.split()[0] for run in lines] for name, lines in runs.items()} == {
        "lint": ["script/lint"],
        "unit": ["script/test"],
        "coverage": ["script/coverage"],
        "full": ["script/test", "script/test"],
    }
    assert all(os.access(ROOT / run.split()[0], os.X_OK) for lines in runs.values() for run in lines)


def test_unit_tests_run_on_every_python_that_is_supported() -> None:
    versions = read(".github/workflows/ci.yml")["jobs"]["unit"]["strategy"]["matrix"]["python"]
    lowest = re.search(r'^requires-python = ">=3\.(\d+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert lowest
    assert versions == [f"3.{minor}" for minor in range(int(lowest[1]), int(lowest[1]) + len(versions))]
    known = re.search(r"for python in python3 (.+) /usr/bin/python3;", (ROOT / "script/setup").read_text("utf-8"))
    assert known
    assert versions == [name.removeprefix("python") for name in reversed(known[1].split())]
