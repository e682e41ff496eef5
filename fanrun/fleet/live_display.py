"""Progress on a terminal: a bar for the whole task and a line for each host, drawn again four times a second."""

from __future__ import annotations

import threading
import time
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from fanrun.fleet.pace import Pace, clock_text, total_text

FIRST_SECONDS = 0.2
"""Seconds before lines are drawn for the first time."""
NARROW, WIDE = 10, 40
"""The fewest and the most columns of the bar."""


class LiveDisplay:
    """Draws lines in place until it is stopped; safe to use from many threads."""

    def __init__(self, stream: TextIO, title: str, unit: str) -> None:
        self._title, self._unit = title, unit
        self._lock = threading.RLock()
        self._lines: dict[str, tuple[str, float | None]] = {}
        self._pace: Pace | None = None
        self._begun = time.monotonic()
        self._spinner = Spinner("line")
        self._console = Console(file=stream, force_terminal=True, highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=self._console,
            get_renderable=self._draw,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        # What is over at once draws nothing.
        self._timer = threading.Timer(FIRST_SECONDS, self._live.start)
        self._timer.daemon = True
        self._timer.start()

    def count(self, pace: Pace) -> None:
        """Draw a bar for this work."""
        with self._lock:
            self._pace = pace

    def line(self, name: str, text: str, *, passing: bool) -> None:
        """Set the line of that name; a `passing` text is about what is being done, and gets a clock."""
        with self._lock:
            before, since = self._lines.get(name, ("", None))
            now = since if text == before else time.monotonic()
            self._lines[name] = (text, now if passing else None)

    def write(self, text: str) -> None:
        """Print a line above the others."""
        # Not under the lock: whoever draws holds rich's lock and waits for ours.
        self._console.print(Text(text), soft_wrap=True)

    def stop(self) -> list[str]:
        """Take the lines away; return what they said last."""
        with self._lock:
            texts = {"total": total_text(self._pace, self._unit, is_over=True)} if self._pace else {}
            texts |= {name: text for name, (text, _) in self._lines.items()}
        self._timer.cancel()
        self._timer.join()
        self._live.stop()
        return [f"{name:<10} {text}" for name, text in texts.items()]

    def _draw(self) -> Table:
        """Return the lines as they are now."""
        with self._lock:
            grid = Table.grid(padding=(0, 1))
            grid.add_column(no_wrap=True)
            grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
            grid.add_column(no_wrap=True, justify="right")
            grid.expand = True
            now = time.monotonic()
            if self._pace is not None:
                grid.add_row("total", self._bar(self._pace), clock_text(self._pace.elapsed))
            elif self._title:
                grid.add_row(self._title, self._spinner.render(now), clock_text(now - self._begun))
            for name, (text, since) in self._lines.items():
                grid.add_row(f"{name:<10}", Text(text), "" if since is None else clock_text(now - since))
            return grid

    def _bar(self, pace: Pace) -> Table:
        """Return a bar with the numbers behind it."""
        text = Text(total_text(pace, self._unit))
        width = max(NARROW, min(WIDE, self._console.width - len(text) - 24))
        row = Table.grid(padding=(0, 1))
        row.add_row(ProgressBar(total=max(pace.total or 0, 1), completed=pace.done, width=width), text)
        return row
