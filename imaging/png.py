"""PNG: transparency that Pillow misreads, and the chunks that say what its numbers mean as colours."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from imaging.rules import ImageError

if TYPE_CHECKING:
    from PIL import Image, PngImagePlugin

SRGB_GAMMA, SRGB_CICP = 0.45455, bytes([1, 13, 0, 1])
SRGB_PRIMARIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)  # x and y of white, red, green, blue
MAX_CHUNKS = 4096  # beside those with pixels
OF_PIXELS = (b"IDAT", b"fdAT", b"fcTL")
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the type of colour
DEPTHS = {"L;2": 2, "L;4": 4}  # raw modes of gray with fewer bits than a byte


def prepare(image: PngImagePlugin.PngImageFile) -> None:
    """Bring the transparent value of gray with 2 or 4 bits to the 8 bits that Pillow decodes it to; find cICP."""
    file = cast("IO[bytes]", image.fp)
    place = file.tell()
    if code_points := scan(file).cicp:
        image.info["cicp"] = code_points
    file.seek(place)
    key, rawmode = image.info.get("transparency"), image.tile[0].args if image.tile else None
    if isinstance(key, int) and rawmode in DEPTHS:
        most = 2 ** DEPTHS[rawmode] - 1
        image.info["transparency"] = (key & most) * 255 // most


class Chunks(NamedTuple):
    """What a file's chunks tell beside the pixels: the content of cICP before them, which Pillow does not read."""

    cicp: bytes
    is_whole: bool  # the last one is there


def scan(file: IO[bytes]) -> Chunks:
    """Look at the heads of a file's chunks; raises ImageError if there are very many, which take Pillow minutes."""
    cicp, count, has_pixels = b"", 0, False
    file.seek(8)
    while len(head := file.read(8)) == 8:
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind == b"IEND":
            return Chunks(cicp, len(file.read(4)) == 4)
        has_pixels = has_pixels or kind == b"IDAT"
        count += kind not in OF_PIXELS
        if count > MAX_CHUNKS:
            raise ImageError("unsupported", f"unsupported: PNG with more than {MAX_CHUNKS} chunks beside the pixels")
        read = 0
        if kind == b"cICP" and not has_pixels:
            cicp = file.read(4)
            read = len(cicp)
        file.seek(size + 4 - read, 1)
    return Chunks(cicp, False)


def has_all_rows(image: Image.Image, file: IO[bytes]) -> bool:
    """Tell whether a file has the pixels of all rows: Pillow takes a compressed stream that ends early for whole.

    The rows that are missing are zeros, so only an image that ends with such rows is looked at more closely.
    """
    width, height = image.size
    rows = 2 if image.info.get("interlace") else 1  # the last pass has every other row
    if image.crop((0, max(0, height - rows), width, height)).getbbox(alpha_only=False):
        return True
    from zlib import decompressobj

    unpacker, left = decompressobj(), -1
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        content = file.read(int.from_bytes(head[:4], "big"))
        file.seek(4, 1)
        if head[4:] == b"IHDR":
            left = data_size(content)
        elif head[4:] == b"IDAT":
            while content and left > 0:
                left -= len(unpacker.decompress(content, 1024 * 1024))
                content = unpacker.unconsumed_tail
    return left <= 0


def data_size(header: bytes) -> int:
    """Return the bytes of all rows before they are compressed, each with its filter: PNG 3rd edition, 7.2 and 8."""
    width, height = (int.from_bytes(header[at : at + 4], "big") for at in (0, 4))
    bits = header[8] * CHANNELS[header[9]]
    passes = PASSES if header[12] else ((0, 0, 1, 1),)
    sizes = ((-(-(width - left) // across), -(-(height - top) // down)) for left, top, across, down in passes)
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


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
