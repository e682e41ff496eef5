"""Removing things one by one: what can't be removed holds up nothing else, and is named in the end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from fanrun.fleet.errors import ProviderError
from fanrun.fleet.poll import RetryPolicy, poll
from provision.providers.ec2.api import Api, ApiError

BUSY = RetryPolicy(timeout=120, pause=3)
"""How what is still in use is tried again: its user may have ended a moment ago."""


class Cleanup:
    """Notes what was `removed`, and what is left; `end` tells of that."""

    def __init__(self, api: Api, again: str) -> None:
        """`again` is the command that tries once more."""
        self._api, self._again = api, again
        self._left: list[str] = []
        self._why: list[str] = []
        self.removed: list[str] = []

    @property
    def complete(self) -> bool:
        """Return whether nothing is left yet."""
        return not self._left

    def all(self, action: str, key: str, **arguments: object) -> list[dict[str, Any]]:
        """Return what a describing action lists under `key`; nothing if it may not be called."""
        try:
            return self._api.all(action, key, **arguments)
        except ApiError as error:
            self.leave("what " + command(self._api.region, action, {}) + " shows", str(error))
            return []

    def gone(self, action: str, *codes: str, what: str, busy: Sequence[str] = (), **arguments: object) -> bool:
        """Remove what is called so, unless it is not there any more, which `codes` say; whether it is gone.

        While `busy` says so it is in use, and tried again.
        """

        def remove() -> ApiError | None:
            try:
                self._api.gone(action, *codes, **arguments)
            except ApiError as error:
                return error
            return None

        failed = poll(remove, lambda error: error is None or error.code not in busy, BUSY)
        if failed:
            self.leave(f"{what} ({command(self._api.region, action, arguments)})", str(failed))
        else:
            self.removed.append(what)
        return not failed

    def leave(self, what: str, why: str) -> None:
        """Note something as left."""
        self._left.append(what)
        self._why += [why] if why not in self._why else []

    def end(self) -> None:
        """Raise ProviderError if something is left: what, why, and how to remove it."""
        if self._left:
            raise ProviderError(
                f"left: {', '.join(self._left)}; {'; '.join(self._why)}; then {self._again} again", provider="ec2"
            )


def command(region: str, action: str, arguments: dict[str, Any]) -> str:
    """Return the command for a call: `aws ec2 delete-volume --region us-east-1 --volume-id vol-1`."""
    words = ["aws", "ec2", action.replace("_", "-"), "--region", region]
    for name, value in arguments.items():
        words.append("-" + re.sub(r"(?=[A-Z])", "-", name).lower())
        words += value if isinstance(value, list) else [str(value)]
    return f"`{' '.join(words)}`"
