"""Makes the pictures of the docs from real runs on a fleet of its own: see script/pictures."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Sequence
from pathlib import Path

import pyte
from PIL import Image
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from benchmarks.contest import BenchError
from benchmarks.fleet import FAB, FLEET, ROOT, fab, say, start_fleet

TARGET = ROOT / "docs" / "images"
COLUMNS, ROWS = 100, 60
COMMANDS = ("fab run --src ./dataset --dst ./output", "fab run --src ./dataset --dst ./output")
"""The second run shows that nothing is done twice."""
COLOURS = {"default": "", "brown": "yellow"}
"""Names of colours that are others in Rich."""
SHOWN, SIDE = 3, 300
"""Plates that are shown before and after, and their longer side in pixels."""
GAP = 16
LOAD = ("--rate", "10:120", "--seconds", "60")


def main() -> int:
    """Make all pictures; the exit code."""
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        fab("sample", "--dst", str(folder / "dataset"))
        with start_fleet() as fleet:
            say("docs/images/run.svg")
            (TARGET / "run.svg").write_text(terminal(folder))
            say("docs/images/plates.jpg")
            plates(folder).save(TARGET / "plates.jpg", quality=85)
            say("docs/images/load.svg")
            load(folder, f"{fleet.load().hub.inner}:50051")
    return 0


def terminal(folder: Path) -> str:
    """Run COMMANDS in a terminal and return what it shows, as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for command in COMMANDS:
        console.print(Text(f"$ {command}", style="bold"))
        for line in shown(typed(command.split(), folder)):
            console.print(line)
    return console.export_svg(title="fanrun", theme=DIMMED_MONOKAI, unique_id="fanrun")


def typed(words: Sequence[str], folder: Path) -> str:
    """Run a command as if it was typed at a terminal; return what it prints.  Raises BenchError if it fails."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    argv = [*FAB, *words[1:], "--fleet", FLEET]
    process = subprocess.Popen(argv, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    output = read_all(ours)
    if process.wait() != 0:
        raise BenchError(f"{' '.join(words)} ended with {process.returncode}: {output}")
    return output


def shown(output: str) -> list[Text]:
    """Return the lines that a terminal shows in the end."""
    screen = pyte.Screen(COLUMNS, ROWS)
    pyte.Stream(screen).feed(output.replace("\n", "\r\n"))
    lines = []
    for row in range(screen.cursor.y):
        line = Text()
        for column in range(COLUMNS):
            cell = screen.buffer[row][column]
            line.append(cell.data, style=f"{'bold ' if cell.bold else ''}{COLOURS.get(cell.fg, cell.fg)}")
        line.rstrip()
        lines.append(line)
    return lines


def read_all(terminal: int) -> str:
    """Read a terminal until its last program has ended, and close it."""
    pieces = []
    try:
        while piece := os.read(terminal, 65536):
            pieces.append(piece)
    except OSError:  # how Linux tells the end
        pass
    os.close(terminal)
    return b"".join(pieces).decode().replace("\r\n", "\n")


def plates(folder: Path) -> Image.Image:
    """Return a picture of some inputs, below them their results."""
    names = sorted(path.name for path in (folder / "dataset").iterdir())[:SHOWN]
    rows = [[small(folder / top / name) for name in names] for top in ("dataset", "output")]
    heights = [max(each.height for each in row) for row in rows]
    sheet = Image.new("RGB", (SHOWN * (SIDE + GAP) - GAP, sum(heights) + GAP), "white")
    for y, row in zip((0, heights[0] + GAP), rows, strict=True):
        for column, each in enumerate(row):
            sheet.paste(each, (column * (SIDE + GAP) + (SIDE - each.width) // 2, y))
    return sheet


def small(path: Path) -> Image.Image:
    """Return an image with at most SIDE pixels in each direction."""
    with Image.open(path) as image:
        image.thumbnail((SIDE, SIDE))
        result: Image.Image = image.convert("RGB")
    return result


def load(folder: Path, api: str) -> None:
    """Load a service of two processors, more and more, and draw how it answers."""
    fab("serve", "--replicas=2", "--args=--size 200x200", "--fleet", FLEET)
    argv = [sys.executable, "-m", "service.loadtest.load", "--fleet", FLEET, "--target", api, *LOAD]
    argv += ["--images", str(folder / "dataset"), "--plot", str(TARGET / "load.svg")]
    if subprocess.run(argv, cwd=ROOT, stdout=sys.stderr, check=False).returncode not in (0, 1):
        raise BenchError("the load test could not be made")


if __name__ == "__main__":
    sys.exit(main())
