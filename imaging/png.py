"""PNG: transparency that Pillow misreads, and the chunks that say what its numbers mean as colours."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, cast

from imaging.rules import ImageError

if TYPE_CHECKING:
    from PIL import Image, PngImagePlugin

SRGB_GAMMA, SRGB_CICP = 0.45455, bytes([1, 13, 0, 1])
SRGB_PRIMARIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)  # x and y of white, red, green, blue
DEPTHS = {"L;2": 2, "L;4": 4}  # raw modes of gray with fewer bits than a byte


def prepare(image: PngImagePlugin.PngImageFile) -> None:
    """Bring the transparent value of gray with 2 or 4 bits to the 8 bits that Pillow decodes it to; find cICP."""
    if code_points := find_cicp(cast("IO[bytes]", image.fp)):
        image.info["cicp"] = code_points
    key, rawmode = image.info.get("transparency"), image.tile[0].args if image.tile else None
    if isinstance(key, int) and rawmode in DEPTHS:
        most = 2 ** DEPTHS[rawmode] - 1
        image.info["transparency"] = (key & most) * 255 // most


def find_cicp(file: IO[bytes]) -> bytes:
    """Return what stands in the chunk cICP, if it is there before the pixels: Pillow does not read it."""
    place, found = file.tell(), b""
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
        if head[4:] == b"cICP":
            found = file.read(4)
            break
        file.seek(int.from_bytes(head[:4], "big") + 4, 1)
    file.seek(place)
    return found


def correct(image: PngImagePlugin.PngImageFile, deep: bool, source: str | IO[bytes]) -> Image.Image:
    """Return RGBA for colours of 16 bits with one that is transparent: 8 bits can't tell it from its neighbours."""
    key = image.info.get("transparency")
    if not deep or not isinstance(key, tuple):
        return image
    result = image.convert("RGB") if image.mode != "RGB" else image.copy()
    result.putalpha(invert(all_equal([*image.split(), *low_bytes(source).split()], halves(key))))
    result.info = {name: value for name, value in image.info.items() if name != "transparency"}
    return result


def halves(key: tuple[int, ...]) -> list[int]:
    """Return the high bytes of a colour's numbers, then the low ones."""
    return [number >> 8 for number in key] + [number & 255 for number in key]


def low_bytes(source: str | IO[bytes]) -> Image.Image:
    """Decode the low byte of each 16-bit sample, where Pillow takes the high one."""
    from PIL import Image

    if not isinstance(source, str):
        source.seek(0)
    with Image.open(source, formats=["PNG"]) as image:
        image.info.pop("transparency")
        image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
        return Image.Image.convert(image, "RGB")


def all_equal(bands: list[Image.Image], values: list[int]) -> Image.Image:
    """Return 255 where every band has its value, 0 elsewhere."""
    from functools import reduce

    from PIL import ImageChops

    equal = [band.point([255 * (shade == value) for shade in range(256)]) for band, value in zip(bands, values)]
    return reduce(ImageChops.darker, equal)


def invert(mask: Image.Image) -> Image.Image:
    """Return a mask's opposite."""
    return mask.point([255 - shade for shade in range(256)])


def colour_chunks(info: dict[Any, Any]) -> PngImagePlugin.PngInfo | None:
    """Return the chunks gAMA, cHRM, sRGB and cICP that an image came with."""
    from struct import pack

    from PIL import PngImagePlugin

    chunks = PngImagePlugin.PngInfo()
    if "gamma" in info:
        chunks.add(b"gAMA", pack(">I", round(info["gamma"] * 100_000)))
    if len(info.get("chromaticity", ())) == 8:
        chunks.add(b"cHRM", pack(">8I", *(round(each * 100_000) for each in info["chromaticity"])))
    if "srgb" in info:
        chunks.add(b"sRGB", bytes([info["srgb"]]))
    if "cicp" in info:
        chunks.add(b"cICP", info["cicp"])
    return chunks if chunks.chunks else None


def to_srgb(image: Image.Image, info: dict[Any, Any]) -> Image.Image:
    """Return the pixels of a PNG as sRGB, for a format without such chunks: gAMA is applied, more raises ImageError.

    The chunks count in this order: cICP, iCCP, sRGB, gAMA and cHRM (https://www.w3.org/TR/png-3/, 4.3).
    """
    if info.get("cicp", SRGB_CICP) != SRGB_CICP:
        raise ImageError("unsupported", "the image has cICP, which PNG alone can hold")
    if {"icc_profile", "srgb", "cicp"} & set(info):
        return image
    primaries = info.get("chromaticity", SRGB_PRIMARIES)
    if any(abs(one - other) > 0.002 for one, other in zip(primaries, SRGB_PRIMARIES)):
        raise ImageError("unsupported", "the image has cHRM other than sRGB's, which PNG alone can hold")
    gamma = info.get("gamma", SRGB_GAMMA)
    if gamma <= 0 or abs(gamma - SRGB_GAMMA) < 0.005:
        return image
    table = [round(255 * (shade / 255) ** (SRGB_GAMMA / gamma)) for shade in range(256)]
    same = list(range(256))
    return image.point([value for band in image.getbands() for value in (same if band == "A" else table)])
