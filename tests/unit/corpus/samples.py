"""All files of the corpus, by their names."""

from __future__ import annotations

from functools import cache

from tests.unit.corpus import bmp, gif, jpeg, other, png, raster, tiff, tiff_more, webp
from tests.unit.corpus.model import Built, Sample

MODULES = (png, bmp, gif, tiff, tiff_more, jpeg, webp, raster, other)


def gathered() -> dict[str, Sample]:
    """Return the samples of all modules; no two share a name."""
    found: dict[str, Sample] = {}
    for module in MODULES:
        for sample in module.samples():
            assert sample.name not in found, sample.name
            found[sample.name] = sample
    return found


SAMPLES = gathered()


@cache
def build(name: str) -> Built:
    """Build a file of the corpus once."""
    return SAMPLES[name].build()
