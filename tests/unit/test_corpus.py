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


@pytest.mark.parametrize("name", SAMPLES)
def test_independent_decoders_agree_with_the_corpus(name: str) -> None:
    built = build(name)
    if not built.reader:  # no decoder but Pillow reads it, or decoders differ: what was written counts
        assert UNCONFIRMED.match(name)
        return
    found, right = read(built.content, name), built.shown
    assert differences(upright(replace(found, orientation=right.orientation)), upright(right), CLOSE, False) == []
    assert found.profile == right.profile
    assert found.orientation == right.orientation or right.by_xmp
    assert found.colour_chunks == right.colour_chunks or "srgb" in name  # which overrides them


@pytest.mark.parametrize("name", SAMPLES)
def test_every_file_comes_out_right_or_is_refused(name: str) -> None:
    found = {option: problems(name, option) for option in WISHES}
    assert {option: wrong for option, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_service_gives_the_same_pixels_and_the_same_refusals(name: str) -> None:
    for option, wish in OPERATIONS.items():
        ours, theirs = outcome_of(name, option), by_service(build(name).content, wish)
        assert theirs.reason == ours.reason, option
        if ours.content is not None and theirs.content is not None and ours.content != theirs.content:
            one, other = read(ours.content, name), read(theirs.content, name)
            assert differences(upright(other), upright(one), Tolerance(), False) == [], option


@pytest.mark.parametrize("name", SAMPLES)
def test_the_header_tells_the_size_that_comes_out(name: str) -> None:
    size, turned = shown_size(build(name).content), outcome_of(name, "--rotate 90").content
    if turned is not None:
        assert size == upright(read(turned, name)).size[::-1]


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
