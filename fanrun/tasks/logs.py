"""The task logs: what the containers of a run wrote, from DST and from the hosts."""

from __future__ import annotations

import contextlib

from fanrun.fanout.results.log_lines import LEVELS
from fanrun.tasks import options, target
from fanrun.tasks.console import Console
from fanrun.tasks.options import FLEET
from fanrun.tasks.task import task


@task(
    help={
        "follow": "go on with what is written, until the run is over",
        "run": "the run, by the name that its report has (default: the last one)",
        "host": "only lines of this worker",
        "batch": "only lines of this batch",
        "input_": "only what was written while this input was processed (its path under SRC)",
        "grep": "only messages that match this regular expression",
        "level": f"only lines of this level or above: {', '.join(LEVELS)}",
        "since": "only lines since then: a time ago, as 10m or 2h, or a time, as 2026-01-31T12:00:00Z",
        "json_": "print each line as a JSON object",
        "service": "show what the containers of `fab serve` wrote, and not those of a run",
        "dst": "the folder with the results, where the fleet's folder does not know the run",
        "fleet": FLEET,
    },
)
def logs(
    console: Console,
    follow: bool = False,
    run: str | None = None,
    host: str | None = None,
    batch: str | None = None,
    input_: str | None = None,
    grep: str | None = None,
    level: str | None = None,
    since: str | None = None,
    json_: bool = False,
    service: bool = False,
    dst: str | None = None,
    fleet: str | None = None,
) -> None:
    """Show what the containers of a run wrote: where, when, and while which input was processed."""
    from fanrun.tasks import log_printer, log_source  # here, as at the head of the file they would cost every task time

    folder = target.folder(console, fleet)
    filters = {"host": host, "batch": batch, "input": input_, "grep": grep, "level": level, "since": since}
    if service:
        options.refuse({"run": run, "batch": batch, "input": input_, "dst": dst}, "--service is about no run")
        source = log_source.service_source(folder, filters)
    else:
        source = log_source.run_source(folder, filters, run, dst)
    printer = log_printer.Printer(lambda text: print(text, flush=follow), as_json=json_)
    with contextlib.closing(source.reader):
        log_source.show(source.reader, printer, is_followed=follow and not source.is_over)
    log_source.explain(console, source, printer.count, is_filtered=any(filters.values()))
