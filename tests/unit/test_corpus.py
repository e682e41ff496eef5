"""Process every file of the corpus and compare the result with other decoders: it must be right, or refused.

A failure names each operation and what is wrong with its result.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.corpus.judge import Tolerance, differences, upright
from tests.unit.corpus.operations import WISHES, outcome_of, problems
from tests.unit.corpus.readers import read
from tests.unit.corpus.samples import SAMPLES, build
from tests.unit.corpus.subject import PROGRAM, by_service, shown_size

UNCONFIRMED = re.compile(
    "png-(animated-hidden|orientation6-after)|bmp-.*header12|bmp-runs|gif-smaller-frame|dib-.*header12|"
    "tiff-(ycc|jpeg|old-jpeg|unknown-inks|rgb8-four-samples)|jpeg-(lossless-gray1|gray12|ycc12)|"
    "pnm-p[123]|sgi-.*runs|pcx-[124]|avif-rgb10|icon-|dds-dxt|im-|msp|only-read"
)
"""Of these files only the builder says what they show."""
CLOSE = Tolerance(difference=2.0)
OPERATIONS = {option: wish for option, wish in WISHES.items() if wish is not None}
"""Without the default, which the service does not have."""


def families() -> dict[str, list[str]]:
    """Return the files of the corpus by the first part of their names, such as png or tiff."""
    found: dict[str, list[str]] = {}
    for name in SAMPLES:
        found.setdefault(re.split("[-.]", name)[0], []).append(name)
    return found


FAMILIES = families()
"""The corpus has 1,300 files: four tests for each of them would take longer than what they test."""


@pytest.mark.parametrize("family", FAMILIES)
def test_independent_decoders_agree_with_the_corpus(family: str) -> None:
    assert {name: wrong for name in FAMILIES[family] if (wrong := disagreements(name))} == {}


def disagreements(name: str) -> list[str]:
    """Return where a decoder other than Pillow sees something else than the builder of a file wrote."""
    built = build(name)
    if not built.reader:  # no decoder but Pillow reads it, or decoders differ: what was written counts
        return [] if UNCONFIRMED.match(name) else ["no decoder confirms it"]
    found, right = read(built.content, name), built.shown
    wrong = differences(upright(replace(found, orientation=right.orientation)), upright(right), CLOSE, False)
    wrong += [f"profile {found.profile!r}"] if found.profile != right.profile else []
    wrong += ["orientation"] if found.orientation != right.orientation and not right.by_xmp else []
    # A chunk sRGB overrides those about colours.
    return wrong + (["colours"] if found.colour_chunks != right.colour_chunks and "srgb" not in name else [])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_file_comes_out_right_or_is_refused(family: str) -> None:
    found = {(name, option): problems(name, option) for name in FAMILIES[family] for option in WISHES}
    assert {case: wrong for case, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_service_gives_the_same_pixels_and_the_same_refusals(family: str) -> None:
    found = {(name, option): unlike(name, option) for name in FAMILIES[family] for option in OPERATIONS}
    assert {case: wrong for case, wrong in found.items() if wrong} == {}


def unlike(name: str, option: str) -> list[str]:
    """Return in what the service's answer differs from what the program makes of a file."""
    ours, theirs = outcome_of(name, option), by_service(build(name).content, OPERATIONS[option])
    if theirs.reason != ours.reason:
        return [f"the service says {theirs.reason!r}, the program {ours.reason!r}"]
    if ours.content is None or theirs.content is None or ours.content == theirs.content:
        return []
    one, other = read(ours.content, name), read(theirs.content, name)
    return differences(upright(other), upright(one), Tolerance(), False)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_header_tells_the_size_that_comes_out(family: str) -> None:
    found = {name: sizes(name) for name in FAMILIES[family] if outcome_of(name, "--rotate 90").content is not None}
    assert {name: pair for name, pair in found.items() if pair[0] != pair[1]} == {}


def sizes(name: str) -> tuple[object, object]:
    """Return the size that the header tells, and the one that comes out."""
    turned = outcome_of(name, "--rotate 90").content
    assert turned is not None
    return shown_size(build(name).content), upright(read(turned, name)).size[::-1]


@pytest.mark.parametrize("option", ["", "--grayscale"])
def test_the_program_says_nothing_but_why_files_are_refused(option: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in SAMPLES:
        (tmp_path / "in" / name).write_bytes(build(name).content)
    argv = [sys.executable, str(PROGRAM), "in", "out", "--workers", "2", *option.split()]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    *lines, summary = done.stderr.splitlines()
    outcomes = {name: outcome_of(name, option or "default") for name in SAMPLES}
    expected = {f"process.py: {name}: {found.reason}" for name, found in outcomes.items() if found.content is None}
    assert set(lines) == expected
    assert summary == f"process.py: {len(SAMPLES) - len(expected)} done, {len(expected)} failed"
    assert done.returncode == 1
    assert set(os.listdir(tmp_path / "out")) == {name for name, found in outcomes.items() if found.content is not None}
