"""The API with one processor: what it decides, what it answers, what it tells of it."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import grpc
import pytest
from PIL import Image

from service.protos import imagescaler_pb2 as pb
from tests.service.conftest import picture
from tests.service.servers import Farm, Origin, Served, answer, content, failure, scaler

Pair = tuple[Served, Served]


@pytest.fixture(scope="module")
def pair(shared: Farm) -> Pair:
    """An API that scales to 160x120 and fetches from loopback, and its processor."""
    return shared.pair("--size", "160x120", "--allow-networks", "127.0.0.1/32")


@pytest.fixture(scope="module")
def gray(shared: Farm, pair: Pair) -> Served:
    """Another API, that makes gray."""
    where = f"127.0.0.1:{pair[1].ready['listen']}"
    return shared.api("--size", "160x120", "--processor", where, "--grayscale", "--how", "fit")


def ask(api: Served, image: bytes, **options: object) -> tuple[Image.Image, bytes, dict[str, str]]:
    """What comes back: the image, its bytes, the trailers."""
    reply, call = scaler(api).ScaleImage.with_call(content(image), timeout=20, **options)
    return Image.open(io.BytesIO(reply.content)), reply.content, dict(call.trailing_metadata())


def turned(width: int, height: int) -> bytes:
    """A JPEG that EXIF wants turned by 90 degrees."""
    image, exif, target = Image.new("RGB", (width, height), "teal"), Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    image.save(target, "JPEG", exif=exif)
    return target.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF"])
def test_an_image_is_scaled_in_its_format(pair: Pair, kind: str) -> None:
    image, _, trailers = ask(pair[0], picture(400, 500, kind))
    assert (image.size, image.format) == ((160, 120), kind)
    assert (trailers["x-source-size"], trailers["x-target-size"]) == ("400x500", "160x120")
    assert (trailers["x-decision"], "not within 0.05 of 160x120" in trailers["x-reason"]) == ("scale", True)
    stages = [stage.partition(";dur=")[0] for stage in trailers["server-timing"].split(", ")]
    assert stages == ["inspect", "queue", "transform", "process"]  # the processor tells of the two in between


@pytest.mark.parametrize("size", [(160, 120), (168, 114), (152, 126)])
def test_within_the_margin_the_same_bytes_go_back(pair: Pair, size: tuple[int, int]) -> None:
    before, image = pair[1].handled(), picture(*size)
    _, same, trailers = ask(pair[0], image)
    assert same == image
    assert (trailers["x-decision"], trailers["x-target-size"]) == ("untouched", "{}x{}".format(*size))
    assert pair[1].handled() == before


@pytest.mark.parametrize("size", [(169, 120), (160, 113), (151, 120), (120, 160)])
def test_beyond_it_on_one_side_is_enough(pair: Pair, size: tuple[int, int]) -> None:
    assert ask(pair[0], picture(*size))[0].size == (160, 120)


def test_the_size_is_the_one_that_is_shown(pair: Pair) -> None:
    image = turned(120, 160)
    assert ask(pair[0], image)[1] == image
    assert ask(pair[0], turned(160, 120))[2]["x-source-size"] == "120x160"


def test_gray_and_fitted(gray: Served) -> None:
    image, _, trailers = ask(gray, picture(400, 500))
    assert (image.size, image.mode, trailers["x-decision"]) == ((96, 120), "L", "scale+grayscale")
    image, _, trailers = ask(gray, picture(160, 120))
    assert (image.size, image.mode, trailers["x-decision"]) == ((160, 120), "L", "grayscale")


def test_content_counts_before_source(pair: Pair) -> None:
    image = picture()
    assert scaler(pair[0]).ScaleImage(content(image, "http://127.0.0.1:1/nobody")).content == image


def test_a_url_is_fetched_by_the_api(pair: Pair) -> None:
    origin = Origin({"/a.jpg": answer(200, picture(400, 500))})
    reply, call = scaler(pair[0]).ScaleImage.with_call(content(uri=f"{origin.url}/a.jpg"))
    assert Image.open(io.BytesIO(reply.content)).size == (160, 120)
    assert dict(call.trailing_metadata())["server-timing"].startswith("fetch;dur=")
    assert origin.seen == ["/a.jpg"]


def huge() -> bytes:
    """A PNG whose header tells of 25 megapixels, and which has none."""
    png = picture(1, 1, "PNG")
    return png[:16] + struct.pack("!II", 5000, 5000) + png[24:]


BAD = {
    "nothing": (b"", "no image"),
    "text": (b"once upon a time", "not an image"),
    "cut off": (picture(400, 500, "PNG")[:700], "cut off"),
    "pixels": (huge(), "too large|pixels|damaged"),
    "bytes": (picture() + bytes(20 * 2**20), "20 MiB"),
    "format": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not supported"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_image_is_an_invalid_argument(pair: Pair, what: str) -> None:
    error = failure(lambda: scaler(pair[0]).ScaleImage(content(BAD[what][0]), timeout=10))
    assert error.code == "INVALID_ARGUMENT"
    assert any(text in error.details for text in BAD[what][1].split("|")), error.details
    assert "Traceback" not in error.details


def test_what_does_not_fit_into_a_message_is_refused(pair: Pair) -> None:
    error = failure(lambda: scaler(pair[0]).ScaleImage(content(bytes(33 * 2**20)), timeout=20))
    assert error.code == "RESOURCE_EXHAUSTED"


def test_an_image_just_below_the_limit_is_taken(pair: Pair) -> None:
    padded = picture(400, 500)
    padded += bytes(20 * 2**20 - len(padded))
    assert ask(pair[0], padded)[0].size == (160, 120)


def test_bytes_that_are_no_request(pair: Pair) -> None:
    call: Callable[..., object] = grpc.insecure_channel(f"127.0.0.1:{pair[0].ready['listen']}").unary_unary(
        "/imagescaler.ImageScaler/ScaleImage"
    )
    error = failure(lambda: call(b"\x0a\xff\xff\xff", timeout=5))
    assert (error.code, "no message" in error.details) == ("INVALID_ARGUMENT", True)


def test_no_processor_is_unavailable(farm: Farm) -> None:
    api = farm.api("--processor", "127.0.0.1:1", "--size", "160x120")
    error = failure(lambda: ask(api, picture(400, 500)))
    assert (error.code, error.details) == ("UNAVAILABLE", "no processor can be reached: try again later")
    assert ask(api, picture())[2]["x-decision"] == "untouched"  # who needs none has no harm


@pytest.mark.parametrize("given", ["from-a-caller/7", "", 'with "quotes"'])
def test_a_request_id_travels(pair: Pair, given: str) -> None:
    metadata = (("x-request-id", given),) if given else ()
    found = ask(pair[0], picture(400, 500), metadata=metadata)[2]["x-request-id"]
    assert (found == given) == given.startswith("from")
    for served in pair:
        assert found in [line.get("request_id") for line in served.lines("call")]
    error = failure(lambda: scaler(pair[0]).ScaleImage(content(b"x"), metadata=metadata))
    assert "x-request-id" in error.trailers


def test_the_metrics_have_these_names(pair: Pair) -> None:
    ask(pair[0], picture(400, 500))
    origin = Origin({})
    failure(lambda: scaler(pair[0]).ScaleImage(content(uri=f"{origin.url}/no")))
    call = 'grpc_method="ScaleImage",grpc_service="imagescaler.ImageScaler",grpc_type="unary"'
    api, processor = pair[0].metrics(), pair[1].metrics()
    assert api[f"grpc_server_started_total{{{call}}}"] > 0
    assert api[f'grpc_server_handled_total{{grpc_code="OK",{call}}}'] > 0
    assert api[f"grpc_server_handling_seconds_count{{{call}}}"] > 0
    for name in ("fetch", "inspect", "process"):
        assert api[f'imagescaler_stage_seconds_count{{stage="{name}"}}'] > 0
    assert api['imagescaler_decisions_total{decision="scale"}'] > 0
    assert api['imagescaler_fetch_total{result="UNAVAILABLE"}'] > 0
    assert processor["imageprocessor_slots"] >= 1
    assert processor["imageprocessor_queue_seconds_count"] > 0
    for name in ("imageprocessor_busy", "imageprocessor_queue_depth", "imageprocessor_rejected_total"):
        assert name in processor, processor


def test_every_log_line_is_json(pair: Pair) -> None:
    ask(pair[0], picture())
    for served in pair:
        assert all({"time", "level", "message"} <= set(line) for line in served.lines())
        assert len(served.lines()) == len(served.file.read_text().splitlines())


def test_the_contract_is_the_given_one() -> None:
    fields = {
        (message.name, field.number, field.name, field.type)
        for message in pb.DESCRIPTOR.message_types_by_name.values()
        for field in message.fields
    }
    assert fields == {
        ("ScaleImageRequest", 1, "image", 11),
        ("ScaleImageReply", 1, "content", 12),
        ("Image", 1, "content", 12),
        ("Image", 2, "source", 11),
        ("ImageSource", 1, "http_uri", 9),
    }
    method = pb.DESCRIPTOR.services_by_name["ImageScaler"].methods_by_name["ScaleImage"]
    assert (method.full_name, method.input_type.full_name, method.output_type.full_name) == (
        "imagescaler.ImageScaler.ScaleImage",
        "imagescaler.ScaleImageRequest",
        "imagescaler.ScaleImageReply",
    )
