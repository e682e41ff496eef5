"""What containers wrote, as it comes home: a file for each batch in the run's folder in DST.

`logs/BATCH.jsonl.gz` has the lines of a batch. Where the batch's program wrote a report, `logs/BATCH.report.gz` is that
report and `logs/BATCH.times` tells when it grew. Lines of batches that did not come home (copies that were not needed
any more, batches that ended with the run) are fetched when the run ends. `logs/missing.json` names the batches whose
lines stayed on hosts, as these could not be reached or the lines were too many: {host: [batch]}.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from loguru import logger

from fanrun.fleet.config import Logs

LINES, REPORT, TIMES = ".jsonl.gz", ".report.gz", ".times"
MISSING = "missing.json"
BATCH_LOG, BATCH_TEXT, BATCH_TIMES, BATCH_REPORT = "log.jsonl.gz", "log", "times", "report.jsonl"
BATCH_FIELD = re.compile(rb'"batch":"([A-Za-z0-9._-]+)","stream":')
"""The part of a line that names its batch; in a message each quote has a backslash before it."""


class RunLogs:
    """The folder `logs` of one run; safe to use from many threads. A log that can't be kept fails no run."""

    def __init__(self, folder: Path, batch: int = Logs.batch) -> None:
        """`batch` is how many bytes of its first and of its last lines a batch keeps."""
        self._folder, self._most = folder, packed_limit(batch)
        self._missing: dict[str, list[str]] = {}
        self._lock = threading.Lock()

    def begin(self, host: str, batch: str) -> None:
        """Note that a batch may be about to write lines on a host."""
        with self._lock:
            self._missing.setdefault(host, []).append(batch)

    def keep(self, host: str, batch: str, staging: Path) -> None:
        """Take the lines of a batch out of the folder that came home."""
        try:
            is_kept = self._keep(batch, staging)
        except OSError as error:
            logger.warning("the log of batch {} can't be kept ({})", batch, error.strerror)
            return
        if is_kept:
            with self._lock, contextlib.suppress(KeyError, ValueError):
                self._missing[host].remove(batch)

    def _keep(self, batch: str, staging: Path) -> bool:
        """Keep what a batch wrote; returns False if it wrote lines that did not come with it."""
        log = staging / BATCH_LOG
        if not log.is_file() or not log.stat().st_size:
            plain = staging / BATCH_TEXT
            return not plain.is_file() or not plain.stat().st_size
        if (size := log.stat().st_size) > self._most:
            logger.warning("the log of batch {} is left out: no batch writes one of {} bytes", batch, size)
            return False
        self._folder.mkdir(exist_ok=True)
        shutil.move(log, self._folder / f"{batch}{LINES}")
        report, times = staging / BATCH_REPORT, staging / BATCH_TIMES
        if self._is_usable(times) and report.is_file() and report.stat().st_size:
            shutil.move(times, self._folder / f"{batch}{TIMES}")
            with report.open("rb") as whole, gzip.open(self._folder / f"{batch}{REPORT}", "wb", 1) as packed:
                shutil.copyfileobj(whole, packed)
        return True

    def _is_usable(self, times: Path) -> bool:
        return times.is_file() and times.stat().st_size <= self._most

    def missing(self, host: str) -> list[str]:
        """Return the batches that began on a host and did not come home."""
        with self._lock:
            return list(self._missing.get(host, ()))

    def keep_rest(self, host: str, batch: str, lines: bytes) -> None:
        """Keep the lines of a missing batch, which the host gave in the order of its log."""
        own = [line for line in lines.splitlines(keepends=True) if _batch_of(line) == batch]
        try:
            if own:
                self._folder.mkdir(exist_ok=True)
                (self._folder / f"{batch}{LINES}").write_bytes(gzip.compress(b"".join(own), 1))
        except OSError as error:
            logger.warning("the log of batch {} can't be kept ({})", batch, error.strerror)
            return
        with self._lock, contextlib.suppress(KeyError, ValueError):
            self._missing[host].remove(batch)

    def close(self) -> None:
        """Write down which batches' lines stayed on hosts."""
        with self._lock:
            missing = {host: batches for host, batches in self._missing.items() if batches}
        with contextlib.suppress(OSError):
            if missing:
                self._folder.mkdir(exist_ok=True)
                (self._folder / MISSING).write_text(json.dumps(missing))


def packed_limit(batch: int) -> int:
    """Return more bytes than the compressed log of a batch can have.

    It keeps its first and its last lines, the last ones in parts, and each part may have more by what was read at once.
    Lines that can't be compressed grow by less than a hundredth.
    """
    return 3 * batch + 16 * 1024**2


def _batch_of(line: bytes) -> str:
    found = BATCH_FIELD.search(line)
    return found[1].decode("ascii") if found else ""


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
