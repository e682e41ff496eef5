"""Commands of this machine: run, timed out, stopped."""

from __future__ import annotations

import threading
import time

import pytest

from fanrun.fanout.workers.executor import CommandResult, Executor, Stopped

PATIENCE = 20


def shell(script: str) -> list[str | bytes]:
    return ["sh", "-c", script]


def test_a_command_runs_to_its_end() -> None:
    done = Executor().call(shell("cat; echo oops >&2; exit 3"), stdin=b"\0\xff\n")
    assert done == CommandResult(3, b"\0\xff\n", "oops\n")


def test_without_input_there_is_none() -> None:
    assert Executor().call(["cat"]) == CommandResult(0, b"", "")


def test_raw_bytes_are_arguments_too() -> None:
    assert Executor().call([b"printf", b"%s", b"\xff"]).output == b"\xff"


def test_large_input_and_output_do_not_block() -> None:
    data = b"0123456789abcdef" * 200_000
    done = Executor().call(shell("cat; echo x >&2; cat /dev/zero | head -c 3000000 >&2"), stdin=data)
    assert done.output == data
    assert len(done.error) == 3_000_002


def test_what_is_no_text_is_an_error_text_all_the_same() -> None:
    assert Executor().call(shell(r"printf 'a\377b' >&2")).error == "a\ufffdb"


@pytest.mark.parametrize(
    ("error", "reason"),
    [("first\nlast\n", "last"), ("  only  \n\n \n", "only"), ("", "exit 7"), ("\n\n", "exit 7")],
)
def test_the_reason_is_the_last_line_or_the_code(error: str, reason: str) -> None:
    assert CommandResult(7, b"", error).reason == reason


def test_a_child_in_the_background_is_not_waited_for() -> None:
    """So it is with a shared SSH connection, which keeps its standard error open."""
    begun = time.monotonic()
    assert Executor().call(shell("sleep 5 & echo done")).output == b"done\n"
    assert time.monotonic() - begun < 4


def test_a_command_that_lasts_too_long_is_ended() -> None:
    begun = time.monotonic()
    done = Executor().call(shell("echo begun; exec sleep 60"), timeout=0.3)
    assert (done.exit_code, done.output) == (124, b"begun\n")
    assert time.monotonic() - begun < PATIENCE


def test_a_command_that_will_not_hear_of_it_is_ended_all_the_same() -> None:
    begun = time.monotonic()
    done = Executor().call(shell("trap '' TERM; exec sleep 8"), timeout=0.3)
    assert done.exit_code == 124
    assert time.monotonic() - begun < 7


def test_a_program_that_is_not_there_leaves_nothing_running() -> None:
    executor = Executor()
    with pytest.raises(FileNotFoundError):
        executor.call(["/nowhere/program"])
    executor.stop()


def test_stop_ends_all_that_runs_and_nothing_new_begins() -> None:
    executor, began, ends = Executor(), threading.Semaphore(0), list[str]()

    def work() -> None:
        began.release()
        try:
            executor.call(["sleep", "60"])
        except Stopped:
            ends.append("stopped")

    threads = [threading.Thread(target=work, daemon=True) for _ in range(5)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert began.acquire(timeout=PATIENCE)
    executor.stop()
    for thread in threads:
        thread.join(PATIENCE)
    assert ends == ["stopped"] * 5
    with pytest.raises(Stopped):
        executor.call(["true"])
    executor.stop()


def test_a_group_is_stopped_alone() -> None:
    executor, began, ends = Executor(), threading.Semaphore(0), dict[str, str]()

    def work(name: str, group: str) -> None:
        began.release()
        try:
            executor.call(["sleep", "60"], group=group)
        except Stopped:
            ends[name] = "stopped"

    threads = {
        name: threading.Thread(target=work, args=(name, group), daemon=True)
        for name, group in (("one", "push"), ("two", "push"), ("other", "pull"), ("none", ""))
    }
    for thread in threads.values():
        thread.start()
        assert began.acquire(timeout=PATIENCE)
    executor.stop("push")
    for name in ("one", "two"):
        threads[name].join(PATIENCE)
    assert ends == {"one": "stopped", "two": "stopped"}
    with pytest.raises(Stopped):
        executor.call(["true"], group="push")
    assert executor.call(["true"], group="pull").exit_code == executor.call(["true"]).exit_code == 0
    executor.stop()
    for thread in threads.values():
        thread.join(PATIENCE)
    assert ends.keys() == threads.keys()
    with pytest.raises(Stopped):
        executor.call(["true"], group="pull")


def test_ctrl_c_does_not_reach_a_command() -> None:
    """It stands in a session of its own."""
    session, process = Executor().call(shell("ps -o sid= -p $$; echo $$")).output.split()
    assert session == process
