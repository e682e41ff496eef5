"""The records of a run that are finished at its end: the joblog and the report."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from fanrun.fanout.results.joblog import Joblog
from fanrun.fanout.results.report import Report, write
from fanrun.fleet.errors import RunUnfinished
from fanrun.fleet.exit_codes import ExitCode


def close_joblog(joblog: Joblog) -> str:
    """Close the joblog; return why its last lines can't be written, "" if they are."""
    try:
        joblog.close()
    except RunUnfinished as error:
        return str(error)
    return ""


def write_report(report: Report, home: Path, unwritten: str) -> str:
    """Write the report into the run's folder; return what can't be written.

    `unwritten` says why another record can't be, "" if all are: then the run ends as one that is not finished.
    """
    code = int(ExitCode.UNFINISHED) if unwritten else report.exit_code
    try:
        write(dataclasses.replace(report, exit_code=code), home / "report.json")
    except OSError as error:
        return f"the run's report can't be written to {home} ({error.strerror})"
    return unwritten
