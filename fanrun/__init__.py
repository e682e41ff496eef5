"""The control side: what people type, and what Python programs call."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fanrun.api import Result, run

__all__ = ["Result", "run"]


def __getattr__(name: str) -> object:
    """Import what programs call only when they call it: tasks do not need it."""
    if name not in __all__:
        raise AttributeError(f"module 'fanrun' has no attribute {name!r}")
    from fanrun import api

    return getattr(api, name)
