"""Reading images: what a file is by its header, and its pixels with a check that all of it is there."""

from __future__ import annotations

from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, cast

from imaging.rules import DEFAULT_LIMITS, Header, ImageError, Limits, check_pixels

if TYPE_CHECKING:
    from PIL import Image, ImageFile

SIGNATURES = {  # what files begin with -> format and Pillow's plugin for it
    b"\xff\xd8\xff": ("JPEG", "Jpeg"),
    b"\x89PNG\r\n\x1a\n": ("PNG", "Png"),
    b"GIF8": ("GIF", "Gif"),
    b"BM": ("BMP", "Bmp"),
    b"RIFF": ("WEBP", "WebP"),
    b"II*\0": ("TIFF", "Tiff"),
    b"MM\0*": ("TIFF", "Tiff"),
    b"II+\0": ("TIFF", "Tiff"),
    b"MM\0+": ("TIFF", "Tiff"),
}
AVIF_BRANDS, HEIC_BRANDS = {b"avif", b"avis"}, {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
JXL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
HEAD = 256  # bytes that tell a format
UPRIGHT = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF's orientation -> the Image.Transpose that undoes it
XMP = ("xmp", "XML:com.adobe.xmp")


def inspect(source: IO[bytes], limits: Limits = DEFAULT_LIMITS) -> Header:
    """Return what an image is by its header alone; raises ImageError, also when it is larger than the limits."""
    with open_image(source, limits) as image:
        return read_header(image)


def verify(source: IO[bytes], limits: Limits = DEFAULT_LIMITS) -> None:
    """Raise ImageError unless all pixels of an image can be read."""
    with open_image(source, limits) as image:
        decode(image, source)


def read_header(image: ImageFile.ImageFile) -> Header:
    """Return what an image that was opened is, before its pixels are read."""
    turn, (width, height) = orientation(image), image.size
    if image.format == "TIFF":  # whose plugin may have swapped them already
        width, height = (cast(Any, image).tag_v2[tag] for tag in (256, 257))
    if turn > 4:
        width, height = height, width
    return Header(str(image.format), width, height, image.mode, turn > 1)


def open_image(source: IO[bytes], limits: Limits) -> ImageFile.ImageFile:
    """Read an image's header, nothing else; raises ImageError."""
    from importlib import import_module

    from PIL import Image

    source.seek(0)
    head = source.read(HEAD)
    name, plugin = find_format(head)
    if plugin:
        import_module(f"PIL.{plugin}ImagePlugin")
    check_head(name, source)
    if limits.pixels > 2 * (Image.MAX_IMAGE_PIXELS or limits.pixels):  # the caller's limit is the one that holds
        Image.MAX_IMAGE_PIXELS = (limits.pixels + 1) // 2
    try:
        image = Image.open(source, formats=[name])
        check_pixels(image.size, limits)
        prepare(image)
    except Image.DecompressionBombError:
        raise ImageError("too large", "the image has too many pixels") from None
    except Exception as error:
        raise damaged(error) from None
    if image.format == "MPO":  # a JPEG with more pictures behind the first
        image.format = "JPEG"
    for key in XMP:  # orientation is EXIF's: where it stands in XMP alone, most programs do not look
        image.info.pop(key, None)
    return image


def check_head(name: str, source: IO[bytes]) -> None:
    """Raise ImageError for a file that Pillow must not even open."""
    if name == "PNG":
        from imaging import png

        png.scan(source)
    elif name == "TIFF":
        from imaging import tiff

        tiff.check_tags(source)
    elif name in ("AVIF", "HEIF"):
        from imaging import heif

        heif.check_colours(source)


def find_format(head: bytes) -> tuple[str, str]:
    """Return format and plugin ("" where it registers itself) of a file that begins so; raises ImageError."""
    for magic, found in SIGNATURES.items():
        if head.startswith(magic):
            return found
    if name := name_unread(head):
        if name == "AVIF" and has_avif():
            return "AVIF", "Avif"
        if name == "HEIC" and register_heif():
            return "HEIF", ""
        raise ImageError("unsupported", f"unsupported: {name}")
    raise unknown(head)


def name_unread(head: bytes) -> str:
    """Return HEIC, AVIF or JPEG XL if a file begins like one of these, which need more than plain Pillow."""
    if head.startswith(JXL):
        return "JPEG XL"
    if head[4:8] != b"ftyp":
        return ""
    # ISO/IEC 14496-12, 4.3: size, "ftyp", major brand, version, compatible brands
    end = int.from_bytes(head[:4], "big")
    brands = {head[at : at + 4] for at in (8, *range(16, min(end, len(head)), 4))}
    return "AVIF" if brands & AVIF_BRANDS else "HEIC" if brands & HEIC_BRANDS else ""


def has_avif() -> bool:
    """Tell whether this Pillow reads AVIF."""
    from PIL import features

    return bool(features.check("avif"))


def register_heif() -> bool:
    """Make Pillow read HEIC, where pillow-heif is installed; tell whether it does."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def unknown(head: bytes) -> ImageError:
    """Return what is wrong with a file that begins so."""
    from PIL import Image

    if not head:
        return ImageError("empty", "the image is empty")
    Image.init()
    with suppress(Exception):  # the plugins look at it, no more
        if any(accept and accept(head[:16]) is True for _, accept in Image.OPEN.values()):
            return ImageError("unsupported", "images of this format are not supported")
    return ImageError("not an image", "this is not an image")


def damaged(error: Exception) -> Exception:
    """Return that an image can't be read, unless it was the disk or the memory that failed."""
    if isinstance(error, (MemoryError, ImageError)) or (isinstance(error, OSError) and error.errno):
        return error
    return ImageError("truncated", "the image is damaged, cut off, or of a kind that cannot be read")


def prepare(image: ImageFile.ImageFile) -> None:
    """Set right what Pillow is about to decode wrong; raises ImageError where that can't be done."""
    # Each format's rules are imported where such a file is met: most batches have one format.
    if image.format == "TIFF":
        from imaging import tiff

        tiff.prepare(cast(Any, image))
    elif image.format == "BMP":
        from imaging import bmp

        bmp.prepare(cast(Any, image))
    elif image.format == "PNG":
        from imaging import png

        png.prepare(cast(Any, image))
    elif image.format == "GIF":
        from imaging import gif

        gif.prepare(cast(Any, image))


def decode(image: ImageFile.ImageFile, source: IO[bytes]) -> Image.Image:
    """Read all of an image's pixels, and set right what Pillow decodes wrong; raises ImageError."""
    deep = is_deep(image)
    try:
        image.load()
        check_end(image, source)
        return correct(image, deep, source)
    except Exception as error:
        raise damaged(error) from None


def check_end(image: ImageFile.ImageFile, source: IO[bytes]) -> None:
    """Raise ImageError if a part of a file is missing, though Pillow could read it."""
    is_whole = True
    if image.format == "PNG":
        from imaging import png

        is_whole = png.scan(source).is_whole and png.has_all_rows(image, source)
    elif image.format == "GIF":
        from imaging import gif

        is_whole = gif.is_complete(source)
    if not is_whole:
        raise ImageError("truncated", "the image is cut off: its end is missing")


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Tell whether an image whose pixels are not read yet is a PNG with 16 bits a colour."""
    return image.format == "PNG" and bool(image.tile) and image.tile[0].args == "RGB;16B"


def correct(image: ImageFile.ImageFile, deep: bool, source: str | IO[bytes]) -> Image.Image:
    """Return the pixels as they should be; `deep`: what is_deep said before they were read."""
    if image.format == "TIFF":
        from imaging import tiff

        return tiff.correct(cast(Any, image))
    if image.format == "BMP":
        from imaging import bmp

        return bmp.correct(image)
    if image.format == "PNG":
        from imaging import png

        return png.correct(cast(Any, image), deep, source)
    if image.format == "GIF":
        from imaging import gif

        return gif.correct(cast(Any, image))
    return image


def orientation(image: Image.Image) -> int:
    """Return how EXIF wants an image to be shown, 1 to 8, as far as it was read: nothing is decoded for it."""
    from PIL import Image

    with suppress(Exception):  # EXIF that can't be read says nothing
        # Not the PNG plugin's own: it decodes all pixels to look behind them.
        found = Image.Image.getexif(image).get(0x0112)
        return found if found in UPRIGHT else 1
    return 1
