"""What a login shell is sent, and how the answer is found; more shells are tried on a machine (tests/fleet)."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fanout.workers.executor import CommandResult
from fanrun.fanout.workers.link import heard
from fanrun.fleet import shell
from fanrun.fleet.shell import MARK, NONCE, Heard, complaint, first_words, line, read, refusal

ANY_TEXT = st.binary(max_size=60).map(lambda data: os.fsdecode(data.replace(b"\0", b"")))


def test_the_line_holds_the_command_so_that_every_shell_leaves_it_alone() -> None:
    told = r"""'sh -c \0047echo $1 it\0047"\0047"\0047s\0012\0047 sh \0047\0303\0251\0041\0134\0047'"""
    sent = line(["sh", "-c", "echo $1 it's\n", "sh", "é!\\"])
    assert sent == f"exec /bin/sh -c '{shell.FRAME}' '{NONCE}' {told}"


@given(st.lists(ANY_TEXT, max_size=4))
def test_no_byte_is_one_that_a_shell_takes_for_its_own(argv: list[str]) -> None:
    sent = line(argv)
    assert sent.isascii()
    assert sent.isprintable()
    assert "!" not in sent
    assert max(map(len, sent.split("'"))) <= shell.MAX_WORD


@pytest.mark.parametrize("program", ["sh", "bash"])
@given(argv=st.lists(ANY_TEXT, max_size=4))
def test_a_shell_on_the_host_gets_the_argv(program: str, argv: list[str]) -> None:
    done = subprocess.run([program, "-c", line(["printf", "%s\\0", *argv, "end"])], capture_output=True, check=True)
    assert read(os.fsdecode(done.stdout)).text.split("\0")[:-1] == [*argv, "end"]


@pytest.mark.parametrize("options", ["-c", "-xc", "-vc"])
def test_a_shell_that_shows_what_it_does_is_no_answer(options: str) -> None:
    sent = line(["sh", "-c", "cat; echo out; echo err >&2; exit 3"])
    done = subprocess.run(["bash", options, sent], input="in\n", capture_output=True, text=True, check=False)
    out, err = read(done.stdout), read(done.stderr)
    assert (done.returncode, out.text, err.text) == (3, "in\nout\n", "err\n")
    assert out.noise == ""
    assert (NONCE in err.noise) == (options != "-c")


@pytest.mark.parametrize("noise", ["", "Welcome", "a\n\nb", NONCE, f"{NONCE}>", MARK[:-1], "<>"], ids=range(7))
def test_an_answer_stands_between_marks(noise: str) -> None:
    assert read(f"{noise}{MARK}an\nanswer{MARK}{noise}") == Heard("an\nanswer", noise, began=True)
    assert read(f"{noise}{MARK}cut of") == Heard("cut of", noise, began=True)
    assert read(noise) == Heard("", noise, began=False)


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        (CommandResult(0, f"hi{MARK}a\n{MARK}".encode(), f"oh{MARK}e\n"), CommandResult(0, b"a\n", "e\n", "hi")),
        (CommandResult(3, f"{MARK}a".encode(), f"{MARK}e\n"), CommandResult(3, b"a", "e\n")),
        (CommandResult(255, b"hi", "Connection closed\n"), CommandResult(255, b"hi", "Connection closed\n")),
        (CommandResult(124, b"", ""), CommandResult(124, b"", "")),
    ],
)
def test_a_run_hears_the_command_alone(done: CommandResult, expected: CommandResult) -> None:
    assert heard(done) == expected


@pytest.mark.parametrize(("code", "output"), [(0, b"Welcome\n"), (1, b"This account is currently not available.\n")])
def test_a_login_that_runs_nothing_is_never_a_command_that_went_well(code: int, output: bytes) -> None:
    done = heard(CommandResult(code, output, ""))
    assert done.exit_code != 0
    assert done.reason == refusal(output.decode(), "")


def test_what_is_told_of_a_login() -> None:
    assert refusal("Hi\nNot today.\n\n", "") == (
        "its login shell runs no commands (Not today.); give the login another shell, as with chsh -s /bin/sh"
    )
    assert "(restricted)" in refusal("Not today.", "restricted\n")
    assert "(it said nothing)" in refusal("\n", "")
    assert complaint("\n Hi  you!\nmore", "/home/a/.bashrc") == (
        "its login prints 'Hi  you!', which breaks rsync; remove that from /home/a/.bashrc, or print it in "
        "interactive shells alone"
    )
    assert "prints blank lines, which" in complaint("\n")
    assert "(`fab up` names the file)" in complaint("Hi")


@given(st.text())
def test_a_message_about_a_login_is_one_line_that_can_be_shown(noise: str) -> None:
    assert complaint(noise).isprintable()
    assert refusal(noise, noise).isprintable()
    assert len(first_words(noise)) <= 60
