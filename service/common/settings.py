"""Settings of both servers, from flags and the environment: read once, checked, frozen."""

from __future__ import annotations

import argparse
import ipaddress
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from service.common.cpus import count_cpus

MESSAGE = 32 * 2**20
"""Bytes of a message, at every hop."""
IMAGE = 20 * 2**20
"""Bytes of an image in a request."""
PIXELS = 24_000_000
"""Width by height, of an input and of a result."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Server:
    """Settings of both servers: times in seconds, PEM files, addresses as HOST:PORT."""

    listen: str
    metrics: tuple[str, int]
    deadline: float
    announce: float
    grace: float
    connection_age: float
    tls_cert: Path | None
    tls_key: Path | None
    client_ca: Path | None
    metrics_client_ca: Path | None
    share_port: bool


@dataclass(frozen=True)
class Api(Server):
    """Settings of the API: `processor` is a gRPC target, `rate` is calls a second for each token (0: no limit)."""

    processor: str
    processor_ca: Path | None
    processor_cert: Path | None
    processor_key: Path | None
    processor_name: str
    size: tuple[int, int]
    margin: float
    how: str
    grayscale: bool
    calls: int
    allow_networks: tuple[Network, ...]
    tokens: Path | None
    rate: float


@dataclass(frozen=True)
class Processor(Server):
    """Settings of the processor: how many images at once, and how many more may wait."""

    slots: int
    queue: int


class Parser(argparse.ArgumentParser):
    """Flags whose defaults come from the environment; an error is one line, with exit code 2."""

    def __init__(self, prog: str, prefix: str, environment: Mapping[str, str], description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)
        self.prefix, self.environment = prefix, environment

    def flag(self, name: str, default: str, kind: Callable[[str], Any], text: str, **more: object) -> None:
        """Add a flag: from the command line, else from the environment, else `default`."""
        variable = f"{self.prefix}_{name.upper().replace('-', '_')}"
        shown = f" (default: {default})" if default else ""
        value = self.environment.get(variable) or default
        try:
            parsed = kind(value)
        except argparse.ArgumentTypeError as wrong:
            self.error(f"{variable}: {wrong}")
        self.add_argument(f"--{name}", default=parsed, type=kind, help=f"{text}{shown} [{variable}]", **cast(Any, more))

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and what to do, and exit with 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def number(least: float, most: float) -> Callable[[str], float]:
    """Return a function that reads numbers from `least` to `most`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least:g} to {most:g}")
        return value

    return read


def integer(least: int, most: int) -> Callable[[str], int]:
    """Return a function that reads whole numbers from `least` to `most`."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")
        return int(text)

    return read


def switch(text: str) -> bool:
    """Read on or off."""
    if text.lower() not in ("on", "true", "1", "off", "false", "0"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither on nor off")
    return text.lower() in ("on", "true", "1")


def size(text: str) -> tuple[int, int]:
    """Read width and height from WIDTHxHEIGHT."""
    width, cross, height = text.lower().partition("x")
    sides = [int(side) for side in (width, height) if side.isascii() and side.isdigit() and len(side) < 6]
    if not cross or len(sides) != 2 or not 0 < sides[0] * sides[1] <= PIXELS:
        raise argparse.ArgumentTypeError(f"{text!r} is no size as 1024x768, of at most 24 megapixels")
    return sides[0], sides[1]


def address(text: str) -> tuple[str, int]:
    """Read host and port from HOST:PORT or [HOST]:PORT."""
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no address as 127.0.0.1:50051 or [::1]:50051")
    return host.strip("[]"), int(port)


def listen(text: str) -> str:
    """Read an address to listen at; returns it in gRPC's form."""
    host, port = address(text)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def networks(text: str) -> tuple[Network, ...]:
    """Read networks with commas between them."""
    try:
        return tuple(ipaddress.ip_network(item.strip()) for item in text.split(",") if item.strip())
    except ValueError as wrong:
        raise argparse.ArgumentTypeError(f"{wrong}: give networks as 10.1.0.0/16,fd00:1::/64") from None


def path(text: str) -> Path:
    """Read a path; expands `~`, which shells do not do in `--ca=~/x`."""
    return Path(os.path.expanduser(text))


def file(text: str) -> Path | None:
    """Read the path of a file; None for "". The file must be readable."""
    if not text:
        return None
    found = path(text)
    if not os.access(found, os.R_OK) or not found.is_file():
        raise argparse.ArgumentTypeError(f"no file {text} that can be read")
    return found


def choice(*words: str) -> Callable[[str], str]:
    """Return a function that reads one of these words."""

    def read(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(words)}")
        return text

    return read


def add_common(parser: Parser, port: int, age: str) -> None:
    """Add the flags that both servers have."""
    parser.flag("listen", f"[::]:{port}", listen, "where to answer gRPC; port 0 takes a free one")
    parser.flag("metrics", "0.0.0.0:5001", address, "where to answer http://…/metrics; port 0 takes a free one")
    parser.flag("deadline", "30", number(0.1, 3600), "seconds for a call whose caller gives no deadline")
    parser.flag("announce", "2", number(0, 600), "seconds from NOT_SERVING to the end of new calls, at SIGTERM")
    parser.flag("grace", "20", number(0, 3600), "seconds for running calls to end after that")
    parser.flag("connection-age", age, number(0.1, 86400), "seconds after which clients are asked to connect anew")
    parser.flag("tls-cert", "", file, "certificate chain; TLS where given")
    parser.flag("tls-key", "", file, "its key")
    parser.flag("client-ca", "", file, "clients must show a certificate of this authority")
    parser.flag("metrics-client-ca", "", file, "/metrics by TLS, for those with a certificate of this authority")
    parser.flag(
        "share-port", "off", switch, "another server may listen there too: for a handover", nargs="?", const=True
    )


def read_api(argv: Sequence[str], environment: Mapping[str, str]) -> Api:
    """Return the settings of the API; exits with 2 and one line if they are not valid."""
    parser = Parser("service.api", "IMAGESCALER", environment, "Scales images: imagescaler.ImageScaler over gRPC.")
    add_common(parser, 50051, "30")
    parser.flag(
        "processor", "localhost:50052", str, "NAME:PORT, dns:///NAME:PORT, IP:PORT,IP:PORT,…, or file:PATH with such"
    )
    parser.flag("processor-ca", "", file, "speak TLS to processors, whose certificates this authority made")
    parser.flag("processor-cert", "", file, "certificate to show to processors")
    parser.flag("processor-key", "", file, "its key")
    parser.flag("processor-name", "", str, "the name in processors' certificates, if not the one in --processor")
    parser.flag("size", "1024x768", size, "the desired size")
    parser.flag("margin", "0.05", number(0, 10), "no scaling if each side differs by no more than this part of it")
    parser.flag("how", "exact", choice("exact", "fit", "cover"), "exact, fit (into the size) or cover (and cut)")
    parser.flag("grayscale", "off", switch, "on: images become gray", nargs="?", const=True)
    parser.flag("calls", "64", integer(1, 100_000), "how many calls at once; others get RESOURCE_EXHAUSTED")
    parser.flag("allow-networks", "", networks, "private networks that http_uri may reach, with commas")
    parser.flag("tokens", "", file, "bearer tokens, a line each: NAME TOKEN or NAME sha256:HEX")
    parser.flag("rate", "0", number(0, 1e6), "calls a second for each token; 0: as many as they like")
    return build(parser, Api, argv)


def read_processor(argv: Sequence[str], environment: Mapping[str, str]) -> Processor:
    """Return the settings of the processor; exits with 2 and one line if they are not valid."""
    parser = Parser("service.processor", "IMAGEPROCESSOR", environment, "Processes images over gRPC.")
    add_common(parser, 50052, "3")
    parser.flag("slots", str(count_cpus()), integer(1, 1024), "how many images at once; else the CPU limit")
    parser.flag("queue", "16", integer(0, 100_000), "how many more may wait; others get RESOURCE_EXHAUSTED")
    return build(parser, Processor, argv)


Kind = TypeVar("Kind", Api, Processor)


def build(parser: Parser, kind: type[Kind], argv: Sequence[str]) -> Kind:
    """Parse the flags, and check those that need each other."""
    found = vars(parser.parse_args(argv))
    pairs: list[tuple[str, str]] = [("tls_cert", "tls_key"), ("client_ca", "tls_cert"), ("rate", "tokens")]
    pairs += [("metrics_client_ca", "tls_cert")]
    pairs += [("tls_key", "tls_cert"), ("processor_cert", "processor_key"), ("processor_key", "processor_cert")]
    for one, other in [*pairs, ("processor_cert", "processor_ca")]:
        if found.get(one) and not found[other]:
            parser.error(f"--{one.replace('_', '-')} needs --{other.replace('_', '-')}")
    return kind(**found)
