"""Both halves of log shipping: their VRL is compiled and run by PyPI's vector-vrl, all else by Vector where it is.

vector-vrl has Vector's language and nothing else: no sources, no sinks.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.vrl import ROOT, Interpreter, find_here, in_container

WORKER, HUB = ROOT / "vector.toml", ROOT / "provision" / "hosts" / "files" / "vector-hub.toml"
HALVES = pytest.mark.parametrize("file", [WORKER, HUB], ids=["worker", "hub"])
TIME = "2026-11-27T19:04:39.123Z"


@pytest.fixture(scope="module")
def vrl(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """An interpreter of this machine, or else of a container."""
    folder = tmp_path_factory.mktemp("vrl")
    return find_here(folder / "here") or in_container(folder / "container")


@HALVES
def test_every_transform_compiles(vrl: Interpreter, file: Path) -> None:
    found = vrl.check(file)
    assert found == dict.fromkeys({WORKER: ["batch_lines", "service_lines"], HUB: ["safe"]}[file], "")


def test_what_does_not_compile_is_found(vrl: Interpreter, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text(HUB.read_text().replace('folder = to_string(.run) ?? ""', "folder = ("))
    assert vrl.check(tmp_path / "wrong.toml")["safe"]


@HALVES
def test_its_own_tests_hold(vrl: Interpreter, file: Path) -> None:
    found = vrl.tests(file)
    assert found
    assert found == dict.fromkeys(found, "")


def test_a_test_that_does_not_hold_is_found(vrl: Interpreter, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text(
        HUB.read_text().replace('assert_eq!(.folder, "api")', 'assert_eq!(.folder, "b")')
    )
    assert len([why for why in vrl.tests(tmp_path / "wrong.toml").values() if why]) == 1


@pytest.mark.docker
def test_the_same_in_a_container(tmp_path: Path) -> None:
    """As on a machine that has no new interpreter."""
    there = in_container(tmp_path / "packages")
    found = there.tests(HUB)
    assert found
    assert found == dict.fromkeys(found, "")


def at_hub(vrl: Interpreter, *events: dict[str, Any]) -> list[tuple[str, str]]:
    """The folder and file that the hub chooses for what arrives."""
    return [(each["folder"], each["host"]) for each in vrl.run(HUB, "safe", events)]


@pytest.mark.parametrize(
    ("run", "folder"),
    [
        ("20261127-190439-ab12", "20261127-190439-ab12"),
        ("..", "__"),
        (".", "_"),
        ("../../etc/cron.d", "______etc_cron_d"),
        ("/etc/passwd", "_etc_passwd"),
        ("a\u0000b\n", "a_b_"),
        ("ü{{ host }}", "____host___"),
        ("x" * 300, "x" * 64),
        ("", "unknown"),
        (None, "unknown"),
        (7, "7"),
        (True, "true"),
        ({"a": 1}, "unknown"),
        (["a"], "unknown"),
    ],
)
def test_names_of_files_at_the_hub(vrl: Interpreter, run: object, folder: str) -> None:
    assert at_hub(vrl, {"run": run, "host": "w"}, {"run": "r", "host": run}) == [(folder, "w"), ("r", folder)]


def test_without_names_at_the_hub(vrl: Interpreter) -> None:
    assert at_hub(vrl, {}, {"service": "api", "host": "hub"}, {"run": "", "service": "../b"}) == [
        ("unknown", "unknown"),
        ("api", "hub"),
        ("___b", "unknown"),
    ]


def batch_line(vrl: Interpreter, message: object, **more: object) -> dict[str, Any]:
    """What a worker ships for a line of a spool file."""
    event = {"file": "/var/log/fanrun/r1.jsonl", "offset": 42, "timestamp": TIME, "message": message, **more}
    (found,) = vrl.run(WORKER, "batch_lines", [event])
    return found


@pytest.mark.parametrize("message", ["", "null", "[1]", '"text"', "7", "{", '{"a": 1} trailing', "\u0000", "é" * 1000])
def test_a_line_that_is_no_object_is_a_message(vrl: Interpreter, message: str) -> None:
    found = batch_line(vrl, message)
    expected = {"message": message, "run": "r1", "host": "HOST", "file": "r1.jsonl", "offset": 42}
    assert {key: found[key] for key in expected} == expected
    assert found["timestamp"].startswith("2026-11-27")


@pytest.mark.parametrize("time", ["yesterday", 7, None, {"a": 1}, "2026-99-99T00:00:00Z"])
def test_a_line_with_no_time_has_the_time_of_its_arrival(vrl: Interpreter, time: object) -> None:
    assert batch_line(vrl, json.dumps({"run": "r", "timestamp": time}))["timestamp"] == TIME


def test_a_line_can_not_say_another_place(vrl: Interpreter) -> None:
    record = {"run": "r", "host": "worker-9", "file": "/etc/passwd", "offset": -1, "message": "x" * 400_000}
    found = batch_line(vrl, json.dumps(record))
    assert (found["host"], found["file"], found["offset"]) == ("HOST", "r1.jsonl", 42)
    assert found["message"] == "x" * 400_000
    assert batch_line(vrl, "{}", file=None)["file"] == ""


def service_line(vrl: Interpreter, record: object) -> dict[str, Any]:
    """What is shipped for a line of one of Docker's files."""
    file = "/var/lib/docker/containers/0123456789abcdef/0123456789abcdef-json.log"
    event = {"file": file, "offset": 7, "timestamp": TIME, "message": json.dumps(record)}
    (found,) = vrl.run(WORKER, "service_lines", [event])
    return found


@pytest.mark.parametrize(
    "record",
    [
        {"log": "x\n"},
        {"log": "x\n", "attrs": None},
        {"log": "x\n", "attrs": {"other": "a"}},
        {"log": "x\n", "attrs": {"fanrun.service": ""}},
        {"log": "x\n", "attrs": {"fanrun.service": {"a": 1}}},
        {"log": "x\n", "attrs": "fanrun.service"},
        [1],
        None,
        7,
        "text",
    ],
)
def test_lines_of_others_are_not_shipped(vrl: Interpreter, record: object) -> None:
    assert "aborted" in service_line(vrl, record)["error"]


def test_a_line_of_a_service_without_the_rest(vrl: Interpreter) -> None:
    found = service_line(vrl, {"attrs": {"fanrun.service": "api"}})
    assert (found["service"], found["message"], found["stream"], found["timestamp"]) == ("api", "", None, TIME)


def test_a_file_that_docker_rotates_begins_anew_under_another_name(vrl: Interpreter) -> None:
    lines = [
        {"log": "a\n", "attrs": {"fanrun.service": "api"}, "time": f"2026-11-27T19:04:39.{number}Z"}
        for number in (123456789, 123456790)
    ]
    first, second = (service_line(vrl, line) for line in lines)
    assert first["offset"] == second["offset"]
    assert first["file"] != second["file"]


@HALVES
@pytest.mark.parametrize("argv", [["validate", "--no-environment"], ["test"]], ids=["validate", "test"])
def test_with_vector_itself(file: Path, argv: list[str], tmp_path: Path) -> None:
    if shutil.which("vector") is None:
        pytest.skip("no vector on PATH, so sources and sinks are not checked: install Vector 0.57 to run this")
    text = file.read_text().replace("ADDRESS", "127.0.0.1").replace("HOST", "worker-1")
    (tmp_path / "vector.toml").write_text(text)
    done = subprocess.run(["vector", *argv, str(tmp_path / "vector.toml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
