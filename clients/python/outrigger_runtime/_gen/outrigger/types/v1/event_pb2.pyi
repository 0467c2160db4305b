import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from outrigger_runtime._gen.outrigger.types.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Provenance(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROVENANCE_UNSPECIFIED: _ClassVar[Provenance]
    PROVENANCE_HOST: _ClassVar[Provenance]
    PROVENANCE_PLUGIN: _ClassVar[Provenance]
    PROVENANCE_OWNER: _ClassVar[Provenance]
    PROVENANCE_UNTRUSTED: _ClassVar[Provenance]
PROVENANCE_UNSPECIFIED: Provenance
PROVENANCE_HOST: Provenance
PROVENANCE_PLUGIN: Provenance
PROVENANCE_OWNER: Provenance
PROVENANCE_UNTRUSTED: Provenance

class AgentEvent(_message.Message):
    __slots__ = ("run_id", "stream", "data_json", "seq", "time", "session_key", "session_id", "agent_id", "plugin_id", "provenance", "schema_version", "terminal", "runtime_id", "trace")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    DATA_JSON_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    SESSION_KEY_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    TERMINAL_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_ID_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    stream: str
    data_json: bytes
    seq: int
    time: _timestamp_pb2.Timestamp
    session_key: str
    session_id: str
    agent_id: str
    plugin_id: str
    provenance: Provenance
    schema_version: int
    terminal: bool
    runtime_id: str
    trace: _common_pb2.TraceContext
    def __init__(self, run_id: _Optional[str] = ..., stream: _Optional[str] = ..., data_json: _Optional[bytes] = ..., seq: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., session_key: _Optional[str] = ..., session_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., plugin_id: _Optional[str] = ..., provenance: _Optional[_Union[Provenance, str]] = ..., schema_version: _Optional[int] = ..., terminal: bool = ..., runtime_id: _Optional[str] = ..., trace: _Optional[_Union[_common_pb2.TraceContext, _Mapping]] = ...) -> None: ...
