"""--env and --env-file: which variables are accepted, what the ledger stores of them, and where a worker has them."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from fanrun.fanout import run_commands
from fanrun.fanout.context import RunContext
from fanrun.fanout.request import RunRequest
from fanrun.fanout.variables import KEY_FILE, NO_VARIABLES, Variables, check_same, hash_variables, remembered
from fanrun.fleet.errors import UsageError
from fanrun.tasks.variable_options import MAX_BYTES, chosen_variables
from tests.unit.run_world import IMAGE
from tests.unit.samples import FLEET

SECRET = "battery-staple"
HERE = {"TOKEN": SECRET, "EMPTY": "", "LINES": f"{SECRET}\n2", "RAW": "\udcff"}
LONG = "x" * MAX_BYTES


def chosen(*env: str, file: Path | None = None) -> dict[str, str]:
    """Return the variables of these options, on a machine that has HERE."""
    return dict(chosen_variables({"env": list(env), "env_file": None if file is None else str(file)}, HERE).values)


@pytest.mark.parametrize(
    ("word", "name", "value"),
    [
        ("A=b", "A", "b"),
        ("A=", "A", ""),
        ("A= b=c ", "A", " b=c "),
        ('A="b"', "A", '"b"'),
        ("a.b-c/d#e=1", "a.b-c/d#e", "1"),
        ("PATH=/x", "PATH", "/x"),
        ("HOMES=/x", "HOMES", "/x"),
        ("TOKEN", "TOKEN", SECRET),
        ("EMPTY", "EMPTY", ""),
        ("A=ä", "A", "ä"),
    ],
)
def test_a_variable_is_taken_as_it_is_given(word: str, name: str, value: str) -> None:
    assert chosen(word) == {name: value}


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("", "--env: give NAME=VALUE, or NAME"),
        ("=b", "--env: give NAME=VALUE, or NAME"),
        ("A B=c", "--env: give NAME=VALUE, or NAME"),
        ("#A=c", "--env: give NAME=VALUE, or NAME"),
        ("A\n=c", "--env: give NAME=VALUE, or NAME"),
        ("HOME=/x", "--env: Fanrun itself sets HOME in containers; use another name"),
        ("FANRUN_REPORT=/x", "--env: Fanrun itself sets FANRUN_REPORT in containers; use another name"),
        ("NOWHERE", "--env: NOWHERE is not set here; set it, or give NOWHERE=VALUE"),
        ("LINES", "--env: the value of LINES has more than one line; encode it"),
        (f"A={SECRET}\r", "--env: the value of A has more than one line; encode it"),
        ("RAW", "--env: RAW is not UTF-8; encode it"),
        (f"A={SECRET}{LONG}", "--env: A has more than 60 KiB; use a file, by --mount"),
    ],
)
def test_what_can_not_be_meant_is_told_without_the_value(word: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen(word)
    assert str(caught.value).startswith(words)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_is_read_as_docker_does(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_bytes(b"\xef\xbb\xbfA=1\r\n\n  # B=2\n\tC= 3 \nTOKEN\nA=last\nD='x' # no comment\n")
    expected = {"A": "last", "C": " 3 ", "TOKEN": SECRET, "D": "'x' # no comment"}
    assert chosen(file=file) == expected
    assert chosen("A=option", "A=option 2", file=file) == {**expected, "A": "option 2"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"A=1\n=2", "', line 2: give NAME=VALUE, or NAME for a variable"),
        (b"A=1\n\nexport B=2\n", "', line 3: give NAME=VALUE, or NAME for a variable"),
        (b"HOME=/x", "', line 1: Fanrun itself sets HOME"),
        (b"NOWHERE", "', line 1: NOWHERE is not set here"),
        (b"A=\xff", "' is not UTF-8; give a file of lines NAME=VALUE"),
    ],
)
def test_a_line_that_can_not_be_meant_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "env").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        chosen(file=tmp_path / "env")
    assert words in str(caught.value)


def test_no_text_of_variables_has_their_values() -> None:
    variables = Variables({"A": SECRET})
    request = RunRequest("/src", "/dst", variables=variables)
    context = RunContext(request, FLEET, IMAGE, variables=variables.digest(b"key"))
    for text in (repr(request), repr(context), str(context.remembered)):
        assert SECRET not in text


def test_the_hash_depends_on_names_values_and_the_key(tmp_path: Path) -> None:
    every = [{"A": "1"}, {"A": "2"}, {"B": "1"}, {"A": "1", "B": "1"}, {"A": '1", "B": "1'}]
    assert len({Variables(values).digest(b"key") for values in every}) == len(every)
    assert Variables({"A": "1", "B": "2"}).digest(b"key") == Variables({"B": "2", "A": "1"}).digest(b"key")
    assert Variables({"A": "1"}).digest(b"key") != Variables({"A": "1"}).digest(b"other")


def test_the_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    variables = Variables({"A": "1"})
    assert hash_variables(NO_VARIABLES, tmp_path / "nowhere") == ""
    assert hash_variables(variables, tmp_path, write=False) != hash_variables(variables, tmp_path, write=False)
    assert list(tmp_path.iterdir()) == [], "a plan changes nothing"
    first = hash_variables(variables, tmp_path)
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert first == hash_variables(variables, tmp_path) == hash_variables(variables, tmp_path, write=False)
    (tmp_path / KEY_FILE).unlink()
    assert hash_variables(variables, tmp_path) != first


def test_a_key_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).mkdir()
    with pytest.raises(UsageError, match=r"variables\.key can't be read or written \(Is a directory\)"):
        hash_variables(Variables({"A": "1"}), tmp_path)


def test_variables_are_a_part_of_the_program() -> None:
    contexts = [RunContext(RunRequest("/src", "/dst"), FLEET, IMAGE, variables=each) for each in ("", "a", "b")]
    assert len({context.program for context in contexts}) == 3


def test_a_retry_needs_the_same_variables(tmp_path: Path) -> None:
    variables = Variables({"B": "2", "A": "1"})
    kept = remembered(variables, hash_variables(variables, tmp_path))
    check_same(variables, kept, tmp_path)
    check_same(NO_VARIABLES, {}, tmp_path)
    for others, last, words in (
        (NO_VARIABLES, kept, "whose values are not stored; give the same ones: --env A --env B"),
        (Variables({"A": "1"}), kept, "whose values are not stored; give the same ones: --env A --env B"),
        (variables, {}, "the last run had no environment variables; leave out --env and --env-file"),
        (Variables({"A": "1", "B": SECRET}), kept, "other values of A, B than in the last run; give the same ones"),
    ):
        with pytest.raises(UsageError) as caught:
            check_same(others, last, tmp_path)
        assert words in str(caught.value)
        assert SECRET not in str(caught.value)


def write_on_worker(shell: str, file: Path, text: bytes, size: int) -> subprocess.CompletedProcess[bytes]:
    """Run the script that keeps variables on a worker."""
    argv = [shell, *run_commands.variables_argv("r", size)[1:4], str(size), str(file)]
    return subprocess.run(argv, input=text, capture_output=True, check=False)


def test_a_worker_keeps_variables_for_the_login_alone(shell: str, tmp_path: Path) -> None:
    text, file = Variables({"B": " ä", "A": "$x"}).env_file, tmp_path / "variables"
    assert text == "A=$x\nB= ä\n".encode()
    done = write_on_worker(shell, file, text, len(text))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (text, 0o600)
    assert os.listdir(tmp_path) == ["variables"]


def test_variables_that_did_not_arrive_completely_are_not_used(shell: str, tmp_path: Path) -> None:
    done = write_on_worker(shell, tmp_path / "variables", b"A=1", 4)
    assert (done.returncode, done.stderr) == (1, b"the variables did not arrive completely\n")
    assert not (tmp_path / "variables").exists()
    assert write_on_worker(shell, tmp_path / "gone" / "variables", b"A=1", 3).returncode == 1
