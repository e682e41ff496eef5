"""The server of /metrics: plain HTTP, or TLS for callers that show a certificate."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

Request = socket.socket | tuple[bytes, socket.socket]
READ_TIMEOUT = 10.0
"""Seconds that a caller may send nothing."""
MAX_HANDSHAKES = 64
"""How many handshakes may run at once; one more, and the connection of the oldest is closed."""


class QuietHandler(WSGIRequestHandler):
    """A handler that logs nothing."""

    timeout = READ_TIMEOUT

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class MetricsServer(ThreadingWSGIServer):
    """Answers each caller in its own thread, handshake included, so that a silent caller delays no other."""

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext | None) -> None:
        self.address_family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        self.tls = tls
        self.handshakes = dict[ssl.SSLSocket, None]()
        self.lock = threading.Lock()
        super().__init__(address, QuietHandler)
        self.set_app(make_wsgi_app())

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a connection; with TLS, the handshake follows in the caller's thread."""
        request, address = super().get_request()
        request.settimeout(READ_TIMEOUT)
        if self.tls:
            request = self.tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        return request, address

    def process_request(self, request: Request, client_address: tuple[str, int]) -> None:
        """Start a caller's thread; if too many handshakes run, close the connection of the oldest."""
        if isinstance(request, ssl.SSLSocket):
            with self.lock:
                self.handshakes[request] = None
                if len(self.handshakes) > MAX_HANDSHAKES:
                    oldest = next(iter(self.handshakes))
                    del self.handshakes[oldest]
                    with suppress(OSError):  # its own thread, which this wakes, closes it
                        socket.socket.shutdown(oldest, socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def finish_request(self, request: Request, client_address: tuple[str, int]) -> None:
        """Do the handshake if there is one, and answer the caller."""
        if isinstance(request, ssl.SSLSocket):
            try:
                request.do_handshake()
            finally:
                with self.lock:
                    self.handshakes.pop(request, None)
        super().finish_request(request, client_address)

    def handle_error(self, request: Request, client_address: tuple[str, int]) -> None:
        """Log nothing: a caller that disconnects, or has no certificate, is no error of this server."""


def read_tls(cert: Path, key: Path, client_ca: Path) -> ssl.SSLContext:
    """Return TLS for callers with a certificate of that authority; raises OSError for files that are not valid."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(client_ca)
    context.load_cert_chain(
        cert, key, password=""
    )  # without it, Python would prompt for the password of an encrypted key
    return context


def serve_metrics(address: tuple[str, int], tls: ssl.SSLContext | None = None) -> int:
    """Serve /metrics in the background; returns the port, raises OSError if it cannot be used."""
    server = MetricsServer(address, tls)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_port)
