"""What a caller is told instead of a traceback; the one place where faults get their gRPC codes.

ServiceError
├── InvalidRequest     INVALID_ARGUMENT     nothing or nonsense was asked for
│   ├── InvalidImage   INVALID_ARGUMENT     empty, not an image, truncated, unsupported, too large
│   └── InvalidUrl     INVALID_ARGUMENT     neither http nor https, user info, no host
├── RefusedAddress     PERMISSION_DENIED    the URL leads into a network that is not the public one
├── OriginMissing      NOT_FOUND            the origin says 404 or 410
├── OriginRefuses      FAILED_PRECONDITION  it says 401 or 403, redirects without end, answers something strange
├── Unavailable        UNAVAILABLE          the origin or every processor is down
├── TooLate            DEADLINE_EXCEEDED    time is over
├── Unauthenticated    UNAUTHENTICATED      no token, or none that is known
└── Exhausted          RESOURCE_EXHAUSTED   full, or too many calls a second; says when to come again
Anything else is a bug: INTERNAL, with a text that tells nothing.
"""

from __future__ import annotations

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

BUG = "something went wrong inside; the request id is in the trailers, the reason in the log"


class ServiceError(Exception):
    """The root: a code and a line that names the fault and no internals."""

    code = grpc.StatusCode.INTERNAL

    @property
    def trailers(self) -> tuple[tuple[str, str | bytes], ...]:
        """What goes with it, beside code and message."""
        return ()


class InvalidRequest(ServiceError):
    """What was asked for can't be meant."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class InvalidImage(InvalidRequest):
    """The bytes are no image that can be processed."""


class InvalidUrl(InvalidRequest):
    """The URL can't be meant."""


class RefusedAddress(ServiceError):
    """The URL leads where nobody outside may look."""

    code = grpc.StatusCode.PERMISSION_DENIED


class OriginMissing(ServiceError):
    """The origin has no such thing."""

    code = grpc.StatusCode.NOT_FOUND


class OriginRefuses(ServiceError):
    """The origin does not give it to us."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class Unavailable(ServiceError):
    """The origin or the processors are down: another try may help."""

    code = grpc.StatusCode.UNAVAILABLE


class TooLate(ServiceError):
    """Time is over."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class Unauthenticated(ServiceError):
    """No token, or none that is known."""

    code = grpc.StatusCode.UNAUTHENTICATED


class Exhausted(ServiceError):
    """Full, or too many calls; `retry_after` in seconds."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    @property
    def trailers(self) -> tuple[tuple[str, str | bytes], ...]:
        """google.rpc.RetryInfo, where gRPC's rich error model has it."""
        delay = Duration()
        delay.FromMilliseconds(max(1, round(self.retry_after * 1000)))
        status = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message=str(self))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
        return (("grpc-status-details-bin", status.SerializeToString()),)


def from_processor(error: grpc.aio.AioRpcError) -> ServiceError:
    """What a caller of the API is told when the processor failed; its own words where they are meant for callers."""
    code, text = error.code(), error.details() or ""
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return InvalidImage(text)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return Exhausted("the processors are full: try again later", retry_after=retry_after(error))
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TooLate("no processor was done in time: allow more of it")
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return Unavailable("no processor can be reached: try again later")
    return ServiceError(BUG)


def retry_after(error: grpc.aio.AioRpcError, default: float = 1.0) -> float:
    """Seconds that a server asks to wait by RetryInfo."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            info = error_details_pb2.RetryInfo()
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Unpack(info):
                    return float(info.retry_delay.ToMilliseconds()) / 1000
    return default
