"""Progress for people: a line a host, drawn in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from fanrun.fleet.pace import Pace, total_text

if TYPE_CHECKING:
    from fanrun.fleet.live_display import LiveDisplay


class Board:
    """Named lines of text, and one bar for the whole where `total` is given.

    Safe to use from many threads.  Without a terminal a text is printed when it changes; a
    passing one only if its line has been silent for `pause` seconds.  `title` says what is being
    done.  The attribute `word` says how a text is shown.
    """

    def __init__(
        self,
        *,
        total: int | None = None,
        unit: str = "it",
        stream: TextIO | None = None,
        pause: float = 5.0,
        title: str = "",
    ) -> None:
        self._stream = stream or sys.stderr
        self.word: Callable[[str], str] = str
        self._pause, self._unit = pause, unit
        self._lock = threading.RLock()
        self._texts: dict[str, tuple[str, float]] = {}
        self._begun = time.monotonic()
        self._pace = Pace(total)
        is_drawn = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._live = self._start(title) if is_drawn else None

    def _start(self, title: str) -> LiveDisplay:
        from fanrun.fleet.live_display import LiveDisplay  # only terminals need what it imports

        live = LiveDisplay(self._stream, title, self._unit)
        if self._pace.total is not None:
            live.count(self._pace)
        return live

    def say(self, name: str, text: str, *, passing: bool = False) -> None:
        """Set the line of that name; `passing` texts may be dropped where lines are printed."""
        text = self.word(text)
        with self._lock:
            if self._live is not None:
                self._live.line(name, text, passing=passing)
                return
            old, at = self._texts.get(name, ("", self._begun))
            now = time.monotonic()
            if text != old and not (passing and now - at < self._pause):
                self._texts[name] = (text, now)
                print(f"{name:<10} {text}", file=self._stream, flush=True)

    def step(self, name: str, text: str) -> None:
        """Set the line of that name to what is being done just now."""
        self.say(name, text, passing=True)

    def advance(self, count: int) -> None:
        """Count so many more items of the whole as done."""
        with self._lock:
            self._pace.advance(count)
            self._tell_total()

    def skip(self, count: int) -> None:
        """Count so many items of the whole as done before."""
        with self._lock:
            self._pace.skip(count)
            self._tell_total()

    def count(self, done: int, total: int) -> None:
        """So many of the whole are done by now, and this is the whole."""
        with self._lock:
            if self._pace.total is None and self._live is not None:
                self._live.count(self._pace)
            self._pace.total = total
        self.advance(done - self._pace.done)

    def write(self, text: str) -> None:
        """Print a line of its own, above the bars where there are any."""
        text = self.word(text).rstrip("\n")
        with self._lock:
            if self._live is not None:
                self._live.write(text)
            else:
                print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Take the moving lines away and print what they said last."""
        with self._lock:
            live, self._live = self._live, None
            for line in live.stop() if live is not None else ():
                print(line, file=self._stream, flush=True)

    def _tell_total(self) -> None:
        if self._live is None and self._pace.total:
            self.say("total", total_text(self._pace, self._unit), passing=self._pace.done < self._pace.total)
