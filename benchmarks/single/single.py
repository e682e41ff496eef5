"""A program that uses one core: 0.2 seconds of CPU for each input, of which it makes a copy."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

SECONDS = 0.2


def main(source: Path, target: Path) -> None:
    """Copy each file of a folder into another, and work for a while before."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            end = time.process_time() + SECONDS
            while time.process_time() < end:
                pass
            result = target / path.relative_to(source)
            result.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, result)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
