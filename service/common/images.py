"""The limits on the size of images in requests and results."""

from __future__ import annotations

from imaging.rules import MAX_SIDE, Limits
from service.common.settings import PIXELS

LIMITS = Limits(PIXELS, PIXELS, MAX_SIDE)
