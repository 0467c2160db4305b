import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from outrigger_runtime._gen.outrigger.runtime.v1 import directive_pb2 as _directive_pb2
from outrigger_runtime._gen.outrigger.types.v1 import common_pb2 as _common_pb2
from outrigger_runtime._gen.outrigger.types.v1 import error_pb2 as _error_pb2
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

class HookVerdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HOOK_VERDICT_UNSPECIFIED: _ClassVar[HookVerdict]
    HOOK_VERDICT_GO_ON: _ClassVar[HookVerdict]
    HOOK_VERDICT_STOP: _ClassVar[HookVerdict]
    HOOK_VERDICT_ASK: _ClassVar[HookVerdict]

class ClaimMiss(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CLAIM_MISS_UNSPECIFIED: _ClassVar[ClaimMiss]
    CLAIM_MISS_PLUGIN_MISSING: _ClassVar[ClaimMiss]
    CLAIM_MISS_NO_HANDLER: _ClassVar[ClaimMiss]
    CLAIM_MISS_DECLINED: _ClassVar[ClaimMiss]
    CLAIM_MISS_ERROR: _ClassVar[ClaimMiss]

class TurnOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TURN_OUTCOME_UNSPECIFIED: _ClassVar[TurnOutcome]
    TURN_OUTCOME_CONSUMED: _ClassVar[TurnOutcome]
    TURN_OUTCOME_RETURNED: _ClassVar[TurnOutcome]

class RunEnd(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_END_UNSPECIFIED: _ClassVar[RunEnd]
    RUN_END_COMPLETED: _ClassVar[RunEnd]
    RUN_END_FAILED: _ClassVar[RunEnd]
    RUN_END_CANCELLED: _ClassVar[RunEnd]
    RUN_END_LOST: _ClassVar[RunEnd]

class WakePriority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WAKE_PRIORITY_UNSPECIFIED: _ClassVar[WakePriority]
    WAKE_PRIORITY_RETRY: _ClassVar[WakePriority]
    WAKE_PRIORITY_INTERVAL: _ClassVar[WakePriority]
    WAKE_PRIORITY_DEFAULT: _ClassVar[WakePriority]
    WAKE_PRIORITY_ACTION: _ClassVar[WakePriority]
HOOK_VERDICT_UNSPECIFIED: HookVerdict
HOOK_VERDICT_GO_ON: HookVerdict
HOOK_VERDICT_STOP: HookVerdict
HOOK_VERDICT_ASK: HookVerdict
CLAIM_MISS_UNSPECIFIED: ClaimMiss
CLAIM_MISS_PLUGIN_MISSING: ClaimMiss
CLAIM_MISS_NO_HANDLER: ClaimMiss
CLAIM_MISS_DECLINED: ClaimMiss
CLAIM_MISS_ERROR: ClaimMiss
TURN_OUTCOME_UNSPECIFIED: TurnOutcome
TURN_OUTCOME_CONSUMED: TurnOutcome
TURN_OUTCOME_RETURNED: TurnOutcome
RUN_END_UNSPECIFIED: RunEnd
RUN_END_COMPLETED: RunEnd
RUN_END_FAILED: RunEnd
RUN_END_CANCELLED: RunEnd
RUN_END_LOST: RunEnd
WAKE_PRIORITY_UNSPECIFIED: WakePriority
WAKE_PRIORITY_RETRY: WakePriority
WAKE_PRIORITY_INTERVAL: WakePriority
WAKE_PRIORITY_DEFAULT: WakePriority
WAKE_PRIORITY_ACTION: WakePriority

class UpsertSessionRequest(_message.Message):
    __slots__ = ("session", "revision", "previous_key")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_KEY_FIELD_NUMBER: _ClassVar[int]
    session: _common_pb2.SessionRef
    revision: int
    previous_key: str
    def __init__(self, session: _Optional[_Union[_common_pb2.SessionRef, _Mapping]] = ..., revision: _Optional[int] = ..., previous_key: _Optional[str] = ...) -> None: ...

class UpsertSessionResponse(_message.Message):
    __slots__ = ("created",)
    CREATED_FIELD_NUMBER: _ClassVar[int]
    created: bool
    def __init__(self, created: bool = ...) -> None: ...

class HookInvocation(_message.Message):
    __slots__ = ("hook", "timeout", "event_json", "context_json", "messages_json", "session", "run", "tool_name", "tool_call_id", "trigger", "dispatch_kind", "target_plugin_id", "trace", "wait_for_observers", "report_handlers", "messages_omitted", "tool_authority")
    HOOK_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    EVENT_JSON_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_JSON_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_JSON_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    DISPATCH_KIND_FIELD_NUMBER: _ClassVar[int]
    TARGET_PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    WAIT_FOR_OBSERVERS_FIELD_NUMBER: _ClassVar[int]
    REPORT_HANDLERS_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_OMITTED_FIELD_NUMBER: _ClassVar[int]
    TOOL_AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    hook: _hook_pb2.Hook
    timeout: _duration_pb2.Duration
    event_json: bytes
    context_json: bytes
    messages_json: bytes
    session: _common_pb2.SessionRef
    run: _common_pb2.RunRef
    tool_name: str
    tool_call_id: str
    trigger: _hook_pb2.Trigger
    dispatch_kind: _hook_pb2.DispatchKind
    target_plugin_id: str
    trace: _common_pb2.TraceContext
    wait_for_observers: bool
    report_handlers: bool
    messages_omitted: bool
    tool_authority: str
    def __init__(self, hook: _Optional[_Union[_hook_pb2.Hook, str]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., event_json: _Optional[bytes] = ..., context_json: _Optional[bytes] = ..., messages_json: _Optional[bytes] = ..., session: _Optional[_Union[_common_pb2.SessionRef, _Mapping]] = ..., run: _Optional[_Union[_common_pb2.RunRef, _Mapping]] = ..., tool_name: _Optional[str] = ..., tool_call_id: _Optional[str] = ..., trigger: _Optional[_Union[_hook_pb2.Trigger, str]] = ..., dispatch_kind: _Optional[_Union[_hook_pb2.DispatchKind, str]] = ..., target_plugin_id: _Optional[str] = ..., trace: _Optional[_Union[_common_pb2.TraceContext, _Mapping]] = ..., wait_for_observers: bool = ..., report_handlers: bool = ..., messages_omitted: bool = ..., tool_authority: _Optional[str] = ...) -> None: ...

class HookOutcome(_message.Message):
    __slots__ = ("verdict", "result", "reason", "decided_by", "decision", "approval", "rechecked_guards", "handlers", "evaluations", "claim_miss")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    RECHECKED_GUARDS_FIELD_NUMBER: _ClassVar[int]
    HANDLERS_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    CLAIM_MISS_FIELD_NUMBER: _ClassVar[int]
    verdict: HookVerdict
    result: _hook_pb2.HookResult
    reason: str
    decided_by: _plugin_pb2.HandlerReport
    decision: Decision
    approval: _directive_pb2.PendingApproval
    rechecked_guards: int
    handlers: _containers.RepeatedCompositeFieldContainer[_plugin_pb2.HandlerReport]
    evaluations: _containers.RepeatedCompositeFieldContainer[HandlerEvaluation]
    claim_miss: ClaimMiss
    def __init__(self, verdict: _Optional[_Union[HookVerdict, str]] = ..., result: _Optional[_Union[_hook_pb2.HookResult, _Mapping]] = ..., reason: _Optional[str] = ..., decided_by: _Optional[_Union[_plugin_pb2.HandlerReport, _Mapping]] = ..., decision: _Optional[_Union[Decision, _Mapping]] = ..., approval: _Optional[_Union[_directive_pb2.PendingApproval, _Mapping]] = ..., rechecked_guards: _Optional[int] = ..., handlers: _Optional[_Iterable[_Union[_plugin_pb2.HandlerReport, _Mapping]]] = ..., evaluations: _Optional[_Iterable[_Union[HandlerEvaluation, _Mapping]]] = ..., claim_miss: _Optional[_Union[ClaimMiss, str]] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("decision_id", "params_sha256")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    PARAMS_SHA256_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    params_sha256: bytes
    def __init__(self, decision_id: _Optional[str] = ..., params_sha256: _Optional[bytes] = ...) -> None: ...

class HandlerEvaluation(_message.Message):
    __slots__ = ("handler", "evaluation")
    HANDLER_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_FIELD_NUMBER: _ClassVar[int]
    handler: _plugin_pb2.HandlerReport
    evaluation: _hook_pb2.Evaluation
    def __init__(self, handler: _Optional[_Union[_plugin_pb2.HandlerReport, _Mapping]] = ..., evaluation: _Optional[_Union[_hook_pb2.Evaluation, _Mapping]] = ...) -> None: ...

class InvokeHookRequest(_message.Message):
    __slots__ = ("invocation",)
    INVOCATION_FIELD_NUMBER: _ClassVar[int]
    invocation: HookInvocation
    def __init__(self, invocation: _Optional[_Union[HookInvocation, _Mapping]] = ...) -> None: ...

class InvokeHookResponse(_message.Message):
    __slots__ = ("outcome", "contribution_epoch")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_EPOCH_FIELD_NUMBER: _ClassVar[int]
    outcome: HookOutcome
    contribution_epoch: int
    def __init__(self, outcome: _Optional[_Union[HookOutcome, _Mapping]] = ..., contribution_epoch: _Optional[int] = ...) -> None: ...

class HookStreamRequest(_message.Message):
    __slots__ = ("calls", "cancelled_call_ids", "redemptions")
    class Call(_message.Message):
        __slots__ = ("call_id", "invocation")
        CALL_ID_FIELD_NUMBER: _ClassVar[int]
        INVOCATION_FIELD_NUMBER: _ClassVar[int]
        call_id: int
        invocation: HookInvocation
        def __init__(self, call_id: _Optional[int] = ..., invocation: _Optional[_Union[HookInvocation, _Mapping]] = ...) -> None: ...
    CALLS_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_CALL_IDS_FIELD_NUMBER: _ClassVar[int]
    REDEMPTIONS_FIELD_NUMBER: _ClassVar[int]
    calls: _containers.RepeatedCompositeFieldContainer[HookStreamRequest.Call]
    cancelled_call_ids: _containers.RepeatedScalarFieldContainer[int]
    redemptions: _containers.RepeatedCompositeFieldContainer[RedeemDecisionRequest]
    def __init__(self, calls: _Optional[_Iterable[_Union[HookStreamRequest.Call, _Mapping]]] = ..., cancelled_call_ids: _Optional[_Iterable[int]] = ..., redemptions: _Optional[_Iterable[_Union[RedeemDecisionRequest, _Mapping]]] = ...) -> None: ...

class HookStreamResponse(_message.Message):
    __slots__ = ("answers", "contribution_epoch", "redemptions")
    class Answer(_message.Message):
        __slots__ = ("call_id", "outcome", "error")
        CALL_ID_FIELD_NUMBER: _ClassVar[int]
        OUTCOME_FIELD_NUMBER: _ClassVar[int]
        ERROR_FIELD_NUMBER: _ClassVar[int]
        call_id: int
        outcome: HookOutcome
        error: CallError
        def __init__(self, call_id: _Optional[int] = ..., outcome: _Optional[_Union[HookOutcome, _Mapping]] = ..., error: _Optional[_Union[CallError, _Mapping]] = ...) -> None: ...
    class Redemption(_message.Message):
        __slots__ = ("decision_id", "redeemed", "error")
        DECISION_ID_FIELD_NUMBER: _ClassVar[int]
        REDEEMED_FIELD_NUMBER: _ClassVar[int]
        ERROR_FIELD_NUMBER: _ClassVar[int]
        decision_id: str
        redeemed: RedeemDecisionResponse
        error: CallError
        def __init__(self, decision_id: _Optional[str] = ..., redeemed: _Optional[_Union[RedeemDecisionResponse, _Mapping]] = ..., error: _Optional[_Union[CallError, _Mapping]] = ...) -> None: ...
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_EPOCH_FIELD_NUMBER: _ClassVar[int]
    REDEMPTIONS_FIELD_NUMBER: _ClassVar[int]
    answers: _containers.RepeatedCompositeFieldContainer[HookStreamResponse.Answer]
    contribution_epoch: int
    redemptions: _containers.RepeatedCompositeFieldContainer[HookStreamResponse.Redemption]
    def __init__(self, answers: _Optional[_Iterable[_Union[HookStreamResponse.Answer, _Mapping]]] = ..., contribution_epoch: _Optional[int] = ..., redemptions: _Optional[_Iterable[_Union[HookStreamResponse.Redemption, _Mapping]]] = ...) -> None: ...

class CallError(_message.Message):
    __slots__ = ("code", "reason", "message", "retry_after", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: _error_pb2.ErrorReason
    message: str
    retry_after: _duration_pb2.Duration
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[_Union[_error_pb2.ErrorReason, str]] = ..., message: _Optional[str] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class RedeemDecisionRequest(_message.Message):
    __slots__ = ("decision_id", "tool_call_id", "params_sha256")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    PARAMS_SHA256_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    tool_call_id: str
    params_sha256: bytes
    def __init__(self, decision_id: _Optional[str] = ..., tool_call_id: _Optional[str] = ..., params_sha256: _Optional[bytes] = ...) -> None: ...

class RedeemDecisionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class InvokeToolRequest(_message.Message):
    __slots__ = ("tool_name", "arguments_json", "tool_call_id", "decision_id", "session", "run", "timeout", "context_json", "trace")
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_JSON_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    tool_name: str
    arguments_json: bytes
    tool_call_id: str
    decision_id: str
    session: _common_pb2.SessionRef
    run: _common_pb2.RunRef
    timeout: _duration_pb2.Duration
    context_json: bytes
    trace: _common_pb2.TraceContext
    def __init__(self, tool_name: _Optional[str] = ..., arguments_json: _Optional[bytes] = ..., tool_call_id: _Optional[str] = ..., decision_id: _Optional[str] = ..., session: _Optional[_Union[_common_pb2.SessionRef, _Mapping]] = ..., run: _Optional[_Union[_common_pb2.RunRef, _Mapping]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., context_json: _Optional[bytes] = ..., trace: _Optional[_Union[_common_pb2.TraceContext, _Mapping]] = ...) -> None: ...

class InvokeToolResponse(_message.Message):
    __slots__ = ("progress", "result")
    class Result(_message.Message):
        __slots__ = ("result", "plugin_id", "arguments_invalid", "contribution_epoch")
        RESULT_FIELD_NUMBER: _ClassVar[int]
        PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
        ARGUMENTS_INVALID_FIELD_NUMBER: _ClassVar[int]
        CONTRIBUTION_EPOCH_FIELD_NUMBER: _ClassVar[int]
        result: _plugin_pb2.ToolResult
        plugin_id: str
        arguments_invalid: bool
        contribution_epoch: int
        def __init__(self, result: _Optional[_Union[_plugin_pb2.ToolResult, _Mapping]] = ..., plugin_id: _Optional[str] = ..., arguments_invalid: bool = ..., contribution_epoch: _Optional[int] = ...) -> None: ...
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    progress: _plugin_pb2.ToolProgress
    result: InvokeToolResponse.Result
    def __init__(self, progress: _Optional[_Union[_plugin_pb2.ToolProgress, _Mapping]] = ..., result: _Optional[_Union[InvokeToolResponse.Result, _Mapping]] = ...) -> None: ...

class PublishEventsRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_event_pb2.AgentEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[_event_pb2.AgentEvent, _Mapping]]] = ...) -> None: ...

class PublishEventsResponse(_message.Message):
    __slots__ = ("accepted", "duplicate", "rejected", "problems", "read")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    READ_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    duplicate: int
    rejected: int
    problems: _containers.RepeatedScalarFieldContainer[str]
    read: int
    def __init__(self, accepted: _Optional[int] = ..., duplicate: _Optional[int] = ..., rejected: _Optional[int] = ..., problems: _Optional[_Iterable[str]] = ..., read: _Optional[int] = ...) -> None: ...

class PrepareTurnRequest(_message.Message):
    __slots__ = ("session", "run", "trigger", "event_json", "context_json", "messages_json", "heartbeat_name", "timeout", "trace", "directive_id")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    EVENT_JSON_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_JSON_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_JSON_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_NAME_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    DIRECTIVE_ID_FIELD_NUMBER: _ClassVar[int]
    session: _common_pb2.SessionRef
    run: _common_pb2.RunRef
    trigger: _hook_pb2.Trigger
    event_json: bytes
    context_json: bytes
    messages_json: bytes
    heartbeat_name: str
    timeout: _duration_pb2.Duration
    trace: _common_pb2.TraceContext
    directive_id: str
    def __init__(self, session: _Optional[_Union[_common_pb2.SessionRef, _Mapping]] = ..., run: _Optional[_Union[_common_pb2.RunRef, _Mapping]] = ..., trigger: _Optional[_Union[_hook_pb2.Trigger, str]] = ..., event_json: _Optional[bytes] = ..., context_json: _Optional[bytes] = ..., messages_json: _Optional[bytes] = ..., heartbeat_name: _Optional[str] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., trace: _Optional[_Union[_common_pb2.TraceContext, _Mapping]] = ..., directive_id: _Optional[str] = ...) -> None: ...

class PrepareTurnResponse(_message.Message):
    __slots__ = ("lease_id", "prepend_context", "append_context", "injections", "system_events", "superseded_leases", "contribution_epoch")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    PREPEND_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    APPEND_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    INJECTIONS_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_EVENTS_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDED_LEASES_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_EPOCH_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    prepend_context: str
    append_context: str
    injections: _containers.RepeatedCompositeFieldContainer[LeasedInjection]
    system_events: _containers.RepeatedCompositeFieldContainer[SystemEvent]
    superseded_leases: int
    contribution_epoch: int
    def __init__(self, lease_id: _Optional[str] = ..., prepend_context: _Optional[str] = ..., append_context: _Optional[str] = ..., injections: _Optional[_Iterable[_Union[LeasedInjection, _Mapping]]] = ..., system_events: _Optional[_Iterable[_Union[SystemEvent, _Mapping]]] = ..., superseded_leases: _Optional[int] = ..., contribution_epoch: _Optional[int] = ...) -> None: ...

class LeasedInjection(_message.Message):
    __slots__ = ("injection_id", "plugin_id", "text", "prepend", "idempotency_key", "metadata_json", "created_at", "delivery_attempt")
    INJECTION_ID_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PREPEND_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    injection_id: str
    plugin_id: str
    text: str
    prepend: bool
    idempotency_key: str
    metadata_json: bytes
    created_at: _timestamp_pb2.Timestamp
    delivery_attempt: int
    def __init__(self, injection_id: _Optional[str] = ..., plugin_id: _Optional[str] = ..., text: _Optional[str] = ..., prepend: bool = ..., idempotency_key: _Optional[str] = ..., metadata_json: _Optional[bytes] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., delivery_attempt: _Optional[int] = ...) -> None: ...

class AcknowledgeTurnRequest(_message.Message):
    __slots__ = ("lease_id", "outcome")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    outcome: TurnOutcome
    def __init__(self, lease_id: _Optional[str] = ..., outcome: _Optional[_Union[TurnOutcome, str]] = ...) -> None: ...

class AcknowledgeTurnResponse(_message.Message):
    __slots__ = ("consumed", "returned")
    CONSUMED_FIELD_NUMBER: _ClassVar[int]
    RETURNED_FIELD_NUMBER: _ClassVar[int]
    consumed: int
    returned: int
    def __init__(self, consumed: _Optional[int] = ..., returned: _Optional[int] = ...) -> None: ...

class FinalizeTurnRequest(_message.Message):
    __slots__ = ("session", "run", "attempt", "side_effects_committed", "event_json", "context_json", "messages_json", "timeout", "trace")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SIDE_EFFECTS_COMMITTED_FIELD_NUMBER: _ClassVar[int]
    EVENT_JSON_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_JSON_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_JSON_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    session: _common_pb2.SessionRef
    run: _common_pb2.RunRef
    attempt: int
    side_effects_committed: bool
    event_json: bytes
    context_json: bytes
    messages_json: bytes
    timeout: _duration_pb2.Duration
    trace: _common_pb2.TraceContext
    def __init__(self, session: _Optional[_Union[_common_pb2.SessionRef, _Mapping]] = ..., run: _Optional[_Union[_common_pb2.RunRef, _Mapping]] = ..., attempt: _Optional[int] = ..., side_effects_committed: bool = ..., event_json: _Optional[bytes] = ..., context_json: _Optional[bytes] = ..., messages_json: _Optional[bytes] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., trace: _Optional[_Union[_common_pb2.TraceContext, _Mapping]] = ...) -> None: ...

class FinalizeTurnResponse(_message.Message):
    __slots__ = ("decision", "plugin_id", "budget_used", "retry_withheld", "contribution_epoch")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
    BUDGET_USED_FIELD_NUMBER: _ClassVar[int]
    RETRY_WITHHELD_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_EPOCH_FIELD_NUMBER: _ClassVar[int]
    decision: _hook_pb2.FinalizeDecision
    plugin_id: str
    budget_used: int
    retry_withheld: bool
    contribution_epoch: int
    def __init__(self, decision: _Optional[_Union[_hook_pb2.FinalizeDecision, _Mapping]] = ..., plugin_id: _Optional[str] = ..., budget_used: _Optional[int] = ..., retry_withheld: bool = ..., contribution_epoch: _Optional[int] = ...) -> None: ...

class EndRunRequest(_message.Message):
    __slots__ = ("run", "session", "end")
    RUN_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    run: _common_pb2.RunRef
    session: _common_pb2.SessionRef
    end: RunEnd
    def __init__(self, run: _Optional[_Union[_common_pb2.RunRef, _Mapping]] = ..., session: _Optional[_Union[_common_pb2.SessionRef, _Mapping]] = ..., end: _Optional[_Union[RunEnd, str]] = ...) -> None: ...

class EndRunResponse(_message.Message):
    __slots__ = ("settled", "consumed", "returned")
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    CONSUMED_FIELD_NUMBER: _ClassVar[int]
    RETURNED_FIELD_NUMBER: _ClassVar[int]
    settled: bool
    consumed: int
    returned: int
    def __init__(self, settled: bool = ..., consumed: _Optional[int] = ..., returned: _Optional[int] = ...) -> None: ...

class ResetSessionRequest(_message.Message):
    __slots__ = ("session", "next_session_id", "plugin_id")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    NEXT_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
    session: _common_pb2.SessionRef
    next_session_id: str
    plugin_id: str
    def __init__(self, session: _Optional[_Union[_common_pb2.SessionRef, _Mapping]] = ..., next_session_id: _Optional[str] = ..., plugin_id: _Optional[str] = ...) -> None: ...

class ResetSessionResponse(_message.Message):
    __slots__ = ("reports",)
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    reports: _containers.RepeatedCompositeFieldContainer[_plugin_pb2.ReclaimReport]
    def __init__(self, reports: _Optional[_Iterable[_Union[_plugin_pb2.ReclaimReport, _Mapping]]] = ...) -> None: ...

class DeleteSessionRequest(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: _common_pb2.SessionRef
    def __init__(self, session: _Optional[_Union[_common_pb2.SessionRef, _Mapping]] = ...) -> None: ...

class DeleteSessionResponse(_message.Message):
    __slots__ = ("reports",)
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    reports: _containers.RepeatedCompositeFieldContainer[_plugin_pb2.ReclaimReport]
    def __init__(self, reports: _Optional[_Iterable[_Union[_plugin_pb2.ReclaimReport, _Mapping]]] = ...) -> None: ...

class InvokeActionRequest(_message.Message):
    __slots__ = ("plugin_id", "action_id", "session", "payload_json", "caller", "idempotency_key", "timeout", "trace")
    PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_JSON_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    plugin_id: str
    action_id: str
    session: _common_pb2.SessionRef
    payload_json: bytes
    caller: _common_pb2.Caller
    idempotency_key: str
    timeout: _duration_pb2.Duration
    trace: _common_pb2.TraceContext
    def __init__(self, plugin_id: _Optional[str] = ..., action_id: _Optional[str] = ..., session: _Optional[_Union[_common_pb2.SessionRef, _Mapping]] = ..., payload_json: _Optional[bytes] = ..., caller: _Optional[_Union[_common_pb2.Caller, _Mapping]] = ..., idempotency_key: _Optional[str] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., trace: _Optional[_Union[_common_pb2.TraceContext, _Mapping]] = ...) -> None: ...

class InvokeActionResponse(_message.Message):
    __slots__ = ("success", "failure")
    class Success(_message.Message):
        __slots__ = ("result_json", "reply_json", "continue_agent")
        RESULT_JSON_FIELD_NUMBER: _ClassVar[int]
        REPLY_JSON_FIELD_NUMBER: _ClassVar[int]
        CONTINUE_AGENT_FIELD_NUMBER: _ClassVar[int]
        result_json: bytes
        reply_json: bytes
        continue_agent: bool
        def __init__(self, result_json: _Optional[bytes] = ..., reply_json: _Optional[bytes] = ..., continue_agent: bool = ...) -> None: ...
    class Failure(_message.Message):
        __slots__ = ("error", "code", "details_json")
        ERROR_FIELD_NUMBER: _ClassVar[int]
        CODE_FIELD_NUMBER: _ClassVar[int]
        DETAILS_JSON_FIELD_NUMBER: _ClassVar[int]
        error: str
        code: str
        details_json: bytes
        def __init__(self, error: _Optional[str] = ..., code: _Optional[str] = ..., details_json: _Optional[bytes] = ...) -> None: ...
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    success: InvokeActionResponse.Success
    failure: InvokeActionResponse.Failure
    def __init__(self, success: _Optional[_Union[InvokeActionResponse.Success, _Mapping]] = ..., failure: _Optional[_Union[InvokeActionResponse.Failure, _Mapping]] = ...) -> None: ...

class InvokeCommandRequest(_message.Message):
    __slots__ = ("name", "args", "session", "caller", "context_json", "timeout", "trace")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_JSON_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    name: str
    args: str
    session: _common_pb2.SessionRef
    caller: _common_pb2.Caller
    context_json: bytes
    timeout: _duration_pb2.Duration
    trace: _common_pb2.TraceContext
    def __init__(self, name: _Optional[str] = ..., args: _Optional[str] = ..., session: _Optional[_Union[_common_pb2.SessionRef, _Mapping]] = ..., caller: _Optional[_Union[_common_pb2.Caller, _Mapping]] = ..., context_json: _Optional[bytes] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., trace: _Optional[_Union[_common_pb2.TraceContext, _Mapping]] = ...) -> None: ...

class InvokeCommandResponse(_message.Message):
    __slots__ = ("reply", "no_match", "not_allowed", "plugin_id")
    class Reply(_message.Message):
        __slots__ = ("reply_json", "continue_agent")
        REPLY_JSON_FIELD_NUMBER: _ClassVar[int]
        CONTINUE_AGENT_FIELD_NUMBER: _ClassVar[int]
        reply_json: bytes
        continue_agent: bool
        def __init__(self, reply_json: _Optional[bytes] = ..., continue_agent: bool = ...) -> None: ...
    class NoMatch(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class NotAllowed(_message.Message):
        __slots__ = ("missing_scope", "required_scopes")
        MISSING_SCOPE_FIELD_NUMBER: _ClassVar[int]
        REQUIRED_SCOPES_FIELD_NUMBER: _ClassVar[int]
        missing_scope: str
        required_scopes: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, missing_scope: _Optional[str] = ..., required_scopes: _Optional[_Iterable[str]] = ...) -> None: ...
    REPLY_FIELD_NUMBER: _ClassVar[int]
    NO_MATCH_FIELD_NUMBER: _ClassVar[int]
    NOT_ALLOWED_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
    reply: InvokeCommandResponse.Reply
    no_match: InvokeCommandResponse.NoMatch
    not_allowed: InvokeCommandResponse.NotAllowed
    plugin_id: str
    def __init__(self, reply: _Optional[_Union[InvokeCommandResponse.Reply, _Mapping]] = ..., no_match: _Optional[_Union[InvokeCommandResponse.NoMatch, _Mapping]] = ..., not_allowed: _Optional[_Union[InvokeCommandResponse.NotAllowed, _Mapping]] = ..., plugin_id: _Optional[str] = ...) -> None: ...

class PatchSessionStateRequest(_message.Message):
    __slots__ = ("session", "plugin_id", "namespace", "value_json", "unset", "expected_version", "caller")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    VALUE_JSON_FIELD_NUMBER: _ClassVar[int]
    UNSET_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    session: _common_pb2.SessionRef
    plugin_id: str
    namespace: str
    value_json: bytes
    unset: bool
    expected_version: int
    caller: _common_pb2.Caller
    def __init__(self, session: _Optional[_Union[_common_pb2.SessionRef, _Mapping]] = ..., plugin_id: _Optional[str] = ..., namespace: _Optional[str] = ..., value_json: _Optional[bytes] = ..., unset: bool = ..., expected_version: _Optional[int] = ..., caller: _Optional[_Union[_common_pb2.Caller, _Mapping]] = ...) -> None: ...

class PatchSessionStateResponse(_message.Message):
    __slots__ = ("session_key", "value_json", "version")
    SESSION_KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_JSON_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    session_key: str
    value_json: bytes
    version: int
    def __init__(self, session_key: _Optional[str] = ..., value_json: _Optional[bytes] = ..., version: _Optional[int] = ...) -> None: ...

class PrepareTransitionRequest(_message.Message):
    __slots__ = ("session", "plugin_id", "action", "payload_json", "entry_json", "entry_revision", "caller", "timeout", "trace")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_JSON_FIELD_NUMBER: _ClassVar[int]
    ENTRY_JSON_FIELD_NUMBER: _ClassVar[int]
    ENTRY_REVISION_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    session: _common_pb2.SessionRef
    plugin_id: str
    action: str
    payload_json: bytes
    entry_json: bytes
    entry_revision: int
    caller: _common_pb2.Caller
    timeout: _duration_pb2.Duration
    trace: _common_pb2.TraceContext
    def __init__(self, session: _Optional[_Union[_common_pb2.SessionRef, _Mapping]] = ..., plugin_id: _Optional[str] = ..., action: _Optional[str] = ..., payload_json: _Optional[bytes] = ..., entry_json: _Optional[bytes] = ..., entry_revision: _Optional[int] = ..., caller: _Optional[_Union[_common_pb2.Caller, _Mapping]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., trace: _Optional[_Union[_common_pb2.TraceContext, _Mapping]] = ...) -> None: ...

class PrepareTransitionResponse(_message.Message):
    __slots__ = ("prepared", "refused")
    class Prepared(_message.Message):
        __slots__ = ("transition_id", "entry_patch_json", "timeout")
        TRANSITION_ID_FIELD_NUMBER: _ClassVar[int]
        ENTRY_PATCH_JSON_FIELD_NUMBER: _ClassVar[int]
        TIMEOUT_FIELD_NUMBER: _ClassVar[int]
        transition_id: str
        entry_patch_json: bytes
        timeout: _duration_pb2.Duration
        def __init__(self, transition_id: _Optional[str] = ..., entry_patch_json: _Optional[bytes] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
    PREPARED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    prepared: PrepareTransitionResponse.Prepared
    refused: str
    def __init__(self, prepared: _Optional[_Union[PrepareTransitionResponse.Prepared, _Mapping]] = ..., refused: _Optional[str] = ...) -> None: ...

class CommitTransitionRequest(_message.Message):
    __slots__ = ("transition_id", "committed_revision")
    TRANSITION_ID_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    transition_id: str
    committed_revision: int
    def __init__(self, transition_id: _Optional[str] = ..., committed_revision: _Optional[int] = ...) -> None: ...

class CommitTransitionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AbortTransitionRequest(_message.Message):
    __slots__ = ("transition_id", "reason")
    TRANSITION_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    transition_id: str
    reason: str
    def __init__(self, transition_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class AbortTransitionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListSessionStatesRequest(_message.Message):
    __slots__ = ("session_keys", "plugin_id")
    SESSION_KEYS_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
    session_keys: _containers.RepeatedScalarFieldContainer[str]
    plugin_id: str
    def __init__(self, session_keys: _Optional[_Iterable[str]] = ..., plugin_id: _Optional[str] = ...) -> None: ...

class ListSessionStatesResponse(_message.Message):
    __slots__ = ("rows",)
    class Row(_message.Message):
        __slots__ = ("session_key", "projections", "slots")
        class SlotsEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: bytes
            def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
        SESSION_KEY_FIELD_NUMBER: _ClassVar[int]
        PROJECTIONS_FIELD_NUMBER: _ClassVar[int]
        SLOTS_FIELD_NUMBER: _ClassVar[int]
        session_key: str
        projections: _containers.RepeatedCompositeFieldContainer[ListSessionStatesResponse.Projection]
        slots: _containers.ScalarMap[str, bytes]
        def __init__(self, session_key: _Optional[str] = ..., projections: _Optional[_Iterable[_Union[ListSessionStatesResponse.Projection, _Mapping]]] = ..., slots: _Optional[_Mapping[str, bytes]] = ...) -> None: ...
    class Projection(_message.Message):
        __slots__ = ("plugin_id", "namespace", "value_json", "version", "generation", "stale")
        PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
        NAMESPACE_FIELD_NUMBER: _ClassVar[int]
        VALUE_JSON_FIELD_NUMBER: _ClassVar[int]
        VERSION_FIELD_NUMBER: _ClassVar[int]
        GENERATION_FIELD_NUMBER: _ClassVar[int]
        STALE_FIELD_NUMBER: _ClassVar[int]
        plugin_id: str
        namespace: str
        value_json: bytes
        version: int
        generation: int
        stale: bool
        def __init__(self, plugin_id: _Optional[str] = ..., namespace: _Optional[str] = ..., value_json: _Optional[bytes] = ..., version: _Optional[int] = ..., generation: _Optional[int] = ..., stale: bool = ...) -> None: ...
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[ListSessionStatesResponse.Row]
    def __init__(self, rows: _Optional[_Iterable[_Union[ListSessionStatesResponse.Row, _Mapping]]] = ...) -> None: ...

class ResolveApprovalRequest(_message.Message):
    __slots__ = ("approval_id", "outcome", "resolved_by")
    APPROVAL_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_BY_FIELD_NUMBER: _ClassVar[int]
    approval_id: str
    outcome: _hook_pb2.ApprovalOutcome
    resolved_by: str
    def __init__(self, approval_id: _Optional[str] = ..., outcome: _Optional[_Union[_hook_pb2.ApprovalOutcome, str]] = ..., resolved_by: _Optional[str] = ...) -> None: ...

class ResolveApprovalResponse(_message.Message):
    __slots__ = ("outcome", "decision", "message", "tool_call_id")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    outcome: _hook_pb2.ApprovalOutcome
    decision: Decision
    message: str
    tool_call_id: str
    def __init__(self, outcome: _Optional[_Union[_hook_pb2.ApprovalOutcome, str]] = ..., decision: _Optional[_Union[Decision, _Mapping]] = ..., message: _Optional[str] = ..., tool_call_id: _Optional[str] = ...) -> None: ...

class ReadAttachmentRequest(_message.Message):
    __slots__ = ("delivery_file", "staged_file_id", "offset")
    class DeliveryFile(_message.Message):
        __slots__ = ("delivery_id", "file_index")
        DELIVERY_ID_FIELD_NUMBER: _ClassVar[int]
        FILE_INDEX_FIELD_NUMBER: _ClassVar[int]
        delivery_id: str
        file_index: int
        def __init__(self, delivery_id: _Optional[str] = ..., file_index: _Optional[int] = ...) -> None: ...
    DELIVERY_FILE_FIELD_NUMBER: _ClassVar[int]
    STAGED_FILE_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    delivery_file: ReadAttachmentRequest.DeliveryFile
    staged_file_id: str
    offset: int
    def __init__(self, delivery_file: _Optional[_Union[ReadAttachmentRequest.DeliveryFile, _Mapping]] = ..., staged_file_id: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class ReadAttachmentResponse(_message.Message):
    __slots__ = ("chunk",)
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    def __init__(self, chunk: _Optional[bytes] = ...) -> None: ...

class EnqueueSystemEventRequest(_message.Message):
    __slots__ = ("session", "text", "context_key", "replace", "provenance", "wake", "idempotency_key", "route_json")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_KEY_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    WAKE_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    ROUTE_JSON_FIELD_NUMBER: _ClassVar[int]
    session: _common_pb2.SessionRef
    text: str
    context_key: str
    replace: bool
    provenance: _event_pb2.Provenance
    wake: _schedule_pb2.WakeMode
    idempotency_key: str
    route_json: bytes
    def __init__(self, session: _Optional[_Union[_common_pb2.SessionRef, _Mapping]] = ..., text: _Optional[str] = ..., context_key: _Optional[str] = ..., replace: bool = ..., provenance: _Optional[_Union[_event_pb2.Provenance, str]] = ..., wake: _Optional[_Union[_schedule_pb2.WakeMode, str]] = ..., idempotency_key: _Optional[str] = ..., route_json: _Optional[bytes] = ...) -> None: ...

class EnqueueSystemEventResponse(_message.Message):
    __slots__ = ("enqueued", "event_id", "queue_key", "evicted_oldest")
    ENQUEUED_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    QUEUE_KEY_FIELD_NUMBER: _ClassVar[int]
    EVICTED_OLDEST_FIELD_NUMBER: _ClassVar[int]
    enqueued: bool
    event_id: str
    queue_key: str
    evicted_oldest: bool
    def __init__(self, enqueued: bool = ..., event_id: _Optional[str] = ..., queue_key: _Optional[str] = ..., evicted_oldest: bool = ...) -> None: ...

class SystemEvent(_message.Message):
    __slots__ = ("event_id", "text", "context_key", "provenance", "created_at", "route_json")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_KEY_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    ROUTE_JSON_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    text: str
    context_key: str
    provenance: _event_pb2.Provenance
    created_at: _timestamp_pb2.Timestamp
    route_json: bytes
    def __init__(self, event_id: _Optional[str] = ..., text: _Optional[str] = ..., context_key: _Optional[str] = ..., provenance: _Optional[_Union[_event_pb2.Provenance, str]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., route_json: _Optional[bytes] = ...) -> None: ...

class DropSystemEventsRequest(_message.Message):
    __slots__ = ("context_key",)
    CONTEXT_KEY_FIELD_NUMBER: _ClassVar[int]
    context_key: str
    def __init__(self, context_key: _Optional[str] = ...) -> None: ...

class DropSystemEventsResponse(_message.Message):
    __slots__ = ("dropped",)
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    dropped: int
    def __init__(self, dropped: _Optional[int] = ...) -> None: ...

class RequestWakeRequest(_message.Message):
    __slots__ = ("session_key", "agent_id", "mode", "priority", "reason")
    SESSION_KEY_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    session_key: str
    agent_id: str
    mode: _schedule_pb2.WakeMode
    priority: WakePriority
    reason: str
    def __init__(self, session_key: _Optional[str] = ..., agent_id: _Optional[str] = ..., mode: _Optional[_Union[_schedule_pb2.WakeMode, str]] = ..., priority: _Optional[_Union[WakePriority, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class RequestWakeResponse(_message.Message):
    __slots__ = ("target_session_key", "target_agent_id", "coalesced")
    TARGET_SESSION_KEY_FIELD_NUMBER: _ClassVar[int]
    TARGET_AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    COALESCED_FIELD_NUMBER: _ClassVar[int]
    target_session_key: str
    target_agent_id: str
    coalesced: bool
    def __init__(self, target_session_key: _Optional[str] = ..., target_agent_id: _Optional[str] = ..., coalesced: bool = ...) -> None: ...

class ListDescriptorsRequest(_message.Message):
    __slots__ = ("caller", "page_size", "page_token")
    CALLER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    caller: _common_pb2.Caller
    page_size: int
    page_token: str
    def __init__(self, caller: _Optional[_Union[_common_pb2.Caller, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDescriptorsResponse(_message.Message):
    __slots__ = ("entries", "next_page_token")
    class Entry(_message.Message):
        __slots__ = ("plugin_id", "plugin_name", "descriptor")
        PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
        PLUGIN_NAME_FIELD_NUMBER: _ClassVar[int]
        DESCRIPTOR_FIELD_NUMBER: _ClassVar[int]
        plugin_id: str
        plugin_name: str
        descriptor: _plugin_pb2.DescriptorSpec
        def __init__(self, plugin_id: _Optional[str] = ..., plugin_name: _Optional[str] = ..., descriptor: _Optional[_Union[_plugin_pb2.DescriptorSpec, _Mapping]] = ...) -> None: ...
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[ListDescriptorsResponse.Entry]
    next_page_token: str
    def __init__(self, entries: _Optional[_Iterable[_Union[ListDescriptorsResponse.Entry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListToolsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListToolsResponse(_message.Message):
    __slots__ = ("entries", "next_page_token")
    class Entry(_message.Message):
        __slots__ = ("plugin_id", "plugin_name", "spec", "metadata", "available", "plugin_state", "timeout")
        PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
        PLUGIN_NAME_FIELD_NUMBER: _ClassVar[int]
        SPEC_FIELD_NUMBER: _ClassVar[int]
        METADATA_FIELD_NUMBER: _ClassVar[int]
        AVAILABLE_FIELD_NUMBER: _ClassVar[int]
        PLUGIN_STATE_FIELD_NUMBER: _ClassVar[int]
        TIMEOUT_FIELD_NUMBER: _ClassVar[int]
        plugin_id: str
        plugin_name: str
        spec: _plugin_pb2.ToolSpec
        metadata: _plugin_pb2.ToolMetadata
        available: bool
        plugin_state: _plugin_pb2.PluginState
        timeout: _duration_pb2.Duration
        def __init__(self, plugin_id: _Optional[str] = ..., plugin_name: _Optional[str] = ..., spec: _Optional[_Union[_plugin_pb2.ToolSpec, _Mapping]] = ..., metadata: _Optional[_Union[_plugin_pb2.ToolMetadata, _Mapping]] = ..., available: bool = ..., plugin_state: _Optional[_Union[_plugin_pb2.PluginState, str]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[ListToolsResponse.Entry]
    next_page_token: str
    def __init__(self, entries: _Optional[_Iterable[_Union[ListToolsResponse.Entry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListCommandsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListCommandsResponse(_message.Message):
    __slots__ = ("entries", "next_page_token")
    class Entry(_message.Message):
        __slots__ = ("plugin_id", "plugin_name", "command")
        PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
        PLUGIN_NAME_FIELD_NUMBER: _ClassVar[int]
        COMMAND_FIELD_NUMBER: _ClassVar[int]
        plugin_id: str
        plugin_name: str
        command: _plugin_pb2.CommandSpec
        def __init__(self, plugin_id: _Optional[str] = ..., plugin_name: _Optional[str] = ..., command: _Optional[_Union[_plugin_pb2.CommandSpec, _Mapping]] = ...) -> None: ...
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[ListCommandsResponse.Entry]
    next_page_token: str
    def __init__(self, entries: _Optional[_Iterable[_Union[ListCommandsResponse.Entry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListActionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListActionsResponse(_message.Message):
    __slots__ = ("entries", "next_page_token")
    class Entry(_message.Message):
        __slots__ = ("plugin_id", "plugin_name", "action")
        PLUGIN_ID_FIELD_NUMBER: _ClassVar[int]
        PLUGIN_NAME_FIELD_NUMBER: _ClassVar[int]
        ACTION_FIELD_NUMBER: _ClassVar[int]
        plugin_id: str
        plugin_name: str
        action: _plugin_pb2.ActionSpec
        def __init__(self, plugin_id: _Optional[str] = ..., plugin_name: _Optional[str] = ..., action: _Optional[_Union[_plugin_pb2.ActionSpec, _Mapping]] = ...) -> None: ...
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[ListActionsResponse.Entry]
    next_page_token: str
    def __init__(self, entries: _Optional[_Iterable[_Union[ListActionsResponse.Entry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
