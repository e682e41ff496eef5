"""What a host that is no member of a fleet gets from the fleet's ports; it is run in a container beside the fleet.

Needs the standard library and grpc. Its one argument is JSON: {"targets": [[address, port], …], "ca": PEM, "cert": PEM,
"key": PEM}, where cert and key are "" for a stranger. It prints JSON: {"address:port": {probe: what came back}}.
"""

import contextlib
import json
import os
import socket
import ssl
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

SECONDS = 3.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
GETS = {
    path: f"GET {path} HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\r\n".encode()
    for path in ("/v2/_catalog", "/metrics")
}
HEALTH = "/grpc.health.v1.Health/Check"


def connect(target: tuple[str, int]) -> socket.socket:
    return socket.create_connection(target, timeout=SECONDS)


def exchange(connection: socket.socket, data: bytes) -> str:
    """Send, and return all that comes back until the end or until nothing more comes."""
    found = b""
    with connection, contextlib.suppress(OSError):
        connection.sendall(data)
        while len(found) < 4096 and (piece := connection.recv(4096)):
            found += piece
    return found.decode("latin-1")


def by_tls(target: tuple[str, int], context: ssl.SSLContext, protocol: str, data: bytes) -> str:
    """What comes back inside of TLS, whoever the server is; "" where there is no TLS."""
    context.set_alpn_protocols([protocol])
    try:
        secure = context.wrap_socket(connect(target), server_hostname=target[0])
    except OSError:
        return ""
    return exchange(secure, data)


def by_grpc(target: tuple[str, int], credentials: grpc.ChannelCredentials | None) -> str:
    """What a server says of its health, as bytes of its reply or the code of its refusal; "" if nothing comes."""
    place, options = f"{target[0]}:{target[1]}", [("grpc.enable_http_proxy", 0)]
    channel = grpc.secure_channel(place, credentials, options) if credentials else grpc.insecure_channel(place, options)
    with channel:
        try:
            check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(HEALTH, bytes, bytes)
            return repr(check(b"", timeout=SECONDS))
        except grpc.RpcError as error:
            silent = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            return "" if error.code() in silent else str(error.code())


def probe(target: tuple[str, int], context: ssl.SSLContext, credentials: grpc.ChannelCredentials) -> dict[str, str]:
    """Try a port in every way: {way: what came back}; {} where nothing listens."""
    try:
        connect(target).close()
    except OSError:
        return {}
    found = {f"plain {path}": exchange(connect(target), data) for path, data in GETS.items()}
    found["plain HTTP/2"] = exchange(connect(target), PREFACE)
    found["random bytes"] = exchange(connect(target), os.urandom(512))
    found |= {f"TLS {path}": by_tls(target, context, "http/1.1", data) for path, data in GETS.items()}
    found["TLS HTTP/2"] = by_tls(target, context, "h2", PREFACE)
    found["gRPC"] = by_grpc(target, None)
    found["gRPC by TLS"] = by_grpc(target, credentials)
    return found


def main(asked: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Try every target."""
    texts = [asked[name].encode() or None for name in ("ca", "key", "cert")]
    credentials = grpc.ssl_channel_credentials(*texts)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # as curl -k does: a stranger takes whatever answers
    if asked["cert"]:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(asked["key"] + asked["cert"])
            file.flush()
            context.load_cert_chain(file.name)
    targets = [(address, port) for address, port in asked["targets"]]
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda target: probe(target, context, credentials), targets)
        return {f"{address}:{port}": answers for (address, port), answers in zip(targets, found, strict=True)}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
