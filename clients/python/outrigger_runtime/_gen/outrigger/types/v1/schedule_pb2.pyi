import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from outrigger_runtime._gen.outrigger.types.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WakeMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WAKE_MODE_UNSPECIFIED: _ClassVar[WakeMode]
    WAKE_MODE_NOW: _ClassVar[WakeMode]
    WAKE_MODE_NEXT_HEARTBEAT: _ClassVar[WakeMode]

class DeliveryMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_MODE_UNSPECIFIED: _ClassVar[DeliveryMode]
    DELIVERY_MODE_ANNOUNCE: _ClassVar[DeliveryMode]
    DELIVERY_MODE_NONE: _ClassVar[DeliveryMode]

class TurnState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TURN_STATE_UNSPECIFIED: _ClassVar[TurnState]
    TURN_STATE_PENDING: _ClassVar[TurnState]
    TURN_STATE_DUE: _ClassVar[TurnState]
    TURN_STATE_SUSPENDED: _ClassVar[TurnState]
    TURN_STATE_FINISHED: _ClassVar[TurnState]
    TURN_STATE_AUTO_DISABLED: _ClassVar[TurnState]
WAKE_MODE_UNSPECIFIED: WakeMode
WAKE_MODE_NOW: WakeMode
WAKE_MODE_NEXT_HEARTBEAT: WakeMode
DELIVERY_MODE_UNSPECIFIED: DeliveryMode
DELIVERY_MODE_ANNOUNCE: DeliveryMode
DELIVERY_MODE_NONE: DeliveryMode
TURN_STATE_UNSPECIFIED: TurnState
TURN_STATE_PENDING: TurnState
TURN_STATE_DUE: TurnState
TURN_STATE_SUSPENDED: TurnState
TURN_STATE_FINISHED: TurnState
TURN_STATE_AUTO_DISABLED: TurnState

class Schedule(_message.Message):
    __slots__ = ("at", "after", "every", "cron")
    class Interval(_message.Message):
        __slots__ = ("period", "anchor")
        PERIOD_FIELD_NUMBER: _ClassVar[int]
        ANCHOR_FIELD_NUMBER: _ClassVar[int]
        period: _duration_pb2.Duration
        anchor: _timestamp_pb2.Timestamp
        def __init__(self, period: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., anchor: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
    class Cron(_message.Message):
        __slots__ = ("expression", "time_zone", "stagger")
        EXPRESSION_FIELD_NUMBER: _ClassVar[int]
        TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
        STAGGER_FIELD_NUMBER: _ClassVar[int]
        expression: str
        time_zone: str
        stagger: _duration_pb2.Duration
        def __init__(self, expression: _Optional[str] = ..., time_zone: _Optional[str] = ..., stagger: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
    AT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    EVERY_FIELD_NUMBER: _ClassVar[int]
    CRON_FIELD_NUMBER: _ClassVar[int]
    at: _timestamp_pb2.Timestamp
    after: _duration_pb2.Duration
    every: Schedule.Interval
    cron: Schedule.Cron
    def __init__(self, at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., every: _Optional[_Union[Schedule.Interval, _Mapping]] = ..., cron: _Optional[_Union[Schedule.Cron, _Mapping]] = ...) -> None: ...

class ScheduledTurn(_message.Message):
    __slots__ = ("turn_id", "plugin_id", "generation", "session", "message", "schedule", "delivery_mode", "name", "tag", "lease_key", "state", "next_due_at", "created_at", "failures", "delete_after_run")
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_MODE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    LEASE_KEY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    NEXT_DUE_AT_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    DELETE_AFTER_RUN_FIELD_NUMBER: _ClassVar[int]
    turn_id: str
    plugin_id: str
    generation: int
    session: _common_pb2.SessionRef
    message: str
    schedule: Schedule
    delivery_mode: DeliveryMode
    name: str
    tag: str
    lease_key: str
    state: TurnState
    next_due_at: _timestamp_pb2.Timestamp
    created_at: _timestamp_pb2.Timestamp
    failures: int
    delete_after_run: bool
    def __init__(self, turn_id: _Optional[str] = ..., plugin_id: _Optional[str] = ..., generation: _Optional[int] = ..., session: _Optional[_Union[_common_pb2.SessionRef, _Mapping]] = ..., message: _Optional[str] = ..., schedule: _Optional[_Union[Schedule, _Mapping]] = ..., delivery_mode: _Optional[_Union[DeliveryMode, str]] = ..., name: _Optional[str] = ..., tag: _Optional[str] = ..., lease_key: _Optional[str] = ..., state: _Optional[_Union[TurnState, str]] = ..., next_due_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., failures: _Optional[int] = ..., delete_after_run: bool = ...) -> None: ...
