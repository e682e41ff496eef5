#!/usr/bin/python3
"""Stands for Vector in the package of the tests; needs no more than python3-minimal has.

Its sources of type `vector` and its exporters of metrics listen where the configuration says, with TLS as it says.
"""

import contextlib
import re
import signal
import socket
import ssl
import sys
import threading

VERSION = "0.0.0"
CONFIG = 78  # the exit code for a configuration that can't be used
SECTION = re.compile(r"^\[((?:sources|sinks)\.[a-z.]+)\]\n(.*?)(?=^\[|\Z)", re.DOTALL | re.MULTILINE)


def value(part: str, key: str) -> str:
    """Return a text of a section of the configuration, "" if it is not there."""
    found = re.search(rf'^{key} = "(.*)"$', part, re.MULTILINE)
    return found[1] if found else ""


def is_wrong(text: str) -> bool:
    return '"ADDRESS' in text or '"HOST"' in text or not value(text, "data_dir")


def tls_context(part: str) -> ssl.SSLContext | None:
    """Return how a section has a server speak TLS, None if it has it speak without."""
    if "enabled = true\n" not in part:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(value(part, "crt_file"), value(part, "key_file"))
    context.load_verify_locations(value(part, "ca_file"))
    if "verify_certificate = true\n" in part:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def answer(connection: socket.socket, context: ssl.SSLContext | None) -> None:
    """Answer whoever sends something."""
    with contextlib.suppress(OSError):
        connection.settimeout(10)
        secure = context.wrap_socket(connection, server_side=True) if context else connection
        with secure:
            if secure.recv(1000):
                secure.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nThis stands for Vector.\n")


def serve(address: str, context: ssl.SSLContext | None) -> None:
    """Listen at an address, and answer for ever."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.create_server((host.strip("[]"), int(port)), family=family) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=answer, args=(connection, context), daemon=True).start()


def run(path: str) -> None:
    """Do what the configuration says of servers, until the end."""
    with open(path, encoding="utf-8") as file:
        sections = dict(SECTION.findall(file.read()))
    for name, part in sections.items():
        for key in ("ca_file", "crt_file", "key_file"):
            if value(part, key):
                open(value(part, key)).close()
        source = name.startswith("sources.") and value(part, "type") == "vector"
        if source or value(part, "type") == "prometheus_exporter":
            context = tls_context(sections.get(f"{name}.tls", ""))
            threading.Thread(target=serve, args=(value(part, "address"), context), daemon=True).start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


def main(argv: list[str]) -> int:
    """Do as the program does with these options."""
    if argv == ["--version"]:
        print(f"vector {VERSION} (tests)")
        return 0
    try:
        if argv[0] == "validate":
            with open(argv[-1], encoding="utf-8") as file:
                if is_wrong(file.read()):
                    print(f"no: {argv[-1]}")
                    return CONFIG
            return 0
        if argv[0] == "--config":
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
            run(argv[1])
            return 0
    except OSError as error:
        print(error)
        return CONFIG
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
