import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from outrigger_runtime._gen.outrigger.types.v1 import hook_pb2 as _hook_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ToolRisk(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TOOL_RISK_UNSPECIFIED: _ClassVar[ToolRisk]
    TOOL_RISK_LOW: _ClassVar[ToolRisk]
    TOOL_RISK_MEDIUM: _ClassVar[ToolRisk]
    TOOL_RISK_HIGH: _ClassVar[ToolRisk]

class Surface(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SURFACE_UNSPECIFIED: _ClassVar[Surface]
    SURFACE_SESSION: _ClassVar[Surface]
    SURFACE_TOOL: _ClassVar[Surface]
    SURFACE_RUN: _ClassVar[Surface]
    SURFACE_SETTINGS: _ClassVar[Surface]
    SURFACE_TAB: _ClassVar[Surface]
    SURFACE_WIDGET: _ClassVar[Surface]
    SURFACE_LINK_READER: _ClassVar[Surface]

class PluginState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PLUGIN_STATE_UNSPECIFIED: _ClassVar[PluginState]
    PLUGIN_STATE_WAITING: _ClassVar[PluginState]
    PLUGIN_STATE_STARTING: _ClassVar[PluginState]
    PLUGIN_STATE_READY: _ClassVar[PluginState]
    PLUGIN_STATE_DRAINING: _ClassVar[PluginState]
    PLUGIN_STATE_STOPPED: _ClassVar[PluginState]
    PLUGIN_STATE_QUARANTINED: _ClassVar[PluginState]

class ReclaimCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECLAIM_CAUSE_UNSPECIFIED: _ClassVar[ReclaimCause]
    RECLAIM_CAUSE_DISABLE: _ClassVar[ReclaimCause]
    RECLAIM_CAUSE_REMOVE: _ClassVar[ReclaimCause]
    RECLAIM_CAUSE_SESSION_RESET: _ClassVar[ReclaimCause]
    RECLAIM_CAUSE_SESSION_DELETE: _ClassVar[ReclaimCause]
    RECLAIM_CAUSE_RUN_END: _ClassVar[ReclaimCause]
    RECLAIM_CAUSE_RESTART: _ClassVar[ReclaimCause]
    RECLAIM_CAUSE_CRASH: _ClassVar[ReclaimCause]
    RECLAIM_CAUSE_QUARANTINE: _ClassVar[ReclaimCause]
    RECLAIM_CAUSE_SHUTDOWN: _ClassVar[ReclaimCause]

class OwnedKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OWNED_KIND_UNSPECIFIED: _ClassVar[OwnedKind]
    OWNED_KIND_INVOCATION: _ClassVar[OwnedKind]
    OWNED_KIND_REGISTRATION: _ClassVar[OwnedKind]
    OWNED_KIND_RUN_CONTEXT: _ClassVar[OwnedKind]
    OWNED_KIND_SESSION_STATE: _ClassVar[OwnedKind]
    OWNED_KIND_SLOT: _ClassVar[OwnedKind]
    OWNED_KIND_INJECTION: _ClassVar[OwnedKind]
    OWNED_KIND_SCHEDULED_TURN: _ClassVar[OwnedKind]
    OWNED_KIND_LEASE: _ClassVar[OwnedKind]
    OWNED_KIND_ATTACHMENT: _ClassVar[OwnedKind]
    OWNED_KIND_APPROVAL: _ClassVar[OwnedKind]
    OWNED_KIND_JOB: _ClassVar[OwnedKind]
    OWNED_KIND_EVENT_STREAM: _ClassVar[OwnedKind]
    OWNED_KIND_PROCESS: _ClassVar[OwnedKind]

class HandlerOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HANDLER_OUTCOME_UNSPECIFIED: _ClassVar[HandlerOutcome]
    HANDLER_OUTCOME_ALLOW: _ClassVar[HandlerOutcome]
    HANDLER_OUTCOME_DENY: _ClassVar[HandlerOutcome]
    HANDLER_OUTCOME_ERROR: _ClassVar[HandlerOutcome]
    HANDLER_OUTCOME_TIMEOUT: _ClassVar[HandlerOutcome]
    HANDLER_OUTCOME_ABSENT: _ClassVar[HandlerOutcome]
    HANDLER_OUTCOME_SKIPPED: _ClassVar[HandlerOutcome]

class ItemKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ITEM_KIND_UNSPECIFIED: _ClassVar[ItemKind]
    ITEM_KIND_HOOK: _ClassVar[ItemKind]
    ITEM_KIND_TOOL_POLICY: _ClassVar[ItemKind]
    ITEM_KIND_STATE: _ClassVar[ItemKind]
    ITEM_KIND_TRANSITION: _ClassVar[ItemKind]
    ITEM_KIND_TOOL: _ClassVar[ItemKind]
    ITEM_KIND_TOOL_METADATA: _ClassVar[ItemKind]
    ITEM_KIND_COMMAND: _ClassVar[ItemKind]
    ITEM_KIND_ACTION: _ClassVar[ItemKind]
    ITEM_KIND_DESCRIPTOR: _ClassVar[ItemKind]
    ITEM_KIND_SUBSCRIPTION: _ClassVar[ItemKind]
    ITEM_KIND_JOB: _ClassVar[ItemKind]
    ITEM_KIND_LIFECYCLE: _ClassVar[ItemKind]

class DeliveryState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_STATE_UNSPECIFIED: _ClassVar[DeliveryState]
    DELIVERY_STATE_PENDING: _ClassVar[DeliveryState]
    DELIVERY_STATE_DELIVERED: _ClassVar[DeliveryState]
    DELIVERY_STATE_FAILED: _ClassVar[DeliveryState]

class CaptionFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAPTION_FORMAT_UNSPECIFIED: _ClassVar[CaptionFormat]
    CAPTION_FORMAT_PLAIN: _ClassVar[CaptionFormat]
    CAPTION_FORMAT_HTML: _ClassVar[CaptionFormat]
    CAPTION_FORMAT_MARKDOWN: _ClassVar[CaptionFormat]
TOOL_RISK_UNSPECIFIED: ToolRisk
TOOL_RISK_LOW: ToolRisk
TOOL_RISK_MEDIUM: ToolRisk
TOOL_RISK_HIGH: ToolRisk
SURFACE_UNSPECIFIED: Surface
SURFACE_SESSION: Surface
SURFACE_TOOL: Surface
SURFACE_RUN: Surface
SURFACE_SETTINGS: Surface
SURFACE_TAB: Surface
SURFACE_WIDGET: Surface
SURFACE_LINK_READER: Surface
PLUGIN_STATE_UNSPECIFIED: PluginState
PLUGIN_STATE_WAITING: PluginState
PLUGIN_STATE_STARTING: PluginState
PLUGIN_STATE_READY: PluginState
PLUGIN_STATE_DRAINING: PluginState
PLUGIN_STATE_STOPPED: PluginState
PLUGIN_STATE_QUARANTINED: PluginState
RECLAIM_CAUSE_UNSPECIFIED: ReclaimCause
RECLAIM_CAUSE_DISABLE: ReclaimCause
RECLAIM_CAUSE_REMOVE: ReclaimCause
RECLAIM_CAUSE_SESSION_RESET: ReclaimCause
RECLAIM_CAUSE_SESSION_DELETE: ReclaimCause
RECLAIM_CAUSE_RUN_END: ReclaimCause
RECLAIM_CAUSE_RESTART: ReclaimCause
RECLAIM_CAUSE_CRASH: ReclaimCause
RECLAIM_CAUSE_QUARANTINE: ReclaimCause
RECLAIM_CAUSE_SHUTDOWN: ReclaimCause
OWNED_KIND_UNSPECIFIED: OwnedKind
OWNED_KIND_INVOCATION: OwnedKind
OWNED_KIND_REGISTRATION: OwnedKind
OWNED_KIND_RUN_CONTEXT: OwnedKind
OWNED_KIND_SESSION_STATE: OwnedKind
OWNED_KIND_SLOT: OwnedKind
OWNED_KIND_INJECTION: OwnedKind
OWNED_KIND_SCHEDULED_TURN: OwnedKind
OWNED_KIND_LEASE: OwnedKind
OWNED_KIND_ATTACHMENT: OwnedKind
OWNED_KIND_APPROVAL: OwnedKind
OWNED_KIND_JOB: OwnedKind
OWNED_KIND_EVENT_STREAM: OwnedKind
OWNED_KIND_PROCESS: OwnedKind
HANDLER_OUTCOME_UNSPECIFIED: HandlerOutcome
HANDLER_OUTCOME_ALLOW: HandlerOutcome
HANDLER_OUTCOME_DENY: HandlerOutcome
HANDLER_OUTCOME_ERROR: HandlerOutcome
HANDLER_OUTCOME_TIMEOUT: HandlerOutcome
HANDLER_OUTCOME_ABSENT: HandlerOutcome
HANDLER_OUTCOME_SKIPPED: HandlerOutcome
ITEM_KIND_UNSPECIFIED: ItemKind
ITEM_KIND_HOOK: ItemKind
ITEM_KIND_TOOL_POLICY: ItemKind
ITEM_KIND_STATE: ItemKind
ITEM_KIND_TRANSITION: ItemKind
ITEM_KIND_TOOL: ItemKind
ITEM_KIND_TOOL_METADATA: ItemKind
ITEM_KIND_COMMAND: ItemKind
ITEM_KIND_ACTION: ItemKind
ITEM_KIND_DESCRIPTOR: ItemKind
ITEM_KIND_SUBSCRIPTION: ItemKind
ITEM_KIND_JOB: ItemKind
ITEM_KIND_LIFECYCLE: ItemKind
DELIVERY_STATE_UNSPECIFIED: DeliveryState
DELIVERY_STATE_PENDING: DeliveryState
DELIVERY_STATE_DELIVERED: DeliveryState
DELIVERY_STATE_FAILED: DeliveryState
CAPTION_FORMAT_UNSPECIFIED: CaptionFormat
CAPTION_FORMAT_PLAIN: CaptionFormat
CAPTION_FORMAT_HTML: CaptionFormat
CAPTION_FORMAT_MARKDOWN: CaptionFormat

class ToolHints(_message.Message):
    __slots__ = ("read_only", "destructive", "idempotent", "open_world")
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    DESTRUCTIVE_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENT_FIELD_NUMBER: _ClassVar[int]
    OPEN_WORLD_FIELD_NUMBER: _ClassVar[int]
    read_only: bool
    destructive: bool
    idempotent: bool
    open_world: bool
    def __init__(self, read_only: bool = ..., destructive: bool = ..., idempotent: bool = ..., open_world: bool = ...) -> None: ...

class ToolSpec(_message.Message):
    __slots__ = ("name", "description", "input_schema_json", "output_schema_json", "hints")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    INPUT_SCHEMA_JSON_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SCHEMA_JSON_FIELD_NUMBER: _ClassVar[int]
    HINTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    input_schema_json: bytes
    output_schema_json: bytes
    hints: ToolHints
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., input_schema_json: _Optional[bytes] = ..., output_schema_json: _Optional[bytes] = ..., hints: _Optional[_Union[ToolHints, _Mapping]] = ...) -> None: ...

class ToolContent(_message.Message):
    __slots__ = ("text", "value_json", "image", "file")
    class Image(_message.Message):
        __slots__ = ("data", "media_type")
        DATA_FIELD_NUMBER: _ClassVar[int]
        MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
        data: bytes
        media_type: str
        def __init__(self, data: _Optional[bytes] = ..., media_type: _Optional[str] = ...) -> None: ...
    class File(_message.Message):
        __slots__ = ("upload_id", "file_name", "staged_file_id", "staged_path", "size_bytes", "sha256", "media_type")
        UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
        FILE_NAME_FIELD_NUMBER: _ClassVar[int]
        STAGED_FILE_ID_FIELD_NUMBER: _ClassVar[int]
        STAGED_PATH_FIELD_NUMBER: _ClassVar[int]
        SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
        SHA256_FIELD_NUMBER: _ClassVar[int]
        MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
        upload_id: str
        file_name: str
        staged_file_id: str
        staged_path: str
        size_bytes: int
        sha256: bytes
        media_type: str
        def __init__(self, upload_id: _Optional[str] = ..., file_name: _Optional[str] = ..., staged_file_id: _Optional[str] = ..., staged_path: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[bytes] = ..., media_type: _Optional[str] = ...) -> None: ...
    TEXT_FIELD_NUMBER: _ClassVar[int]
    VALUE_JSON_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    text: str
    value_json: bytes
    image: ToolContent.Image
    file: ToolContent.File
    def __init__(self, text: _Optional[str] = ..., value_json: _Optional[bytes] = ..., image: _Optional[_Union[ToolContent.Image, _Mapping]] = ..., file: _Optional[_Union[ToolContent.File, _Mapping]] = ...) -> None: ...

class ToolResult(_message.Message):
    __slots__ = ("content", "is_error", "structured_json")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    IS_ERROR_FIELD_NUMBER: _ClassVar[int]
    STRUCTURED_JSON_FIELD_NUMBER: _ClassVar[int]
    content: _containers.RepeatedCompositeFieldContainer[ToolContent]
    is_error: bool
    structured_json: bytes
    def __init__(self, content: _Optional[_Iterable[_Union[ToolContent, _Mapping]]] = ..., is_error: bool = ..., structured_json: _Optional[bytes] = ...) -> None: ...

class ToolProgress(_message.Message):
    __slots__ = ("done", "total", "message")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    done: float
    total: float
    message: str
    def __init__(self, done: _Optional[float] = ..., total: _Optional[float] = ..., message: _Optional[str] = ...) -> None: ...

class ToolMetadata(_message.Message):
    __slots__ = ("tool_name", "display_name", "description", "risk", "tags")
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    RISK_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    tool_name: str
    display_name: str
    description: str
    risk: ToolRisk
    tags: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, tool_name: _Optional[str] = ..., display_name: _Optional[str] = ..., description: _Optional[str] = ..., risk: _Optional[_Union[ToolRisk, str]] = ..., tags: _Optional[_Iterable[str]] = ...) -> None: ...

class CommandSpec(_message.Message):
    __slots__ = ("name", "description", "accepts_args", "allow_unauthorized", "required_scopes", "reserved_name", "aliases", "progress_message", "channels", "expose_sender_is_owner", "prompt_guidance", "prompt_surfaces")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ACCEPTS_ARGS_FIELD_NUMBER: _ClassVar[int]
    ALLOW_UNAUTHORIZED_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_SCOPES_FIELD_NUMBER: _ClassVar[int]
    RESERVED_NAME_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    EXPOSE_SENDER_IS_OWNER_FIELD_NUMBER: _ClassVar[int]
    PROMPT_GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_SURFACES_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    accepts_args: bool
    allow_unauthorized: bool
    required_scopes: _containers.RepeatedScalarFieldContainer[str]
    reserved_name: bool
    aliases: _containers.RepeatedScalarFieldContainer[str]
    progress_message: str
    channels: _containers.RepeatedScalarFieldContainer[str]
    expose_sender_is_owner: bool
    prompt_guidance: str
    prompt_surfaces: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., accepts_args: bool = ..., allow_unauthorized: bool = ..., required_scopes: _Optional[_Iterable[str]] = ..., reserved_name: bool = ..., aliases: _Optional[_Iterable[str]] = ..., progress_message: _Optional[str] = ..., channels: _Optional[_Iterable[str]] = ..., expose_sender_is_owner: bool = ..., prompt_guidance: _Optional[str] = ..., prompt_surfaces: _Optional[_Iterable[str]] = ...) -> None: ...

class ActionSpec(_message.Message):
    __slots__ = ("action_id", "description", "payload_schema_json", "required_scopes")
    ACTION_ID_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_SCHEMA_JSON_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_SCOPES_FIELD_NUMBER: _ClassVar[int]
    action_id: str
    description: str
    payload_schema_json: bytes
    required_scopes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, action_id: _Optional[str] = ..., description: _Optional[str] = ..., payload_schema_json: _Optional[bytes] = ..., required_scopes: _Optional[_Iterable[str]] = ...) -> None: ...

class DescriptorSpec(_message.Message):
    __slots__ = ("descriptor_id", "surface", "label", "description", "placement", "schema_json", "required_scopes", "renderer", "state_namespace", "action_ids", "suppress_host_input_while", "icon", "path", "group", "order")
    DESCRIPTOR_ID_FIELD_NUMBER: _ClassVar[int]
    SURFACE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_JSON_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_SCOPES_FIELD_NUMBER: _ClassVar[int]
    RENDERER_FIELD_NUMBER: _ClassVar[int]
    STATE_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    ACTION_IDS_FIELD_NUMBER: _ClassVar[int]
    SUPPRESS_HOST_INPUT_WHILE_FIELD_NUMBER: _ClassVar[int]
    ICON_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    descriptor_id: str
    surface: Surface
    label: str
    description: str
    placement: str
    schema_json: bytes
    required_scopes: _containers.RepeatedScalarFieldContainer[str]
    renderer: str
    state_namespace: str
    action_ids: _containers.RepeatedScalarFieldContainer[str]
    suppress_host_input_while: str
    icon: str
    path: str
    group: str
    order: float
    def __init__(self, descriptor_id: _Optional[str] = ..., surface: _Optional[_Union[Surface, str]] = ..., label: _Optional[str] = ..., description: _Optional[str] = ..., placement: _Optional[str] = ..., schema_json: _Optional[bytes] = ..., required_scopes: _Optional[_Iterable[str]] = ..., renderer: _Optional[str] = ..., state_namespace: _Optional[str] = ..., action_ids: _Optional[_Iterable[str]] = ..., suppress_host_input_while: _Optional[str] = ..., icon: _Optional[str] = ..., path: _Optional[str] = ..., group: _Optional[str] = ..., order: _Optional[float] = ...) -> None: ...

class ReclaimReport(_message.Message):
    __slots__ = ("report_id", "plugin_id", "generation", "cause", "session_key", "run_id", "started_at", "finished_at", "items", "failures", "dry_run")
    class Item(_message.Message):
        __slots__ = ("kind", "released", "kept", "failed")
        KIND_FIELD_NUMBER: _ClassVar[int]
        RELEASED_FIELD_NUMBER: _ClassVar[int]
        KEPT_FIELD_NUMBER: _ClassVar[int]
        FAILED_FIELD_NUMBER: _ClassVar[int]
        kind: OwnedKind
        released: int
        kept: int
        failed: int
        def __init__(self, kind: _Optional[_Union[OwnedKind, str]] = ..., released: _Optional[int] = ..., kept: _Optional[int] = ..., failed: _Optional[int] = ...) -> None: ...
    class Failure(_message.Message):
        __slots__ = ("subject", "message")
        SUBJECT_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        subject: str
        message: str
        def __init__(self, subject: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...
    REPORT_ID_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    SESSION_KEY_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    report_id: int
    plugin_id: str
    generation: int
    cause: ReclaimCause
    session_key: str
    run_id: str
    started_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    items: _containers.RepeatedCompositeFieldContainer[ReclaimReport.Item]
    failures: _containers.RepeatedCompositeFieldContainer[ReclaimReport.Failure]
    dry_run: bool
    def __init__(self, report_id: _Optional[int] = ..., plugin_id: _Optional[str] = ..., generation: _Optional[int] = ..., cause: _Optional[_Union[ReclaimCause, str]] = ..., session_key: _Optional[str] = ..., run_id: _Optional[str] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., items: _Optional[_Iterable[_Union[ReclaimReport.Item, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[ReclaimReport.Failure, _Mapping]]] = ..., dry_run: bool = ...) -> None: ...

class HandlerReport(_message.Message):
    __slots__ = ("plugin_id", "handler_id", "outcome", "elapsed", "message", "tool_policy", "recheck", "plugin_state")
    PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
    HANDLER_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TOOL_POLICY_FIELD_NUMBER: _ClassVar[int]
    RECHECK_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_STATE_FIELD_NUMBER: _ClassVar[int]
    plugin_id: str
    handler_id: str
    outcome: HandlerOutcome
    elapsed: _duration_pb2.Duration
    message: str
    tool_policy: bool
    recheck: bool
    plugin_state: PluginState
    def __init__(self, plugin_id: _Optional[str] = ..., handler_id: _Optional[str] = ..., outcome: _Optional[_Union[HandlerOutcome, str]] = ..., elapsed: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., message: _Optional[str] = ..., tool_policy: bool = ..., recheck: bool = ..., plugin_state: _Optional[_Union[PluginState, str]] = ...) -> None: ...

class Guard(_message.Message):
    __slots__ = ("hook", "tool_names", "tool_policy")
    HOOK_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAMES_FIELD_NUMBER: _ClassVar[int]
    TOOL_POLICY_FIELD_NUMBER: _ClassVar[int]
    hook: _hook_pb2.Hook
    tool_names: _containers.RepeatedScalarFieldContainer[str]
    tool_policy: bool
    def __init__(self, hook: _Optional[_Union[_hook_pb2.Hook, str]] = ..., tool_names: _Optional[_Iterable[str]] = ..., tool_policy: bool = ...) -> None: ...

class HookInterest(_message.Message):
    __slots__ = ("hook", "tool_names", "triggers", "dispatch_kinds", "wants_messages", "fail_closed", "max_duration", "guard_plugin_ids")
    HOOK_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAMES_FIELD_NUMBER: _ClassVar[int]
    TRIGGERS_FIELD_NUMBER: _ClassVar[int]
    DISPATCH_KINDS_FIELD_NUMBER: _ClassVar[int]
    WANTS_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    FAIL_CLOSED_FIELD_NUMBER: _ClassVar[int]
    MAX_DURATION_FIELD_NUMBER: _ClassVar[int]
    GUARD_PLUGIN_IDS_FIELD_NUMBER: _ClassVar[int]
    hook: _hook_pb2.Hook
    tool_names: _containers.RepeatedScalarFieldContainer[str]
    triggers: _containers.RepeatedScalarFieldContainer[_hook_pb2.Trigger]
    dispatch_kinds: _containers.RepeatedScalarFieldContainer[_hook_pb2.DispatchKind]
    wants_messages: bool
    fail_closed: bool
    max_duration: _duration_pb2.Duration
    guard_plugin_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, hook: _Optional[_Union[_hook_pb2.Hook, str]] = ..., tool_names: _Optional[_Iterable[str]] = ..., triggers: _Optional[_Iterable[_Union[_hook_pb2.Trigger, str]]] = ..., dispatch_kinds: _Optional[_Iterable[_Union[_hook_pb2.DispatchKind, str]]] = ..., wants_messages: bool = ..., fail_closed: bool = ..., max_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., guard_plugin_ids: _Optional[_Iterable[str]] = ...) -> None: ...
