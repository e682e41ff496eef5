"""Whose a result is, by its name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fanrun.fanout.results.attribution import attribute, part
from fanrun.fanout.results.names import Layout, Names, stems

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("keys", "paths", "owned", "nobody"),
    [
        ("a.jpg", "a.jpg", {"a.jpg": "a.jpg"}, ""),
        ("a.jpg", "a.png a-small.webp a2.png", {"a.jpg": "a.png a-small.webp a2.png"}, ""),
        ("a.jpg", "b.jpg d/b.jpg", {}, "b.jpg d/b.jpg"),
        ("d/a.jpg", "a.jpg", {}, "a.jpg"),
        ("1.jpg 10.jpg", "1.png 10.png 10-2.png", {"1.jpg": "1.png", "10.jpg": "10.png 10-2.png"}, ""),
        ("a.jpg a.png", "a.png a.jpg", {"a.png": "a.png", "a.jpg": "a.jpg"}, ""),
        ("a ab", "abc a-1", {"ab": "abc", "a": "a-1"}, ""),
        ("a a_1", "a a_1", {"a": "a", "a_1": "a_1"}, ""),
        (".hidden", ".hidden.jpg", {".hidden": ".hidden.jpg"}, ""),
        ("a.tar.gz", "a.tar.png a.txt", {"a.tar.gz": "a.tar.png a.txt"}, ""),
        (
            " ".join(f"f.{n}.exr" for n in range(9)),
            " ".join([*(f"f.{n}.png" for n in range(9)), "f.log"]),
            {f"f.{n}.exr": f"f.{n}.png" for n in range(9)},
            "f.log",
        ),
        (
            "log.1 log.2 log.10",
            "log.1.gz log.2.gz log.10.gz",
            {"log.1": "log.1.gz", "log.2": "log.2.gz", "log.10": "log.10.gz"},
            "",
        ),
        ("x.fastq.gz y.fastq.gz", "x.bam y.bam", {"x.fastq.gz": "x.bam", "y.fastq.gz": "y.bam"}, ""),
        (
            "t_1.5_2.jpg t_1.7_2.jpg",
            "t_1.5_2.png t_1.7_2.png",
            {"t_1.5_2.jpg": "t_1.5_2.png", "t_1.7_2.jpg": "t_1.7_2.png"},
            "",
        ),
        ("a.jpg b.jpg", "a/tile_0.png b.jpg/1/2.png", {"a.jpg": "a/tile_0.png", "b.jpg": "b.jpg/1/2.png"}, ""),
        (
            "a.jpg d/c.jpg",
            "64/a.png 64/d/c.png d/32/c.png",
            {"a.jpg": "64/a.png", "d/c.jpg": "64/d/c.png d/32/c.png"},
            "",
        ),
        ("a.jpg", "summary.csv a.png", {"a.jpg": "a.png"}, "summary.csv"),
    ],
)
def test_whose_a_result_is(keys: str, paths: str, owned: dict[str, str], nobody: str) -> None:
    found = attribute([key.encode() for key in keys.split()], [path.encode() for path in paths.split()])
    assert found.results == {key.encode(): [path.encode() for path in mine.split()] for key, mine in owned.items()}
    assert (found.unclear, found.nobody) == ([], [path.encode() for path in nobody.split()])


@pytest.mark.parametrize(
    ("keys", "paths", "undecided"),
    [
        ("a.csv a.log a.txt", "a.gz", "a.csv a.log a.txt"),
        ("a.csv a.log a.txt", "a.log.gz a.txt.gz", "a.csv a.log a.txt"),
        ("a.jpg a.png", "a.png", "a.jpg a.png"),
        ("scan.jpg scan.tif", "scan.png", "scan.jpg scan.tif"),
        ("scan.jpg scan.tif", "scan.tif scan.png", "scan.jpg scan.tif"),
        ("syslog syslog.1 syslog.2", "syslog.gz syslog.1.gz syslog.2.gz", "syslog syslog.1 syslog.2"),
        ("x.jpg x_1.jpg z.jpg", "x_1.png x_2.png x_1_1.png z.png", "x.jpg x_1.jpg"),
        ("plate1.jpg plate10.jpg", "plate10.png plate100.png", "plate1.jpg plate10.jpg"),
        ("a.jpg a.tif", "a/1.png", "a.jpg a.tif"),
        ("a a_1.jpg", "a_1.png", "a a_1.jpg"),
        ("a a_1", "a_1.png", "a a_1"),
        ("a.tif a_1", "a_1.png", "a.tif a_1"),
        ("a a.jpg", "a.png", "a a.jpg"),
    ],
)
def test_what_several_inputs_fit_is_nobodys_yet(keys: str, paths: str, undecided: str) -> None:
    found = attribute([key.encode() for key in keys.split()], [path.encode() for path in paths.split()])
    assert found.undecided == {key.encode() for key in undecided.split()}
    assert found.nobody == []


def test_named_results_are_an_inputs_own_whatever_they_are_called() -> None:
    keys, paths = [b"a.jpg", b"b.jpg"], [b"x/1.png", b"b.png", b"a.png"]
    found = attribute(keys, paths, {b"a.jpg": [b"x/1.png", b"gone.png"]})
    assert found.results == {b"a.jpg": [b"x/1.png"], b"b.jpg": [b"b.png"]}
    assert found.nobody == [b"a.png"]


# Names that have much in common, so that results often fit several inputs.
names = st.builds(
    lambda stem, end: stem + end,
    st.sampled_from(["a", "ab", "a_1", "a1", "a10", "a.b", "b", "log"]),
    st.sampled_from(["", ".jpg", ".tif", ".1", ".2", ".tar.gz"]),
)
keys = st.lists(
    st.builds(lambda folder, name: (folder + name).encode(), st.sampled_from(["", "d/", "d/e/"]), names),
    unique=True,
    min_size=1,
    max_size=9,
)


def split(key: bytes) -> tuple[bytes, bytes]:
    folder, name = os.path.split(key)
    return (folder + b"/" if folder else b""), name


def stem(name: bytes) -> bytes:
    return os.path.splitext(name)[0]


PROGRAMS: dict[str, Callable[[bytes, bytes], list[bytes]]] = {
    "the same name": lambda folder, name: [folder + name],
    "a longer name": lambda folder, name: [folder + name + b".gz"],
    "another extension": lambda folder, name: [folder + stem(name) + b".png"],
    "no extension": lambda folder, name: [folder + (list(stems(name)) or [name])[-1] + b".bam"],
    "two": lambda folder, name: [folder + stem(name) + b".png", folder + name + b".json"],
    "tiles": lambda folder, name: [folder + stem(name) + b"_%d.png" % n for n in (1, 2)],
    "tiles in a folder": lambda folder, name: [folder + name + b"/%d.png" % n for n in (1, 2)],
    "a folder for each size": lambda folder, name: [b"64/" + folder + name + b".png"],
}


def attribute_in_rounds(inputs: list[bytes], made: dict[bytes, bytes]) -> dict[bytes, list[bytes]]:
    """Return the results of each input; where they are not clear, the inputs are run again in smaller batches."""
    waiting, settled = [inputs], dict[bytes, list[bytes]]()
    for _ in range(9):
        following = []
        for batch in waiting:
            there = [path for path, key in made.items() if key in batch]
            found = attribute(batch, there)
            undecided = found.undecided
            for key, paths in found.results.items():
                if key not in undecided:
                    settled[key] = paths
            groups = part(batch, found.unclear)
            assert all(len(group) < len(batch) for group in groups)
            following += groups
        waiting = following
    assert not waiting, "it comes to an end"
    return settled


@given(keys, st.sampled_from(sorted(PROGRAMS)), st.sets(st.integers(0, 8), max_size=2))
def test_no_input_gets_another_ones_result(inputs: list[bytes], program: str, skipped: set[int]) -> None:
    """The program marks each result with its input, and passes over some inputs without a word."""
    inputs = sorted(inputs)
    made = dict[bytes, bytes]()
    done = [key for number, key in enumerate(inputs) if number not in skipped]
    for key in done:
        for path in PROGRAMS[program](*split(key)):
            made.setdefault(path, key)
    mine = {key: [path for path in PROGRAMS[program](*split(key)) if made[path] == key] for key in done}
    # Names that lie: what one input makes is called as if another one had made it, and that one makes nothing.
    given_away = Names(inputs)
    assume(all(given_away.first(path) in (None, key) or key in done for path, key in made.items()))
    settled = attribute_in_rounds(inputs, made)
    for key, paths in settled.items():
        for path in paths:
            owner = made[path]
            assert owner == key or path in PROGRAMS[program](*split(key)), f"{key!r} has {path!r} of {owner!r}"
    for key, paths in mine.items():
        if len(paths) == len(PROGRAMS[program](*split(key))):
            assert sorted(settled.get(key, [])) == sorted(paths), f"{key!r} has not what it made"


def test_a_path_that_two_inputs_name_is_nobodys_yet() -> None:
    """One of them has overwritten it."""
    found = attribute(
        [b"x.jpg", b"x.tif", b"y.jpg"],
        [b"x.png", b"y.png"],
        {b"x.jpg": [b"x.png"], b"x.tif": [b"x.png"], b"y.jpg": [b"y.png", b"y.png"]},
    )
    assert found.undecided == {b"x.jpg", b"x.tif"}
    assert found.results == {b"y.jpg": [b"y.png"]}


def test_a_folder_with_inputs_of_other_batches_is_no_new_folder() -> None:
    assert attribute([b"a.tif"], [b"64/a.png"]).results == {b"a.tif": [b"64/a.png"]}
    assert attribute([b"a.tif"], [b"64/a.png"], layout=Layout({b"64"})).nobody == [b"64/a.png"]


def test_attribution_does_not_depend_on_the_process() -> None:
    """The hash of bytes differs from process to process; the fate of an input must not."""
    code = (
        "from fanrun.fanout.results.attribution import attribute, part; keys = [b'a.%d' % n for n in range(9)];"
        "found = attribute(keys, [b'a.tiff', b'a.1.x']); print(found.results, part(keys, found.unclear))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123"
    }
    assert len(said) == 1


def test_parts_are_few() -> None:
    unclear = [frozenset({b"%d.a" % n, b"%d.b" % n, b"%d.c" % n}) for n in range(100)]
    keys = [b"%d.%c" % (n, end) for n in range(100) for end in b"abc"]
    assert [len(group) for group in part([*keys, b"other"], unclear)] == [100, 100, 100]
