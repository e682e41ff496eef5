"""What a host sends as its log, which may be anything."""

from __future__ import annotations

import base64
import gzip
import tracemalloc
import zlib

import pytest

from fanrun.fanout.results import log_remote
from fanrun.fanout.results.log_remote import CHUNK, NAMES, RemoteFile, hub_file, in_order, list_shipped, worker_file
from fanrun.fleet.errors import HostError
from fanrun.fleet.ssh import Remote
from fanrun.fleet.store import Folder
from tests.unit.log_hosts import at, begin
from tests.unit.logs_world import encoded
from tests.unit.samples import FLEET


class Answering(Remote):
    """A host that answers one text to whatever it is asked; `most` are the bytes that it may send."""

    def __init__(self, folder: Folder, answer: str) -> None:
        folder.save(FLEET)
        super().__init__(folder, FLEET.workers[0])
        self.answer, self.most = answer, list[int]()

    def read(self, argv: list[str], most: int, *, sudo: bool = False) -> str:
        self.most.append(most)
        return self.answer


def answer(data: bytes, head: str = "0 1000 7 7") -> str:
    return f"{head}\n{base64.b64encode(data).decode()}"


def bomb() -> bytes:
    """Return what unpacks to 500 MB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(10_000_000)) for _ in range(50)) + packer.flush()


def test_a_part_is_read(folder: Folder) -> None:
    file = RemoteFile(Answering(folder, answer(gzip.compress(b"a\nb\nc"))), "/log")
    assert file.read_more() == b"a\nb\n"
    assert (file.offset, file.is_there, file.is_at_end) == (4, True, True)


def test_a_bomb_is_not_unpacked(folder: Folder) -> None:
    file = RemoteFile(Answering(folder, answer(bomb())), "/log")
    tracemalloc.start()
    try:
        with pytest.raises(HostError, match="it has not the length that was asked for"):
            file.read_more()
        assert tracemalloc.get_traced_memory()[1] < 4 * CHUNK
    finally:
        tracemalloc.stop()
    assert file.offset == 0


@pytest.mark.parametrize(
    "text",
    [
        answer(gzip.compress(bytes(CHUNK + 1))),
        answer(gzip.compress(b"a\n")[:-9]),
        answer(b"no gzip"),
        answer(b""),
        answer(gzip.compress(b"a\n"), "5 1000 7 7"),
        answer(gzip.compress(b"a\n"), "-1 1000 7 7"),
        answer(gzip.compress(b"a\n"), "x 1000 7 7"),
        answer(gzip.compress(b"a\n"), "0 1000"),
        "0 1000 7 7\n\u00e9",
        "0 1000 7 7",
        answer(gzip.compress(b"a\n"), "9" * 5000 + " 1000 7 7"),
        "\ufffd" * 100,
    ],
    ids=range(12),
)
def test_an_answer_that_no_log_gives_is_an_error_of_the_host(folder: Folder, text: str) -> None:
    file = RemoteFile(Answering(folder, text), "/log")
    with pytest.raises(HostError, match="what came of /log can't be read"):
        file.read_more()
    assert file.offset == 0


def test_a_host_may_send_no_more_than_a_part_can_have(folder: Folder) -> None:
    """Lines that can't be compressed take a third more as text."""
    remote = Answering(folder, "")
    assert worker_file(remote, "r1", is_bounded=False).read_more() == b""
    assert list_shipped(remote, "r1") == []
    assert remote.most[0] > len(base64.b64encode(bytes(CHUNK))) * 1.01
    assert remote.most[0] <= 2 * CHUNK + 1024
    assert remote.most[1] == NAMES


def test_where_logs_are(folder: Folder) -> None:
    remote = Answering(folder, "")
    own, shipped = worker_file(remote, "r1", is_bounded=True), hub_file(remote, "r1", "worker-2", is_bounded=False)
    assert (own.path, own.is_roots, own.is_bounded) == ("/var/log/fanrun/r1.jsonl", False, True)
    assert (shipped.path, shipped.is_roots, shipped.is_bounded) == ("/var/log/fanrun/r1/worker-2.jsonl", True, False)


def test_lines_that_the_hub_got_late_are_put_where_they_belong() -> None:
    first, second = at(0, begin(1)), at(0, begin(2))
    a, b, c, d = (at(offset, encoded(1, str(offset))) for offset in (100, 200, 300, 400))
    torn = b'{"batch":"x","off\n'
    assert in_order(b"".join([first, a, torn, d, a, b, c])) == b"".join([first, a, torn, a, b, c, d])
    assert in_order(b"".join([c, d, first, a])) == b"".join([first, a, c, d])
    assert in_order(b"".join([first, b, second, a, first, c])) == b"".join([first, first, b, c, second, a])
    assert in_order(b"") == b""


def test_a_message_names_no_place() -> None:
    said = encoded(1, '{"offset":7,"x":1}')
    assert list(log_remote.split_shipped(at(100, said) + said)) == [(100, at(100, said)), (-1, said)]
