"""What containers wrote, as it comes home: a file for each batch in the run's folder in DST.

`logs/BATCH.jsonl.gz` has the lines of a batch. Where the batch's program wrote a report, `logs/BATCH.report.gz` is that
report and `logs/BATCH.times` tells when it grew. `logs/HOST.jsonl.gz` has the lines of batches that did not come home:
copies that were not needed any more, and batches that ended with the run. `logs/missing.json` names the batches whose
lines stayed on hosts that could not be reached: {host: [batch]}.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from loguru import logger

LINES, REPORT, TIMES = ".jsonl.gz", ".report.gz", ".times"
MISSING = "missing.json"
BATCH_LOG, BATCH_TIMES, BATCH_REPORT = "log.jsonl.gz", "times", "report.jsonl"


class RunLogs:
    """The folder `logs` of one run; safe to use from many threads. A log that can't be kept fails no run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._missing: dict[str, list[str]] = {}
        self._lock = threading.Lock()

    def begin(self, host: str, batch: str) -> None:
        """Note that a batch may be about to write lines on a host."""
        with self._lock:
            self._missing.setdefault(host, []).append(batch)

    def keep(self, host: str, batch: str, staging: Path) -> None:
        """Take the lines of a batch out of the folder that came home."""
        try:
            self._keep(batch, staging)
        except OSError as error:
            logger.warning("the log of batch {} can't be kept ({})", batch, error.strerror)
        with self._lock, contextlib.suppress(KeyError, ValueError):
            self._missing[host].remove(batch)

    def _keep(self, batch: str, staging: Path) -> None:
        if not (staging / BATCH_LOG).is_file():
            return
        self._folder.mkdir(exist_ok=True)
        os.replace(staging / BATCH_LOG, self._folder / f"{batch}{LINES}")
        report = staging / BATCH_REPORT
        if (staging / BATCH_TIMES).is_file() and report.is_file() and report.stat().st_size:
            os.replace(staging / BATCH_TIMES, self._folder / f"{batch}{TIMES}")
            (self._folder / f"{batch}{REPORT}").write_bytes(gzip.compress(report.read_bytes(), 1))

    def missing(self, host: str) -> list[str]:
        """Return the batches that began on a host and did not come home."""
        with self._lock:
            return list(self._missing.get(host, ()))

    def keep_rest(self, host: str, lines: bytes) -> None:
        """Keep the lines of the host's missing batches."""
        try:
            if lines:
                self._folder.mkdir(exist_ok=True)
                with gzip.open(self._folder / f"{host}{LINES}", "ab", compresslevel=1) as file:
                    file.write(lines)
        except OSError as error:
            logger.warning("the log of {} can't be kept ({})", host, error.strerror)
        with self._lock:
            self._missing.pop(host, None)

    def close(self) -> None:
        """Write down which batches' lines stayed on hosts."""
        with self._lock:
            missing = {host: batches for host, batches in self._missing.items() if batches}
        with contextlib.suppress(OSError):
            if missing:
                self._folder.mkdir(exist_ok=True)
                (self._folder / MISSING).write_text(json.dumps(missing))


def read_missing(folder: Path) -> Mapping[str, Sequence[str]]:
    """Return the batches whose lines stayed on hosts, as RunLogs wrote them; nothing where it is not known."""
    try:
        found = json.loads((folder / MISSING).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        str(host): [str(batch) for batch in batches] for host, batches in found.items() if isinstance(batches, list)
    }
