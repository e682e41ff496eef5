"""What is kept beside the pixels: profile, resolution, EXIF without thumbnails, a palette's transparency."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from imaging.rules import MAX_SIDE

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from PIL import Image

# The orientation, because it was applied.  All tags that hold a small picture of the image: the thumbnail, previews,
# and the thumbnails of Windows and Photoshop.  Tags that may contain one: XMP, IPTC and the maker's notes.
DROPPED = (0x0112, 0x0201, 0x0202, 0x014A, 0x02BC, 0x501B, 0x83BB, 0x8649, 0x927C)
RESOLUTION = (0x011A, 0x011B)  # horizontal and vertical
SIZES = ((0x0100, 0x0101), (0xA002, 0xA003))  # width and height, of TIFF in the first directory, of EXIF in its own
EXIF_DIRECTORY = 0x8769


class Source(NamedTuple):
    """What an input was before the operations."""

    format: str
    mode: str
    exif: bytes | None
    info: dict[Any, Any]
    swapped: bool  # width and height change places on the way


def keep(source: Source, result: Image.Image, name: str, strip: bool) -> dict[str, Any]:
    """Choose what is written beside the pixels of a result in the format `name`: options of Image.save."""
    options: dict[str, Any] = {"icc_profile": None}
    if (source.mode[0] in "1IL") == (result.mode[0] in "1IL") and (source.mode == "CMYK") == (result.mode == "CMYK"):
        options["icc_profile"] = source.info.get("icc_profile")  # one of colours is none of grays
    if source.mode == result.mode and "transparency" in source.info:
        options["transparency"] = source.info["transparency"]
    if name == "TIFF":
        found = source.info.get("compression")
        fits = result.mode == "1" or found in ("raw", "tiff_lzw", "packbits")
        options["compression"] = found if fits else "tiff_adobe_deflate"
    if name == "PNG" and source.format == "PNG":
        from imaging.png import colour_chunks

        options["pnginfo"] = colour_chunks(source.info)
    return options if strip else {**options, **describe(source, result.size, name)}


def describe(source: Source, size: tuple[int, int], name: str) -> dict[str, Any]:
    """Return resolution and EXIF; nonsense is dropped."""
    options: dict[str, Any] = {}
    with suppress(Exception):
        if all(0 < value < MAX_SIDE for value in source.info["dpi"]):
            options["dpi"] = source.info["dpi"][::-1] if source.swapped else source.info["dpi"]
    if source.exif and name not in ("TIFF", "GIF", "BMP"):
        with suppress(Exception):
            exif = rewrite(source.exif, size, swapped=source.swapped)
            if exif and len(exif) < MAX_SIDE:
                options["exif"] = exif
    return options


def rewrite(exif: bytes, size: tuple[int, int], *, swapped: bool) -> bytes:
    """Return EXIF that is true of the result: its size, no orientation, and no thumbnail of what it was before.

    `swapped`: width and height have changed places, and so does the resolution.
    """
    from PIL import Image

    tags = Image.Exif()
    tags.load(exif)
    directories: tuple[MutableMapping[int, Any], ...] = (
        tags,
        tags.get_ifd(EXIF_DIRECTORY) if EXIF_DIRECTORY in tags else {},
    )
    for directory, tag in ((directory, tag) for directory in directories for tag in DROPPED):
        directory.pop(tag, None)
    if swapped and all(tag in tags for tag in RESOLUTION):
        horizontal, vertical = (tags[tag] for tag in RESOLUTION)
        tags[RESOLUTION[0]], tags[RESOLUTION[1]] = vertical, horizontal
    for directory, names in zip(directories, SIZES):
        for tag, side in zip(names, size):
            if tag in directory:
                directory[tag] = side
    return tags.tobytes() if len(tags) else b""


def has_thumbnail(exif: bytes | None) -> bool:
    """Tell whether EXIF has a second directory, which is that of a small picture of the image."""
    body = exif or b""
    body = body[6:] if body.startswith(b"Exif\0\0") else body
    order: Literal["little", "big"] = "little" if body[:2] == b"II" else "big"
    first = int.from_bytes(body[4:8], order)
    end = first + 2 + 12 * int.from_bytes(body[first : first + 2], order)
    return bool(int.from_bytes(body[end : end + 4], order))
