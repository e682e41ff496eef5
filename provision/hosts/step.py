"""A step that sets a host up."""

from __future__ import annotations

from collections.abc import Callable

from fanrun.fleet.ssh import Remote

Step = Callable[[Remote], str | None]
"""Changes only what is missing, and returns what it changed, or None."""
