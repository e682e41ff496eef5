"""How large the images are that the service takes and makes."""

from __future__ import annotations

from imaging.rules import MAX_SIDE, Limits
from service.common.settings import PIXELS

LIMITS = Limits(PIXELS, PIXELS, MAX_SIDE)
