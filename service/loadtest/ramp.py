"""How much load there is to be at a time: from so much to so much, in a straight line."""

from __future__ import annotations

import math
from typing import NamedTuple


class Ramp(NamedTuple):
    """A level that goes from `first` to `last` in `seconds`; as a rate (requests a second) or as a concurrency."""

    first: float
    last: float
    seconds: float

    def level(self, at: float) -> float:
        """Return the level `at` seconds after the begin; before it the first, after the end the last."""
        part = min(max(at / self.seconds, 0), 1)
        return self.first + (self.last - self.first) * part

    def due(self, number: int) -> float:
        """Return after how many seconds request `number` (from 0) is due at this rate; inf if it never is.

        By then the area under the ramp, first*t + slope*t*t/2, is `number`.
        """
        if number == 0:
            return 0.0
        slope = (self.last - self.first) / self.seconds
        root = self.first**2 + 2 * slope * number
        if root < 0 or (divisor := self.first + math.sqrt(root)) == 0:
            return math.inf
        at = 2 * number / divisor
        return at if at < self.seconds else math.inf


def parse_ramp(text: str, seconds: float) -> Ramp:
    """Read "A:B" or "A" (the same all the time); raises ValueError unless both are numbers from 0, and one above it."""
    first, _, last = text.partition(":")
    ramp = Ramp(float(first), float(last or first), seconds)
    if not all(math.isfinite(level) and level >= 0 for level in ramp[:2]) or max(ramp[:2]) == 0:
        raise ValueError(text)
    return ramp
