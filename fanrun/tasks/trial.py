"""`fab run --try N`: some inputs in the Docker of this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fanrun.fanout import preflight
from fanrun.fanout.context import RunContext
from fanrun.fanout.plan import STATE, Input
from fanrun.fanout.reference_content import check_all
from fanrun.fanout.request import RunRequest
from fanrun.fanout.results.report import Plan, shown
from fanrun.fanout.trial import FLEET, TriedInput, try_inputs
from fanrun.fanout.workers.local_link import HERE
from fanrun.fleet.errors import UsageError
from fanrun.fleet.exit_codes import ExitCode
from fanrun.fleet.model import Image
from fanrun.fleet.places import SOURCES
from fanrun.fleet.store import Folder
from fanrun.fleet.text import counted
from fanrun.tasks.console import Console
from fanrun.tasks.program_options import check_image
from provision import deployment


@dataclass(frozen=True)
class Trial:
    """What is tried: a request, the name of the container image for it, and how many inputs.

    An empty `request.dst` is none; one that is given is only read, for what is done already.
    """

    request: RunRequest
    image: str
    count: int
    as_json: bool


def run(console: Console, folder: Folder, trial: Trial) -> None:
    """Process the first inputs that a run would process, and print what became of each; results go to a new folder."""
    with _new_folder(console) as results:
        request = dataclasses.replace(trial.request, dst=trial.request.dst or results)
        preflight.check_paths(request.src, request.dst)
        check_all(request.mounts, request.dst)
        preflight.find_inputs(request)  # what is wrong with them is found before an image is built
        deployment.check_own_docker()
        preflight.check_tools("rsync", "flock", "python3")
        check_image(trial.image, request)
        image = _image(console, trial.image)
        plan = preflight.dry_run(request, FLEET, image)
        for line in plan.remarks:
            console.say(line)
        context = RunContext(dataclasses.replace(request, dst=results), FLEET, image, plan.junk)
        tried = _try(console, context, plan, trial)
        if tried:
            _print_end(console, folder, trial, (tried, results))
    if any(each.reason for each in tried):
        raise SystemExit(ExitCode.FAILED)


def _try(console: Console, context: RunContext, plan: Plan, trial: Trial) -> list[TriedInput]:
    """Try the first inputs of a plan, and print each as soon as it is settled; return all."""
    inputs = plan.shares[HERE][: trial.count]
    if not inputs:
        if not plan.kept:
            raise UsageError("no group has the number of files that --group-size asks for; nothing to do")
        console.say(f"nothing to try: {counted(plan.kept, 'input')} done already; --force tries them again")
        return []
    tried = []
    temporary = tempfile.TemporaryDirectory(prefix="fanrun-work-", ignore_cleanup_errors=True)
    with temporary as work, contextlib.closing(try_inputs(context, inputs, plan.mounts, work)) as settled:
        for each in settled:
            tried.append(each)
            if not trial.as_json:
                console.show("\n".join(_lines(each)))
    if (extra := context.home / "extra").exists():
        console.say(f"files that belong to no input are in {extra}")
    return tried


def _image(console: Console, name: str) -> Image:
    """Return the container image as this machine's Docker has it: built here, pulled, or there already."""
    if name == deployment.OWN:
        console.say(f"building the container image of {name}")
    image = deployment.find_image(SOURCES, name)
    return Image(name, image.id, image.id, image.source)


def _name(item: Input) -> str:
    """Return how an input is named: a group by its first file."""
    others = len(item.members) - 1
    return shown(os.fsdecode(item.key)) + (f" and {others} more" if others > 0 else "")


def _lines(tried: TriedInput) -> list[str]:
    """Return the lines about an input."""
    head = f"{'failed' if tried.reason else 'done':<6} {tried.seconds:6.2f} s  {_name(tried.item)}"
    if not tried.reason:
        return [head]
    return [
        f"{head}: {shown(tried.reason)}",
        *(f"  | {shown(line)}" for line in tried.words if line not in tried.reason),
    ]


def _to_json(tried: Sequence[TriedInput], results: str) -> str:
    """Return what became of the inputs as JSON."""
    inputs = [
        {
            "path": os.fsdecode(each.item.key),
            "files": [os.fsdecode(file.key) for file in each.item.files],
            "ok": not each.reason,
            "reason": each.reason,
            "seconds": round(each.seconds, 3),
            "words": each.words,
        }
        for each in tried
    ]
    return json.dumps({"results": results, "inputs": inputs}, indent=2)


def _print_end(console: Console, folder: Folder, trial: Trial, found: tuple[Sequence[TriedInput], str]) -> None:
    """Print where the results are and what to do next."""
    tried, results = found
    failed = sum(bool(each.reason) for each in tried)
    if trial.as_json:
        print(_to_json(tried, results))
    console.say(f"{len(tried) - failed} of {counted(len(tried), 'input')} done; results are in {results}")
    if failed:
        console.say("next: correct the program or its arguments, and type the command again")
        return
    begin = "" if folder.exists() else "`fab up`, then "
    dst = "" if trial.request.dst else " and with --dst"
    console.say(f"next: {begin}the same command without --try{dst}")


@contextlib.contextmanager
def _new_folder(console: Console) -> Iterator[str]:
    """Make a folder for results; after an error it stays only if there are some."""
    folder = tempfile.mkdtemp(prefix="fanrun-try-")
    try:
        yield folder
    except BaseException:
        if any(path.name != os.fsdecode(STATE) for path in Path(folder).iterdir()):
            console.say(f"results so far are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    with contextlib.suppress(OSError):  # it is empty only if nothing was tried
        Path(folder).rmdir()
