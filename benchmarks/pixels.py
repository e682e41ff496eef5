"""Measures process.py's operations on one core against plain Pillow: script/bench --only pixels."""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
from PIL import Image, features

from benchmarks import machine
from benchmarks.contest import Ratio
from imaging.rules import Operations
from imaging.transform import transform
from tests.service.golden import encoded, luma, pixels, psnr, resized, scene

WIDTH, HEIGHT = 1024, 768
OPERATIONS = Operations(WIDTH, HEIGHT, grayscale=True)
OURS, PLAIN = "process.py", "plain Pillow"
GOALS = {(1400, 1316): 2.3, (4000, 3000): 3.9}
LEAST = 45.0
GRAIN = {"drawn": 0.0, "drawn, with a camera's grain": 5.0}
NOISY = 10.0
"""Standard deviations of the noise on top, of 255: it is what makes a JPEG large, and its decoding slow. There is no
goal where it is most of the file: then most of the time is decoding of what nobody can leave out."""


def plain(content: bytes) -> bytes:
    """What one writes who knows Pillow."""
    target = io.BytesIO()
    with Image.open(io.BytesIO(content)) as image:
        image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).convert("L").save(target, "JPEG")
    return target.getvalue()


def ours(content: bytes) -> bytes:
    """What process.py makes of it."""
    target = io.BytesIO()
    transform(io.BytesIO(content), target, OPERATIONS)
    return target.getvalue()


def drawn(size: tuple[int, int], grain: float) -> Image.Image:
    """A scene with noise on it."""
    image = Image.fromarray(scene(1000, 750).astype(np.uint8)).resize(size, Image.Resampling.LANCZOS)
    noise = np.random.default_rng(1).normal(0, grain, (size[1], size[0], 1))
    return Image.fromarray(np.clip(np.asarray(image) * 0.8 + 25 + noise, 0, 255).astype(np.uint8))


def tiled(size: tuple[int, int], src: Path) -> Image.Image:
    """The images of a folder side by side until all is covered."""
    names = sorted(path for path in src.iterdir() if path.is_file())
    image, left, top, low, turn = Image.new("RGB", size, "white"), 0, 0, 0, 0
    while top < size[1]:
        with Image.open(names[turn % len(names)]) as tile:
            image.paste(tile, (left, top))
            left, low, turn = left + tile.width, max(low, tile.height), turn + 1
        if left >= size[0]:
            left, top, low = 0, top + low, 0
    return image


def images(src: Path | None) -> Iterator[tuple[str, bytes, Ratio]]:
    """What is measured: (name, JPEG, goal)."""
    for size, least in GOALS.items():
        shown, goal = f"{size[0]} x {size[1]}", Ratio(PLAIN, OURS, least=least)
        for name, grain in GRAIN.items():
            yield f"{shown}, {name}", encoded(drawn(size, grain), "JPEG", quality=90), goal
        if src is not None:
            yield f"{shown}, images of SRC side by side", encoded(tiled(size, src), "JPEG", quality=90), goal
        yield f"{shown}, drawn, with much noise", encoded(drawn(size, NOISY), "JPEG", quality=90), Ratio(PLAIN, OURS)


def in_turn(content: bytes, rounds: int) -> dict[str, list[float]]:
    """Each way once a round; {way: seconds of the processor in each round}: others may want the core as well."""
    ways: dict[str, Callable[[bytes], bytes]] = {PLAIN: plain, OURS: ours}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            begun = time.process_time()
            way(content)
            if turn:  # the first round fills caches
                seconds[name].append(time.process_time() - begun)
    return seconds


def programs() -> str:
    """What took part, a line of Markdown."""
    found = {name: metadata.version(name) for name in ("pillow", "cykooz-resizer")}
    found["libjpeg-turbo"] = features.version_feature("libjpeg_turbo") or "unknown"
    return f"- {machine.processor()}; " + ", ".join(f"{name} {number}" for name, number in found.items())


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Use no more than one, where the system lets us choose."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def measure(src: Path | None, rounds: int, say: Callable[[str], None]) -> tuple[list[str], bool]:
    """Measure on one core; lines of Markdown, and whether a goal was missed."""
    missed = False
    lines = [
        "## pixels: a JPEG to 1024 x 768 gray, from bytes to bytes, processor time",
        "",
        programs(),
        "",
        f"| image | MB | {PLAIN} ms | {OURS} ms | ratio, {rounds} pairs | min to max | goal | | dB | Pillow's dB |",
        "|---|---:|---:|---:|---:|---:|---|---|---:|---:|",
    ]
    with one_core():
        for name, content, goal in images(src):
            line, met = row(name, content, goal, rounds)
            missed = missed or not met
            lines.append(line)
            say(line)
    return [*lines, ""], missed


def row(name: str, content: bytes, goal: Ratio, rounds: int) -> tuple[str, bool]:
    """Measure one image: a row of the table, and whether its goal was met."""
    seconds = in_turn(content, rounds)
    expected = resized(luma(pixels(content)), WIDTH, HEIGHT)
    alike, plainly = psnr(pixels(ours(content)), expected), psnr(pixels(plain(content)), expected)
    pairs, met = goal.of_pairs(seconds), goal.met(seconds) and alike >= LEAST
    told = "MISSED" if not met else "met" if goal.least else ""
    medians = [f"{1000 * statistics.median(seconds[way]):.1f}" for way in (PLAIN, OURS)]
    ratios = [f"{statistics.median(pairs):.2f}", f"{min(pairs):.2f} to {max(pairs):.2f}"]
    likeness = [f"{alike:.1f}", f"{plainly:.1f}"]
    cells = [name, f"{len(content) / 1e6:.2f}", *medians, *ratios, goal.goal, told, *likeness]
    return f"| {' | '.join(cells)} |", met
