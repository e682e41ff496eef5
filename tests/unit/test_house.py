"""The plan of the house: imports run downwards only, and some texts stand nowhere."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("fabfile", "fanrun", "imaging", "process", "provision", "service")
FORBIDDEN = re.compile(
    r"shell\s*=\s*True|AutoAddPolicy|WarningPolicy|StrictHostKeyChecking[\s=\"',]*(no|off|accept-new)\b", re.IGNORECASE
)


def listed() -> list[Path]:
    """What git tracks or would track."""
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in sorted(set(done.stdout.split("\0"))) if name and (ROOT / name).is_file()]


FILES = listed()
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in FILES
    if path.suffix == ".py" and path.relative_to(ROOT).parts[0].removesuffix(".py") in OURS
}


def imports(name: str) -> set[str]:
    """The modules of ours that a module imports, anywhere in it."""
    tree = ast.parse(MODULES[name].read_text("utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are written in full"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {item if item in MODULES else str(node.module) for item in full}
    return {item for item in found if item.split(".")[0] in OURS}


def reach(names: Iterable[str]) -> set[str]:
    """Return these modules of ours and all that they import, directly or through others."""
    found, todo = set[str](), set(names)
    while todo:
        name = todo.pop()
        # To import a.b.c runs a/__init__.py and a/b/__init__.py as well.
        parts = name.split(".")
        packages = {".".join(parts[:count]) for count in range(1, len(parts))} & set(MODULES)
        found.add(name)
        todo |= (imports(name) & set(MODULES) | packages) - found
    return found


def test_the_walk_sees_the_house() -> None:
    assert {
        "fabfile",
        "process",
        "fanrun.fanout.run",
        "fanrun.fleet.store",
        "provision.providers.local.provider",
        "service.api",
    } <= set(MODULES)
    assert "provision.lifecycle" in imports("fanrun.tasks.fleet")
    assert "provision.providers.base" in imports("provision.lifecycle")
    assert {"fanrun.tasks.core", "fanrun.fleet.exit_codes"} <= imports("fanrun.tasks.boundary")
    assert imports("fanrun.fanout.schedule.shares") == {"fanrun.fanout.plan"}


MAY_IMPORT = {
    "fabfile": ("fanrun.tasks",),
    "fanrun": ("fanrun.api",),
    "fanrun.api": ("fanrun.tasks", "fanrun.fanout", "fanrun.fleet", "provision"),
    "fanrun.__main__": ("fanrun.tasks",),
    "fanrun.sample": ("fanrun.fleet",),
    "fanrun.starter": ("fanrun.fleet",),
    "fanrun.tasks": (
        "fanrun.tasks",
        "fanrun.fanout",
        "fanrun.serving",
        "fanrun.fleet",
        "fanrun.sample",
        "fanrun.starter",
        "provision",
    ),
    "fanrun.serving": ("fanrun.serving", "fanrun.fleet", "provision", "service.common"),
    "fanrun.fanout": ("fanrun.fanout", "fanrun.fleet"),
    "fanrun.fleet": ("fanrun.fleet",),
    "provision": ("provision", "fanrun.fleet"),
    "process": ("imaging",),
    "imaging": ("imaging",),
    "service.api": ("service.api", "service.common", "service.protos", "imaging"),
    "service.processor": ("service.processor", "service.common", "service.protos", "imaging"),
    "service.common": ("service.common", "service.protos", "imaging"),
    "service.loadtest": ("service.loadtest", "service.common", "service.protos"),
    "service.protos": ("service.protos",),
    "service": (),
}
"""What each part of the project may import of it; a longer name counts before a shorter one."""
PROVIDERS = "provision.providers"
CONTROL = ("fabfile", "fanrun", "provision")


def part(name: str) -> str:
    """Return which part of the project a module belongs to."""
    return max((each for each in MAY_IMPORT if belongs(name, each)), key=len)


def belongs(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_run_downwards(name: str) -> None:
    may = MAY_IMPORT[part(name)]
    assert {item for item in imports(name) if not any(belongs(item, each) for each in may)} == set()


@pytest.mark.parametrize("name", sorted(name for name in MODULES if name.startswith(f"{PROVIDERS}.")))
def test_no_provider_imports_another(name: str) -> None:
    own = ".".join(name.split(".")[:3])
    found = {item for item in imports(name) if belongs(item, PROVIDERS)}
    assert {item for item in found if not belongs(item, own) and item != f"{PROVIDERS}.base"} <= {PROVIDERS}


def test_the_control_side_does_not_need_the_program() -> None:
    """A person may put a program of their own in place of process.py, and it may be broken: `fab down` must work."""
    control = reach(name for name in MODULES if name.split(".")[0] in CONTROL)
    assert "service.common.settings" in control
    assert {name for name in control if name.split(".")[0] in ("imaging", "process")} == set()
    assert "imaging.transform" in reach({"process"}) & reach({"service.processor.servicer"})


def test_the_control_side_needs_no_grpc() -> None:
    control = reach(name for name in MODULES if name.split(".")[0] in CONTROL)
    texts = {name: MODULES[name].read_text("utf-8") for name in control}
    assert [name for name, text in texts.items() if re.search(r"^\s*(import|from) grpc", text, re.MULTILINE)] == []


def test_no_import_goes_in_a_circle() -> None:
    """Packages themselves (`import provision.providers`) hold nothing but their docstring."""
    edges = {name: imports(name) & set(MODULES) - {name} for name in MODULES}
    while leaves := [name for name, found in edges.items() if not found]:
        edges = {name: found - set(leaves) for name, found in edges.items() if name not in leaves}
    assert edges == {}


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.suffix != ".md"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_forbidden_texts_stand_nowhere(path: Path) -> None:
    if path == Path(__file__).resolve():
        return
    found = FORBIDDEN.search(path.read_text("utf-8", "replace"))
    assert found is None, found


@pytest.mark.parametrize(
    "text",
    [
        "run(x, shell=True)",
        "shell = True",
        "paramiko.AutoAddPolicy()",
        "-o StrictHostKeyChecking=no",
        "StrictHostKeyChecking accept-new",
        "stricthostkeychecking  No",
        '"StrictHostKeyChecking", "no"',
    ],
)
def test_forbidden_texts_are_recognized(text: str) -> None:
    assert FORBIDDEN.search(text)


@pytest.mark.parametrize("text", ["StrictHostKeyChecking yes", "remote.shell(True)", "shell=false", "RejectPolicy"])
def test_other_texts_are_not(text: str) -> None:
    assert not FORBIDDEN.search(text)
