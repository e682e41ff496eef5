"""Run each operation on a file of the corpus and tell what is wrong with the result."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np

from tests.unit.corpus.judge import Tolerance, changed, differences, expected, upright
from tests.unit.corpus.model import HEIGHT, WIDTH, Built, Picture
from tests.unit.corpus.readers import read
from tests.unit.corpus.samples import build
from tests.unit.corpus.subject import Operations, Outcome, by_program

WISHES: dict[str, Operations | None] = {
    "default": None,
    "--rotate 90": Operations(rotate=90),
    "--grayscale": Operations(grayscale=True),
    "--size half": Operations(WIDTH // 2, HEIGHT // 2),
    "--size 5x3": Operations(5, 3),
    "--size 20x20 --how fit": Operations(20, 20, "fit"),
    "--size 20x20 --how cover": Operations(20, 20, "cover"),
    "--size half --grayscale --rotate 270": Operations(WIDTH // 2, HEIGHT // 2, grayscale=True, rotate=270),
}
"""The operations that every file of the corpus goes through."""

WITH_OPERATIONS = (".png", ".jpg", ".webp", ".tif", ".gif", ".bmp")
"""What can be more than rotated."""
DEFAULT_PSNR = 27.0
"""dB of lossy formats by default: quality 75, colours subsampled, as Pillow writes them."""


def stays_deep(picture: Picture) -> bool:
    """Tell whether 16 bits must stay where nothing is scaled: Pillow has them for gray alone."""
    return picture.space == "L" and picture.alpha is None and picture.depth == 16


def tolerance(built: Built, name: str, wish: Operations | None) -> Tolerance:
    """Tell how far a result may be from the reference."""
    gray = bool(wish and wish.grayscale)
    scaled = bool(wish and wish.width)
    kept = stays_deep(built.shown) and not gray and not scaled
    deep = built.shown.depth > 8 and not kept
    slack = built.shown.slack + (1.0 if gray else 0.0) + (1.0 if deep else 0.0)
    return Tolerance(slack, built.shown.scaled, name.endswith(".gif") and scaled)


def right_results(shown: Picture, wish: Operations | None) -> list[Picture]:
    """Return what may come out: by default the file may be turned as it lies, which is what Pillow does."""
    plain = replace(shown, orientation=1)
    if wish is None:
        seen = {picture.orientation: upright(picture) for picture in (shown, plain)}
        found = [changed(picture, np.rot90) for picture in seen.values()]
        loses = shown.lossy_by_default or shown.psnr < math.inf
        return [replace(picture, psnr=DEFAULT_PSNR) for picture in found] if loses else found
    return [expected(picture, wish) for picture in ((shown, plain) if shown.by_xmp else (shown,))]


def lost(found: Picture, built: Built, wish: Operations | None) -> Iterator[str]:
    """Yield what a result lost beside its pixels: depth, profile, gamma."""
    before, scaled_or_gray = built.shown, bool(wish and (wish.width or wish.grayscale))
    if stays_deep(before) and not scaled_or_gray and found.depth < 16:
        yield f"{before.depth} bits became {found.depth}"
    same = before.space == "L" or not (wish and wish.grayscale)  # a profile of colours is none of grays
    if same and before.profile is not None and found.profile != before.profile:
        yield "the profile is lost"
    for name, content in before.colour_chunks.items():
        if (name == b"gAMA" or same) and found.colour_chunks.get(name) != content:
            yield f"{name.decode()} is lost"


@cache
def outcome_of(name: str, option: str) -> Outcome:
    """Do an operation to a file of the corpus once."""
    return by_program(name, build(name).content, WISHES[option])


def refused(name: str, option: str, reason: str | None) -> list[str]:
    """List what is wrong with a refusal: it has no reason, or the file is a common one."""
    if not reason or "Traceback" in reason:
        return ["refused without a reason"]
    supported = WISHES[option] is None or os.path.splitext(name)[1] in WITH_OPERATIONS
    return [f"refused: {reason}"] if build(name).needed and supported else []


def problems(name: str, option: str) -> list[str]:
    """List what is wrong with the outcome of an operation; empty: right, or refused with a reason."""
    built, wish, outcome = build(name), WISHES[option], outcome_of(name, option)
    if outcome.content is None:
        return refused(name, option, outcome.reason)
    if built.shown.space == "unknown":
        return ["done, though nobody knows what colours these are"]
    if "values" in built.shown.space and wish and (wish.width or wish.grayscale):
        return ["scaled or made gray, though nobody knows what is white"]
    found = upright(read(outcome.content, name))
    scaled = bool(wish and wish.width)
    limits = tolerance(built, name, wish)
    shown = [picture for picture in (built.shown, built.also) if picture is not None]
    rights = [right for picture in shown for right in right_results(picture, wish)]
    wrong = [differences(found, right, limits, scaled) for right in rights]
    if built.secret and wish and (scaled or wish.grayscale) and built.secret in outcome.content:
        return ["the thumbnail of the original is left"]
    return min(wrong, key=len) + list(lost(found, built, wish))
