"""What both servers share: ports, health, and the way they stop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, cast

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_reflection.v1alpha import reflection

from service.common.calls import HEALTH, Calls, Context
from service.common.exposition import read_tls, serve_metrics
from service.common.logs import begin_logs, log
from service.common.security import Authenticator, server_credentials
from service.common.settings import MESSAGE, Server

LIVENESS = "liveness"


class CannotStart(Exception):
    """A port is in use, or a file is not valid."""


def options(settings: Server) -> list[tuple[str, int]]:
    """Return the options of the server's connections; times in milliseconds."""
    age = round(settings.connection_age * 1000)
    return [
        ("grpc.max_receive_message_length", MESSAGE),
        ("grpc.max_send_message_length", MESSAGE),
        # Clients resolve replicas again when a connection ends, so each ends gracefully after a while.
        ("grpc.max_connection_age_ms", age),
        ("grpc.max_connection_age_grace_ms", round(settings.deadline * 1000)),
        # Clients may send keepalive pings every few seconds, even without a running call.
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # Without this, a second server on the same port would silently share its connections.
        ("grpc.so_reuseport", int(settings.share_port)),
    ]


class Health(health.HealthServicer):
    """grpc.health.v1 with watchers that can be cancelled: otherwise they would stay until the end of `--grace`."""

    def __init__(self) -> None:
        super().__init__()
        self.watchers: set[asyncio.Task[object]] = set()

    async def Watch(self, request: HealthCheckRequest, context: Context) -> None:
        """Send each change, until the client disconnects or this server stops."""
        task = cast("asyncio.Task[object]", asyncio.current_task())
        self.watchers.add(task)
        try:
            await super().Watch(request, context)
        finally:
            self.watchers.discard(task)


class Running:
    """A running server: its gRPC port, its health, and its shutdown."""

    def __init__(self, settings: Server, service: str, authenticator: Authenticator) -> None:
        self.settings, self.service = settings, service
        self.calls = Calls(authenticator, settings.deadline)
        self.server = grpc.aio.server(interceptors=[self.calls], options=options(settings))
        self.health = Health()
        self.signals: asyncio.Queue[int] = asyncio.Queue()

    async def start(self) -> None:
        """Listen, and log that the server is ready; raises CannotStart."""
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.server)
        reflection.enable_server_reflection([self.service, HEALTH, reflection.SERVICE_NAME], self.server)
        metrics = self.start_metrics()
        try:
            credentials = server_credentials(self.settings)
            where = self.settings.listen
            port = (
                self.server.add_secure_port(where, credentials) if credentials else self.server.add_insecure_port(where)
            )
        except RuntimeError:
            raise CannotStart(
                f"can't listen at {self.settings.listen}: choose another --listen, or check --tls-cert"
            ) from None
        for name in ("", self.service, LIVENESS):
            await self.set_health(name, HealthCheckResponse.SERVING)
        await self.server.start()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.signals.put_nowait, number)
        log.info(
            "ready", extra={"fields": {"service": self.service, "listen": port, "metrics": metrics, "pid": os.getpid()}}
        )

    def start_metrics(self) -> int:
        """Serve /metrics; returns the port, raises CannotStart."""
        settings, tls = self.settings, None
        if settings.metrics_client_ca and settings.tls_cert and settings.tls_key:
            try:
                tls = read_tls(settings.tls_cert, settings.tls_key, settings.metrics_client_ca)
            except OSError as error:
                raise CannotStart(f"check --tls-cert, --tls-key and --metrics-client-ca: {error}") from None
        try:
            return serve_metrics(settings.metrics, tls)
        except OSError as error:
            raise CannotStart(f"metrics can't be at {settings.metrics}: {error.strerror}; choose --metrics") from None

    async def set_health(self, name: str, status: int) -> None:
        """Set a health status, without waiting for a watcher that reads nothing from its connection."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.health.set(name, status), 1)

    async def wait(self) -> None:
        """Serve until a signal comes, then drain; a second signal stops at once."""
        await self.signals.get()
        drain, again = asyncio.ensure_future(self.drain()), asyncio.ensure_future(self.signals.get())
        await asyncio.wait([drain, again], return_when=asyncio.FIRST_COMPLETED)
        drain.cancel()
        again.cancel()
        await self.server.stop(0)
        log.info("stopped")

    async def drain(self) -> None:
        """Report NOT_SERVING, give clients time to go elsewhere, accept no new calls, and finish the running ones."""
        log.info("draining", extra={"fields": {"running": self.calls.running}})
        for name in ("", self.service):
            await self.set_health(name, HealthCheckResponse.NOT_SERVING)
        await asyncio.sleep(self.settings.announce)
        stop = asyncio.ensure_future(self.server.stop(self.settings.grace))
        await asyncio.sleep(0)  # so that it has begun, and connections accept no new calls
        for watcher in self.health.watchers:
            watcher.cancel()
        # `stop` waits for silent clients with an open connection, until the end of `--grace`; wait for the calls only.
        quiet = 0
        while quiet < 5 and not stop.done():
            await asyncio.wait([stop], timeout=0.05)
            quiet = 0 if self.calls.running else quiet + 1


def run(main: Callable[[], Coroutine[Any, Any, None]], name: str) -> int:
    """Run a server; returns the exit code: 0 stopped by a signal, 2 could not start."""
    begin_logs()
    try:
        asyncio.run(main())
    except CannotStart as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the signal handlers are set
        return 130
    return 0
