"""WebP files: lossy and lossless, with alpha, animated, with a profile and with EXIF."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import imagecodecs
import numpy as np
from PIL import Image

from tests.unit.corpus import icc, jpeg, model
from tests.unit.corpus.model import Array, Built, Picture, Sample, picture, with_


def samples_of(alpha: bool) -> Array:
    """Return the scene, perhaps with alpha."""
    return np.ascontiguousarray(np.dstack([model.colours(), model.alpha()]) if alpha else model.colours())


def lossless(alpha: bool) -> Built:
    """Build a lossless file."""
    content = bytes(imagecodecs.webp_encode(samples_of(alpha), lossless=True))
    return Built(content, decoded(content))


def lossy(alpha: bool, level: int = 90) -> Built:
    """Build a lossy file, whose pixels imagecodecs tells."""
    content = bytes(imagecodecs.webp_encode(samples_of(alpha), level))
    return Built(content, decoded(content))


def decoded(content: bytes) -> Picture:
    """Return what a WebP shows by imagecodecs."""
    found = np.asarray(imagecodecs.webp_decode(content))
    shown = picture(found, 8, alpha=found.shape[2] == 4)
    return replace(shown, lossy_by_default=True)


def chunk(name: bytes, content: bytes) -> bytes:
    """Return a chunk of RIFF."""
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def extended(inner: bytes, flags: int, before: bytes = b"", after: bytes = b"") -> bytes:
    """Return a file in the extended format: what is in a simple one, with chunks around it."""
    head = struct.pack("<I", flags) + (model.WIDTH - 1).to_bytes(3, "little") + (model.HEIGHT - 1).to_bytes(3, "little")
    body = b"WEBP" + chunk(b"VP8X", head) + before + inner + after
    return chunk(b"RIFF", body)


def described(name: str, orientation: int = 1) -> Built:
    """Build a file with a profile, with EXIF or with XMP."""
    built = lossless(False)
    inner = built.content[12:]
    if name == "profile":
        profile = icc.wide_profile()
        return with_(
            replace(built, content=extended(inner, 0x20, chunk(b"ICCP", profile))),
            lambda picture: replace(picture, profile=profile),
        )
    if name == "exif":
        block = jpeg.exif(orientation)[10:]
        content = extended(inner, 0x08, after=chunk(b"EXIF", block))
        return with_(replace(built, content=content), lambda picture: replace(picture, orientation=orientation))
    packet = jpeg.XMP.format(orientation).encode()
    content = extended(inner, 0x04, after=chunk(b"XMP ", packet))
    return replace(
        with_(built, lambda picture: replace(picture, orientation=orientation, by_xmp=True)), content=content
    )


def animated(alpha: bool) -> Built:
    """Build an animation, of which the first frame counts."""
    target = io.BytesIO()
    first, second = (Image.fromarray(np.ascontiguousarray(samples_of(alpha)[::step])) for step in (1, -1))
    first.save(target, "WEBP", save_all=True, append_images=[second], lossless=True, exact=True)
    return Built(target.getvalue(), replace(picture(samples_of(alpha), 8, alpha=alpha), lossy_by_default=True))


def samples() -> Iterator[Sample]:
    """Yield all WebP files."""
    for alpha in (False, True):
        end = "-alpha" * alpha
        yield Sample(f"webp-lossless{end}.webp", partial(lossless, alpha))
        yield Sample(f"webp-lossy{end}.webp", partial(lossy, alpha))
        yield Sample(f"webp-animated{end}.webp", partial(animated, alpha))
    yield Sample("webp-profile.webp", partial(described, "profile"))
    for number in (1, 3, 6, 8):
        yield Sample(f"webp-orientation{number}.webp", partial(described, "exif", number))
    yield Sample("webp-orientation6-xmp.webp", partial(described, "xmp", 6))
