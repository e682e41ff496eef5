"""Channels to a service: round robin over all replicas, with retries."""

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
    # A server that stops answers CANCELLED to a new call, which it has not begun.
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}


def config(service: str) -> str:
    """Return how calls of a service are distributed and retried, as gRPC's service config."""
    return json.dumps(
        {
            "loadBalancingConfig": [{"round_robin": {}}],
            # A replica reports that it drains before it stops; then no more calls are sent to it.
            "healthCheckConfig": {"serviceName": service},
            "methodConfig": [{"name": [{"service": service}], "retryPolicy": RETRY}],
        }
    )


FILE = "file:"


def options(service: str, name: str = "") -> list[tuple[str, int | str]]:
    """Return the options of a channel; times in milliseconds, `name` as in the servers' certificates."""
    return [
        ("grpc.max_receive_message_length", MESSAGE),
        ("grpc.max_send_message_length", MESSAGE),
        ("grpc.service_config", config(service)),
        # A request larger than this buffer (256 KiB by default) is never retried.
        ("grpc.per_rpc_retry_buffer_size", 2 * MESSAGE),
        # gRPC resolves names again when a connection ends, but by default at most once in 30 s.
        ("grpc.dns_min_time_between_resolutions_ms", 1_000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # A replica whose machine is gone closes no connection; only keepalive finds out.
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        *([("grpc.ssl_target_name_override", name)] if name else []),
    ]


def read_target(text: str) -> str:
    """Return gRPC's target for NAME:PORT, a list of addresses, or a target; raises ValueError, OSError.

    gRPC resolves a single name again and again; names in a list are resolved once.  "file:PATH" names a file that holds
    such a list, with line ends instead of commas.
    """
    if text.startswith(FILE):
        return read_target(",".join(Path(text.removeprefix(FILE)).read_text("utf-8").split()))
    if text.startswith(("dns:", "ipv4:", "ipv6:", "unix:")):
        return text
    addresses = [address(item.strip()) for item in text.split(",")]
    if len(addresses) == 1 and not is_ip(addresses[0][0]):
        return f"dns:///{addresses[0][0]}:{addresses[0][1]}"
    found = [(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0], port) for host, port in addresses]
    if len({":" in str(host) for host, _ in found}) > 1:
        raise ValueError("addresses of IPv4 and of IPv6 in one list")
    if ":" in str(found[0][0]):
        return "ipv6:" + ",".join(f"[{host}]:{port}" for host, port in found)
    return "ipv4:" + ",".join(f"{host}:{port}" for host, port in found)


def is_ip(host: str) -> bool:
    """Tell whether a host is an IP address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def open_channel(
    target: str, service: str, credentials: grpc.ChannelCredentials | None, name: str = ""
) -> grpc.aio.Channel:
    """Return a channel to all replicas; it connects on first use."""
    if credentials:
        return grpc.aio.secure_channel(target, credentials, options=options(service, name))
    return grpc.aio.insecure_channel(target, options=options(service))
