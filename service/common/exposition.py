"""How /metrics is answered: plain, or by TLS for callers that show a certificate."""

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
PATIENCE = 10.0
"""Seconds that a caller may be silent."""
MAX_HANDSHAKES = 64
"""How many callers may be in a handshake at once; one more, and the oldest of them is sent away."""


class Handler(WSGIRequestHandler):
    """Logs nothing."""

    timeout = PATIENCE

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingWSGIServer):
    """Answers each caller in a thread of its own, where its handshake is too: a silent caller keeps nobody waiting."""

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext | None) -> None:
        self.address_family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        self.tls = tls
        self.handshakes = dict[ssl.SSLSocket, None]()
        self.lock = threading.Lock()
        super().__init__(address, Handler)
        self.set_app(make_wsgi_app())

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Take a caller's connection; with TLS its handshake is still to come."""
        request, address = super().get_request()
        request.settimeout(PATIENCE)
        if self.tls:
            request = self.tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        return request, address

    def process_request(self, request: Request, client_address: tuple[str, int]) -> None:
        """Begin a caller's thread; where too many are in a handshake, the oldest of them is sent away."""
        if isinstance(request, ssl.SSLSocket):
            with self.lock:
                self.handshakes[request] = None
                if len(self.handshakes) > MAX_HANDSHAKES:
                    oldest = next(iter(self.handshakes))
                    del self.handshakes[oldest]
                    with suppress(OSError):  # it is closed by its own thread, which this wakes
                        socket.socket.shutdown(oldest, socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def finish_request(self, request: Request, client_address: tuple[str, int]) -> None:
        """Answer a caller, after its handshake if there is one."""
        if isinstance(request, ssl.SSLSocket):
            try:
                request.do_handshake()
            finally:
                with self.lock:
                    self.handshakes.pop(request, None)
        super().finish_request(request, client_address)

    def handle_error(self, request: Request, client_address: tuple[str, int]) -> None:
        """Say nothing: a caller that goes, or has no certificate, is no fault of ours."""


def read_tls(cert: Path, key: Path, client_ca: Path) -> ssl.SSLContext:
    """Return TLS for callers with a certificate of that authority; raises OSError for files that are none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(client_ca)
    context.load_cert_chain(cert, key, password="")  # else one for a locked key would be asked for
    return context


def serve_metrics(address: tuple[str, int], tls: ssl.SSLContext | None = None) -> int:
    """Answer /metrics from threads of their own; returns the port, raises OSError where it can't be taken."""
    server = Server(address, tls)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_port)
