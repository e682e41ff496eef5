"""Inputs and the deal."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fanout.plan import HANDLING, MAX_BYTES, Batch, Input, Skipped, chooser, deal, unreadable, walk, weight
from fanrun.fleet.errors import UsageError
from tests.unit.samples import HOSTILE, unmeasured, write_tree

ROOT = Path(__file__).resolve().parents[2]
MANY = 100_000

sizes = st.one_of(st.integers(0, 1000), st.integers(0, 2 * MAX_BYTES))
shares = st.lists(sizes, max_size=40).map(lambda found: [Input(b"%06d" % n, size) for n, size in enumerate(found)])
workers = st.integers(1, 20).map(lambda count: [f"worker-{n}" for n in range(1, count + 1)])


@given(shares, workers)
def test_inputs_are_dealt_as_cards(inputs: list[Input], names: list[str]) -> None:
    dealt = deal(inputs, names)
    assert list(dealt) == names
    for place, item in enumerate(inputs):
        assert dealt[names[place % len(names)]][place // len(names)] == item
    assert sum(map(len, dealt.values())) == len(inputs)


@given(shares)
def test_a_batch_has_the_size_of_its_inputs_and_every_input_weighs_something(inputs: list[Input]) -> None:
    batch = Batch("b", tuple(inputs))
    assert batch.size == sum(item.size for item in inputs)
    assert sum(map(weight, inputs)) == batch.size + HANDLING * len(inputs)
    assert HANDLING > 0


def test_walk_finds_hostile_names_sorted_and_sized(tmp_path: Path) -> None:
    written = write_tree(tmp_path)
    inputs, skipped = walk(str(tmp_path))
    assert inputs == [Input(key, len(content)) for key, content in sorted(written.items())]
    assert skipped == Skipped()


names = st.binary(min_size=1, max_size=12).filter(
    lambda n: not set(n) & {0, 0x2F} and n not in (b".", b"..", b".fanrun")
)


@given(st.sets(names, min_size=1, max_size=8), st.sets(names, max_size=4))
def test_walk_finds_any_name_in_any_folder(files: set[bytes], folders: set[bytes]) -> None:
    folders -= files
    keys = {*files, *(folder + b"/" + name for folder in folders for name in files)}
    with tempfile.TemporaryDirectory() as top:
        write_tree(Path(top), tuple(keys))
        inputs, _ = walk(top)
    assert [item.key for item in inputs] == sorted(keys)


def test_walk_of_a_source_with_a_hostile_name(tmp_path: Path) -> None:
    for name in ("-x", "a b", "new\nline", os.fsdecode(b"\xff")):
        write_tree(tmp_path / name, (b"a",))
        assert [item.key for item in walk(str(tmp_path / name))[0]] == [b"a"]


def test_walk_takes_regular_files_and_links_to_files(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "big").write_bytes(b"12345")
    src = tmp_path / "src"
    (src / "empty" / "er").mkdir(parents=True)
    (src / "file").write_bytes(b"1")
    (src / "link").symlink_to(tmp_path / "elsewhere" / "big")
    (src / "broken").symlink_to("nowhere")
    (src / "folder").symlink_to(tmp_path / "elsewhere")
    (src / "up").symlink_to("..")
    os.mkfifo(src / "fifo")
    assert walk(str(src)) == ([Input(b"broken", 0), Input(b"file", 1), Input(b"link", 5)], Skipped(links=2))


def test_a_link_that_can_not_be_followed_is_an_input_that_fails(tmp_path: Path) -> None:
    """As in a folder of git-annex or DVC whose content is not here."""
    write_tree(tmp_path, (b"a",))
    for name, target in (("gone", "../objects/1"), ("loop", "loop"), ("below", "a/b")):
        (tmp_path / name).symlink_to(target)
    assert [item.key for item in walk(str(tmp_path))[0]] == [b"a", b"below", b"gone", b"loop"]
    with pytest.raises(OSError, match=r".") as caught:
        (tmp_path / "gone").stat()
    why = unreadable(os.fsencode(tmp_path / "gone"), caught.value)
    assert why == "it is a link to ../objects/1, which can't be read (No such file or directory)"
    assert (
        unreadable(os.fsencode(tmp_path / "none"), caught.value)
        == "it can't be read in SRC (No such file or directory)"
    )


def test_walk_leaves_out_the_state_folder_at_the_top_only(tmp_path: Path) -> None:
    write_tree(tmp_path, (b".fanrun/runs/report.json", b"a/.fanrun/kept", b".fanrun2/kept"))
    assert [item.key for item in walk(str(tmp_path))[0]] == [b".fanrun2/kept", b"a/.fanrun/kept"]


def test_a_file_with_the_state_folders_name_is_no_input(tmp_path: Path) -> None:
    """Its result could never be written: STATE is "never an input, never a result"."""
    write_tree(tmp_path, (b".fanrun", b"a"))
    assert [item.key for item in walk(str(tmp_path))[0]] == [b"a"]


@pytest.mark.parametrize("name", ["missing", "file"])
def test_walk_of_what_is_no_folder_is_a_usage_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=name):
        walk(str(tmp_path / name))


# Root reads everything, so the walk runs as somebody else; from inside the folder, as tmp_path's parents are private.
AS_NOBODY = """
import os, sys
from fanrun.fanout.plan import chooser, walk
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.setegid(65534), os.seteuid(65534)
try:
    os.listdir("locked")
except PermissionError:
    print([item.key for item in walk(".", chooser((), sys.argv[2:]))[0]])
"""


def walk_as_nobody(src: Path, *exclude: str) -> subprocess.CompletedProcess[str]:
    src.chmod(0o755)
    write_tree(src, (b"a", b"locked/b"))
    (src / "locked").chmod(0)
    try:
        argv = [sys.executable, "-c", AS_NOBODY, str(src), *exclude]
        return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, env=unmeasured())
    finally:
        (src / "locked").chmod(0o755)


def test_an_unreadable_folder_is_named(tmp_path: Path) -> None:
    done = walk_as_nobody(tmp_path)
    assert "UsageError: './locked/' can't be read (Permission denied)" in done.stderr.splitlines()[-1]


def test_an_unreadable_folder_can_be_excluded(tmp_path: Path) -> None:
    """It is the next step that the error names."""
    done = walk_as_nobody(tmp_path, "locked/*")
    assert done.stdout == "[b'a']\n", done.stderr


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ((), (), ["A.JPG", "a.jpg", "b.png", "d/a.jpg", "d/e/b.png", "n\n.jpg"]),
        (("*.jpg",), (), ["a.jpg", "d/a.jpg", "n\n.jpg"]),
        (("*.jpg", "b.*"), (), ["a.jpg", "b.png", "d/a.jpg", "d/e/b.png", "n\n.jpg"]),
        (("*.jpg",), ("a*",), ["n\n.jpg"]),
        ((), ("*.png", "*.JPG"), ["a.jpg", "d/a.jpg", "n\n.jpg"]),
        (("d/*",), (), ["d/a.jpg", "d/e/b.png"]),
        (("/a.jpg",), (), ["a.jpg"]),
        (("*/b.png",), (), ["d/e/b.png"]),
        (("[ab].*",), ("d/*",), ["a.jpg", "b.png"]),
        (("nothing",), (), []),
        (("*",), ("*",), []),
        ((), ("jpg",), ["A.JPG", "a.jpg", "b.png", "d/a.jpg", "d/e/b.png", "n\n.jpg"]),
    ],
)
def test_include_and_exclude(include: tuple[str, ...], exclude: tuple[str, ...], expected: list[str]) -> None:
    keys = ["A.JPG", "a.jpg", "b.png", "d/a.jpg", "d/e/b.png", "n\n.jpg"]
    chosen = chooser(include, exclude)
    assert [key for key in keys if chosen.takes(key.encode())] == expected


def test_what_file_managers_and_editors_leave_is_skipped_and_counted(tmp_path: Path) -> None:
    junk = [".DS_Store", "d/Thumbs.db", "d/desktop.ini", "d/Desktop.ini", "._a.jpg", "notes.txt~", "d/.a.txt.swp"]
    inputs = [".zarray", ".hidden/a", "a.jpg", "DS_Store", "a.swp", "d/b~c", "thumbs.db.jpg"]
    for name in (*junk, *inputs):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found, skipped = walk(str(tmp_path), chooser((), ()))
    assert {item.key.decode() for item in found} == set(inputs)
    assert skipped == Skipped(junk=len(junk))
    found, skipped = walk(str(tmp_path), chooser((), (), junk=True))
    assert {item.key.decode() for item in found} == {*junk, *inputs}
    assert skipped == Skipped()
    assert walk(str(tmp_path), chooser((), ("d/*", "*~")))[1] == Skipped(junk=2), "only of what was chosen"


def test_patterns_match_names_that_are_no_utf8() -> None:
    assert chooser(("*.jpg",), ()).takes(b"\xff\xfe.jpg")
    assert chooser((os.fsdecode(b"\xff*"),), ()).takes(b"\xff\xfe.jpg")
    assert all(chooser(("*",), (), junk=True).takes(key) for key in HOSTILE)


@pytest.fixture(scope="module")
def many() -> Iterator[str]:
    """100,000 empty files in 100 folders; deleted at once, not kept as tmp_path's are."""
    memory = "/dev/shm"  # ten times as quick as a disk, where there is one
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as top:
        for place in range(100):
            os.mkdir(f"{top}/{place:02}")
            for name in range(MANY // 100):
                os.mknod(f"{top}/{place:02}/{name:06}.jpg")
        yield top


PLAN = """
import resource, sys, time
from fanrun.fanout import plan
begun = time.process_time()
inputs, _ = plan.walk(sys.argv[1], plan.chooser(("*.jpg",), ("*.png",)))
dealt = plan.deal(inputs, ["worker-1", "worker-2"])
assert sum(map(len, dealt.values())) == len(inputs) == int(sys.argv[2])
print(time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_planning_100_000_inputs_is_quick_and_small(many: str) -> None:
    """Under 5 s of a processor and 150 MB: a bound, not a benchmark."""
    # By way of sh: a process begins with the peak of the one that started it, and pytest's own is large.
    argv = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", PLAN, many, str(MANY)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, peak = done.stdout.split()
    unit = 1 if sys.platform == "darwin" else 1024
    assert float(seconds) < 5
    assert int(peak) * unit < 150e6
