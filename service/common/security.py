"""Who may call: TLS from files, bearer tokens, calls a second."""

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
    """TLS as the settings have it, None without; with `client_ca` every client must show a certificate."""
    if not (settings.tls_cert and settings.tls_key):
        return None
    authority = settings.client_ca.read_bytes() if settings.client_ca else None
    pair = (settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())
    return grpc.ssl_server_credentials([pair], root_certificates=authority, require_client_auth=authority is not None)


def channel_credentials(
    authority: Path | None, cert: Path | None = None, key: Path | None = None
) -> grpc.ChannelCredentials | None:
    """TLS towards a server whose certificate `authority` made, None without."""
    if not authority:
        return None
    return grpc.ssl_channel_credentials(
        authority.read_bytes(), key.read_bytes() if key else None, cert.read_bytes() if cert else None
    )


class Bucket:
    """A token bucket: `rate` calls a second, and as many at once as a second has."""

    def __init__(self, rate: float, now: Callable[[], float]) -> None:
        self.rate, self.now = rate, now
        self.most = self.left = max(1.0, rate)
        self.seen = now()

    def take(self) -> None:
        """Take a call's share; raises Exhausted, which tells when there is one again."""
        now = self.now()
        self.left, self.seen = min(self.most, self.left + (now - self.seen) * self.rate), now
        if self.left < 1:
            raise Exhausted(
                f"more than {self.rate:g} calls a second: wait a little", retry_after=(1 - self.left) / self.rate
            )
        self.left -= 1


class Doorkeeper:
    """Lets in who shows a known token, so often a second; everybody where there is no file of tokens."""

    def __init__(self, file: Path | None = None, rate: float = 0, now: Callable[[], float] = time.monotonic) -> None:
        """Read the tokens; raises ValueError for a line that is none."""
        self.tokens = read_tokens(file.read_text("utf-8")) if file else {}
        self.open = file is None
        self.buckets = {name: Bucket(rate, now) for name in self.tokens} if rate else {}

    def check(self, authorization: str) -> str:
        """The name of who shows this `authorization` header; raises Unauthenticated, Exhausted."""
        if self.open:
            return ""
        scheme, _, token = authorization.partition(" ")
        shown = hashlib.sha256(token.strip().encode()).digest()
        # Every token is compared, and in constant time: how long it takes tells nothing.
        names = [name for name, known in self.tokens.items() if hmac.compare_digest(known, shown)]
        if scheme.lower() != "bearer" or not names:
            raise Unauthenticated("send a token that is known here: metadata authorization: Bearer TOKEN")
        if names[0] in self.buckets:
            self.buckets[names[0]].take()
        return names[0]
