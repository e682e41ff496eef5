"""Tasks that write files to begin with: init, a program; sample, inputs."""

from __future__ import annotations

import shlex
from pathlib import Path

from fanrun import sample as samples
from fanrun import starter
from fanrun.fanout.results import report as reports
from fanrun.fleet import values
from fanrun.fleet.errors import UsageError
from fanrun.fleet.text import counted
from fanrun.tasks import options
from fanrun.tasks.console import Console
from fanrun.tasks.task import task


@task(help={"dir_": "the folder for the program, made if it isn't there"})
def init(console: Console, dir_: str | None = None) -> None:
    """Write a program of your own to begin with: ten lines of Python, a Dockerfile, and how to run it.

    Files that exist are never replaced.
    """
    if not dir_:
        raise UsageError("fab init needs --dir, the folder for the program, as `fab init --dir my-program`")
    name = starter.make(Path(options.path("dir", dir_)))
    console.say(f"a program to begin with is in {dir_}: {', '.join(starter.NAMES)}")
    console.say(f"build it: `docker build --tag {name} {shlex.quote(dir_)}`")
    console.say(f"try it here: `fab run --try 3 --image {name} --src SRC`")
    console.say(f"run it on a fleet: `fab run --image {name} --src SRC --dst DST`")


@task(help={"dst": "the folder for them, made if it isn't there", "count": "how many, 1 or more (default: 59)"})
def sample(console: Console, dst: str | None = None, count: str = "59") -> None:
    """Draw images to try Fanrun with: JPEG plates of plants, the same ones every time."""
    if not dst:
        raise UsageError("fab sample needs --dst; `fab --help sample` shows all it takes")
    folder, number = Path(options.path("dst", dst)), values.whole_number("count", count, 1, samples.MOST)
    size = samples.make(folder, number)
    console.say(f"{counted(number, 'plate')}, {reports.amount(size)}, in {folder}")
