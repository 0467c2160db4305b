import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from outrigger_runtime._gen.outrigger.types.v1 import common_pb2 as _common_pb2
from outrigger_runtime._gen.outrigger.types.v1 import event_pb2 as _event_pb2
from outrigger_runtime._gen.outrigger.types.v1 import hook_pb2 as _hook_pb2
from outrigger_runtime._gen.outrigger.types.v1 import plugin_pb2 as _plugin_pb2
from outrigger_runtime._gen.outrigger.types.v1 import schedule_pb2 as _schedule_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SessionScope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SESSION_SCOPE_UNSPECIFIED: _ClassVar[SessionScope]
    SESSION_SCOPE_PER_SENDER: _ClassVar[SessionScope]
    SESSION_SCOPE_GLOBAL: _ClassVar[SessionScope]

class DirectiveOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIRECTIVE_OUTCOME_UNSPECIFIED: _ClassVar[DirectiveOutcome]
    DIRECTIVE_OUTCOME_ACCEPTED: _ClassVar[DirectiveOutcome]
    DIRECTIVE_OUTCOME_DONE: _ClassVar[DirectiveOutcome]
    DIRECTIVE_OUTCOME_BUSY: _ClassVar[DirectiveOutcome]
    DIRECTIVE_OUTCOME_FAILED_TRANSIENT: _ClassVar[DirectiveOutcome]
    DIRECTIVE_OUTCOME_FAILED: _ClassVar[DirectiveOutcome]
    DIRECTIVE_OUTCOME_SKIPPED: _ClassVar[DirectiveOutcome]
    DIRECTIVE_OUTCOME_SESSION_UNKNOWN: _ClassVar[DirectiveOutcome]
    DIRECTIVE_OUTCOME_UNSUPPORTED: _ClassVar[DirectiveOutcome]
SESSION_SCOPE_UNSPECIFIED: SessionScope
SESSION_SCOPE_PER_SENDER: SessionScope
SESSION_SCOPE_GLOBAL: SessionScope
DIRECTIVE_OUTCOME_UNSPECIFIED: DirectiveOutcome
DIRECTIVE_OUTCOME_ACCEPTED: DirectiveOutcome
DIRECTIVE_OUTCOME_DONE: DirectiveOutcome
DIRECTIVE_OUTCOME_BUSY: DirectiveOutcome
DIRECTIVE_OUTCOME_FAILED_TRANSIENT: DirectiveOutcome
DIRECTIVE_OUTCOME_FAILED: DirectiveOutcome
DIRECTIVE_OUTCOME_SKIPPED: DirectiveOutcome
DIRECTIVE_OUTCOME_SESSION_UNKNOWN: DirectiveOutcome
DIRECTIVE_OUTCOME_UNSUPPORTED: DirectiveOutcome

class AttachRequest(_message.Message):
    __slots__ = ("incarnation", "live_runs", "protocol", "features", "software", "agents", "keying", "served_hooks", "reserved_entry_fields", "reserved_command_names", "reserved_tool_names", "window", "want_emitted_events", "only_if_free", "all_runs_live")
    class LiveRun(_message.Message):
        __slots__ = ("run", "session")
        RUN_FIELD_NUMBER: _ClassVar[int]
        SESSION_FIELD_NUMBER: _ClassVar[int]
        run: _common_pb2.RunRef
        session: _common_pb2.SessionRef
        def __init__(self, run: _Optional[_Union[_common_pb2.RunRef, _Mapping]] = ..., session: _Optional[_Union[_common_pb2.SessionRef, _Mapping]] = ...) -> None: ...
    class Agent(_message.Message):
        __slots__ = ("agent_id", "workspace_path", "is_default")
        AGENT_ID_FIELD_NUMBER: _ClassVar[int]
        WORKSPACE_PATH_FIELD_NUMBER: _ClassVar[int]
        IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
        agent_id: str
        workspace_path: str
        is_default: bool
        def __init__(self, agent_id: _Optional[str] = ..., workspace_path: _Optional[str] = ..., is_default: bool = ...) -> None: ...
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    LIVE_RUNS_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    KEYING_FIELD_NUMBER: _ClassVar[int]
    SERVED_HOOKS_FIELD_NUMBER: _ClassVar[int]
    RESERVED_ENTRY_FIELDS_FIELD_NUMBER: _ClassVar[int]
    RESERVED_COMMAND_NAMES_FIELD_NUMBER: _ClassVar[int]
    RESERVED_TOOL_NAMES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    WANT_EMITTED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    ONLY_IF_FREE_FIELD_NUMBER: _ClassVar[int]
    ALL_RUNS_LIVE_FIELD_NUMBER: _ClassVar[int]
    incarnation: int
    live_runs: _containers.RepeatedCompositeFieldContainer[AttachRequest.LiveRun]
    protocol: _common_pb2.ProtocolRange
    features: _containers.RepeatedScalarFieldContainer[str]
    software: str
    agents: _containers.RepeatedCompositeFieldContainer[AttachRequest.Agent]
    keying: SessionKeying
    served_hooks: _containers.RepeatedScalarFieldContainer[_hook_pb2.Hook]
    reserved_entry_fields: _containers.RepeatedScalarFieldContainer[str]
    reserved_command_names: _containers.RepeatedScalarFieldContainer[str]
    reserved_tool_names: _containers.RepeatedScalarFieldContainer[str]
    window: int
    want_emitted_events: bool
    only_if_free: bool
    all_runs_live: bool
    def __init__(self, incarnation: _Optional[int] = ..., live_runs: _Optional[_Iterable[_Union[AttachRequest.LiveRun, _Mapping]]] = ..., protocol: _Optional[_Union[_common_pb2.ProtocolRange, _Mapping]] = ..., features: _Optional[_Iterable[str]] = ..., software: _Optional[str] = ..., agents: _Optional[_Iterable[_Union[AttachRequest.Agent, _Mapping]]] = ..., keying: _Optional[_Union[SessionKeying, _Mapping]] = ..., served_hooks: _Optional[_Iterable[_Union[_hook_pb2.Hook, str]]] = ..., reserved_entry_fields: _Optional[_Iterable[str]] = ..., reserved_command_names: _Optional[_Iterable[str]] = ..., reserved_tool_names: _Optional[_Iterable[str]] = ..., window: _Optional[int] = ..., want_emitted_events: bool = ..., only_if_free: bool = ..., all_runs_live: bool = ...) -> None: ...

class SessionKeying(_message.Message):
    __slots__ = ("scope", "main_key")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    MAIN_KEY_FIELD_NUMBER: _ClassVar[int]
    scope: SessionScope
    main_key: str
    def __init__(self, scope: _Optional[_Union[SessionScope, str]] = ..., main_key: _Optional[str] = ...) -> None: ...

class AttachResponse(_message.Message):
    __slots__ = ("directives",)
    DIRECTIVES_FIELD_NUMBER: _ClassVar[int]
    directives: _containers.RepeatedCompositeFieldContainer[Directive]
    def __init__(self, directives: _Optional[_Iterable[_Union[Directive, _Mapping]]] = ...) -> None: ...

class Directive(_message.Message):
    __slots__ = ("directive_id", "delivery_attempt", "welcome", "contributions", "run_turn", "wake", "deliver_attachments", "request_approval", "withdrawn", "event_emitted", "session_state_changed", "plugin_state_changed", "reclaimed")
    DIRECTIVE_ID_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    RUN_TURN_FIELD_NUMBER: _ClassVar[int]
    WAKE_FIELD_NUMBER: _ClassVar[int]
    DELIVER_ATTACHMENTS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_APPROVAL_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    EVENT_EMITTED_FIELD_NUMBER: _ClassVar[int]
    SESSION_STATE_CHANGED_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_STATE_CHANGED_FIELD_NUMBER: _ClassVar[int]
    RECLAIMED_FIELD_NUMBER: _ClassVar[int]
    directive_id: str
    delivery_attempt: int
    welcome: Welcome
    contributions: Contributions
    run_turn: RunTurn
    wake: Wake
    deliver_attachments: DeliverAttachments
    request_approval: PendingApproval
    withdrawn: Withdrawn
    event_emitted: EventEmitted
    session_state_changed: SessionStateChanged
    plugin_state_changed: PluginStateChanged
    reclaimed: Reclaimed
    def __init__(self, directive_id: _Optional[str] = ..., delivery_attempt: _Optional[int] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., contributions: _Optional[_Union[Contributions, _Mapping]] = ..., run_turn: _Optional[_Union[RunTurn, _Mapping]] = ..., wake: _Optional[_Union[Wake, _Mapping]] = ..., deliver_attachments: _Optional[_Union[DeliverAttachments, _Mapping]] = ..., request_approval: _Optional[_Union[PendingApproval, _Mapping]] = ..., withdrawn: _Optional[_Union[Withdrawn, _Mapping]] = ..., event_emitted: _Optional[_Union[EventEmitted, _Mapping]] = ..., session_state_changed: _Optional[_Union[SessionStateChanged, _Mapping]] = ..., plugin_state_changed: _Optional[_Union[PluginStateChanged, _Mapping]] = ..., reclaimed: _Optional[_Union[Reclaimed, _Mapping]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("protocol_version", "features", "limits", "supervisor_version", "supervisor_instance", "runtime_id", "lost_run_ids")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    SUPERVISOR_VERSION_FIELD_NUMBER: _ClassVar[int]
    SUPERVISOR_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_ID_FIELD_NUMBER: _ClassVar[int]
    LOST_RUN_IDS_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    features: _containers.RepeatedScalarFieldContainer[str]
    limits: _common_pb2.Limits
    supervisor_version: str
    supervisor_instance: str
    runtime_id: str
    lost_run_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, protocol_version: _Optional[int] = ..., features: _Optional[_Iterable[str]] = ..., limits: _Optional[_Union[_common_pb2.Limits, _Mapping]] = ..., supervisor_version: _Optional[str] = ..., supervisor_instance: _Optional[str] = ..., runtime_id: _Optional[str] = ..., lost_run_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class Contributions(_message.Message):
    __slots__ = ("contribution_epoch", "hooks", "event_streams", "all_streams", "catalogue_epoch", "starting", "prepare_turns")
    CONTRIBUTION_EPOCH_FIELD_NUMBER: _ClassVar[int]
    HOOKS_FIELD_NUMBER: _ClassVar[int]
    EVENT_STREAMS_FIELD_NUMBER: _ClassVar[int]
    ALL_STREAMS_FIELD_NUMBER: _ClassVar[int]
    CATALOGUE_EPOCH_FIELD_NUMBER: _ClassVar[int]
    STARTING_FIELD_NUMBER: _ClassVar[int]
    PREPARE_TURNS_FIELD_NUMBER: _ClassVar[int]
    contribution_epoch: int
    hooks: _containers.RepeatedCompositeFieldContainer[_plugin_pb2.HookInterest]
    event_streams: _containers.RepeatedScalarFieldContainer[str]
    all_streams: bool
    catalogue_epoch: int
    starting: bool
    prepare_turns: bool
    def __init__(self, contribution_epoch: _Optional[int] = ..., hooks: _Optional[_Iterable[_Union[_plugin_pb2.HookInterest, _Mapping]]] = ..., event_streams: _Optional[_Iterable[str]] = ..., all_streams: bool = ..., catalogue_epoch: _Optional[int] = ..., starting: bool = ..., prepare_turns: bool = ...) -> None: ...

class RunTurn(_message.Message):
    __slots__ = ("turn", "due_at", "timeout", "plugin_name")
    TURN_FIELD_NUMBER: _ClassVar[int]
    DUE_AT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_NAME_FIELD_NUMBER: _ClassVar[int]
    turn: _schedule_pb2.ScheduledTurn
    due_at: _timestamp_pb2.Timestamp
    timeout: _duration_pb2.Duration
    plugin_name: str
    def __init__(self, turn: _Optional[_Union[_schedule_pb2.ScheduledTurn, _Mapping]] = ..., due_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., plugin_name: _Optional[str] = ...) -> None: ...

class Wake(_message.Message):
    __slots__ = ("session", "reason", "queued_events", "provenance")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    QUEUED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    session: _common_pb2.SessionRef
    reason: str
    queued_events: int
    provenance: _event_pb2.Provenance
    def __init__(self, session: _Optional[_Union[_common_pb2.SessionRef, _Mapping]] = ..., reason: _Optional[str] = ..., queued_events: _Optional[int] = ..., provenance: _Optional[_Union[_event_pb2.Provenance, str]] = ...) -> None: ...

class DeliverAttachments(_message.Message):
    __slots__ = ("delivery_id", "plugin_id", "session", "files", "text", "caption_format", "escape_text", "thread_id", "channel_hints_json", "force_document", "presentation_json", "idempotency_key")
    class File(_message.Message):
        __slots__ = ("staged_path", "file_name", "size_bytes", "sha256", "media_type")
        STAGED_PATH_FIELD_NUMBER: _ClassVar[int]
        FILE_NAME_FIELD_NUMBER: _ClassVar[int]
        SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
        SHA256_FIELD_NUMBER: _ClassVar[int]
        MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
        staged_path: str
        file_name: str
        size_bytes: int
        sha256: bytes
        media_type: str
        def __init__(self, staged_path: _Optional[str] = ..., file_name: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[bytes] = ..., media_type: _Optional[str] = ...) -> None: ...
    DELIVERY_ID_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CAPTION_FORMAT_FIELD_NUMBER: _ClassVar[int]
    ESCAPE_TEXT_FIELD_NUMBER: _ClassVar[int]
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_HINTS_JSON_FIELD_NUMBER: _ClassVar[int]
    FORCE_DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    PRESENTATION_JSON_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    delivery_id: str
    plugin_id: str
    session: _common_pb2.SessionRef
    files: _containers.RepeatedCompositeFieldContainer[DeliverAttachments.File]
    text: str
    caption_format: _plugin_pb2.CaptionFormat
    escape_text: bool
    thread_id: str
    channel_hints_json: bytes
    force_document: bool
    presentation_json: bytes
    idempotency_key: str
    def __init__(self, delivery_id: _Optional[str] = ..., plugin_id: _Optional[str] = ..., session: _Optional[_Union[_common_pb2.SessionRef, _Mapping]] = ..., files: _Optional[_Iterable[_Union[DeliverAttachments.File, _Mapping]]] = ..., text: _Optional[str] = ..., caption_format: _Optional[_Union[_plugin_pb2.CaptionFormat, str]] = ..., escape_text: bool = ..., thread_id: _Optional[str] = ..., channel_hints_json: _Optional[bytes] = ..., force_document: bool = ..., presentation_json: _Optional[bytes] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class PendingApproval(_message.Message):
    __slots__ = ("approval_id", "plugin_id", "plugin_name", "request", "session", "expires_at")
    APPROVAL_ID_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    approval_id: str
    plugin_id: str
    plugin_name: str
    request: _hook_pb2.ApprovalRequest
    session: _common_pb2.SessionRef
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, approval_id: _Optional[str] = ..., plugin_id: _Optional[str] = ..., plugin_name: _Optional[str] = ..., request: _Optional[_Union[_hook_pb2.ApprovalRequest, _Mapping]] = ..., session: _Optional[_Union[_common_pb2.SessionRef, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Withdrawn(_message.Message):
    __slots__ = ("directive_id", "approval_id", "reason")
    DIRECTIVE_ID_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    directive_id: str
    approval_id: str
    reason: str
    def __init__(self, directive_id: _Optional[str] = ..., approval_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class EventEmitted(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: _event_pb2.AgentEvent
    def __init__(self, event: _Optional[_Union[_event_pb2.AgentEvent, _Mapping]] = ...) -> None: ...

class SessionStateChanged(_message.Message):
    __slots__ = ("session_key", "plugin_id", "namespace", "version", "projection_json", "stale", "slot_key")
    SESSION_KEY_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_JSON_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    SLOT_KEY_FIELD_NUMBER: _ClassVar[int]
    session_key: str
    plugin_id: str
    namespace: str
    version: int
    projection_json: bytes
    stale: bool
    slot_key: str
    def __init__(self, session_key: _Optional[str] = ..., plugin_id: _Optional[str] = ..., namespace: _Optional[str] = ..., version: _Optional[int] = ..., projection_json: _Optional[bytes] = ..., stale: bool = ..., slot_key: _Optional[str] = ...) -> None: ...

class PluginStateChanged(_message.Message):
    __slots__ = ("plugin_id", "plugin_name", "state", "generation", "message", "retry_after")
    PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    plugin_id: str
    plugin_name: str
    state: _plugin_pb2.PluginState
    generation: int
    message: str
    retry_after: _duration_pb2.Duration
    def __init__(self, plugin_id: _Optional[str] = ..., plugin_name: _Optional[str] = ..., state: _Optional[_Union[_plugin_pb2.PluginState, str]] = ..., generation: _Optional[int] = ..., message: _Optional[str] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Reclaimed(_message.Message):
    __slots__ = ("report",)
    REPORT_FIELD_NUMBER: _ClassVar[int]
    report: _plugin_pb2.ReclaimReport
    def __init__(self, report: _Optional[_Union[_plugin_pb2.ReclaimReport, _Mapping]] = ...) -> None: ...

class AcknowledgeDirectivesRequest(_message.Message):
    __slots__ = ("acknowledgements",)
    class Acknowledgement(_message.Message):
        __slots__ = ("directive_id", "outcome", "message", "retry_after", "run_id", "delivered")
        DIRECTIVE_ID_FIELD_NUMBER: _ClassVar[int]
        OUTCOME_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
        RUN_ID_FIELD_NUMBER: _ClassVar[int]
        DELIVERED_FIELD_NUMBER: _ClassVar[int]
        directive_id: str
        outcome: DirectiveOutcome
        message: str
        retry_after: _duration_pb2.Duration
        run_id: str
        delivered: AcknowledgeDirectivesRequest.Delivered
        def __init__(self, directive_id: _Optional[str] = ..., outcome: _Optional[_Union[DirectiveOutcome, str]] = ..., message: _Optional[str] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., run_id: _Optional[str] = ..., delivered: _Optional[_Union[AcknowledgeDirectivesRequest.Delivered, _Mapping]] = ...) -> None: ...
    class Delivered(_message.Message):
        __slots__ = ("channel", "delivered_to", "failed_files")
        CHANNEL_FIELD_NUMBER: _ClassVar[int]
        DELIVERED_TO_FIELD_NUMBER: _ClassVar[int]
        FAILED_FILES_FIELD_NUMBER: _ClassVar[int]
        channel: str
        delivered_to: str
        failed_files: _containers.RepeatedScalarFieldContainer[int]
        def __init__(self, channel: _Optional[str] = ..., delivered_to: _Optional[str] = ..., failed_files: _Optional[_Iterable[int]] = ...) -> None: ...
    ACKNOWLEDGEMENTS_FIELD_NUMBER: _ClassVar[int]
    acknowledgements: _containers.RepeatedCompositeFieldContainer[AcknowledgeDirectivesRequest.Acknowledgement]
    def __init__(self, acknowledgements: _Optional[_Iterable[_Union[AcknowledgeDirectivesRequest.Acknowledgement, _Mapping]]] = ...) -> None: ...

class AcknowledgeDirectivesResponse(_message.Message):
    __slots__ = ("unknown",)
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    unknown: int
    def __init__(self, unknown: _Optional[int] = ...) -> None: ...
