"""http_uri: what an origin may do to us, and where a URL may not lead."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import grpc
import pytest

from service.api.fetch import Fetcher, resolve
from service.common.errors import RefusedAddress, ServiceError
from service.common.settings import IMAGE
from tests.service.authority import Authority
from tests.service.conftest import picture
from tests.service.servers import Origin, answer

LOOPBACK = (ipaddress.ip_network("127.0.0.1/32"),)
Send = Callable[[BaseHTTPRequestHandler], None]


def get(url: str, find: Callable[[str, int], list[str]] = resolve) -> bytes:
    """Fetch, with 127.0.0.1 and nothing else of loopback allowed."""
    return asyncio.run(Fetcher(LOOPBACK, find).fetch(url))


def code(url: str) -> grpc.StatusCode:
    """What fetching ends with."""
    with pytest.raises(ServiceError) as caught:
        get(url)
    return caught.value.code


def redirect(to: str, status: int = 302) -> Send:
    """A page that leads elsewhere."""
    return answer(status, b"this way", location=to)


def test_an_image_comes_with_no_more_said_than_needed() -> None:
    origin = Origin({"/a.jpg?size=1": answer(200, picture(), set_cookie="a=b")})
    assert get(f"{origin.url}/a.jpg?size=1") == picture()
    assert origin.headers[0]["Host"] == origin.url.removeprefix("http://")
    assert {key.lower() for key in origin.headers[0]} <= {
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "user-agent",
    }


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_three_redirects_are_followed(status: int) -> None:
    pages = {f"/{n}": redirect(f"/{n + 1}", status) for n in range(3)}
    assert get(Origin(pages | {"/3": answer(200, picture())}).url + "/0") == picture()


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (answer(404), "NOT_FOUND"),
        (answer(410), "NOT_FOUND"),
        (answer(401), "FAILED_PRECONDITION"),
        (answer(403), "FAILED_PRECONDITION"),
        (answer(418), "FAILED_PRECONDITION"),
        (answer(204), "FAILED_PRECONDITION"),
        (answer(304), "FAILED_PRECONDITION"),
        (answer(500), "UNAVAILABLE"),
        (answer(503), "UNAVAILABLE"),
        (answer(429), "UNAVAILABLE"),
        (redirect("/page"), "FAILED_PRECONDITION"),
        (redirect("ftp://example.org/a"), "INVALID_ARGUMENT"),
        (redirect("file:///etc/passwd"), "INVALID_ARGUMENT"),
        (redirect("http://user:secret@127.0.0.1/a"), "INVALID_ARGUMENT"),
        (redirect("http://127.0.0.2:80/a"), "PERMISSION_DENIED"),
        (redirect("http://[::1]/a"), "PERMISSION_DENIED"),
        (redirect("http://[::ffff:127.0.0.1]/a"), "PERMISSION_DENIED"),
        (redirect("http://2130706434/"), "PERMISSION_DENIED"),
        (redirect("http://[/"), "UNAVAILABLE"),
        (answer(200, b"x", content_length="100"), "UNAVAILABLE"),
        (answer(200, b"", content_length=str(IMAGE + 1)), "INVALID_ARGUMENT"),
        (answer(200, gzip.compress(bytes(2**24)), content_encoding="gzip"), "FAILED_PRECONDITION"),
    ],
)
def test_an_origins_answer_has_its_code(page: Send, expected: str) -> None:
    assert code(f"{Origin({'/page': page}).url}/page").name == expected


def test_an_origin_that_is_down() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        assert code(f"http://127.0.0.1:{taken.getsockname()[1]}/a") is grpc.StatusCode.UNAVAILABLE


def endless(handler: BaseHTTPRequestHandler) -> None:
    """Bytes that never end, their number untold."""
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(bytes(2**16))
    except OSError:
        pass


def endless_redirect(handler: BaseHTTPRequestHandler) -> None:
    """A redirect whose body never ends."""
    handler.send_response(302)
    handler.send_header("location", "/image")
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(bytes(2**16))
    except OSError:
        pass


def slow(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then: never so late that a read would time out."""
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b".")
            threading.Event().wait(0.3)
    except OSError:
        pass


def test_bytes_are_counted_while_they_come() -> None:
    assert code(f"{Origin({'/': endless}).url}/") is grpc.StatusCode.INVALID_ARGUMENT


def test_the_body_of_a_redirect_is_not_read() -> None:
    origin = Origin({"/": endless_redirect, "/image": answer(200, picture())})
    assert get(f"{origin.url}/") == picture()


def test_five_seconds_in_all() -> None:
    began = time.monotonic()
    assert code(f"{Origin({'/': slow}).url}/") is grpc.StatusCode.DEADLINE_EXCEEDED
    assert 4.5 < time.monotonic() - began < 8


def test_two_seconds_to_connect() -> None:
    began = time.monotonic()
    with socket.socket() as full:  # a queue of one that is full: further SYNs get no answer
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()):
            assert code(f"http://127.0.0.1:{full.getsockname()[1]}/") is grpc.StatusCode.UNAVAILABLE
    assert 1.5 < time.monotonic() - began < 4


def test_environment_proxies_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, origin = Origin({}), Origin({"/": answer(200, picture())})
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    assert get(f"{origin.url}/") == picture()
    assert proxy.seen == []


def test_a_name_is_looked_up_once_a_hop_and_connected_to_as_checked() -> None:
    """DNS that changes its answer: the second one, which would be refused, is never asked for."""
    origin = Origin({"/": answer(200, picture())})
    port, answers = origin.server_address[1], iter([["127.0.0.1"], ["127.0.0.2"]])
    trap = Origin({"/": answer(200, b"secret")}, "127.0.0.2")
    assert get(f"http://rebinding.test:{port}/", lambda *_: next(answers)) == picture()
    assert (next(answers), trap.seen) == (["127.0.0.2"], [])
    assert origin.headers[0]["Host"] == f"rebinding.test:{port}"


def test_one_refused_address_among_good_ones_is_refused() -> None:
    with pytest.raises(RefusedAddress):
        get("http://both.test/", lambda *_: ["127.0.0.1", "127.0.0.2"])


def test_every_hop_is_checked_anew() -> None:
    origin = Origin({})
    origin.pages["/"] = redirect(f"http://other.test:{origin.server_address[1]}/secret")
    found = {"first.test": ["127.0.0.1"], "other.test": ["127.0.0.3"]}
    with pytest.raises(RefusedAddress):
        get(f"http://first.test:{origin.server_address[1]}/", lambda name, _: found[name])
    assert origin.seen == ["/"]


def test_the_next_address_is_tried() -> None:
    origin = Origin({"/": answer(200, picture())})
    both = (ipaddress.ip_network("127.0.0.1/32"), ipaddress.ip_network("127.0.0.9/32"))
    fetcher = Fetcher(both, lambda *_: ["127.0.0.9", "127.0.0.1"])
    assert asyncio.run(fetcher.fetch(f"http://two.test:{origin.server_address[1]}/")) == picture()


@contextmanager
def secured(folder: Path, name: str) -> Iterator[tuple[Origin, Path]]:
    """An origin of https whose certificate is for `name` and 127.0.0.1, and its authority."""
    authority = Authority(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign(name))
    origin = Origin({"/": answer(200, picture())})
    origin.socket = context.wrap_socket(origin.socket, server_side=True)
    yield origin, authority.cert


def test_https_checks_the_name_not_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with secured(tmp_path, "images.test") as (origin, cert):
        port = origin.server_address[1]
        with pytest.raises(ServiceError):  # nobody knows its authority
            get(f"https://images.test:{port}/", lambda *_: ["127.0.0.1"])
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        assert get(f"https://images.test:{port}/", lambda *_: ["127.0.0.1"]) == picture()
        assert origin.headers[-1]["Host"] == f"images.test:{port}"
        with pytest.raises(ServiceError):  # another's certificate
            get(f"https://other.test:{port}/", lambda *_: ["127.0.0.1"])
