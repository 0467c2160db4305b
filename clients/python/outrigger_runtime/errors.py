"""How calls fail: a status of gRPC with the reason that its details give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from outrigger_runtime._gen.outrigger.client.v1 import status_pb2
from outrigger_runtime._gen.outrigger.types.v1 import error_pb2

_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


class RuntimeCallError(Exception):
    """A call was not carried out."""

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        retry_after_ms: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        """The gRPC status."""
        self.reason = reason
        """Name of an `ErrorReason` without its prefix; `SUPERVISOR_AWAY` is the client's own; empty: not told."""
        self.message = message
        self.retry_after_ms = retry_after_ms
        """When trying again can help. None: not told."""
        self.metadata = dict(metadata or {})
        """What goes with the reason."""

    def __str__(self) -> str:
        return f"{self.code.name}{f' ({self.reason})' if self.reason else ''}: {self.message}"


def away(why: str = "the supervisor is away") -> RuntimeCallError:
    """The supervisor cannot be reached."""
    return RuntimeCallError(grpc.StatusCode.UNAVAILABLE, "SUPERVISOR_AWAY", why)


def unavailable(why: str) -> RuntimeCallError:
    """What was there is gone."""
    return RuntimeCallError(grpc.StatusCode.UNAVAILABLE, "", why)


def unknown(why: str = "the supervisor answered nothing that this client knows") -> RuntimeCallError:
    """An answer says nothing."""
    return RuntimeCallError(grpc.StatusCode.UNKNOWN, "", why)


def from_rpc(error: BaseException) -> RuntimeCallError:
    """What a status says."""
    if isinstance(error, RuntimeCallError):
        return error
    if not isinstance(error, grpc.aio.AioRpcError):
        return RuntimeCallError(grpc.StatusCode.UNKNOWN, "", str(error) or type(error).__name__)
    reason, retry_after_ms, metadata = "", None, {}
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin" or not isinstance(value, bytes):
            continue
        try:
            for detail in status_pb2.StatusDetails.FromString(value).details:
                if detail.type_url.endswith("/google.rpc.ErrorInfo"):
                    info = status_pb2.ErrorDetail.FromString(detail.value)
                    reason, metadata = info.reason, dict(info.metadata)
                elif detail.type_url.endswith("/google.rpc.RetryInfo"):
                    retry_after_ms = to_ms(status_pb2.RetryDetail.FromString(detail.value), "retry_delay")
        except DecodeError:
            pass  # Details that cannot be read leave the code, which is right by itself.
    return RuntimeCallError(error.code(), reason, error.details() or "", retry_after_ms, metadata)


def from_call_error(error: Any) -> RuntimeCallError:
    """What an error inside a stream says."""
    names = error_pb2.ErrorReason.DESCRIPTOR.values_by_number
    known = error.reason != 0 and error.reason in names
    reason = names[error.reason].name.removeprefix("ERROR_REASON_") if known else ""
    code = _BY_NUMBER.get(error.code, grpc.StatusCode.UNKNOWN)
    return RuntimeCallError(code, reason, error.message, to_ms(error, "retry_after"), dict(error.metadata))


def to_ms(message: Any, field: str) -> float | None:
    """A field with a length of time, in ms; None where it is absent."""
    if not message.HasField(field):
        return None
    duration: Duration = getattr(message, field)
    return duration.seconds * 1000 + duration.nanos / 1e6


def to_duration(ms: float) -> Duration:
    """A length of time of at least 1 ms, as it travels."""
    seconds, rest = divmod(max(ms, 1), 1000)
    return Duration(seconds=int(seconds), nanos=int(rest * 1e6))
