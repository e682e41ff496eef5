"""Authentication and limits of callers: TLS from files, bearer tokens, calls a second."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from pathlib import Path

import grpc

from service.common.errors import Exhausted, Unauthenticated
from service.common.settings import Server
from service.common.tokens import read_tokens


def server_credentials(settings: Server) -> grpc.ServerCredentials | None:
    """Return TLS by the settings, None without; with `client_ca` every client must show a certificate."""
    if not (settings.tls_cert and settings.tls_key):
        return None
    authority = settings.client_ca.read_bytes() if settings.client_ca else None
    pair = (settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())
    return grpc.ssl_server_credentials([pair], root_certificates=authority, require_client_auth=authority is not None)


def channel_credentials(
    authority: Path | None, cert: Path | None = None, key: Path | None = None
) -> grpc.ChannelCredentials | None:
    """Return TLS for calls to a server whose certificate `authority` signed, None without."""
    if not authority:
        return None
    return grpc.ssl_channel_credentials(
        authority.read_bytes(), key.read_bytes() if key else None, cert.read_bytes() if cert else None
    )


class Bucket:
    """A token bucket: `rate` calls a second on average, and at most as many at once."""

    def __init__(self, rate: float, now: Callable[[], float]) -> None:
        self.rate, self.now = rate, now
        self.capacity = self.left = max(1.0, rate)
        self.updated = now()

    def take(self) -> None:
        """Take one token; raises Exhausted, with the time until the next one."""
        now = self.now()
        self.left, self.updated = min(self.capacity, self.left + (now - self.updated) * self.rate), now
        if self.left < 1:
            raise Exhausted(
                f"more than {self.rate:g} calls a second: wait a little", retry_after=(1 - self.left) / self.rate
            )
        self.left -= 1


class Authenticator:
    """Accepts callers with a known token, at a limited rate; without a file of tokens, all callers."""

    def __init__(self, file: Path | None = None, rate: float = 0, now: Callable[[], float] = time.monotonic) -> None:
        """Read the tokens; raises ValueError for a line that is not valid."""
        self.tokens = read_tokens(file.read_text("utf-8")) if file else {}
        self.open = file is None
        self.buckets = {name: Bucket(rate, now) for name in self.tokens} if rate else {}

    def check(self, authorization: str) -> str:
        """Return the name of the caller with this `authorization` header; raises Unauthenticated, Exhausted."""
        if self.open:
            return ""
        scheme, _, token = authorization.partition(" ")
        shown = hashlib.sha256(token.strip().encode()).digest()
        # Compare every token, in constant time, so that the duration reveals nothing.
        names = [name for name, known in self.tokens.items() if hmac.compare_digest(known, shown)]
        if scheme.lower() != "bearer" or not names:
            raise Unauthenticated("send a token that is known here: metadata authorization: Bearer TOKEN")
        if names[0] in self.buckets:
            self.buckets[names[0]].take()
        return names[0]
