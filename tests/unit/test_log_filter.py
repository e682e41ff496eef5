"""The log filter as a process of its own: what it writes of what a program prints."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fanrun.fanout.worker_files import log_filter
from tests.unit.filtering import FILTER, SOURCES, joined, make_log, run_filter, run_python, start_filter
from tests.waiting import wait_until

LINE = 64 * 1024
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def test_batch_starts_it_in_one_place() -> None:
    assert len(FILTER) == 1


def test_a_line_is_one_json_object_to_the_letter(tmp_path: Path) -> None:
    script = """printf 'plain\\n"quoted" \\\\ \\t tab\\n'; printf 'ERROR: bad\\n' >&2"""
    done = run_filter(tmp_path / "out", "sh", "-c", script)
    head = '"fleet":"f","run":"r1","host":"worker-1","batch":"worker-1.0001"'
    streams = {
        "stdout": ['"message":"plain"', '"message":"\\"quoted\\" \\\\ \\t tab"'],
        "stderr": ['"level":"error","message":"ERROR: bad"'],
    }
    lines = done.spool.read_text().splitlines()
    first = rf'{{"timestamp":"{TIME}",{head},"stream":"fanrun","spool":"begin","message":"[a-z ]+\([0-9a-f]{{16}}\)"}}'
    assert re.fullmatch(first, lines[0])
    for stream, rest in streams.items():
        found = [line for line in lines if f'"stream":"{stream}"' in line]
        assert [re.sub(TIME, "T", line) for line in found] == [
            f'{{"timestamp":"T",{head},"stream":"{stream}",{more}}}' for more in rest
        ]
    assert done.records() == done.spooled()[1:]
    assert sorted((done.target / "log").read_text().splitlines()) == ['"quoted" \\ \t tab', "ERROR: bad", "plain"]


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        (["true"], 0, []),
        (["sh", "-c", "exit 3"], 3, []),
        (["sh", "-c", "echo x; exit 125"], 125, []),
        (["sh", "-c", "kill -9 $$"], 137, []),
        (["sh", "-c", "kill -15 $$"], 143, []),
        (["/nowhere/program"], 127, ["/nowhere/program: No such file or directory"]),
        (["no-such-program-anywhere"], 127, ["no-such-program-anywhere: No such file or directory"]),
        (["/etc/passwd"], 126, ["/etc/passwd: Permission denied"]),
        (["/"], 126, ["/: Permission denied"]),
    ],
)
def test_the_exit_code_is_the_programs(tmp_path: Path, program: list[str], code: int, said: list[str]) -> None:
    done = run_filter(tmp_path / "out", *program)
    assert (done.code, done.error) == (code, "")
    assert (done.target / "log").exists()
    if said:
        assert done.messages("stderr") == said


def test_a_program_that_prints_nothing_leaves_no_lines(tmp_path: Path) -> None:
    done = run_filter(tmp_path / "out", "true")
    assert {path.name for path in done.target.iterdir()} == {"log", "report.jsonl"}
    assert not done.spool.exists()


@pytest.mark.parametrize(
    ("written", "messages"),
    [
        (b"no newline at the end", ["no newline at the end"]),
        (b"one\r\ntwo\r\n", ["one\r", "two\r"]),
        (b"\n\n\nx\n", ["", "", "", "x"]),
        (b"nul \0 byte\n", ["nul \0 byte"]),
        (b"\x1b[31mred\x1b[0m \x07 \x7f\n", ["\x1b[31mred\x1b[0m \x07 \x7f"]),
        (b"\xff\xfe latin \xe9 end\n", ["\ufffd\ufffd latin \ufffd end"]),
        (b"\xed\xa0\x80 surrogate\n", ["\ufffd\ufffd\ufffd surrogate"]),
        ("caf\u00e9 \u2028 \U0001f600\n".encode(), ["caf\u00e9 \u2028 \U0001f600"]),
        (b"\xe2\x82", ["\ufffd"]),
        (b'{"timestamp":"x","batch":"worker-2.0001"}\n', ['{"timestamp":"x","batch":"worker-2.0001"}']),
    ],
)
def test_odd_bytes(tmp_path: Path, written: bytes, messages: list[str]) -> None:
    done = run_python(tmp_path / "out", f"out.write({written!r})")
    assert done.messages() == messages
    assert (done.target / "log").read_bytes() == written
    assert {record["batch"] for record in done.records()} == {"worker-1.0001"}


def test_a_character_that_is_read_in_two_parts_is_one(tmp_path: Path) -> None:
    script = "for byte in sys.argv[1].encode():\n  os.write(1, bytes([byte])); time.sleep(0.005)"
    assert run_python(tmp_path / "out", script, "\u20ac\U0001f600x\n").messages() == ["\u20ac\U0001f600x"]


@pytest.mark.parametrize("text", ["\u00e9", "\u20ac", "\U0001f600"])
@pytest.mark.parametrize("before", range(4))
def test_a_long_line_is_cut_between_characters(tmp_path: Path, text: str, before: int) -> None:
    line = "a" * before + text * (3 * LINE // len(text.encode()))
    done = run_python(tmp_path / "out", "out.write(eval(sys.argv[1]).encode())", repr_of(line))
    records = done.records()
    assert "".join(record["message"] for record in records) == line
    assert all(LINE - 3 <= len(record["message"].encode()) <= LINE for record in records[:-1])
    assert [record.get("partial") for record in records] == [*[True] * (len(records) - 1), None]


def repr_of(line: str) -> str:
    """Return a short expression for a line of few different characters."""
    char = line[-1]
    head = line.rstrip(char)
    return f"{head!r} + {char!r} * {len(line) - len(head)}"


def test_continuation_bytes_without_a_character_break_none(tmp_path: Path) -> None:
    """Four bytes of a character that is whole, and one more, just where the line is cut."""
    data = b"a" * (LINE - 4) + "\U0001f600".encode() + b"\x80\n"
    done = run_python(tmp_path / "out", f"out.write(b'a' * {LINE - 4} + {data[LINE - 4 :]!r})")
    assert "".join(done.messages()) == data[:-1].decode("utf-8", "replace")


def test_the_last_64_kib_are_kept_as_they_came(tmp_path: Path) -> None:
    done = run_python(tmp_path / "out", "out.write(b''.join(b'%d\\n' % n for n in range(100000)))")
    whole = b"".join(b"%d\n" % n for n in range(100000))
    assert (done.target / "log").read_bytes() == whole[-64 * 1024 :]


def test_report_times(tmp_path: Path) -> None:
    report = tmp_path / "out" / "report.jsonl"
    script = f"""
print("begin", flush=True)
for name in "ab":
    open({str(report)!r}, "a").write(name * 10 + "\\n")
    time.sleep(0.4)
"""
    done = run_python(tmp_path / "out", script)
    times = [tuple(map(int, line.split())) for line in (done.target / "times").read_text().splitlines()]
    assert [size for _, size in times] == [11, 22]
    assert 250 < times[1][0] - times[0][0] < 5000
    assert abs(times[1][0] / 1000 - report.stat().st_mtime) < 1


def test_the_report_is_watched_after_the_output_was_closed(tmp_path: Path) -> None:
    report = tmp_path / "out" / "report.jsonl"
    script = f'echo begin; exec >&- 2>&-; for n in 1 2; do echo $n >>"{report}"; sleep 0.3; done; exit 7'
    done = run_filter(tmp_path / "out", "sh", "-c", script)
    assert done.code == 7
    assert [line.split()[1] for line in (done.target / "times").read_text().splitlines()] == ["2", "4"]
    assert done.messages() == ["begin"]


@pytest.mark.parametrize("noise", ["sleep 1000", "while echo more; do sleep 0.01; done"])
def test_what_a_program_leaves_behind_does_not_keep_it(tmp_path: Path, noise: str) -> None:
    script = f'({noise}) >&2 2>/dev/null & echo $! >"{tmp_path}/pid"; echo last; exit 5'
    # It holds the pipes open, but not those of this test.
    done = run_filter(tmp_path / "out", "sh", "-c", f"exec 2>&1; {script}")
    with contextlib.suppress(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert done.code == 5
    assert "last" in done.messages()


def test_lines_are_in_the_spool_while_the_program_runs(tmp_path: Path) -> None:
    spool = tmp_path / "spool.jsonl"
    with start_filter(
        tmp_path / "out", "sh", "-c", f'echo now; until [ -e "{tmp_path}/go" ]; do sleep 0.02; done'
    ) as run:
        wait_until(lambda: spool.exists() and b'"now"' in spool.read_bytes())
        (tmp_path / "go").touch()
        assert run.wait(60) == 0


CHUNKS = st.lists(
    st.tuples(
        st.sampled_from(["stdout", "stderr"]),
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from([b"\n", b"\r\n", b"\xe2", b"\x82\xac", b"\xf0\x9f", b"\x98\x80", b"\x80\x80", b"\0"]),
            st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace")),
            st.integers(LINE - 6, LINE + 6).map(lambda count: b"a" * count),
        ),
    ),
    max_size=12,
)
WRITER = """
for name, data in eval(open(sys.argv[1]).read()):
    file = {"stdout": out, "stderr": err}[name]
    file.write(data)
    file.flush()
"""


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHUNKS)
def test_nothing_is_lost(tmp_path: Path, chunks: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as top:
        (Path(top) / "chunks").write_text(repr(chunks))
        done = run_python(Path(top) / "out", WRITER, f"{top}/chunks")
        assert (done.code, done.error) == (0, "")
        printed = any(data for _, data in chunks)
        records = done.records() if printed else []
        for stream in ("stdout", "stderr"):
            whole = b"".join(data for name, data in chunks if name == stream)
            if whole and not whole.endswith(b"\n"):
                whole += b"\n"
            assert joined(records, stream) == decoded(whole)
        assert all(len(json.dumps(record)) for record in records)


def decoded(whole: bytes) -> str:
    """Decode each line for itself, as an incomplete character ends with its line."""
    return "".join(f"{line.decode('utf-8', 'replace')}\n" for line in whole.split(b"\n")[:-1])


def test_it_needs_no_more_than_the_standard_library() -> None:
    texts = "".join(path.read_text() for path in SOURCES.glob("log_*.py"))
    names = set(re.findall(r"(?m)^\s*(?:import|from) (\w+)", texts))
    assert names - set(sys.stdlib_module_names) == {"fanrun", "log_files", "log_spool"}


@pytest.mark.parametrize(
    ("back", "expected"), [(0.001, "00:16:40.500Z"), (0.9, "00:16:40.500Z"), (60, "00:15:40.500Z")]
)
def test_lines_stay_in_order_where_the_clock_is_set_back_a_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, back: float, expected: str
) -> None:
    log = log_filter.Log(str(tmp_path), "", make_log(tmp_path / "batch"))
    clock = SimpleNamespace(time=iter([1000.5, 1000.5 - back]).__next__, strftime=time.strftime, gmtime=time.gmtime)
    monkeypatch.setattr(log_filter, "time", clock)
    assert "00:16:40.500Z" in log.head()
    assert expected in log.head()
