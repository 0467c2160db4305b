import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Tier(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIER_UNSPECIFIED: _ClassVar[Tier]
    TIER_BUNDLED: _ClassVar[Tier]
    TIER_TRUSTED: _ClassVar[Tier]
    TIER_COMMUNITY: _ClassVar[Tier]
    TIER_WORKSPACE: _ClassVar[Tier]
TIER_UNSPECIFIED: Tier
TIER_BUNDLED: Tier
TIER_TRUSTED: Tier
TIER_COMMUNITY: Tier
TIER_WORKSPACE: Tier

class SessionRef(_message.Message):
    __slots__ = ("handle", "key", "id", "agent_id", "runtime_id")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_ID_FIELD_NUMBER: _ClassVar[int]
    handle: str
    key: str
    id: str
    agent_id: str
    runtime_id: str
    def __init__(self, handle: _Optional[str] = ..., key: _Optional[str] = ..., id: _Optional[str] = ..., agent_id: _Optional[str] = ..., runtime_id: _Optional[str] = ...) -> None: ...

class RunRef(_message.Message):
    __slots__ = ("handle", "id")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    handle: str
    id: str
    def __init__(self, handle: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class TraceContext(_message.Message):
    __slots__ = ("traceparent", "tracestate")
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    TRACESTATE_FIELD_NUMBER: _ClassVar[int]
    traceparent: str
    tracestate: str
    def __init__(self, traceparent: _Optional[str] = ..., tracestate: _Optional[str] = ...) -> None: ...

class ProtocolRange(_message.Message):
    __slots__ = ("min", "max")
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    min: int
    max: int
    def __init__(self, min: _Optional[int] = ..., max: _Optional[int] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_stream_message_bytes", "max_call_message_bytes", "max_chunk_bytes", "max_value_bytes", "max_payload_bytes", "max_value_depth", "max_value_nodes", "max_object_keys", "max_string_characters", "max_calls_in_flight", "max_calls_per_second", "max_unacknowledged_event_bytes", "cancel_grace", "ping_interval", "idle_ping_interval")
    MAX_STREAM_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_CALL_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_VALUE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_VALUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    MAX_VALUE_NODES_FIELD_NUMBER: _ClassVar[int]
    MAX_OBJECT_KEYS_FIELD_NUMBER: _ClassVar[int]
    MAX_STRING_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    MAX_CALLS_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    MAX_CALLS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    MAX_UNACKNOWLEDGED_EVENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    CANCEL_GRACE_FIELD_NUMBER: _ClassVar[int]
    PING_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    IDLE_PING_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    max_stream_message_bytes: int
    max_call_message_bytes: int
    max_chunk_bytes: int
    max_value_bytes: int
    max_payload_bytes: int
    max_value_depth: int
    max_value_nodes: int
    max_object_keys: int
    max_string_characters: int
    max_calls_in_flight: int
    max_calls_per_second: int
    max_unacknowledged_event_bytes: int
    cancel_grace: _duration_pb2.Duration
    ping_interval: _duration_pb2.Duration
    idle_ping_interval: _duration_pb2.Duration
    def __init__(self, max_stream_message_bytes: _Optional[int] = ..., max_call_message_bytes: _Optional[int] = ..., max_chunk_bytes: _Optional[int] = ..., max_value_bytes: _Optional[int] = ..., max_payload_bytes: _Optional[int] = ..., max_value_depth: _Optional[int] = ..., max_value_nodes: _Optional[int] = ..., max_object_keys: _Optional[int] = ..., max_string_characters: _Optional[int] = ..., max_calls_in_flight: _Optional[int] = ..., max_calls_per_second: _Optional[int] = ..., max_unacknowledged_event_bytes: _Optional[int] = ..., cancel_grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., ping_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., idle_ping_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Quota(_message.Message):
    __slots__ = ("name", "limit", "used")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    name: str
    limit: int
    used: int
    def __init__(self, name: _Optional[str] = ..., limit: _Optional[int] = ..., used: _Optional[int] = ...) -> None: ...

class ScopeGrant(_message.Message):
    __slots__ = ("scope", "quotas", "names")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    scope: str
    quotas: _containers.RepeatedCompositeFieldContainer[Quota]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, scope: _Optional[str] = ..., quotas: _Optional[_Iterable[_Union[Quota, _Mapping]]] = ..., names: _Optional[_Iterable[str]] = ...) -> None: ...

class Caller(_message.Message):
    __slots__ = ("scopes", "connection_id", "channel", "sender_id", "sender_is_owner", "authorized")
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    SENDER_ID_FIELD_NUMBER: _ClassVar[int]
    SENDER_IS_OWNER_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZED_FIELD_NUMBER: _ClassVar[int]
    scopes: _containers.RepeatedScalarFieldContainer[str]
    connection_id: str
    channel: str
    sender_id: str
    sender_is_owner: bool
    authorized: bool
    def __init__(self, scopes: _Optional[_Iterable[str]] = ..., connection_id: _Optional[str] = ..., channel: _Optional[str] = ..., sender_id: _Optional[str] = ..., sender_is_owner: bool = ..., authorized: bool = ...) -> None: ...
