"""What a run keeps of its batches' logs."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from pathlib import Path

import pytest
from loguru import logger

from fanrun.fanout import commands
from fanrun.fanout.results.log_lines import home_batches, read
from fanrun.fanout.results.logs import MISSING, RunLogs, packed_limit, read_missing
from fanrun.fanout.worker_files.log_files import BatchLog
from tests.unit.logs_world import encoded


def stage(top: Path, batch: str, lines: bytes, report: bytes = b"", times: str = "") -> Path:
    """Make the folder of a batch that came home."""
    folder = top / f"staged-{batch}"
    folder.mkdir()
    (folder / "log").write_bytes(lines[-64:])
    (folder / "report.jsonl").write_bytes(report)
    if lines:
        (folder / "log.jsonl.gz").write_bytes(gzip.compress(lines))
        (folder / "times").write_text(times)
    return folder


def messages(logs: Path, batch: str) -> list[str]:
    return [line.message for line in read(logs / f"{batch}.jsonl.gz", print)]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A run's folder for logs, which is not there yet."""
    return tmp_path / "logs"


def test_lines_and_report_of_a_batch_are_kept(tmp_path: Path, logs: Path) -> None:
    run = RunLogs(logs)
    run.begin("worker-1", "worker-1.0001")
    assert run.missing("worker-1") == ["worker-1.0001"]
    staged = stage(tmp_path, "worker-1.0001", encoded(1, "a"), b'{"path":"x","ok":true}\n', "1 23\n")
    run.keep("worker-1", "worker-1.0001", staged)
    run.close()
    assert messages(logs, "worker-1.0001") == ["a"]
    assert gzip.decompress((logs / "worker-1.0001.report.gz").read_bytes()) == b'{"path":"x","ok":true}\n'
    assert (logs / "worker-1.0001.times").read_text() == "1 23\n"
    assert (run.missing("worker-1"), read_missing(logs)) == ([], {})
    assert (staged / "report.jsonl").exists(), "the run judges by it"


def test_a_run_that_wrote_nothing_has_no_folder(tmp_path: Path, logs: Path) -> None:
    run = RunLogs(logs)
    run.begin("worker-1", "worker-1.0001")
    run.keep("worker-1", "worker-1.0001", stage(tmp_path, "b", b""))
    run.close()
    assert not logs.exists()


@pytest.mark.parametrize("left", ["nothing", "empty"])
def test_lines_that_found_no_room_on_the_worker_are_missing(tmp_path: Path, logs: Path, left: str) -> None:
    """Its log says that it wrote something, and the run's log on the worker may be on another disk."""
    run = RunLogs(logs)
    run.begin("worker-1", "worker-1.0001")
    staged = stage(tmp_path, "worker-1.0001", encoded(1, "a"))
    (staged / "log.jsonl.gz").unlink()
    if left == "empty":
        (staged / "log.jsonl.gz").touch()
    run.keep("worker-1", "worker-1.0001", staged)
    assert run.missing("worker-1") == ["worker-1.0001"]


def test_where_dst_is_full_lines_are_missing(tmp_path: Path, logs: Path) -> None:
    logs.write_text("in the way of the folder")
    run = RunLogs(logs)
    run.begin("worker-1", "worker-1.0001")
    run.keep("worker-1", "worker-1.0001", stage(tmp_path, "worker-1.0001", encoded(1, "a")))
    run.keep_rest("worker-1", "worker-1.0001", encoded(1, "a"))
    assert run.missing("worker-1") == ["worker-1.0001"]
    run.close()


def test_the_rest_has_a_file_for_each_batch(logs: Path) -> None:
    run = RunLogs(logs)
    for batch in ("worker-1.0001", "worker-1.0002", "worker-1.0003"):
        run.begin("worker-1", batch)
    hostile = encoded(3, '"batch":"worker-1.0002","stream":"stdout"')
    other = encoded(4, "of a batch that is home", batch="worker-1.0009")
    escaping = encoded(4, "x", batch="../../x.0001")
    lines = [
        encoded(1, "a"),
        encoded(2, "b", batch="worker-1.0002"),
        hostile,
        other,
        escaping,
        encoded(5, "torn")[:-20],
    ]
    for batch in ("worker-1.0001", "worker-1.0002", "worker-1.0003"):
        run.keep_rest("worker-1", batch, b"".join(lines))
    run.close()
    assert set(home_batches(logs)) == {"worker-1.0001", "worker-1.0002"}
    assert messages(logs, "worker-1.0001") == ["a", '"batch":"worker-1.0002","stream":"stdout"']
    assert messages(logs, "worker-1.0002") == ["b"]
    assert read_missing(logs) == {}


def test_what_is_missing_is_written_down(logs: Path) -> None:
    run = RunLogs(logs)
    run.begin("worker-1", "worker-1.0001")
    run.begin("worker-2", "worker-2.0001")
    run.begin("worker-2", "worker-2.0002")
    run.keep_rest("worker-1", "worker-1.0001", b"")
    run.close()
    assert read_missing(logs) == {"worker-2": ["worker-2.0001", "worker-2.0002"]}


@pytest.mark.parametrize("text", ["", "no json", "[]", "7", '{"worker-1": 3}', '"x"'])
def test_a_damaged_list_of_what_is_missing_is_none(logs: Path, text: str) -> None:
    logs.mkdir()
    (logs / MISSING).write_text(text)
    assert read_missing(logs) == {}


def test_what_is_missing_may_be_any_text(logs: Path) -> None:
    logs.mkdir()
    (logs / MISSING).write_text(json.dumps({"worker-1": [7, "b"]}))
    assert read_missing(logs) == {"worker-1": ["7", "b"]}


def test_a_log_that_is_a_link_or_a_folder_is_not_followed(tmp_path: Path, logs: Path) -> None:
    run = RunLogs(logs)
    run.begin("worker-1", "worker-1.0001")
    staged = stage(tmp_path, "worker-1.0001", encoded(1, "a"))
    (staged / "log.jsonl.gz").unlink()
    (staged / "log.jsonl.gz").mkdir()
    run.keep("worker-1", "worker-1.0001", staged)
    assert not logs.exists()


def test_a_worker_finds_the_lines_of_these_batches(tmp_path: Path) -> None:
    """Also in a log that was torn, and where messages look like lines of other batches."""
    wanted = [encoded(1, "a"), encoded(2, "b", batch="worker-1.0003"), encoded(3, '"batch":"worker-1.0009","stream":')]
    others = [encoded(1, "x", batch="worker-1.00011"), encoded(2, '"batch":"worker-1.0001","stream"', batch="w.2")]
    spool = tmp_path / "r1.jsonl"
    spool.write_bytes(b"".join([wanted[0], others[0], b"\0\xff torn\n", wanted[1], others[1], wanted[2]]))
    argv = commands.rest_argv("r1", ["worker-1.0001", "worker-1.0003"], 10_000)
    assert argv[4] == "/var/log/fanrun/r1.jsonl"
    done = subprocess.run([*argv[:4], str(spool), *argv[5:]], capture_output=True, check=True)
    assert done.stdout.splitlines(keepends=True) == wanted
    none = subprocess.run([*argv[:4], str(tmp_path / "nowhere"), *argv[5:]], capture_output=True, check=True)
    assert none.stdout == b""
    few = subprocess.run([*argv[:4], str(spool), "50", *argv[6:]], capture_output=True, check=True)
    assert few.stdout == wanted[0][:50]


def test_no_log_is_refused_that_a_batch_can_have(tmp_path: Path, logs: Path) -> None:
    """Lines that can't be compressed: as many as a batch keeps, in as many parts."""
    target, limit = tmp_path / "target", 1024**2
    target.mkdir()
    log = BatchLog(str(target), limit)
    for _ in range(80):
        log.write(os.urandom(64 * 1024 - 1) + b"\n", 1)
    log.end(lambda text: encoded(1, text))
    size = (target / "log.jsonl.gz").stat().st_size
    assert 2 * limit < size < packed_limit(limit)


@pytest.mark.parametrize("name", ["log.jsonl.gz", "times"])
def test_what_no_batch_writes_is_left_out(tmp_path: Path, logs: Path, name: str) -> None:
    """A host may send what it likes."""
    said = list[str]()
    handler = logger.add(lambda message: said.append(message.record["message"]), level="WARNING")
    run = RunLogs(logs, 1024**2)
    run.begin("worker-1", "worker-1.0001")
    staged = stage(tmp_path, "worker-1.0001", encoded(1, "a"), b"{}\n", "1 3\n")
    os.truncate(staged / name, packed_limit(1024**2) + 1)
    try:
        run.keep("worker-1", "worker-1.0001", staged)
    finally:
        logger.remove(handler)
    if name == "times":
        assert (sorted(path.name for path in logs.iterdir()), said) == (["worker-1.0001.jsonl.gz"], [])
    else:
        assert (logs.exists(), run.missing("worker-1")) == (False, ["worker-1.0001"])
        assert said == ["the log of batch worker-1.0001 is left out: no batch writes one of 19922945 bytes"]
