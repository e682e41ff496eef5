"""Progress for people: a line a host, drawn in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn, TextIO

from tqdm import tqdm


class Board:
    """Named lines of text, and one bar for the whole where `total` is given.

    Safe to use from many threads.  Without a terminal a text is printed when it changes; a
    passing one only if its line has been silent for `pause` seconds.  `word` says how a text is shown.
    """

    def __init__(
        self,
        *,
        total: int | None = None,
        unit: str = "it",
        stream: TextIO | None = None,
        pause: float = 5.0,
        word: Callable[[str], str] = str,
    ) -> None:
        self._stream = stream or sys.stderr
        self._word = word
        self._terminal = self._stream.isatty()
        self._lock = threading.Lock()
        self._bars: dict[str, tqdm[NoReturn]] = {}
        self._texts: dict[str, tuple[str, float]] = {}
        self._pause = pause
        self._total, self._done, self._unit, self._begun = total, 0, unit, time.monotonic()
        self._whole: tqdm[NoReturn] | None = None
        if self._terminal and total is not None:
            self._whole = tqdm(total=total, unit=unit, file=self._stream, position=0, dynamic_ncols=True)

    def say(self, name: str, text: str, *, passing: bool = False) -> None:
        """Set the line of that name; `passing` texts may be dropped where lines are printed."""
        text = self._word(text)
        with self._lock:
            if self._terminal:
                self._bar(name).set_description_str(f"{name:<10} {text}")
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
            self._done += count
            if self._whole is not None:
                self._whole.update(count)
        if not self._terminal and self._total:
            seconds = time.monotonic() - self._begun
            text = f"{self._done}/{self._total} {self._unit}, {self._done / max(seconds, 0.001):.1f}/s"
            self.say("total", text, passing=self._done < self._total)

    def count(self, done: int, total: int) -> None:
        """So many of the whole are done by now, and this is the whole."""
        self._total = total
        if self._terminal and self._whole is None:
            self._whole = tqdm(total=total, unit=self._unit, file=self._stream, position=0, dynamic_ncols=True)
        self.advance(done - self._done)

    def write(self, text: str) -> None:
        """Print a line of its own, above the bars where there are any."""
        text = self._word(text)
        with self._lock:
            if self._terminal:
                tqdm.write(text.rstrip("\n"), file=self._stream)
            else:
                print(text.rstrip("\n"), file=self._stream, flush=True)

    def close(self) -> None:
        """Take the moving lines away and print what they said last."""
        with self._lock:
            bars = [*([self._whole] if self._whole is not None else []), *self._bars.values()]
            last = [str(bar) for bar in bars]
            for bar in reversed(bars):
                bar.leave = False
                bar.close()
            for line in last:
                print(line, file=self._stream, flush=True)
            self._bars.clear()
            self._whole = None

    def _bar(self, name: str) -> tqdm[NoReturn]:
        if name not in self._bars:
            position = len(self._bars) + (self._whole is not None)
            self._bars[name] = tqdm(
                total=0, bar_format="{desc}", file=self._stream, position=position, dynamic_ncols=True
            )
        return self._bars[name]
