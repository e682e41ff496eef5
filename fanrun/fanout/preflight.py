"""What can be checked before any host is asked: paths, tools, inputs."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from fanrun.fanout import grouping, plan
from fanrun.fanout.context import RunContext
from fanrun.fanout.plan import Input, Skipped
from fanrun.fanout.reference_content import check_all, read_all
from fanrun.fanout.request import RunRequest
from fanrun.fanout.results.destination import unwritable
from fanrun.fanout.results.ledger import Ledger
from fanrun.fanout.results.report import Plan
from fanrun.fanout.resume import ResumePlan, ResumeSource, plan_resume
from fanrun.fanout.variables import hash_variables
from fanrun.fanout.verify import ledger_path
from fanrun.fleet.errors import ToolMissing, UsageError
from fanrun.fleet.model import Fleet, Image

RSYNC = 3
"""The version that rsync must have here; older ones, and those that only resemble it, lack options that are used."""


def check(request: RunRequest) -> tuple[list[Input], Skipped]:
    """Return the inputs; raise for what can be known before any host is asked.

    That is UsageError, ToolMissing, or RunUnfinished for a DST that is full.
    """
    check_tools("ssh", "rsync")
    check_paths(request.src, request.dst)
    check_all(request.mounts, request.dst)
    found = find_inputs(request)
    check_writable(request.dst)
    return found


def check_mounts(request: RunRequest, fleet: Fleet) -> None:
    """Raise UsageError for reference data on a fleet whose workers can't get them from its hub."""
    if request.mounts and any(host.sudo != "free" for host in fleet.hosts):
        raise UsageError(
            "--mount needs machines whose sudo asks for no password: the hub lets workers read there; "
            "bring the reference data in the container image"
        )


def check_paths(src: str, dst: str) -> None:
    """Raise UsageError for a SRC or DST that can't be meant; changes nothing."""
    if not os.path.exists(src):
        raise UsageError(f"--src {src!r} does not exist; give the folder that holds the inputs")
    if not os.path.isdir(src):
        raise UsageError(f"--src {src!r} is a file; give the folder that holds it, and --include to choose it")
    real_src, real_dst = os.path.realpath(src), os.path.realpath(dst)
    if real_src == real_dst or real_dst.startswith(real_src.rstrip("/") + "/"):
        raise UsageError(f"--dst {dst!r} is inside --src; give a folder elsewhere, or results would become inputs")
    below = os.path.relpath(real_src, real_dst)
    if not below.startswith("..") and os.path.lexists(os.path.join(real_src, below)):
        raise UsageError(
            f"--dst {dst!r} holds --src, and results would replace inputs in {below}; give a folder elsewhere"
        )
    if os.path.exists(dst) and not os.path.isdir(dst):
        raise UsageError(f"--dst {dst!r} is a file; give a folder")


def check_writable(dst: str) -> None:
    """Make DST and the run's folder in it; UsageError if that can't be, RunUnfinished if there is no room for it."""
    try:
        state = Path(dst) / os.fsdecode(plan.STATE)
        state.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=state):
            pass
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise unwritable(error) from error
        raise UsageError(
            f"--dst {dst!r} can't be written ({error.strerror}); choose another or change its owner"
        ) from error


def find_inputs(request: RunRequest) -> tuple[list[Input], Skipped]:
    """Walk SRC: its inputs, each group being one, and what was skipped; UsageError if there are no inputs."""
    files, skipped = plan.walk(request.src, plan.chooser(request.include, request.exclude, junk=request.junk))
    inputs = grouping.group(files, request.grouping)
    grouping.check(inputs, request.grouping)
    if request.only is not None:
        inputs = [item for item in inputs if not request.only.isdisjoint(file.key for file in item.files)]
        if not inputs:
            raise UsageError(f"none of the inputs that failed is in {request.src!r} any more; nothing to do")
    elif not inputs:
        why = "no file matches" if request.include or request.exclude else "there are no files in it"
        why = f"{why} but for {skipped.junk} that --junk takes" if skipped.junk else why
        raise UsageError(f"--src {request.src!r}: {why}; nothing to do")
    return inputs, skipped


def check_tools(*tools: str) -> None:
    """Raise ToolMissing unless these programs are here: ssh, and an rsync of version 3."""
    for tool in tools:
        if shutil.which(tool) is None:
            raise ToolMissing(
                f"{tool} is not installed here; script/setup installs it (macOS: `brew install {tool}`)", tool=tool
            )
    if "rsync" in tools:
        done = subprocess.run(["rsync", "--version"], capture_output=True, text=True, errors="replace", check=False)
        if why := unfit_rsync(done.stdout):
            raise ToolMissing(
                f"{shutil.which('rsync')} is {why}, and version 3 is needed; install it (macOS: `brew install rsync`), "
                "so that it comes first in PATH",
                tool="rsync",
            )


def unfit_rsync(said: str) -> str:
    """Return what an rsync is that a run can't use, by what `rsync --version` prints; "" for one that it can."""
    first = said.strip().partition("\n")[0]
    if "openrsync" in said:
        return "openrsync"
    found = re.match(r"rsync +version v?(\d+)\.", first)
    if not found:
        return f"no rsync that tells its version ({first or 'it prints nothing'})"
    return "" if int(found[1]) >= RSYNC else first


def dry_run(request: RunRequest, fleet: Fleet, image: Image | None) -> Plan:
    """Return the plan that a run would start with if every worker takes part; change nothing."""
    check_paths(request.src, request.dst)
    check_all(request.mounts, request.dst)
    check_mounts(request, fleet)
    found, skipped = find_inputs(request)
    inputs, _ = request.grouping.divide(found)
    resume = ResumePlan(inputs)
    ledger = Ledger(ledger_path(request.dst), write=False)
    data = read_all(request.mounts, ledger)
    if image is not None and not request.force:
        digest = hash_variables(request.variables, ledger.path.parent, write=False)
        context = RunContext(request, fleet, image, reference=data, variables=digest)
        source = ResumeSource(ledger, request.src, request.dst, context.program, context.by_content)
        resume = plan_resume(source, inputs)
    shares = plan.deal(resume.todo, [host.name for host in fleet.workers])
    remarks = grouping.remarks(found, request.grouping)
    counts = plan.count_files(inputs), plan.count_files(resume.before)
    return Plan(*counts, shares, skipped.junk, remarks, [each.version for each in data], request.variables.names)
