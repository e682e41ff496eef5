"""Who gets /metrics: everybody, or callers with a certificate."""

from __future__ import annotations

import socket
import ssl
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from urllib.error import URLError

import pytest

from service.common.exposition import MAX_HANDSHAKES
from tests.service.authority import Authority, Pair
from tests.service.servers import Farm, Served
from tests.waiting import wait_until


def get(served: Served, authority: Authority, client: Pair | None = None) -> str:
    """What a caller gets by TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority.cert)
    if client:
        context.load_cert_chain(client.cert, client.key)
    address = f"https://127.0.0.1:{served.ready['metrics']}/metrics"
    with urllib.request.urlopen(address, timeout=20, context=context) as answer:
        return str(answer.read().decode())


def raw(served: Served, data: bytes) -> bytes:
    """What a caller gets that sends bytes without TLS."""
    with socket.create_connection(("127.0.0.1", served.ready["metrics"]), timeout=20) as connection:
        connection.sendall(data)
        try:
            return b"".join(iter(lambda: connection.recv(4096), b""))
        except ConnectionError:
            return b""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def served(farm: Farm, authority: Authority) -> Served:
    """A processor whose metrics need a certificate."""
    pair = authority.sign("processors.test")
    tls = ["--tls-cert", str(pair.cert), "--tls-key", str(pair.key), "--client-ca", str(authority.cert)]
    return farm.processor(*tls, "--metrics-client-ca", str(authority.cert))


def test_a_caller_with_a_certificate_gets_them(served: Served, authority: Authority) -> None:
    assert "imageprocessor_slots" in get(served, authority, authority.sign("prometheus.test"))


def test_nobody_else_gets_anything(served: Served, authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger").sign("stranger.test")
    for client in (None, stranger):
        with pytest.raises((URLError, OSError)):
            get(served, authority, client)
    for data in (b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0" * 64):
        assert b"HTTP" not in raw(served, data)
    assert "Traceback" not in served.file.read_text()


@pytest.mark.long
def test_callers_that_are_silent_keep_nobody_waiting(served: Served, authority: Authority) -> None:
    client = authority.sign("prometheus.test")
    with ExitStack() as silent:
        for _ in range(3 * MAX_HANDSHAKES):
            silent.enter_context(socket.create_connection(("127.0.0.1", served.ready["metrics"]), timeout=5))
        assert "imageprocessor_slots" in get(served, authority, client)
        tasks = Path(f"/proc/{served.process.pid}/task")
        wait_until(lambda: len(list(tasks.iterdir())) < 2 * MAX_HANDSHAKES, 5)  # the oldest were sent away


def test_without_the_flag_they_are_plain(farm: Farm) -> None:
    assert farm.processor().metrics()["imageprocessor_queue_depth"] == 0


def test_what_can_not_be_meant(farm: Farm, authority: Authority, tmp_path: Path) -> None:
    pair = authority.sign("processors.test")
    (tmp_path / "none.pem").write_text("nothing\n")
    tls = ["--tls-cert", str(pair.cert), "--tls-key", str(pair.key)]
    for flags, message in (
        (["--metrics-client-ca", str(authority.cert)], "--metrics-client-ca needs --tls-cert"),
        ([*tls, "--metrics-client-ca", str(tmp_path / "none.pem")], "check --tls-cert, --tls-key and --metrics"),
    ):
        wrong = farm.launch("processor", *flags)
        assert wrong.process.wait(20) == 2
        (line,) = wrong.file.read_text().splitlines()
        assert message in line
