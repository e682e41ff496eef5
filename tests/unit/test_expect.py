"""What is expected in /out, and how a batch is judged by it."""

from __future__ import annotations

import pytest

from fanrun.fanout.expect import UNFINISHED, Expected, expected
from fanrun.fanout.plan import Input
from fanrun.fanout.results.container_end import ContainerOutput, Ending, ReportLine
from fanrun.fanout.results.judge import judge
from fanrun.fleet.errors import UsageError

GOOD = Ending(0, "", 1.0, 10**9, 10**6)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("{stem}.txt,{stem}.pdf", [b"d/a b.txt", b"d/a b.pdf"]),
        (" {name}.gz ", [b"d/a b.jpg.gz"]),
        ("64/{stem}.png", [b"d/64/a b.png"]),
        ("{folder}/{stem}/x", [b"d/a b/x"]),
        ("", []),
    ],
)
def test_the_paths_of_expected_results(text: str, paths: list[bytes]) -> None:
    assert expected(text, None).paths(b"d/a b.jpg") == paths


def test_a_folder_that_is_none_is_no_absolute_path() -> None:
    assert expected("{folder}/{stem}.txt", None).paths(b"a.jpg") == [b"a.txt"]


@pytest.mark.parametrize(
    "text", ["{stem", "{other}.txt", "all.txt", "{folder}.txt", "/{stem}", "../{stem}", "{stem!r}", "{stem:>9}", "{}"]
)
def test_patterns_that_can_not_be_meant(text: str) -> None:
    with pytest.raises(UsageError, match="--expect"):
        expected(text, None)


def test_files_that_are_ignored() -> None:
    usual, chosen = expected(None, None), expected(None, "*.bak, x?")
    assert usual == Expected(ignored=UNFINISHED)
    assert [usual.is_ignored(path) for path in (b"d/a.part", b".#a", b"a.tmp", b"a.jpg", b"a.bak")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert [chosen.is_ignored(path) for path in (b"a.part", b"a.bak", b"d/x1")] == [False, True, True]
    assert not expected(None, "").is_ignored(b"a.tmp")


def inputs(*names: bytes) -> list[Input]:
    return [Input(name, 1) for name in names]


def test_an_input_is_done_when_all_that_is_expected_of_it_is_there() -> None:
    both = expected("{stem}.txt,{stem}.pdf", None)
    outcome = judge(
        inputs(b"a.jpg", b"b.jpg"), ContainerOutput(GOOD, {}, [b"a.txt", b"a.pdf", b"b.txt", b"a.log"]), both
    )
    assert outcome.results == {b"a.jpg": [b"a.txt", b"a.pdf"]}
    assert outcome.failed.keys() == {b"b.jpg"}
    assert outcome.failed[b"b.jpg"].startswith("its result b.pdf is missing")
    assert outcome.extra == [b"a.log"], "nothing else is its"


def test_what_the_report_says_comes_first() -> None:
    report = {
        b"a.jpg": ReportLine(True, "", results=(b"64/x.png",)),
        b"b.jpg": ReportLine(True, "", results=(b"gone",)),
    }
    outcome = judge(inputs(b"a.jpg", b"b.jpg"), ContainerOutput(GOOD, report, [b"64/x.png", b"b.png"]))
    assert outcome.results == {b"a.jpg": [b"64/x.png"]}
    assert outcome.failed[b"b.jpg"].startswith("its result gone is missing")


@pytest.mark.parametrize(
    ("paths", "links", "words"),
    [
        ([], [b"a.png"], "; a.png is not a regular file, so it is no result"),
        ([b"a.png.part"], [], "; a.png.part has a name that --ignore-results passes over"),
        (
            [b"one.csv", b"two.csv"],
            [],
            "; one.csv and 1 more in /out fit no input's name, and --expect '{stem}.…' says",
        ),
        ([], [], ""),
    ],
)
def test_what_was_found_is_named_where_an_input_left_no_result(
    paths: list[bytes], links: list[bytes], words: str
) -> None:
    outcome = judge(inputs(b"a.jpg"), ContainerOutput(GOOD, {}, paths, links))
    assert outcome.failed[b"a.jpg"].startswith(f"the program ended well but left no result for it{words}")
    assert bool(words) != outcome.failed[b"a.jpg"].endswith("for it")


def test_a_result_of_an_inputs_own_name_is_never_ignored() -> None:
    assert judge(inputs(b"a.tmp"), ContainerOutput(GOOD, {}, [b"a.tmp"])).results == {b"a.tmp": [b"a.tmp"]}
