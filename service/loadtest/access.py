"""How callers reach the API: its authority, a certificate and a token to show, and what is wrong where that fails."""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from service.common.settings import address, path

ROOT = Path(__file__).resolve().parents[2]
CONNECT = 5.0
"""Seconds that a server has to answer when it is looked at."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""What a client of HTTP/2 sends first, with empty settings."""
OTHER_NAME = (62, 64)
"""OpenSSL's codes for a certificate that is not for the name, or the address, that was called."""


class AccessError(Exception):
    """Why the API can't be called, in one line that ends with the next step."""


@dataclass(frozen=True)
class Access:
    """What a caller has: `credentials` and `tls` are the same for gRPC and for Python's ssl, None without TLS."""

    credentials: grpc.ChannelCredentials | None
    tls: ssl.SSLContext | None
    token: str
    ca: Path | None = None
    cert: Path | None = None

    def options(self, server: str) -> list[tuple[str, int]]:
        """Return what gRPC is told besides: what is meant for this machine goes through no proxy."""
        return [("grpc.enable_http_proxy", 0)] if is_loopback(server) else []


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how to reach the API."""
    add = parser.add_argument
    add("--fleet", metavar="NAME", help="the fleet whose API it is (default: FANRUN_FLEET, else default)")
    add("--ca", metavar="FILE", type=path, help="the server's authority (default: the fleet's)")
    add("--cert", metavar="FILE", type=path, help="a certificate to show (default: the fleet's, with its authority)")
    add("--key", metavar="FILE", type=path, help="its key")
    add("--plaintext", action="store_true", help="speak without TLS")
    add("--token-file", metavar="FILE", type=path, help="holds the bearer token (else: IMAGESCALER_TOKEN)")


def fleet_folder(name: str | None) -> Path:
    """Return where this checkout keeps what it knows of a fleet."""
    home = Path(os.environ.get("FANRUN_HOME") or ".fanrun").expanduser()
    return ROOT / home / (name or os.environ.get("FANRUN_FLEET") or "default")


def read_access(flags: argparse.Namespace, server: str) -> Access:
    """Return what these flags give a caller of `server`; raises AccessError."""
    token = read_token(flags.token_file)
    if flags.plaintext:
        if flags.ca or flags.cert or flags.key:
            raise AccessError("--plaintext is without TLS: leave out --ca, --cert and --key, or --plaintext")
        if token and not is_loopback(server):
            raise AccessError(f"the token would travel to {server} in clear: leave out --plaintext")
        return Access(None, None, token)
    folder = fleet_folder(flags.fleet)
    ca = flags.ca or folder / "ca.crt"
    if not flags.ca and not ca.is_file():
        raise AccessError(f"no fleet is known here ({ca}): give --fleet, --ca, or --plaintext for a server without TLS")
    cert, key = flags.cert, flags.key
    if bool(cert) != bool(key):
        raise AccessError("--cert and --key belong together: give both")
    if not cert and (folder / "client.crt").is_file() and _same(ca, folder / "ca.crt"):
        cert, key = folder / "client.crt", folder / "client.key"
    tls = _context(ca, cert, key)
    files = [_read(path) if path else None for path in (ca, key, cert)]
    return Access(grpc.ssl_channel_credentials(*files), tls, token, ca, cert)


def read_token(file: Path | None) -> str:
    """Return the token in this file, else in IMAGESCALER_TOKEN, "" for none; raises AccessError."""
    token = _read(file).decode("latin-1").strip() if file else os.environ.get("IMAGESCALER_TOKEN", "")
    if not re.fullmatch(r"[!-~]*", token):
        raise AccessError(f"{file or 'IMAGESCALER_TOKEN'} holds no token: name a file that does with --token-file")
    return token


def is_loopback(server: str) -> bool:
    """Whether only this machine can hear what is sent to HOST:PORT."""
    try:
        host = address(server)[0]
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except (argparse.ArgumentTypeError, ValueError):
        return False


def explain(access: Access, server: str, details: str) -> str:
    """Return why a server can't be reached, in words: `details` are gRPC's, told where nothing better is known."""
    try:
        host, port = address(server)
    except argparse.ArgumentTypeError:
        return shorten(details)
    try:
        found = _look_tls(access, access.tls, host, port) if access.tls else _look_plain(host, port)
    except OSError as error:
        reason = error.strerror or "it does not answer in time"
        found = f"nothing answers there ({reason}): start it with `fab serve`, or name another address"
    return f"{server}: {found or shorten(details)}"


def shorten(text: str) -> str:
    """Return gRPC's words in one line, without what is its own."""
    return re.sub(
        r"^failed to connect to all addresses; last error: (UNKNOWN|UNAVAILABLE): ", "", " ".join(text.split())
    )


def _look_tls(access: Access, tls: ssl.SSLContext, host: str, port: int) -> str:
    """Return what is wrong between us and a server by TLS, "" if nothing is; raises OSError if nothing answers."""
    with socket.create_connection((host, port), timeout=CONNECT) as connection:
        try:
            secure = tls.wrap_socket(connection, server_hostname=host)
        except ssl.SSLCertVerificationError as error:
            if error.verify_code in OTHER_NAME:
                return f"its certificate is not for this address ({error.verify_message}): call it by another"
            return f"its certificate is not of {access.ca} ({error.verify_message}): give --fleet, or --ca"
        except (ssl.SSLError, ConnectionError):
            return "it speaks no TLS: give --plaintext if that is as it should be"
        with secure:
            try:
                secure.sendall(PREFACE)
                if secure.recv(1):
                    return ""
            except TimeoutError:
                return ""
            except OSError:
                pass
    if access.cert:
        return f"it does not take the certificate in {access.cert}: give --cert and --key that its authority signed"
    return "it wants a certificate from its callers: give --cert and --key"


def _look_plain(host: str, port: int) -> str:
    """Return what is wrong between us and a server without TLS, "" if nothing is; raises OSError if nothing answers."""
    with socket.create_connection((host, port), timeout=CONNECT) as connection:
        try:
            ssl.create_default_context().wrap_socket(connection, server_hostname=host).close()
        except ssl.SSLCertVerificationError:
            pass
        except OSError:
            return ""
    return "it speaks TLS: leave out --plaintext"


def _context(ca: Path, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """Return TLS with these files for Python's ssl, which says more than gRPC; raises AccessError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    try:
        context.load_verify_locations(cadata=_read(ca).decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise AccessError(f"{ca} holds no certificate: name the file of the server's authority") from error
    if cert and key:
        for path in (cert, key):
            _read(path)
        try:
            context.load_cert_chain(cert, key, password="")  # else one for a locked key would be asked for
        except OSError as error:
            raise AccessError(f"{cert} and {key} are no certificate and its key: name others") from error
    return context


def _same(one: Path, other: Path) -> bool:
    return one == other or (other.is_file() and _read(one) == _read(other))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AccessError(f"{path} can't be read ({error.strerror}): name another file") from error
