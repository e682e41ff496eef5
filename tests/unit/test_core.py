"""Which of Fabric's own flags a task refuses, and how that is told."""

from __future__ import annotations

import pytest
from fabric.main import make_program

from fanrun.tasks import core
from fanrun.tasks.core import CommandLine

UP = ("hosts", "dry-run", "ssh-config", "fleet", "provider")
ENDS_ITSELF = {
    "help",
    "list",
    "list-depth",
    "list-format",
    "version",
    "complete",
    "print-completion-script",
    "list-agent-keys",
}
"""Flags that Fabric answers before a task begins, and those that go with them."""


@pytest.mark.parametrize(
    ("task", "options", "flags", "words"),
    [
        ("up", UP, ["hosts"], "--hosts of Fabric's; for the number of workers write `fab up --hosts=8`"),
        ("down", ("fleet", "dry-run"), ["hosts"], "it works on the hosts of one fleet, which --fleet names"),
        ("down", ("fleet", "dry-run"), ["dry"], "--dry of Fabric's; `fab down --dry-run` says what would be done"),
        ("down", ("ssh-config",), ["ssh-config"], "stands after its name: `fab down --ssh-config …`"),
        ("sample", ("dst",), ["hosts", "echo"], "--hosts and --echo of Fabric's; `fab --help sample` shows"),
    ],
)
def test_a_refusal_names_the_flag_and_the_next_step(
    task: str, options: tuple[str, ...], flags: list[str], words: str
) -> None:
    told = core.refusal(task, options, CommandLine(flags=tuple(flags)))
    assert f"fab {task} does not take" in told
    assert words in told


def test_every_flag_of_fabrics_is_refused_or_used_or_ends_by_itself() -> None:
    flags = [max(arg.names, key=len) for arg in [*make_program().core_args(), *make_program().task_args()]]
    taken = {name for name in flags if not core.refusal("down", (), CommandLine(flags=(name,)))}
    assert taken == set(core.USED)
    assert {"hosts", "dry", "identity", "warn-only", "prompt-for-passphrase", "connect-timeout"} <= set(flags) - taken
    assert set(flags) >= ENDS_ITSELF


def test_nothing_goes_behind_two_dashes() -> None:
    assert "takes nothing behind `--`" in core.refusal("down", (), CommandLine(remainder="ls"))
    assert core.refusal("down", (), CommandLine(config="x.yaml", flags=("config", "debug"))) == ""


def test_a_flag_that_comes_too_late_is_refused() -> None:
    flags = ("config", "search-root")
    assert core.refusal("serve", (), CommandLine(flags=flags, late=("config",))) == ""
    assert "--search-root of Fabric's" in core.refusal("serve", (), CommandLine(flags=flags, late=flags))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"dst": "-h"}, "--dst needs a value; `fab --help run` shows all it takes"),
        ({"known_hosts": "--help"}, "--known-hosts needs a value"),
        ({"include": ["a", "-h"]}, "--include needs a value"),
        ({"args": "-h", "command": "--help", "dst": "h", "force": True, "src": None}, ""),
    ],
)
def test_a_flag_for_help_is_no_value(values: dict[str, object], words: str) -> None:
    told = core.missing_value("run", values)
    assert words in told
    assert bool(words) == bool(told)
