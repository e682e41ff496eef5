"""What `fab doctor` finds out about one thing."""

from __future__ import annotations

from typing import Literal, NamedTuple

State = Literal["ok", "warning", "error"]


class Check(NamedTuple):
    """The state of one thing; unless it is ok, `text` also says what to do."""

    name: str
    state: State
    text: str
