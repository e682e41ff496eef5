"""process.py and the service give the same pixels, and the same refusals, for the same file and wish."""

from __future__ import annotations

import io
from pathlib import Path
from random import Random

import grpc
import pytest
from PIL import Image

from imaging.files import Job, Task, process_file
from imaging.rules import Operations
from service.common.images import LIMITS
from tests.service.conftest import picture
from tests.service.servers import Farm, Served, content, scaler
from tests.variants import some

CASES = Path(__file__).resolve().parents[1] / "cases"
NEAR = Operations(160, 120, margin=0.05)
WISHES = {"exact": NEAR, "gray": NEAR._replace(grayscale=True)}


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def corpus() -> dict[str, bytes]:
    """The cases; files of every format, within the margin and beyond it; each of them cut off; and no images."""
    found = {path.name: path.read_bytes() for path in CASES.iterdir() if path.suffix != ".md"}
    exif = Image.Exif()
    exif[0x0112] = 6
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for name, size in {"near": (162, 118), "far": (90, 70), "tall": (118, 162)}.items():
        noise = Image.frombytes("RGB", size, Random(1).randbytes(3 * size[0] * size[1]))
        for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"):
            found[f"{name}.{kind}"] = encoded(noise, kind)
        for mode in ("L", "LA", "P", "1", "I;16"):
            image = noise.convert("L").convert("I").convert("I;16") if mode == "I;16" else noise.convert(mode)
            found[f"{name}-{mode}.png"] = encoded(image, "PNG")
        found[f"{name}-cmyk.jpg"] = encoded(noise.convert("CMYK"), "JPEG")
        for kind in ("JPEG", "WEBP", "TIFF", "PNG"):
            found[f"{name}-turned.{kind}"] = encoded(noise, kind, exif=exif)
        for kind in ("JPEG", "WEBP"):
            found[f"{name}-xmp.{kind}"] = encoded(noise, kind, xmp=xmp)
        found[f"{name}.ppm"], found[f"{name}-float.tif"] = encoded(noise, "PPM"), encoded(noise.convert("F"), "TIFF")
    cut = {f"cut {name}": data[: len(data) * 2 // 3] for name, data in found.items()}
    ended = {f"no end {name}": data[:-1] for name, data in found.items() if name.endswith(("PNG", "GIF"))}
    return {**found, **cut, **ended, "text": b"Once upon a time", "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"}


CORPUS = corpus()


@pytest.fixture(scope="module")
def servers(shared: Farm) -> dict[str, Served]:
    """An API for each wish."""
    exact, processor = shared.pair("--size", "160x120")
    where = f"127.0.0.1:{processor.ready['listen']}"
    return {"exact": exact, "gray": shared.api("--size", "160x120", "--processor", where, "--grayscale")}


def by_program(data: bytes, operations: Operations, folder: Path) -> bytes | str:
    """Return the result, or the reason."""
    (folder / "in").write_bytes(data)
    task = Task("in", *(str(folder / name) for name in ("in", "out", "partial")))
    error = process_file(task, Job(operations, LIMITS)).error
    return error or (folder / "out").read_bytes()


def by_service(data: bytes, api: Served) -> bytes | str:
    """Return the result, or the reason."""
    try:
        return bytes(scaler(api).ScaleImage(content(data), timeout=20).content)
    except grpc.RpcError as error:
        known = error.code() is grpc.StatusCode.INVALID_ARGUMENT
        return str(error.details()) if known else f"{error.code()}: {error.details()}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("wish", some(WISHES, "exact"))
def test_the_answers_are_the_same(wish: str, servers: dict[str, Served], tmp_path: Path) -> None:
    different, refused = [], 0
    for name, data in CORPUS.items():
        one, other = by_program(data, WISHES[wish], tmp_path), by_service(data, servers[wish])
        refused += isinstance(one, str)
        if one != other:
            different.append((name, *(each if isinstance(each, str) else len(each) for each in (one, other))))
    assert different == []
    assert refused > 30


def test_what_is_cut_off_within_the_margin_is_refused(servers: dict[str, Served]) -> None:
    whole = picture(160, 120, "JPEG")
    assert by_service(whole, servers["exact"]) == whole
    told = by_service(whole[: len(whole) // 2], servers["exact"])
    assert told == "the image is damaged, cut off, or of a kind that cannot be read"
