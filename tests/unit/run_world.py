"""A DST with results, and runs whose hosts answer without a network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from fanrun.fanout.preflight import check_writable
from fanrun.fanout.results import ledger as ledgers
from fanrun.fanout.results.file_stat import file_stat
from fanrun.fanout.results.ledger import Fact, Ledger
from fanrun.fanout.verify import ledger_path
from fanrun.fanout.workers.connections import Connections
from fanrun.fleet.model import Image
from fanrun.fleet.probe import Probe
from fanrun.fleet.store import Folder
from tests.unit.samples import PROBE, write_tree

IMAGE = Image("process.py", "sha256:11", "hub:5000/i@sha256:00")


def record(dst: Path, args: tuple[str, ...], *keys: bytes, image: Image = IMAGE) -> Ledger:
    """Return the ledger of a DST in which these inputs (of write_tree) are done: their results are copies."""
    check_writable(str(dst))
    ledger = Ledger(ledger_path(str(dst)))
    written = write_tree(dst, keys)
    hashes = {key: ledger.hash_of(bytes(dst) + b"/" + key) for key in written}
    program = ledgers.program(image.program_id, args)
    ledger.record(program, [Fact(key, digest, {key: digest}) for key, digest in hashes.items()])
    for key, digest in hashes.items():
        ledger.remember_hash(bytes(dst) + b"/" + key, file_stat(bytes(dst) + b"/" + key), digest)
    return ledger


class FakeConnections(Connections):
    """Connections without a network: a host answers with a probe, or with what `answer` returns or raises."""

    def __init__(
        self, folder: Folder, answer: Callable[[str], Probe] = lambda name: PROBE, clock: Callable[[], float] = float
    ) -> None:
        super().__init__("r", "image", folder, clock)
        self._answer = answer
        self.begun = threading.Event()
        self.closed = threading.Event()
        self.opened: list[str] = []

    def open(self, name: str) -> Probe:
        self.opened.append(name)
        self.begun.set()
        return self._answer(name)

    def close(self) -> None:
        super().close()
        self.closed.set()
