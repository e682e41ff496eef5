"""An image operation that takes its time: the picture enlarged, blurred and brought back to its size."""

import os
import sys
from multiprocessing import Pool
from pathlib import Path

from PIL import Image, ImageFilter

source, output = map(Path, sys.argv[1:])


def work(path: Path) -> None:
    """Enlarge, blur and shrink an image: much work for few bytes."""
    target = output / path.relative_to(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(path) as image:
        width, height = image.size
        large = image.resize((width * 2, height * 2), Image.Resampling.LANCZOS)
        large.filter(ImageFilter.GaussianBlur(3)).resize((width, height), Image.Resampling.LANCZOS).save(target)


if __name__ == "__main__":
    with Pool(os.cpu_count()) as pool:
        for _ in pool.imap_unordered(work, [path for path in source.rglob("*") if path.is_file()], 4):
            pass
