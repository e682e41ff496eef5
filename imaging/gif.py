"""GIF: whether a file has its end."""

from __future__ import annotations

import io
from typing import IO


def is_complete(source: IO[bytes]) -> bool:
    """Tell whether the blocks lead to the trailer; whatever follows it is none of the image's.

    https://www.w3.org/Graphics/GIF/spec-gif89a.txt
    """
    source.seek(0)
    data = io.BytesIO(source.read())
    head = data.read(13)
    data.seek(color_table(head[10]), 1)
    while kind := data.read(1):
        if kind == b";":
            return True
        if kind == b",":
            data.seek(color_table(data.read(9)[8]) + 1, 1)
        elif kind == b"!":
            data.seek(1, 1)
        else:  # stray bytes between blocks, as decoders skip them
            continue
        while length := data.read(1)[0]:
            data.seek(length, 1)
    return False


def color_table(packed: int) -> int:
    """Return the bytes of the colour table that a descriptor's packed field tells of."""
    return 3 * 2 ** (packed % 8 + 1) if packed & 0x80 else 0
