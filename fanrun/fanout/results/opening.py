"""The destination at the start of a run: which results are there, and which inputs own their paths."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence

from loguru import logger

from fanrun.fanout.context import RunContext
from fanrun.fanout.results.destination import Destination, unwritable
from fanrun.fanout.results.faults import Reasons
from fanrun.fanout.results.groups import groups_of
from fanrun.fanout.results.joblog import Joblog
from fanrun.fanout.results.ledger import Ledger
from fanrun.fanout.results.logs import RunLogs
from fanrun.fanout.results.ownership import Ownership, RunInputs, fold_of
from fanrun.fanout.resume import ResumePlan, owners_by_input
from fanrun.fanout.verify import ledger_path
from fanrun.fleet.errors import RunUnfinished


@contextlib.contextmanager
def hold_ledger(dst: str) -> Iterator[Ledger]:
    """Open the ledger of DST; of two errors raise the first."""
    ledger = Ledger(ledger_path(dst))
    try:
        yield ledger
    except BaseException:
        with contextlib.suppress(RunUnfinished):
            ledger.close()
        raise
    ledger.close()


def open_destination(
    context: RunContext, ledger: Ledger, resume: ResumePlan, is_settled: Callable[[bytes], bool]
) -> Destination:
    """Return where results go, and to which inputs the paths there belong.

    Raises RunUnfinished when DST can't be written.
    """
    request = context.request
    owners = owners_by_input(ledger.owners(context.program), ledger, [*resume.todo, *resume.before])
    done: dict[bytes, list[bytes]] = {item.key: [] for item in resume.before}
    for path, key in owners:
        if key in done:
            done[key].append(path)
    return Destination(
        request.dst,
        str(context.staging),
        str(context.home / "extra"),
        context.program,
        ledger,
        Joblog(context.home / "joblog.tsv"),
        _ownership(context, ledger, resume, is_settled, owners),
        Reasons(logger.warning, request.keep_going),
        RunLogs(context.home / "logs", context.request.logs.batch),
        request.expected,
        scratch=request.limits.scratch,
        done=done,
        tell=context.caller.tell,
    )


def _ownership(
    context: RunContext,
    ledger: Ledger,
    resume: ResumePlan,
    is_settled: Callable[[bytes], bool],
    owners: Sequence[tuple[bytes, bytes]],
) -> Ownership:
    """Return which input owns each path in DST; `owners` are (path, key) of results of this program."""
    try:
        fold = fold_of(context.state)
    except OSError as error:
        raise unwritable(error) from error
    src = os.fsencode(context.request.src)
    todo, kept = ([item.key for item in items] for items in (resume.todo, resume.before))
    # Inputs that are not in this run keep their results, whatever program made them.
    mine, inputs = {*todo, *kept}, [*resume.todo, *resume.before]
    by_others = owners_by_input(ledger.owners_by_others(context.program), ledger, inputs)
    others = [(path, key) for path, key in by_others if key not in mine]
    expected, groups = context.request.expected, groups_of(inputs)
    return Ownership(
        RunInputs(todo, kept, [*others, *owners], groups),
        is_settled,
        lambda key: os.path.lexists(os.path.join(src, key)),
        fold,
        (lambda key: expected.paths(key, groups.get(key))) if expected.patterns else None,
    )
