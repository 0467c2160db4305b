import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from outrigger_runtime._gen.outrigger.types.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_PEER_NOT_ALLOWED: _ClassVar[ErrorReason]
    ERROR_REASON_TOKEN_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_SESSION_SECRET_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_KEY_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_PROTOCOL_UNSUPPORTED: _ClassVar[ErrorReason]
    ERROR_REASON_SESSION_NOT_OPEN: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_ATTACHED: _ClassVar[ErrorReason]
    ERROR_REASON_PROTOCOL_VIOLATION: _ClassVar[ErrorReason]
    ERROR_REASON_REGISTRATION_REFUSED: _ClassVar[ErrorReason]
    ERROR_REASON_FIELD_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_JSON_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_PLUGIN_UNKNOWN: _ClassVar[ErrorReason]
    ERROR_REASON_PLUGIN_ABSENT: _ClassVar[ErrorReason]
    ERROR_REASON_PLUGIN_ENDED: _ClassVar[ErrorReason]
    ERROR_REASON_PLUGIN_FAILED: _ClassVar[ErrorReason]
    ERROR_REASON_PLUGIN_TIMED_OUT: _ClassVar[ErrorReason]
    ERROR_REASON_PLUGIN_OVERLOADED: _ClassVar[ErrorReason]
    ERROR_REASON_HANDLER_UNKNOWN: _ClassVar[ErrorReason]
    ERROR_REASON_OPERATOR_SCOPE_MISSING: _ClassVar[ErrorReason]
    ERROR_REASON_SESSION_UNKNOWN: _ClassVar[ErrorReason]
    ERROR_REASON_SESSION_KEY_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_RUN_ENDED: _ClassVar[ErrorReason]
    ERROR_REASON_VERSION_CONFLICT: _ClassVar[ErrorReason]
    ERROR_REASON_SCHEMA_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_STATE_NOT_ALLOWED: _ClassVar[ErrorReason]
    ERROR_REASON_STORE_UNAVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_HOOK_NOT_INVOCABLE: _ClassVar[ErrorReason]
    ERROR_REASON_CONFIG_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_APPROVAL_NEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_IDEMPOTENCY_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_STREAM_REPLACED: _ClassVar[ErrorReason]
    ERROR_REASON_RECORD_UNKNOWN: _ClassVar[ErrorReason]
    ERROR_REASON_TRANSITION_PENDING: _ClassVar[ErrorReason]
    ERROR_REASON_DECISION_REQUIRED: _ClassVar[ErrorReason]
    ERROR_REASON_IDEMPOTENCY_FULL: _ClassVar[ErrorReason]
    ERROR_REASON_GUARDS_HOLD: _ClassVar[ErrorReason]
    ERROR_REASON_PLUGIN_EXISTS: _ClassVar[ErrorReason]
    ERROR_REASON_RUNTIME_ATTACHED: _ClassVar[ErrorReason]

class RefusalReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REFUSAL_REASON_UNSPECIFIED: _ClassVar[RefusalReason]
    REFUSAL_REASON_FIELD_INVALID: _ClassVar[RefusalReason]
    REFUSAL_REASON_JSON_INVALID: _ClassVar[RefusalReason]
    REFUSAL_REASON_INVOCATION_ENDED: _ClassVar[RefusalReason]
    REFUSAL_REASON_GENERATION_STALE: _ClassVar[RefusalReason]
    REFUSAL_REASON_GENERATION_PENDING: _ClassVar[RefusalReason]
    REFUSAL_REASON_NOT_GRANTED: _ClassVar[RefusalReason]
    REFUSAL_REASON_QUOTA_EXCEEDED: _ClassVar[RefusalReason]
    REFUSAL_REASON_HANDLE_INVALID: _ClassVar[RefusalReason]
    REFUSAL_REASON_SESSION_UNKNOWN: _ClassVar[RefusalReason]
    REFUSAL_REASON_NOT_FOUND: _ClassVar[RefusalReason]
    REFUSAL_REASON_NOT_DECLARED: _ClassVar[RefusalReason]
    REFUSAL_REASON_RUN_ENDED: _ClassVar[RefusalReason]
    REFUSAL_REASON_PLUGIN_NOT_ACTIVE: _ClassVar[RefusalReason]
    REFUSAL_REASON_QUEUE_FULL: _ClassVar[RefusalReason]
    REFUSAL_REASON_STREAM_NOT_ALLOWED: _ClassVar[RefusalReason]
    REFUSAL_REASON_SCHEDULE_INVALID: _ClassVar[RefusalReason]
    REFUSAL_REASON_CHAIN_EXHAUSTED: _ClassVar[RefusalReason]
    REFUSAL_REASON_NO_ROUTE: _ClassVar[RefusalReason]
    REFUSAL_REASON_FILE_REFUSED: _ClassVar[RefusalReason]
    REFUSAL_REASON_IDEMPOTENCY_MISMATCH: _ClassVar[RefusalReason]
    REFUSAL_REASON_POLICY: _ClassVar[RefusalReason]
    REFUSAL_REASON_TRANSITION_PENDING: _ClassVar[RefusalReason]
    REFUSAL_REASON_IN_TRANSITION: _ClassVar[RefusalReason]
    REFUSAL_REASON_IDEMPOTENCY_FULL: _ClassVar[RefusalReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_PEER_NOT_ALLOWED: ErrorReason
ERROR_REASON_TOKEN_INVALID: ErrorReason
ERROR_REASON_SESSION_SECRET_INVALID: ErrorReason
ERROR_REASON_KEY_INVALID: ErrorReason
ERROR_REASON_PROTOCOL_UNSUPPORTED: ErrorReason
ERROR_REASON_SESSION_NOT_OPEN: ErrorReason
ERROR_REASON_NOT_ATTACHED: ErrorReason
ERROR_REASON_PROTOCOL_VIOLATION: ErrorReason
ERROR_REASON_REGISTRATION_REFUSED: ErrorReason
ERROR_REASON_FIELD_INVALID: ErrorReason
ERROR_REASON_JSON_INVALID: ErrorReason
ERROR_REASON_PLUGIN_UNKNOWN: ErrorReason
ERROR_REASON_PLUGIN_ABSENT: ErrorReason
ERROR_REASON_PLUGIN_ENDED: ErrorReason
ERROR_REASON_PLUGIN_FAILED: ErrorReason
ERROR_REASON_PLUGIN_TIMED_OUT: ErrorReason
ERROR_REASON_PLUGIN_OVERLOADED: ErrorReason
ERROR_REASON_HANDLER_UNKNOWN: ErrorReason
ERROR_REASON_OPERATOR_SCOPE_MISSING: ErrorReason
ERROR_REASON_SESSION_UNKNOWN: ErrorReason
ERROR_REASON_SESSION_KEY_INVALID: ErrorReason
ERROR_REASON_RUN_ENDED: ErrorReason
ERROR_REASON_VERSION_CONFLICT: ErrorReason
ERROR_REASON_SCHEMA_MISMATCH: ErrorReason
ERROR_REASON_STATE_NOT_ALLOWED: ErrorReason
ERROR_REASON_STORE_UNAVAILABLE: ErrorReason
ERROR_REASON_HOOK_NOT_INVOCABLE: ErrorReason
ERROR_REASON_CONFIG_INVALID: ErrorReason
ERROR_REASON_APPROVAL_NEEDED: ErrorReason
ERROR_REASON_IDEMPOTENCY_MISMATCH: ErrorReason
ERROR_REASON_STREAM_REPLACED: ErrorReason
ERROR_REASON_RECORD_UNKNOWN: ErrorReason
ERROR_REASON_TRANSITION_PENDING: ErrorReason
ERROR_REASON_DECISION_REQUIRED: ErrorReason
ERROR_REASON_IDEMPOTENCY_FULL: ErrorReason
ERROR_REASON_GUARDS_HOLD: ErrorReason
ERROR_REASON_PLUGIN_EXISTS: ErrorReason
ERROR_REASON_RUNTIME_ATTACHED: ErrorReason
REFUSAL_REASON_UNSPECIFIED: RefusalReason
REFUSAL_REASON_FIELD_INVALID: RefusalReason
REFUSAL_REASON_JSON_INVALID: RefusalReason
REFUSAL_REASON_INVOCATION_ENDED: RefusalReason
REFUSAL_REASON_GENERATION_STALE: RefusalReason
REFUSAL_REASON_GENERATION_PENDING: RefusalReason
REFUSAL_REASON_NOT_GRANTED: RefusalReason
REFUSAL_REASON_QUOTA_EXCEEDED: RefusalReason
REFUSAL_REASON_HANDLE_INVALID: RefusalReason
REFUSAL_REASON_SESSION_UNKNOWN: RefusalReason
REFUSAL_REASON_NOT_FOUND: RefusalReason
REFUSAL_REASON_NOT_DECLARED: RefusalReason
REFUSAL_REASON_RUN_ENDED: RefusalReason
REFUSAL_REASON_PLUGIN_NOT_ACTIVE: RefusalReason
REFUSAL_REASON_QUEUE_FULL: RefusalReason
REFUSAL_REASON_STREAM_NOT_ALLOWED: RefusalReason
REFUSAL_REASON_SCHEDULE_INVALID: RefusalReason
REFUSAL_REASON_CHAIN_EXHAUSTED: RefusalReason
REFUSAL_REASON_NO_ROUTE: RefusalReason
REFUSAL_REASON_FILE_REFUSED: RefusalReason
REFUSAL_REASON_IDEMPOTENCY_MISMATCH: RefusalReason
REFUSAL_REASON_POLICY: RefusalReason
REFUSAL_REASON_TRANSITION_PENDING: RefusalReason
REFUSAL_REASON_IN_TRANSITION: RefusalReason
REFUSAL_REASON_IDEMPOTENCY_FULL: RefusalReason

class Refusal(_message.Message):
    __slots__ = ("reason", "message", "field", "scope", "quota", "tier", "remedy", "retry_after")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    reason: RefusalReason
    message: str
    field: str
    scope: str
    quota: _common_pb2.Quota
    tier: _common_pb2.Tier
    remedy: str
    retry_after: _duration_pb2.Duration
    def __init__(self, reason: _Optional[_Union[RefusalReason, str]] = ..., message: _Optional[str] = ..., field: _Optional[str] = ..., scope: _Optional[str] = ..., quota: _Optional[_Union[_common_pb2.Quota, _Mapping]] = ..., tier: _Optional[_Union[_common_pb2.Tier, str]] = ..., remedy: _Optional[str] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
