"""Fetching an image from a URL that a caller sent: each hop is checked, and connected to at the address checked."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import cast

import certifi
import httpx

from service.api.addresses import may_reach
from service.common.errors import (
    InvalidImage,
    InvalidUrl,
    OriginMissing,
    OriginRefuses,
    RefusedAddress,
    TooLate,
    Unavailable,
)
from service.common.settings import IMAGE, Network
from service.common.threads import call_in_thread

MAX_REDIRECTS = 3
CONNECT_TIMEOUT, FETCH_TIMEOUT = 2.0, 5.0
"""Seconds."""
MAX_LOOKUPS = 32
"""How many names are resolved at the same time."""
HEADERS = {"accept": "image/*", "accept-encoding": "identity", "user-agent": "imagescaler"}
HOST = re.compile(rb"[\w.-]{1,253}|[0-9a-fA-F:.%]{2,60}", re.ASCII)
Resolve = Callable[[str, int], list[str]]


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a name, or of an address in any form that the system reads, as 2130706433.

    Raises OSError.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class CheckedTransport(httpx.AsyncHTTPTransport):
    """Resolves a name once, checks all its addresses, and connects to exactly these."""

    def __init__(self, fetcher: Fetcher) -> None:
        # A connection is used once: the next host might have the same address, but not the same certificate.
        limits = httpx.Limits(max_keepalive_connections=0)
        super().__init__(verify=fetcher.tls, trust_env=False, limits=limits)
        self.fetcher = fetcher

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, with the name in Host and SNI; raises InvalidUrl, RefusedAddress, and httpx's errors."""
        check_url(request.url)
        host, end = request.url.raw_host.decode("ascii"), time.monotonic() + CONNECT_TIMEOUT
        addresses = await self.fetcher.find(host, request.url.port or {"http": 80, "https": 443}[request.url.scheme])
        for left in range(len(addresses), 0, -1):
            seconds = max(0.01, (end - time.monotonic()) / left)
            hop = httpx.Request(
                request.method,
                request.url.copy_with(host=addresses[-left]),
                headers=request.headers,
                extensions={
                    "sni_hostname": host,
                    "timeout": {"connect": seconds, "read": FETCH_TIMEOUT, "write": FETCH_TIMEOUT},
                },
            )
            try:
                return await super().handle_async_request(hop)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if left == 1:
                    raise
        raise httpx.ConnectError("no address")


def check_url(url: httpx.URL) -> None:
    """Raise InvalidUrl unless it is http or https, with a host and without user info."""
    if url.scheme not in ("http", "https"):
        raise InvalidUrl("only http and https URLs are fetched")
    if not HOST.fullmatch(url.raw_host) or not 0 < (url.port or 1) < 65_536:
        raise InvalidUrl("the URL names no host, or a port that can't be")
    if url.userinfo:
        raise InvalidUrl("the URL holds a user or password: give one without")


class Fetcher:
    """Fetches the content of a URL, within 5 s and up to 20 MiB."""

    def __init__(self, allowed: Iterable[Network] = (), find: Resolve = resolve) -> None:
        self.allowed, self.resolve = tuple(allowed), find
        self.lookups = asyncio.Semaphore(MAX_LOOKUPS)
        self.tls = ssl.create_default_context(cafile=certifi.where())
        self.tls.load_default_certs()

    async def find(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host, all of them checked; raises RefusedAddress, Unavailable."""
        await self.lookups.acquire()
        lookup = call_in_thread(partial(self.resolve, host, port))  # the system's resolver blocks
        lookup.add_done_callback(lambda _: self.lookups.release())  # when it ends, even if nobody waits for it any more
        try:
            found = await asyncio.shield(lookup)
        except (OSError, UnicodeError):
            raise Unavailable("the host in the URL has no address: check it, or try again later") from None
        if not all(may_reach(address, self.allowed) for address in found):
            raise RefusedAddress("the URL leads into a network that must not be reached: give a public one")
        return found

    async def fetch(self, text: str) -> bytes:
        """Return the content of a URL; raises a ServiceError for everything that goes wrong."""
        try:
            url = httpx.URL(text)
        except httpx.InvalidURL:
            raise InvalidUrl("this is no URL: give one as https://example.org/image.jpg") from None
        check_url(url)
        try:
            return await asyncio.wait_for(self.follow(url), FETCH_TIMEOUT)
        except asyncio.TimeoutError:
            raise TooLate(f"the origin took longer than {FETCH_TIMEOUT:g} s") from None
        except httpx.RequestError:
            raise Unavailable("the origin can't be reached or broke off: try again later") from None

    async def follow(self, url: httpx.URL) -> bytes:
        """Follow redirects and return the last body; the bodies of redirects are not read."""
        async with httpx.AsyncClient(transport=CheckedTransport(self), trust_env=False, headers=HEADERS) as client:
            request = client.build_request("GET", url)
            for _ in range(MAX_REDIRECTS + 1):
                response = await client.send(request, stream=True)
                try:
                    if not response.has_redirect_location:
                        return await read(response)
                    request = cast(httpx.Request, response.next_request)
                finally:
                    await response.aclose()
        raise OriginRefuses(f"the origin redirects more than {MAX_REDIRECTS} times")


async def read(response: httpx.Response) -> bytes:
    """Return the body of a response, and check its size while it arrives; raises a ServiceError."""
    status = response.status_code
    if status in (404, 410):
        raise OriginMissing(f"the origin has no such image: it answers {status}")
    if status >= 500 or status in (408, 429):
        raise Unavailable(f"the origin answers {status}: try again later")
    if status != 200:
        raise OriginRefuses(f"the origin answers {status}, not 200")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise OriginRefuses("the origin sends a content encoding that it was not asked for")
    length, body = response.headers.get("content-length", ""), bytearray()
    announced = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else 0
    if announced <= IMAGE:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > IMAGE:
                break
        else:
            return bytes(body)
    raise InvalidImage("what is behind the URL is larger than 20 MiB")
