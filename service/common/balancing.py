"""The way to a service: one channel, every replica in turn."""

from __future__ import annotations

import ipaddress
import json
import socket
from pathlib import Path

import grpc

from service.common.settings import MESSAGE, address

RETRY = {  # each call is idempotent: the same bytes again give the same bytes
    "maxAttempts": 5,
    "initialBackoff": "0.05s",
    "maxBackoff": "1s",
    "backoffMultiplier": 3,
    # CANCELLED is what a server's core says of a call that comes while it stops: it never began.
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}


def config(service: str) -> str:
    """How calls of a service are dealt and tried again, as gRPC's service config."""
    return json.dumps(
        {
            "loadBalancingConfig": [{"round_robin": {}}],
            # A replica that drains says so before it goes: no call is sent there any more.
            "healthCheckConfig": {"serviceName": service},
            "methodConfig": [{"name": [{"service": service}], "retryPolicy": RETRY}],
        }
    )


FILE = "file:"


def options(service: str, name: str = "") -> list[tuple[str, int | str]]:
    """What gRPC is told about a channel; times in milliseconds, `name` as in the servers' certificates."""
    return [
        ("grpc.max_receive_message_length", MESSAGE),
        ("grpc.max_send_message_length", MESSAGE),
        ("grpc.service_config", config(service)),
        # What is larger than this buffer (256 KiB unless told) is never tried again.
        ("grpc.per_rpc_retry_buffer_size", 2 * MESSAGE),
        # A new replica is seen when a connection ends, but by default no sooner than 30 s after the last look.
        ("grpc.dns_min_time_between_resolutions_ms", 1_000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # A replica whose machine is gone answers nothing, not even that it is gone.
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        *([("grpc.ssl_target_name_override", name)] if name else []),
    ]


def read_target(text: str) -> str:
    """gRPC's name for NAME:PORT, a list of addresses, or one of its own; raises ValueError, OSError.

    A name alone is looked up again and again; names in a list are looked up once.  "file:PATH" names a file that holds
    such a list, with line ends for commas.
    """
    if text.startswith(FILE):
        return read_target(",".join(Path(text.removeprefix(FILE)).read_text("utf-8").split()))
    if text.startswith(("dns:", "ipv4:", "ipv6:", "unix:")):
        return text
    places = [address(item.strip()) for item in text.split(",")]
    if len(places) == 1 and not is_ip(places[0][0]):
        return f"dns:///{places[0][0]}:{places[0][1]}"
    found = [(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0], port) for host, port in places]
    if len({":" in str(host) for host, _ in found}) > 1:
        raise ValueError("addresses of IPv4 and of IPv6 in one list")
    if ":" in str(found[0][0]):
        return "ipv6:" + ",".join(f"[{host}]:{port}" for host, port in found)
    return "ipv4:" + ",".join(f"{host}:{port}" for host, port in found)


def is_ip(host: str) -> bool:
    """Is it an address, not a name?"""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def open_channel(
    target: str, service: str, credentials: grpc.ChannelCredentials | None, name: str = ""
) -> grpc.aio.Channel:
    """A channel to all replicas; it connects when it is first used."""
    if credentials:
        return grpc.aio.secure_channel(target, credentials, options=options(service, name))
    return grpc.aio.insecure_channel(target, options=options(service))
