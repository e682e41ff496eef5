"""The errors that callers get, and the gRPC code of each.

ServiceError
├── InvalidRequest     INVALID_ARGUMENT     the request has no or invalid values
│   ├── InvalidImage   INVALID_ARGUMENT     empty, not an image, truncated, unsupported, too large
│   └── InvalidUrl     INVALID_ARGUMENT     neither http nor https, user info, no host
├── RefusedAddress     PERMISSION_DENIED    the URL leads into a network that is not public
├── OriginMissing      NOT_FOUND            the origin answers 404 or 410
├── OriginRefuses      FAILED_PRECONDITION  it answers 401 or 403, too many redirects, or anything unexpected
├── Unavailable        UNAVAILABLE          the origin or every processor is down
├── TooLate            DEADLINE_EXCEEDED    the deadline has passed
├── Unauthenticated    UNAUTHENTICATED      no token, or an unknown one
└── Exhausted          RESOURCE_EXHAUSTED   full, or too many calls a second; says when to retry
Any other exception is a bug: INTERNAL, with a text that says nothing about it.
"""

from __future__ import annotations

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

BUG = "something went wrong inside; the request id is in the trailers, the reason in the log"


class ServiceError(Exception):
    """The base class: a code, and a line that says what is wrong without any internals."""

    code = grpc.StatusCode.INTERNAL

    @property
    def trailers(self) -> tuple[tuple[str, str | bytes], ...]:
        """Return the trailers that are sent beside code and message."""
        return ()


class InvalidRequest(ServiceError):
    """The request is not valid."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class InvalidImage(InvalidRequest):
    """The bytes are not an image that can be processed."""


class InvalidUrl(InvalidRequest):
    """The URL is not valid."""


class RefusedAddress(ServiceError):
    """The URL leads into a network that callers must not reach."""

    code = grpc.StatusCode.PERMISSION_DENIED


class OriginMissing(ServiceError):
    """The origin has no such image."""

    code = grpc.StatusCode.NOT_FOUND


class OriginRefuses(ServiceError):
    """The origin does not hand out the image."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class Unavailable(ServiceError):
    """The origin or the processors are down; another attempt may help."""

    code = grpc.StatusCode.UNAVAILABLE


class TooLate(ServiceError):
    """The deadline has passed."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class Unauthenticated(ServiceError):
    """There is no token, or an unknown one."""

    code = grpc.StatusCode.UNAUTHENTICATED


class Exhausted(ServiceError):
    """The server is full, or there are too many calls; `retry_after` is in seconds."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    @property
    def trailers(self) -> tuple[tuple[str, str | bytes], ...]:
        """Return google.rpc.RetryInfo, as in gRPC's richer error model."""
        delay = Duration()
        delay.FromMilliseconds(max(1, round(self.retry_after * 1000)))
        status = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message=str(self))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
        return (("grpc-status-details-bin", status.SerializeToString()),)


def from_processor(error: grpc.aio.AioRpcError) -> ServiceError:
    """Return what a caller of the API gets for an error of the processor."""
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
    """Return the seconds that a server asks to wait, from its RetryInfo."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            info = error_details_pb2.RetryInfo()
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Unpack(info):
                    return float(info.retry_delay.ToMilliseconds()) / 1000
    return default
