"""Numbers, sizes, time spans and paths in the texts of settings, and what is wrong with others."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from fanrun.fleet.errors import UsageError

N = TypeVar("N", int, float)
RATE = re.compile(r"(?P<number>[0-9]+(\.[0-9]+)?)((?P<unit>[kmgt])(?P<base>b|ib)?|(?P<bytes>b))?", re.IGNORECASE)
MIN_RATE = 1024
"""The lowest rate that rsync keeps to, in bytes per second."""


def path(name: str, text: str) -> Path:
    """Return the path in a setting, with ~ for a home; UsageError if there is none."""
    try:
        # Path drops the ./ that keeps a ~ from meaning a home.
        return Path(text).expanduser() if text.startswith("~") else Path(text)
    except RuntimeError as error:
        raise UsageError(f"{name} {text!r}: {error}; give a path without ~") from error


def _shown(name: str) -> str:
    """Return a name as a person gives it: a flag, or a setting within another, as logs.days, which has no flag."""
    return name if "." in name else f"--{name}"


def whole_number(name: str, text: str, minimum: int, maximum: int) -> int:
    """The whole number in `text`; UsageError unless it is one from `minimum` to `maximum`."""
    return _bounded(name, text, int, (minimum, maximum), f"a whole number from {minimum} to {maximum}")


def number(name: str, text: str, minimum: float, maximum: float) -> float:
    """The number in `text`, which may have a fraction; UsageError unless it is from `minimum` to `maximum`."""
    return _bounded(name, text, float, (minimum, maximum), f"a number from {minimum:g} to {maximum:g}, as 2 or 0.5")


def _bounded(name: str, text: str, read: Callable[[str], N], bounds: tuple[N, N], words: str) -> N:
    """Return the number that `read` finds in a text; UsageError with `words` unless it is within the bounds."""
    minimum, maximum = bounds
    try:
        value = read(text)
        is_right = minimum <= value <= maximum
    except ValueError:
        is_right = False
    if not is_right:
        given = text if text.isprintable() else repr(text)
        raise UsageError(f"{_shown(name)}={given}: give {words}")
    return value


def duration(name: str, text: str, minimum: int) -> int:
    """The seconds that `text` names (a whole number, and s, m, h or d after it); UsageError below `minimum`."""
    number, unit = (text[:-1], text[-1:].lower()) if text[-1:].isalpha() else (text, "s")
    scale = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(unit, 0)
    value = int(number) * scale if number.isascii() and number.isdigit() else 0
    if value < minimum:
        given = text if text.isprintable() else repr(text)
        raise UsageError(f"--{name}={given}: give {minimum // 60}m or more, as 90m, 4h or 2d")
    return value


def size(name: str, text: str, minimum: int) -> int:
    """The bytes that `text` names (a whole number, and k, m or g after it); UsageError if it is below `minimum`."""
    number, unit = (text[:-1], text[-1:].lower()) if text[-1:].isalpha() else (text, "")
    scale = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}.get(unit, 0)
    value = int(number) * scale if number.isascii() and number.isdigit() else 0
    if value < minimum:
        given = text if text.isprintable() else repr(text)
        raise UsageError(f"{_shown(name)}={given}: give a size of {minimum // 1024**2}m or more, as 512m or 4g")
    return value


def rate(name: str, text: str) -> int:
    """The bytes per second that `text` names as for rsync's --bwlimit, 0 for no limit; UsageError for another text.

    The unit is k, m, g or t, of 1024, or of 1000 with a b after it; b alone is a byte, and no unit is k.
    """
    found = RATE.fullmatch(text)
    value = 0.0
    if found:
        base = 1000 if (found["base"] or "").lower() == "b" else 1024
        value = float(found["number"]) * (
            1 if found["bytes"] else base ** (" kmgt".index((found["unit"] or "k").lower()))
        )
    if found is None or 0 < value < MIN_RATE or value > 2**60:
        given = text if text.isprintable() else repr(text)
        raise UsageError(f"--{name}={given}: give bytes per second as rsync does, 1k or more, as 500k or 1.5m")
    return int(value)
