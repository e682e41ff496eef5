"""TIFF layouts that Pillow's own reader gets wrong: read by libtiff, set right afterwards, or refused."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Literal, cast

from imaging.rules import ImageError

if TYPE_CHECKING:
    from PIL import Image, TiffImagePlugin

BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANAR = 258, 259, 262, 277, 284
INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT, SUBSAMPLING = 332, 338, 339, 530
WHITE_IS_ZERO, YCBCR, SEPARATE, SIGNED, OTHER_INKS = 0, 6, 2, 2, 2
RAW, WEBP = 1, 50001
SUBFILE, SUB_IFDS = 254, 330
MAX_TAGS = 4096
BLACK_AND_WHITE, FULL_RANGE = 532, (0, 255, 128, 255, 128, 255)


def prepare(image: TiffImagePlugin.TiffImageFile) -> None:
    """Have a file that was opened decoded by libtiff where Pillow's reader would be wrong; raises ImageError."""
    tags = image.tag_v2
    photometric, planar = tags.get(PHOTOMETRIC, 0), tags.get(PLANAR, 1) == SEPARATE
    raw = tags.get(COMPRESSION, RAW) == RAW
    if problem := find_problem(image, photometric, planar, raw):
        raise ImageError("unsupported", f"unsupported: TIFF with {problem}")
    if raw and (planar or (photometric == YCBCR and not is_plain_ycbcr(image))) and not image.use_load_libtiff:
        use_libtiff(image, photometric)


def check_tags(source: IO[bytes]) -> None:
    """Raise ImageError if the first directory has very many tags, which take Pillow seconds."""
    source.seek(0)
    head = source.read(16)
    order: Literal["little", "big"] = "little" if head[:2] == b"II" else "big"
    is_big = head[2:4] in (b"+\0", b"\0+")
    if len(head) < 16:
        return
    source.seek(int.from_bytes(head[8:16] if is_big else head[4:8], order))
    count = int.from_bytes(source.read(8 if is_big else 2), order)
    if count > MAX_TAGS:
        raise ImageError("unsupported", f"unsupported: TIFF with more than {MAX_TAGS} tags")


def is_plain_ycbcr(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Tell whether each pixel has colours of its own, in the full range: no other YCbCr is Pillow's."""
    levels = image.tag_v2.get(BLACK_AND_WHITE, FULL_RANGE)
    return bool(image.tag_v2.get(SUBSAMPLING, (2, 2)) == (1, 1) and tuple(map(float, levels)) == FULL_RANGE)


def find_problem(image: TiffImagePlugin.TiffImageFile, photometric: int, planar: bool, raw: bool) -> str:
    """Return what makes a file one that neither Pillow nor libtiff decodes right; nothing where they do."""
    tags = image.tag_v2
    if tags.get(SUBFILE, 0) & 1 and SUB_IFDS in tags:
        return "a thumbnail in the place of the image, as DNG has"
    sample_format, bits = max(tags.get(SAMPLE_FORMAT, (1,))), tags.get(BITS, (1,))
    if planar and image.mode in ("LA", "La", "PA", "LAB"):
        return "alpha or Lab in planes"
    if sample_format == SIGNED and bits[0] == 8:
        return "signed samples of 8 bits"
    if image.mode == "CMYK" and tags.get(INK_SET) == OTHER_INKS:
        return "inks that are not CMYK"
    if image.mode == "I" and sample_format == 1:
        return "unsigned samples of 32 bits"
    if image.mode == "F" and photometric == WHITE_IS_ZERO:
        return "floats whose white is 0"
    if image.mode in ("I", "F") and not raw and tags.prefix == b"MM":
        return "compressed big-endian samples of more than 8 bits"
    return "WebP compression" if tags.get(COMPRESSION) == WEBP else ""


def use_libtiff(image: TiffImagePlugin.TiffImageFile, photometric: int) -> None:
    """Replace the tiles of an uncompressed file by the one that libtiff decodes, as Pillow does for compressed ones."""
    import PIL
    from PIL import ImageFile, TiffImagePlugin

    tags = image.tag_v2
    bits, samples, extra = tags.get(BITS, (1,)), tags.get(SAMPLES, 1), tags.get(EXTRA_SAMPLES, ())
    bits = (bits * samples if len(bits) == 1 else bits)[:samples]
    if extra and max(extra) == 0 and tags.get(PLANAR) == SEPARATE:  # planes at the end that mean nothing
        bits, extra = bits[: -len(extra)], ()
    known = TiffImagePlugin.OPEN_INFO.get((tags.prefix, photometric, (1,), 1, bits, extra))
    if known is None:
        raise ImageError("unsupported", "unsupported: TIFF with these planes")
    rawmode = known[1]
    if photometric == YCBCR:
        image._mode, rawmode = "RGB", "RGBX"
    elif ";16" in rawmode:
        rawmode = rawmode.rstrip("BL") + "N"  # libtiff gives the machine's own order
    size = (tags[256], tags[257])
    compression = () if int(PIL.__version__.partition(".")[0]) >= 13 else ("raw",)  # the decoder before 13 takes it too
    image.tile = [ImageFile._Tile("libtiff", (0, 0, *size), 0, (rawmode, *compression, False, tags.offset))]
    image.use_load_libtiff = True


def correct(image: TiffImagePlugin.TiffImageFile) -> Image.Image:
    """Return gray of 12 or 16 bits from 0, black, to 65,535, white; and gray without the alpha multiplied into it."""
    if image.mode == "La":
        result = image.convert("LA")
        result.info = image.info
        return result
    if not image.mode.startswith("I;16"):
        return cast("Image.Image", image)
    negative, bits = image.tag_v2.get(PHOTOMETRIC, 0) == WHITE_IS_ZERO, image.tag_v2.get(BITS, (16,))[0]
    if not negative and bits == 16:
        return image
    values = image.convert("I")
    if bits == 12:
        values = values.point(lambda value: value * (65535 / 4095) + 0.5)
    if negative:
        values = values.point(lambda value: value * -1 + 65535)
    result = values.convert("I;16")
    result.info = image.info
    return result
