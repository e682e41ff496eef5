"""What both servers have in common: how they listen, tell their health, and end."""

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
from service.common.security import Doorkeeper, server_credentials
from service.common.settings import MESSAGE, Server

LIVENESS = "liveness"


class CannotStart(Exception):
    """A port is taken, a file is not what it should be."""


def options(settings: Server) -> list[tuple[str, int]]:
    """What gRPC is told about connections; times in milliseconds."""
    age = round(settings.connection_age * 1000)
    return [
        ("grpc.max_receive_message_length", MESSAGE),
        ("grpc.max_send_message_length", MESSAGE),
        # Clients look for new replicas when a connection ends: so each ends after a while, gracefully.
        ("grpc.max_connection_age_ms", age),
        ("grpc.max_connection_age_grace_ms", round(settings.deadline * 1000)),
        # Clients may ask every few seconds whether we live, even with no call under way.
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # Two servers at one port would share its connections, unasked.
        ("grpc.so_reuseport", int(settings.share_port)),
    ]


class Health(health.HealthServicer):
    """grpc.health.v1, whose watchers can be sent away: they would stay to the last."""

    def __init__(self) -> None:
        super().__init__()
        self.watchers: set[asyncio.Task[object]] = set()

    async def Watch(self, request: HealthCheckRequest, context: Context) -> None:
        """Tell each change, until the client or this server goes."""
        task = cast("asyncio.Task[object]", asyncio.current_task())
        self.watchers.add(task)
        try:
            await super().Watch(request, context)
        finally:
            self.watchers.discard(task)


class Running:
    """A server that answers: its gRPC port, its health, its end."""

    def __init__(self, settings: Server, service: str, doorkeeper: Doorkeeper) -> None:
        self.settings, self.service = settings, service
        self.calls = Calls(doorkeeper, settings.deadline)
        self.server = grpc.aio.server(interceptors=[self.calls], options=options(settings))
        self.health = Health()
        self.signals: asyncio.Queue[int] = asyncio.Queue()

    async def start(self) -> None:
        """Listen and say so; raises CannotStart."""
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
            await self.tell(name, HealthCheckResponse.SERVING)
        await self.server.start()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.signals.put_nowait, number)
        log.info(
            "ready", extra={"fields": {"service": self.service, "listen": port, "metrics": metrics, "pid": os.getpid()}}
        )

    def start_metrics(self) -> int:
        """Answer /metrics; returns the port, raises CannotStart."""
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

    async def tell(self, name: str, status: int) -> None:
        """Set a health; a watcher that takes nothing from its connection must not keep us."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.health.set(name, status), 1)

    async def wait(self) -> None:
        """Work until a signal comes, then drain; a second signal ends at once."""
        await self.signals.get()
        drain, again = asyncio.ensure_future(self.drain()), asyncio.ensure_future(self.signals.get())
        await asyncio.wait([drain, again], return_when=asyncio.FIRST_COMPLETED)
        drain.cancel()
        again.cancel()
        await self.server.stop(0)
        log.info("stopped")

    async def drain(self) -> None:
        """Say NOT_SERVING, give clients time to go elsewhere, take no more, finish what runs."""
        log.info("draining", extra={"fields": {"running": self.calls.running}})
        for name in ("", self.service):
            await self.tell(name, HealthCheckResponse.NOT_SERVING)
        await asyncio.sleep(self.settings.announce)
        stop = asyncio.ensure_future(self.server.stop(self.settings.grace))
        await asyncio.sleep(0)  # it has begun: connections take no new call
        for watcher in self.health.watchers:
            watcher.cancel()
        # A client that is silent keeps its connection, and so `stop`, to the last: it is calls that are waited for.
        quiet = 0
        while quiet < 5 and not stop.done():
            await asyncio.wait([stop], timeout=0.05)
            quiet = 0 if self.calls.running else quiet + 1


def run(main: Callable[[], Coroutine[Any, Any, None]], name: str) -> int:
    """Run a server's main; returns the exit code: 0 ended as told, 2 could not start."""
    begin_logs()
    try:
        asyncio.run(main())
    except CannotStart as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the signals are ours
        return 130
    return 0
