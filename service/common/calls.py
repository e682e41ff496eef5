"""What happens around every call: authentication, request ids, metrics, logs, and errors as codes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NoReturn, TypeAlias, cast

import grpc
from google.protobuf.message import DecodeError, Message

from service.common.errors import BUG, InvalidRequest, ServiceError, TooLate
from service.common.logs import REQUEST_ID, log, take_request_id
from service.common.metrics import ServerMetrics
from service.common.security import Authenticator

HEALTH = "grpc.health.v1.Health"
Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Calls(grpc.aio.ServerInterceptor):
    """Checks tokens, counts and times unary calls, logs them, and turns exceptions into codes.

    Health needs no token and is not counted.  `running` is the number of other calls that have not ended.
    """

    def __init__(self, authenticator: Authenticator, deadline: float) -> None:
        self.authenticator, self.deadline = authenticator, deadline
        self.metrics = ServerMetrics()
        self.running = 0

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Wrap a handler."""
        handler = await continuation(handler_call_details)
        service, _, method = handler_call_details.method.strip("/").partition("/")
        if handler is None or service == HEALTH:
            return handler
        metadata = {key: str(value) for key, value in handler_call_details.invocation_metadata}
        if handler.unary_unary is None:
            return self.guard(handler, metadata)
        call = partial(self.call, handler, (service, method), metadata)
        return grpc.unary_unary_rpc_method_handler(call, None, handler.response_serializer)

    def guard(self, handler: Handler, metadata: dict[str, str]) -> Handler:
        """Let authenticated callers use reflection, which is a stream."""
        try:
            self.authenticator.check(metadata.get("authorization", ""))
        except ServiceError as error:
            refusal = error  # `error` is deleted when this block ends

            async def refuse(_: object, context: Context) -> NoReturn:
                await context.abort(refusal.code, str(refusal), refusal.trailers)

            return grpc.stream_stream_rpc_method_handler(refuse)
        return handler

    async def call(
        self, handler: Handler, name: tuple[str, str], metadata: dict[str, str], raw: bytes, context: Context
    ) -> Message:
        """Run a call, and record how it ended."""
        began, labels, fields = time.perf_counter(), ("unary", *name), {"caller": ""}
        trailer = (REQUEST_ID, take_request_id(metadata.get(REQUEST_ID, "")))
        self.metrics.started.labels(*labels).inc()
        self.running += 1
        context.add_done_callback(cast(Any, self.end))
        code = grpc.StatusCode.OK
        try:
            fields["caller"] = self.authenticator.check(metadata.get("authorization", ""))
            reply = await self.answer(handler, raw, context)
            context.set_trailing_metadata((trailer, *(context.trailing_metadata() or ())))
            return reply
        except asyncio.CancelledError:
            code = grpc.StatusCode.DEADLINE_EXCEEDED if remaining(context) == 0 else grpc.StatusCode.CANCELLED
            raise
        except ServiceError as error:
            code, fields["reason"] = error.code, str(error)
            await context.abort(error.code, str(error), (trailer, *error.trailers))
        except Exception:
            code = grpc.StatusCode.INTERNAL
            log.exception("a bug")
            await context.abort(code, BUG, (trailer,))
        finally:
            fields |= {"method": "/".join(name), "code": code.name, "peer": context.peer()}
            self._record(labels, code, time.perf_counter() - began, fields)

    def _record(self, labels: Sequence[str], code: grpc.StatusCode, seconds: float, fields: dict[str, Any]) -> None:
        """Count a call that has ended, and log it."""
        self.metrics.handled.labels(*labels, code.name).inc()
        self.metrics.seconds.labels(*labels).observe(seconds)
        log.info("call", extra={"fields": {**fields, "seconds": round(seconds, 4)}})

    def end(self, _: Context) -> None:
        """Note that a call has ended: its reply was sent completely, or nobody waits for it any more."""
        self.running -= 1

    async def answer(self, handler: Handler, raw: bytes, context: Context) -> Message:
        """Read the request and answer it in time; raises ServiceError."""
        try:
            request = cast(Any, handler).request_deserializer(raw)
        except DecodeError:
            raise InvalidRequest("the request's bytes are no message of this method") from None
        reply: asyncio.Future[Message] = cast(Any, handler).unary_unary(request, context)
        if remaining(context) is not None:  # gRPC cancels the call at its deadline
            return await reply
        try:
            return await asyncio.wait_for(reply, self.deadline)
        except asyncio.TimeoutError:
            raise TooLate(f"not done within {self.deadline:g} s, what a call without a deadline gets") from None


def remaining(context: Context) -> float | None:
    """Return the seconds that a call has left, None if its caller set no deadline."""
    return cast("float | None", context.time_remaining())
