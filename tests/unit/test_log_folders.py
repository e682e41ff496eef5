"""The folders for logs on hosts: their scripts, run here."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

from provision.hosts.common import read_file
from tests.fleet.mounts import fill, small_disk

GIB = 1024**3
DAY = 86400


def expire(folder: Path, days: int = 14, size: int = GIB) -> list[str]:
    """What is left after expire-logs.sh."""
    argv = ["sh", "-c", read_file("expire-logs.sh"), "sh", str(folder), str(days), str(size)]
    subprocess.run(argv, check=True)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())


def put(path: Path, days: float, size: int = 10) -> Path:
    """Write a file that is so many days old, in a folder that is as old."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    for each in (path, path.parent):
        os.utime(each, (time.time() - days * DAY,) * 2)
    return path


def test_old_files_and_empty_folders_go(tmp_path: Path) -> None:
    put(tmp_path / "20260101-000000-ab12/worker-1.jsonl", 15)
    put(tmp_path / '20260102-000000-ab12/worker 1".jsonl', 13)
    put(tmp_path / "20260103-000000-ab12/none", 1).unlink()
    os.utime(tmp_path / "20260103-000000-ab12", (time.time() - DAY,) * 2)
    put(tmp_path / "spool.jsonl", 30)
    assert expire(tmp_path) == ['20260102-000000-ab12/worker 1".jsonl', "spool.jsonl"]
    assert not (tmp_path / "20260103-000000-ab12").exists()
    assert expire(tmp_path, days=12) == ["spool.jsonl"]


def test_the_oldest_go_first_until_the_rest_fits(tmp_path: Path) -> None:
    for number, days in enumerate([3, 5, 1, 4, 2]):
        put(tmp_path / f"run{number}/w.jsonl", days, 100)
    assert expire(tmp_path, size=1000) == [f"run{number}/w.jsonl" for number in range(5)]
    assert expire(tmp_path, size=250) == ["run2/w.jsonl", "run4/w.jsonl"]
    assert expire(tmp_path, size=0) == []


def test_what_is_being_written_is_emptied_last(tmp_path: Path) -> None:
    """Vector appends to the file that it has open, so what it writes from then on can be read."""
    path = put(tmp_path / "run/w.jsonl", 0, 100)
    put(tmp_path / "old/w.jsonl", 1, 100)
    with path.open("ab", buffering=0) as vector:
        assert expire(tmp_path, size=100) == ["run/w.jsonl"]
        assert path.stat().st_size == 100
        assert expire(tmp_path, size=99) == ["run/w.jsonl"]
        vector.write(b"new\n")
    assert path.read_bytes() == b"new\n"


def test_a_part_of_the_disk_stays_free(tmp_path: Path) -> None:
    """The registry writes to it, too."""
    with small_disk(tmp_path / "disk", mib=10) as disk:
        for number in range(9):
            put(disk / f"run{number}/w.jsonl", 9 - number).write_bytes(bytes(1024**2))
            os.utime(disk / f"run{number}/w.jsonl", (time.time() - (9 - number) * DAY,) * 2)
        assert len(expire(disk)) == 9
        fill(disk, left=300)
        assert expire(disk) == ["fill", *(f"run{number}/w.jsonl" for number in range(1, 9))]


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside/run/w.jsonl", 100)
    logs = tmp_path / "logs"
    put(logs / "run/w.jsonl", 1)
    (logs / "away").symlink_to(tmp_path / "outside")
    (logs / "run/link.jsonl").symlink_to(outside)
    (tmp_path / "link").symlink_to(logs)
    assert expire(logs, size=0) == ["away", "run/link.jsonl"]
    assert outside.exists()
    put(logs / "run/w.jsonl", 100)
    expire(tmp_path / "link")
    assert (logs / "run/w.jsonl").exists()


def test_a_services_file_that_is_large_gets_another_name(tmp_path: Path) -> None:
    put(tmp_path / "api/hub.jsonl", 0, 65 * 1024**2)
    put(tmp_path / "processor/worker-1.jsonl", 0, 10)
    put(tmp_path / "20260101-000000-ab12/worker-1.jsonl", 0, 65 * 1024**2)
    today = time.strftime("%Y%m%d", time.gmtime())
    expected = ["20260101-000000-ab12/worker-1.jsonl", f"api/hub.{today}.jsonl", "processor/worker-1.jsonl"]
    assert expire(tmp_path) == expected
    assert expire(tmp_path) == expected
    put(tmp_path / "api/hub.jsonl", 0, 65 * 1024**2)
    assert expire(tmp_path) == sorted([*expected, "api/hub.jsonl"])


def test_no_folder_is_no_mistake(tmp_path: Path) -> None:
    assert expire(tmp_path / "none") == []


def spool(tmp_path: Path, mode: str = "2750", *, vector_group: bool = False) -> str:
    """What spool-folder.sh says, where `vector` is a group or not; nobody's owner is changed."""
    for name, text in {
        "getent": "exit 0" if vector_group else "exit 2",
        "chown": 'echo "$@" >>"${0%/*}/chowned"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    me = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    argv = ["sh", "-c", read_file("spool-folder.sh"), "sh", str(tmp_path / "logs"), me, mode, str(tmp_path / "added")]
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else f"error: {done.stderr}"


def test_the_spools_folder_is_made_once(tmp_path: Path) -> None:
    assert spool(tmp_path) == "made\n"
    assert (tmp_path / "logs").stat().st_mode & 0o7777 == 0o2750
    assert (tmp_path / "added").read_text() == f"tree {tmp_path}/logs\n"
    assert spool(tmp_path) == ""
    assert spool(tmp_path, "2770") == "made\n"
    assert (tmp_path / "added").read_text() == f"tree {tmp_path}/logs\n"


def test_the_spools_folder_is_for_vector_where_it_is(tmp_path: Path) -> None:
    spool(tmp_path, vector_group=True)
    assert re.search(rf":vector {tmp_path}/logs\n$", (tmp_path / "chowned").read_text())


def test_spools_of_yesterday_go(tmp_path: Path) -> None:
    spool(tmp_path)
    put(tmp_path / "logs/old.jsonl", 1.1)
    put(tmp_path / "logs/new.jsonl", 0.9)
    put(tmp_path / "logs/run/old.jsonl", 5)
    (tmp_path / "logs").chmod(0o2750)
    assert spool(tmp_path) == ""
    assert sorted(path.name for path in (tmp_path / "logs").rglob("*.jsonl")) == ["new.jsonl", "old.jsonl"]
    assert (tmp_path / "logs/run/old.jsonl").exists()


def test_a_link_in_the_place_of_the_spools_folder(tmp_path: Path) -> None:
    (tmp_path / "logs").symlink_to(tmp_path / "elsewhere")
    assert "logs is a link; remove it" in spool(tmp_path)
