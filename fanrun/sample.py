"""Plates to try Fanrun with, where no images are at hand: drawn, never copied, the same ones every time."""

from __future__ import annotations

import contextlib
import io
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fanrun.fleet.errors import UsageError

if TYPE_CHECKING:  # at run time Pillow is imported where needed: no other task waits for it
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    Colour = tuple[int, int, int]
    Point = tuple[float, float]

MOST = 1_000_000
WIDTH = 400
SHEET = (WIDTH + 200, 1000)
"""The noise that every plate is cut from; larger than the highest plate, so that no two are cut alike."""

GRAIN = (0.05, 0.12)
"""How strong the noise of a plate is, from and to: it makes most of the plate's size on disk."""

PAPER = ((250, 242, 202), (246, 238, 208), (252, 246, 196), (243, 232, 198))
LEAVES = ((62, 92, 52), (84, 110, 60), (58, 84, 70), (98, 112, 58))
PETALS = ((176, 42, 44), (222, 132, 150), (96, 66, 132), (226, 112, 34), (232, 196, 70), (238, 226, 214))
INK = (58, 48, 38)

# Names as scans of old books have them: apostrophes, brackets, dots in the middle.
GENERA = ("Albuca", "Babiana", "Clethra", "Fuchsia", "Lachenalia", "Lilium", "Patersonia", "Trachyandra")
KINDS = ("{}_n{}_(painting)", "{}_var._{}", "{}_[plate_{}]", "{}'s_sister,_{}", "N.{1}_{0}_&_co.")


def make(dst: Path, count: int, seed: int = 1787) -> int:
    """Draw `count` plates (1 to MOST) into the folder DST, made if it isn't there; returns their bytes in all.

    JPEG, 400 pixels wide, 65 kB each give or take a third.  The same seed gives the same
    plates, and a smaller count the first of them.  Raises UsageError unless DST can be written and is
    empty, or holds just these plates already; what was drawn is deleted when not all could be.
    """
    is_new = not dst.exists()
    is_there = _check(dst, {name(number) for number in range(count)})
    noise = _noise(random.Random(seed))  # noqa: S311 - pixels need no cryptography
    size = 0
    with _deleting(dst, is_new=is_new) as drawn:
        for number in range(count):
            path, data = dst / name(number), _jpeg(plate(number, seed, noise))
            size += len(data)
            if not is_there:
                drawn.append(path)
                path.write_bytes(data)
            elif path.read_bytes() != data:
                raise _taken(dst)
    return size


@contextlib.contextmanager
def _deleting(dst: Path, *, is_new: bool) -> Iterator[list[Path]]:
    """Delete the files in the list, and DST if it is new, when the block fails.

    Raises UsageError in place of an OSError.
    """
    drawn: list[Path] = []
    try:
        yield drawn
    except BaseException as error:
        for path in drawn:
            path.unlink(missing_ok=True)
        if is_new:
            with contextlib.suppress(OSError):
                dst.rmdir()
        if isinstance(error, OSError):
            raise UsageError(f"--dst {str(dst)!r} can't be written ({error.strerror}); choose another") from error
        raise


def name(number: int) -> str:
    """The file name of a plate: most are a magazine's and a scan's number, every ninth has a plant's name."""
    if number % 9 != 4:
        return f"Curtis's_botanical_magazine_({10_596_056_025 + number * 4127}).jpg"
    turn = number // 9
    return KINDS[turn % len(KINDS)].format(GENERA[turn % len(GENERA)], number) + ".jpg"


def plate(number: int, seed: int, noise: Image) -> Image:
    """Draw one plate: a plant in ink and colour on old paper, under a cut of the noise."""
    from PIL import Image, ImageChops, ImageDraw

    pick = random.Random(seed * MOST + number)  # noqa: S311 - as above
    height = pick.randrange(640, 730)
    # Drawn at twice the size and halved: smooth edges.
    large = Image.new("RGB", (2 * WIDTH, 2 * height), pick.choice(PAPER))
    _plant(ImageDraw.Draw(large), pick, 2 * WIDTH, 2 * height)
    image = large.reduce(2)
    left, top = pick.randrange(SHEET[0] - WIDTH), pick.randrange(SHEET[1] - height)
    strength = pick.uniform(*GRAIN)
    weaker = [round(128 + (value - 128) * strength) for value in range(256)]
    grain = noise.crop((left, top, left + WIDTH, top + height)).point(weaker)
    return ImageChops.add(image, Image.merge("RGB", (grain, grain, grain)), offset=-128)


def _check(dst: Path, names: set[str]) -> bool:
    """Make DST if it isn't there; return whether it has files, all of these names.

    Raises UsageError if DST is a file, holds anything else or can't be made.
    """
    try:
        dst.mkdir(parents=True, exist_ok=True)
        found = {path.name for path in dst.iterdir()}
    except OSError as error:
        raise UsageError(f"--dst {str(dst)!r} can't be made a folder ({error.strerror}); choose another") from error
    if found and found != names:
        raise _taken(dst)
    return bool(found)


def _taken(dst: Path) -> UsageError:
    return UsageError(f"--dst {str(dst)!r} is not empty; choose a new folder, or empty this one first")


def _jpeg(image: Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=87)
    return buffer.getvalue()


def _noise(pick: random.Random) -> Image:
    """A sheet of grey noise around 128, near values more often than far ones, as the grain of paper is."""
    from PIL import Image

    one, other = (Image.frombytes("L", SHEET, pick.randbytes(SHEET[0] * SHEET[1])) for _ in range(2))
    return Image.blend(one, other, 0.5)


def _plant(draw: ImageDraw, pick: random.Random, width: int, height: int) -> None:
    """A stem from the foot of the sheet, leaves along it, flowers towards its top, and two lines of writing."""
    green, petal = pick.choice(LEAVES), pick.choice(PETALS)
    sway, foot = pick.uniform(-0.2, 0.2), pick.uniform(0.4, 0.6)

    def stem(up: float) -> Point:
        """The stem's place: 0 is its foot, 1 its tip."""
        return width * (foot + sway * math.sin(2.2 * up)), height * (0.92 - 0.78 * up)

    draw.line([stem(up / 40) for up in range(41)], fill=_shade(green, 0.7), width=pick.randrange(8, 14))
    for up in range(pick.randrange(9, 15)):
        angle = math.pi * (up % 2) + pick.uniform(-1.0, 0.2) * (1 if up % 2 == 0 else -1)
        length, colour = pick.uniform(0.16, 0.3) * width, _shade(green, pick.uniform(0.7, 1.3))
        _leaf(draw, stem(0.08 + up * 0.055), angle, length, colour)
    for _ in range(pick.randrange(6, 13)):
        x, y = stem(pick.uniform(0.5, 1.0))
        centre = (x + pick.gauss(0, 0.13) * width, y + pick.gauss(0, 0.03) * height)
        draw.line([(x, y), centre], fill=_shade(green, 0.8), width=5)
        _flower(draw, pick, centre, pick.uniform(0.06, 0.12) * width, petal)
    _writing(draw, pick, (0.84 * width, 0.04 * height), 0.1 * width)
    _writing(draw, pick, (0.2 * width, 0.96 * height), 0.6 * width)


def _leaf(draw: ImageDraw, base: Point, angle: float, length: float, colour: Colour) -> None:
    """A pointed oval with its veins."""
    along, across = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))

    def place(far: float, aside: float) -> Point:
        return (
            base[0] + length * (far * along[0] + aside * across[0]),
            base[1] + length * (far * along[1] + aside * across[1]),
        )

    edge = [(step / 12, 0.19 * math.sin(math.pi * (step / 12) ** 0.8)) for step in range(13)]
    outline = [place(far, aside) for far, aside in edge] + [place(far, -aside) for far, aside in reversed(edge)]
    draw.polygon(outline, fill=colour, outline=_shade(colour, 0.5), width=3)
    for far, aside in edge[2:11]:
        for side in (-aside, aside):
            draw.line([place(far - 0.1, 0), place(far + 0.02, 0.9 * side)], fill=_shade(colour, 0.75), width=2)
    draw.line([base, place(0.97, 0)], fill=_shade(colour, 1.4), width=3)


def _flower(draw: ImageDraw, pick: random.Random, centre: Point, size: float, colour: Colour) -> None:
    """Five to eight petals, each a leaf of another colour, around a yellow eye."""
    count, turn = pick.randrange(5, 9), pick.uniform(0, math.pi)
    for petal in range(count):
        shade = _shade(colour, pick.uniform(0.8, 1.15))
        _leaf(draw, centre, turn + 2 * math.pi * petal / count, size * pick.uniform(0.85, 1.1), shade)
    eye = 0.16 * size
    draw.ellipse(
        (centre[0] - eye, centre[1] - eye, centre[0] + eye, centre[1] + eye), fill=(214, 170, 50), outline=INK, width=2
    )


def _writing(draw: ImageDraw, pick: random.Random, start: Point, length: float) -> None:
    """What a line of copperplate is from afar: up and down, with gaps."""
    x, end = start[0], start[0] + length
    while x < end:
        letters = pick.randrange(2, 9)
        word = [(x + 4 * step, start[1] + pick.uniform(-7, 7)) for step in range(letters)]
        draw.line(word, fill=INK, width=2)
        x += 4 * letters + 8


def _shade(colour: Colour, factor: float) -> Colour:
    """The colour, darker or lighter."""
    red, green, blue = (min(255, round(part * factor)) for part in colour)
    return red, green, blue
