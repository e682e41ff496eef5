"""What a person asks a run for."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fanrun.fanout import plan
from fanrun.fanout.commands import LogLimits
from fanrun.fanout.expect import BY_NAME, Expected
from fanrun.fanout.expect import UNFINISHED as UNFINISHED_NAMES
from fanrun.fanout.grouping import EACH_ALONE, Grouping, remembered
from fanrun.fanout.halt import Halt
from fanrun.fanout.program import DEFAULT_DOCKER, USUAL, DockerOptions, Program, Scratch
from fanrun.fanout.reference import Mount, Version
from fanrun.fanout.results import ledger as ledgers
from fanrun.fanout.variables import NO_VARIABLES, Variables, check_same
from fanrun.fanout.verify import open_ledger
from fanrun.fleet.errors import UsageError


@dataclass(frozen=True)
class RunLimits:
    """How often a failed input is tried again, the seconds in which a program has to finish something, its bytes.

    `scratch` is a part of its memory.  0 means: never tried again; however long it takes; the worker's own limit.
    `cpus` is how many cores a container may use (0: all), `jobs` how many containers run on a worker at the same time
    (None: one for the image that Fanrun built, AUTO for others).  `rate` is how many bytes the run may send, and how
    many it may fetch, in a second (0: no limit).  `halt` says when the run ends though inputs are left (None: never).
    """

    retries: int = 2
    timeout: int = 3600
    memory: int = 0
    scratch: Scratch = USUAL
    cpus: float = 0.0
    jobs: int | None = None
    rate: int = 0
    halt: Halt | None = None


@dataclass(frozen=True)
class RunRequest:
    """What a person asked for; `src` and `dst` are absolute paths.

    `force` does again what is done; `only` are the keys to do, None for all that are chosen.  `expected` says what
    results are.  With `by_content` an input takes the results of an equal one.  With `keep_going` every input is tried
    though all fail for the same reason.  With `junk` files of plan.JUNK are inputs.  `entrypoint` takes the place of
    the image's; `each` are the words of a command that is run for each input, as each.parse returns them.  `grouping`
    says which files are processed as one; `mounts` are folders that containers see besides.  `cache` is the
    maximum number of bytes of inputs that each worker keeps for later runs (None: a quarter of its free disk).
    `variables` are those of the program's environment, `docker` is what docker is told besides.
    """

    src: str
    dst: str
    args: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    limits: RunLimits = RunLimits()
    force: bool = False
    only: frozenset[bytes] | None = None
    expected: Expected = BY_NAME
    by_content: bool = False
    keep_going: bool = False
    junk: bool = False
    logs: LogLimits = field(default_factory=LogLimits)
    cache: int | None = None
    entrypoint: str | None = None
    each: tuple[str, ...] = ()
    grouping: Grouping = EACH_ALONE
    mounts: tuple[Mount, ...] = ()
    variables: Variables = NO_VARIABLES
    docker: DockerOptions = DEFAULT_DOCKER

    def program(self, ref: str, jobs: int, mounts: tuple[Version, ...] = ()) -> Program:
        """Return what is run over every batch: `ref` is what workers pull, `jobs` containers run at the same time."""
        limits = self.limits
        bounds = limits.timeout, limits.memory, limits.scratch, limits.cpus, jobs
        return Program(
            ref, self.args, *bounds, self.entrypoint, self.each, mounts, bool(self.variables.values), self.docker
        )

    def program_name(self, image_program: str, mounts: Sequence[Version] = (), variables: str = "") -> str:
        """Return the name in the ledger of a program, an image's program_id, as it is asked for here.

        `variables` is the keyed hash of the environment variables.
        """
        data: dict[str, Any] = {"mounts": {each.name: each.digest for each in mounts}} if mounts else {}
        data |= {"variables": variables} if variables else {}
        data |= self.docker.named
        return ledgers.program(image_program, self.args, {**self.start, **data}, grouped=bool(self.grouping.by))

    @property
    def start(self) -> dict[str, Any]:
        """What is started in a container in place of the image's own program; empty if nothing is."""
        entrypoint = {} if self.entrypoint is None else {"entrypoint": self.entrypoint}
        return {**entrypoint, **({"each": list(self.each)} if self.each else {})}

    def remembered(self, image: str) -> dict[str, Any]:
        """What `fab retry` and `fab verify` need of it later, fit for JSON."""
        kept: dict[str, Any] = {"src": self.src, "image": image, "args": list(self.args), **self.start}
        kept |= {"include": list(self.include), "exclude": list(self.exclude), "by_content": self.by_content}
        kept |= {"junk": self.junk, "group_by": self.grouping.by, "group_size": self.grouping.size}
        kept |= {"mounts": [list(mount) for mount in self.mounts], "docker": dataclasses.asdict(self.docker)}
        return {**kept, "expect": list(self.expected.patterns), "ignore_results": list(self.expected.ignored)}


def retry_request(dst: str, limits: RunLimits, variables: Variables = NO_VARIABLES) -> tuple[RunRequest, str]:
    """Return the request that does once more what failed in DST, and its image's name.

    Raises UsageError when DST has no ledger, or when these are not the variables of the last run.
    """
    with contextlib.closing(open_ledger(dst)) as ledger:
        last, failed = ledger.last_run(), frozenset(ledger.failures())
    if last is None:
        raise UsageError(f"--dst {dst!r}: no run has begun there yet; start one with `fab run`")
    kept = last[2]
    if failed:
        check_same(variables, kept, Path(dst) / os.fsdecode(plan.STATE))
    request = RunRequest(
        kept["src"],
        dst,
        tuple(kept["args"]),
        tuple(kept["include"]),
        tuple(kept["exclude"]),
        limits,
        only=failed,
        keep_going=True,
        **_kept_choices(kept),
        variables=variables,
    )
    return request, kept["image"]


def _kept_choices(kept: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a request that earlier versions did not write down, or did only if they were given."""
    return {
        "expected": Expected(tuple(kept.get("expect", ())), tuple(kept.get("ignore_results", UNFINISHED_NAMES))),
        "by_content": bool(kept.get("by_content")),
        "junk": bool(kept.get("junk", True)),
        "entrypoint": kept.get("entrypoint"),
        "each": tuple(kept.get("each", ())),
        "grouping": remembered(kept),
        "mounts": tuple(Mount(*each) for each in kept.get("mounts", ())),
        "docker": DockerOptions(**kept.get("docker", {})),
    }


def again_text(force: bool) -> str:
    """Return what the next command does after a run that did not finish."""
    if force:
        return "the same command without --force does those that have no result yet (with --force it begins anew)"
    return "the same command again goes on from here"
