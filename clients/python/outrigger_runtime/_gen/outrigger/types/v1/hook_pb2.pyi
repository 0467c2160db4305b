import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Hook(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HOOK_UNSPECIFIED: _ClassVar[Hook]
    HOOK_BEFORE_MODEL_RESOLVE: _ClassVar[Hook]
    HOOK_AGENT_TURN_PREPARE: _ClassVar[Hook]
    HOOK_BEFORE_PROMPT_BUILD: _ClassVar[Hook]
    HOOK_HEARTBEAT_PROMPT_CONTRIBUTION: _ClassVar[Hook]
    HOOK_BEFORE_AGENT_RUN: _ClassVar[Hook]
    HOOK_BEFORE_AGENT_REPLY: _ClassVar[Hook]
    HOOK_BEFORE_AGENT_FINALIZE: _ClassVar[Hook]
    HOOK_MODEL_CALL_STARTED: _ClassVar[Hook]
    HOOK_MODEL_CALL_ENDED: _ClassVar[Hook]
    HOOK_LLM_INPUT: _ClassVar[Hook]
    HOOK_LLM_OUTPUT: _ClassVar[Hook]
    HOOK_AGENT_END: _ClassVar[Hook]
    HOOK_BEFORE_COMPACTION: _ClassVar[Hook]
    HOOK_AFTER_COMPACTION: _ClassVar[Hook]
    HOOK_BEFORE_RESET: _ClassVar[Hook]
    HOOK_INBOUND_CLAIM: _ClassVar[Hook]
    HOOK_CHANNEL_PAIRING_REQUESTED: _ClassVar[Hook]
    HOOK_MESSAGE_RECEIVED: _ClassVar[Hook]
    HOOK_MESSAGE_SENDING: _ClassVar[Hook]
    HOOK_REPLY_PAYLOAD_SENDING: _ClassVar[Hook]
    HOOK_MESSAGE_SENT: _ClassVar[Hook]
    HOOK_BEFORE_DISPATCH: _ClassVar[Hook]
    HOOK_REPLY_DISPATCH: _ClassVar[Hook]
    HOOK_BEFORE_TOOL_CALL: _ClassVar[Hook]
    HOOK_AFTER_TOOL_CALL: _ClassVar[Hook]
    HOOK_RESOLVE_EXEC_ENV: _ClassVar[Hook]
    HOOK_TOOL_RESULT_PERSIST: _ClassVar[Hook]
    HOOK_BEFORE_MESSAGE_WRITE: _ClassVar[Hook]
    HOOK_SESSION_START: _ClassVar[Hook]
    HOOK_SESSION_END: _ClassVar[Hook]
    HOOK_SUBAGENT_SPAWNING: _ClassVar[Hook]
    HOOK_SUBAGENT_DELIVERY_TARGET: _ClassVar[Hook]
    HOOK_SUBAGENT_SPAWNED: _ClassVar[Hook]
    HOOK_SUBAGENT_PROGRESS: _ClassVar[Hook]
    HOOK_SUBAGENT_ENDED: _ClassVar[Hook]
    HOOK_GATEWAY_START: _ClassVar[Hook]
    HOOK_GATEWAY_STOP: _ClassVar[Hook]
    HOOK_CRON_RECONCILED: _ClassVar[Hook]
    HOOK_CRON_CHANGED: _ClassVar[Hook]
    HOOK_BEFORE_INSTALL: _ClassVar[Hook]
    HOOK_SKILL_PROPOSAL_EVALUATE: _ClassVar[Hook]
    HOOK_SKILL_PROPOSAL_CHANGED: _ClassVar[Hook]
    HOOK_SKILL_CHANGED: _ClassVar[Hook]

class Trigger(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRIGGER_UNSPECIFIED: _ClassVar[Trigger]
    TRIGGER_USER: _ClassVar[Trigger]
    TRIGGER_HEARTBEAT: _ClassVar[Trigger]
    TRIGGER_CRON: _ClassVar[Trigger]

class DispatchKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DISPATCH_KIND_UNSPECIFIED: _ClassVar[DispatchKind]
    DISPATCH_KIND_AGENT: _ClassVar[DispatchKind]
    DISPATCH_KIND_ACP: _ClassVar[DispatchKind]

class ApprovalSeverity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    APPROVAL_SEVERITY_UNSPECIFIED: _ClassVar[ApprovalSeverity]
    APPROVAL_SEVERITY_INFO: _ClassVar[ApprovalSeverity]
    APPROVAL_SEVERITY_WARNING: _ClassVar[ApprovalSeverity]
    APPROVAL_SEVERITY_CRITICAL: _ClassVar[ApprovalSeverity]

class ApprovalOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    APPROVAL_OUTCOME_UNSPECIFIED: _ClassVar[ApprovalOutcome]
    APPROVAL_OUTCOME_ALLOWED_ONCE: _ClassVar[ApprovalOutcome]
    APPROVAL_OUTCOME_ALLOWED_ALWAYS: _ClassVar[ApprovalOutcome]
    APPROVAL_OUTCOME_DENIED: _ClassVar[ApprovalOutcome]
    APPROVAL_OUTCOME_TIMED_OUT: _ClassVar[ApprovalOutcome]
    APPROVAL_OUTCOME_CANCELLED: _ClassVar[ApprovalOutcome]
    APPROVAL_OUTCOME_NO_ROUTE: _ClassVar[ApprovalOutcome]

class FinalizeAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINALIZE_ACTION_UNSPECIFIED: _ClassVar[FinalizeAction]
    FINALIZE_ACTION_CONTINUE: _ClassVar[FinalizeAction]
    FINALIZE_ACTION_REVISE: _ClassVar[FinalizeAction]
    FINALIZE_ACTION_FINALIZE: _ClassVar[FinalizeAction]
HOOK_UNSPECIFIED: Hook
HOOK_BEFORE_MODEL_RESOLVE: Hook
HOOK_AGENT_TURN_PREPARE: Hook
HOOK_BEFORE_PROMPT_BUILD: Hook
HOOK_HEARTBEAT_PROMPT_CONTRIBUTION: Hook
HOOK_BEFORE_AGENT_RUN: Hook
HOOK_BEFORE_AGENT_REPLY: Hook
HOOK_BEFORE_AGENT_FINALIZE: Hook
HOOK_MODEL_CALL_STARTED: Hook
HOOK_MODEL_CALL_ENDED: Hook
HOOK_LLM_INPUT: Hook
HOOK_LLM_OUTPUT: Hook
HOOK_AGENT_END: Hook
HOOK_BEFORE_COMPACTION: Hook
HOOK_AFTER_COMPACTION: Hook
HOOK_BEFORE_RESET: Hook
HOOK_INBOUND_CLAIM: Hook
HOOK_CHANNEL_PAIRING_REQUESTED: Hook
HOOK_MESSAGE_RECEIVED: Hook
HOOK_MESSAGE_SENDING: Hook
HOOK_REPLY_PAYLOAD_SENDING: Hook
HOOK_MESSAGE_SENT: Hook
HOOK_BEFORE_DISPATCH: Hook
HOOK_REPLY_DISPATCH: Hook
HOOK_BEFORE_TOOL_CALL: Hook
HOOK_AFTER_TOOL_CALL: Hook
HOOK_RESOLVE_EXEC_ENV: Hook
HOOK_TOOL_RESULT_PERSIST: Hook
HOOK_BEFORE_MESSAGE_WRITE: Hook
HOOK_SESSION_START: Hook
HOOK_SESSION_END: Hook
HOOK_SUBAGENT_SPAWNING: Hook
HOOK_SUBAGENT_DELIVERY_TARGET: Hook
HOOK_SUBAGENT_SPAWNED: Hook
HOOK_SUBAGENT_PROGRESS: Hook
HOOK_SUBAGENT_ENDED: Hook
HOOK_GATEWAY_START: Hook
HOOK_GATEWAY_STOP: Hook
HOOK_CRON_RECONCILED: Hook
HOOK_CRON_CHANGED: Hook
HOOK_BEFORE_INSTALL: Hook
HOOK_SKILL_PROPOSAL_EVALUATE: Hook
HOOK_SKILL_PROPOSAL_CHANGED: Hook
HOOK_SKILL_CHANGED: Hook
TRIGGER_UNSPECIFIED: Trigger
TRIGGER_USER: Trigger
TRIGGER_HEARTBEAT: Trigger
TRIGGER_CRON: Trigger
DISPATCH_KIND_UNSPECIFIED: DispatchKind
DISPATCH_KIND_AGENT: DispatchKind
DISPATCH_KIND_ACP: DispatchKind
APPROVAL_SEVERITY_UNSPECIFIED: ApprovalSeverity
APPROVAL_SEVERITY_INFO: ApprovalSeverity
APPROVAL_SEVERITY_WARNING: ApprovalSeverity
APPROVAL_SEVERITY_CRITICAL: ApprovalSeverity
APPROVAL_OUTCOME_UNSPECIFIED: ApprovalOutcome
APPROVAL_OUTCOME_ALLOWED_ONCE: ApprovalOutcome
APPROVAL_OUTCOME_ALLOWED_ALWAYS: ApprovalOutcome
APPROVAL_OUTCOME_DENIED: ApprovalOutcome
APPROVAL_OUTCOME_TIMED_OUT: ApprovalOutcome
APPROVAL_OUTCOME_CANCELLED: ApprovalOutcome
APPROVAL_OUTCOME_NO_ROUTE: ApprovalOutcome
FINALIZE_ACTION_UNSPECIFIED: FinalizeAction
FINALIZE_ACTION_CONTINUE: FinalizeAction
FINALIZE_ACTION_REVISE: FinalizeAction
FINALIZE_ACTION_FINALIZE: FinalizeAction

class HookResult(_message.Message):
    __slots__ = ("tool_call", "prompt", "message", "gate", "claim", "finalize", "model", "exec_environment", "evaluation", "subagent_spawn", "subagent_delivery")
    TOOL_CALL_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    GATE_FIELD_NUMBER: _ClassVar[int]
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    FINALIZE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    EXEC_ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_FIELD_NUMBER: _ClassVar[int]
    SUBAGENT_SPAWN_FIELD_NUMBER: _ClassVar[int]
    SUBAGENT_DELIVERY_FIELD_NUMBER: _ClassVar[int]
    tool_call: ToolCallDecision
    prompt: PromptContribution
    message: MessageRewrite
    gate: GateDecision
    claim: Claim
    finalize: FinalizeDecision
    model: ModelOverride
    exec_environment: ExecEnvironment
    evaluation: Evaluation
    subagent_spawn: SubagentSpawn
    subagent_delivery: SubagentDelivery
    def __init__(self, tool_call: _Optional[_Union[ToolCallDecision, _Mapping]] = ..., prompt: _Optional[_Union[PromptContribution, _Mapping]] = ..., message: _Optional[_Union[MessageRewrite, _Mapping]] = ..., gate: _Optional[_Union[GateDecision, _Mapping]] = ..., claim: _Optional[_Union[Claim, _Mapping]] = ..., finalize: _Optional[_Union[FinalizeDecision, _Mapping]] = ..., model: _Optional[_Union[ModelOverride, _Mapping]] = ..., exec_environment: _Optional[_Union[ExecEnvironment, _Mapping]] = ..., evaluation: _Optional[_Union[Evaluation, _Mapping]] = ..., subagent_spawn: _Optional[_Union[SubagentSpawn, _Mapping]] = ..., subagent_delivery: _Optional[_Union[SubagentDelivery, _Mapping]] = ...) -> None: ...

class Block(_message.Message):
    __slots__ = ("reason", "message", "category", "metadata_json")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    category: str
    metadata_json: bytes
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ..., category: _Optional[str] = ..., metadata_json: _Optional[bytes] = ...) -> None: ...

class Proceed(_message.Message):
    __slots__ = ("params_json", "approval")
    PARAMS_JSON_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    params_json: bytes
    approval: ApprovalRequest
    def __init__(self, params_json: _Optional[bytes] = ..., approval: _Optional[_Union[ApprovalRequest, _Mapping]] = ...) -> None: ...

class ToolCallDecision(_message.Message):
    __slots__ = ("block", "proceed")
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROCEED_FIELD_NUMBER: _ClassVar[int]
    block: Block
    proceed: Proceed
    def __init__(self, block: _Optional[_Union[Block, _Mapping]] = ..., proceed: _Optional[_Union[Proceed, _Mapping]] = ...) -> None: ...

class ApprovalRequest(_message.Message):
    __slots__ = ("title", "description", "detail", "severity", "timeout", "allowed", "context_json")
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_JSON_FIELD_NUMBER: _ClassVar[int]
    title: str
    description: str
    detail: str
    severity: ApprovalSeverity
    timeout: _duration_pb2.Duration
    allowed: _containers.RepeatedScalarFieldContainer[ApprovalOutcome]
    context_json: bytes
    def __init__(self, title: _Optional[str] = ..., description: _Optional[str] = ..., detail: _Optional[str] = ..., severity: _Optional[_Union[ApprovalSeverity, str]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., allowed: _Optional[_Iterable[_Union[ApprovalOutcome, str]]] = ..., context_json: _Optional[bytes] = ...) -> None: ...

class PromptContribution(_message.Message):
    __slots__ = ("prepend_context", "append_context", "prepend_system_context", "append_system_context", "system_prompt", "tools_allow")
    PREPEND_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    APPEND_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    PREPEND_SYSTEM_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    APPEND_SYSTEM_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_PROMPT_FIELD_NUMBER: _ClassVar[int]
    TOOLS_ALLOW_FIELD_NUMBER: _ClassVar[int]
    prepend_context: str
    append_context: str
    prepend_system_context: str
    append_system_context: str
    system_prompt: str
    tools_allow: ToolList
    def __init__(self, prepend_context: _Optional[str] = ..., append_context: _Optional[str] = ..., prepend_system_context: _Optional[str] = ..., append_system_context: _Optional[str] = ..., system_prompt: _Optional[str] = ..., tools_allow: _Optional[_Union[ToolList, _Mapping]] = ...) -> None: ...

class ToolList(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...

class MessageRewrite(_message.Message):
    __slots__ = ("content", "message_json", "cancel", "reason", "metadata_json")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_JSON_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    content: str
    message_json: bytes
    cancel: bool
    reason: str
    metadata_json: bytes
    def __init__(self, content: _Optional[str] = ..., message_json: _Optional[bytes] = ..., cancel: bool = ..., reason: _Optional[str] = ..., metadata_json: _Optional[bytes] = ...) -> None: ...

class GateDecision(_message.Message):
    __slots__ = ("block", "findings_json")
    class Pass(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    PASS_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_JSON_FIELD_NUMBER: _ClassVar[int]
    block: Block
    findings_json: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, block: _Optional[_Union[Block, _Mapping]] = ..., findings_json: _Optional[_Iterable[bytes]] = ..., **kwargs) -> None: ...

class Claim(_message.Message):
    __slots__ = ("reply_json", "text", "reason", "queued_final", "counts")
    class CountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    REPLY_JSON_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FINAL_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    reply_json: bytes
    text: str
    reason: str
    queued_final: bool
    counts: _containers.ScalarMap[str, int]
    def __init__(self, reply_json: _Optional[bytes] = ..., text: _Optional[str] = ..., reason: _Optional[str] = ..., queued_final: bool = ..., counts: _Optional[_Mapping[str, int]] = ...) -> None: ...

class FinalizeDecision(_message.Message):
    __slots__ = ("action", "reason", "retries")
    class RetryCandidate(_message.Message):
        __slots__ = ("instruction", "idempotency_key", "max_attempts")
        INSTRUCTION_FIELD_NUMBER: _ClassVar[int]
        IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
        MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
        instruction: str
        idempotency_key: str
        max_attempts: int
        def __init__(self, instruction: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., max_attempts: _Optional[int] = ...) -> None: ...
    ACTION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    action: FinalizeAction
    reason: str
    retries: _containers.RepeatedCompositeFieldContainer[FinalizeDecision.RetryCandidate]
    def __init__(self, action: _Optional[_Union[FinalizeAction, str]] = ..., reason: _Optional[str] = ..., retries: _Optional[_Iterable[_Union[FinalizeDecision.RetryCandidate, _Mapping]]] = ...) -> None: ...

class ModelOverride(_message.Message):
    __slots__ = ("model", "provider")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    model: str
    provider: str
    def __init__(self, model: _Optional[str] = ..., provider: _Optional[str] = ...) -> None: ...

class ExecEnvironment(_message.Message):
    __slots__ = ("variables",)
    class VariablesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VARIABLES_FIELD_NUMBER: _ClassVar[int]
    variables: _containers.ScalarMap[str, str]
    def __init__(self, variables: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Evaluation(_message.Message):
    __slots__ = ("completed", "skipped")
    class Completed(_message.Message):
        __slots__ = ("block", "reason", "detail_json")
        BLOCK_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        DETAIL_JSON_FIELD_NUMBER: _ClassVar[int]
        block: bool
        reason: str
        detail_json: bytes
        def __init__(self, block: bool = ..., reason: _Optional[str] = ..., detail_json: _Optional[bytes] = ...) -> None: ...
    class Skipped(_message.Message):
        __slots__ = ("reason",)
        REASON_FIELD_NUMBER: _ClassVar[int]
        reason: str
        def __init__(self, reason: _Optional[str] = ...) -> None: ...
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    completed: Evaluation.Completed
    skipped: Evaluation.Skipped
    def __init__(self, completed: _Optional[_Union[Evaluation.Completed, _Mapping]] = ..., skipped: _Optional[_Union[Evaluation.Skipped, _Mapping]] = ...) -> None: ...

class SubagentSpawn(_message.Message):
    __slots__ = ("ok", "error")
    class Ready(_message.Message):
        __slots__ = ("thread_binding_ready",)
        THREAD_BINDING_READY_FIELD_NUMBER: _ClassVar[int]
        thread_binding_ready: bool
        def __init__(self, thread_binding_ready: bool = ...) -> None: ...
    OK_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ok: SubagentSpawn.Ready
    error: str
    def __init__(self, ok: _Optional[_Union[SubagentSpawn.Ready, _Mapping]] = ..., error: _Optional[str] = ...) -> None: ...

class SubagentDelivery(_message.Message):
    __slots__ = ("origin_json",)
    ORIGIN_JSON_FIELD_NUMBER: _ClassVar[int]
    origin_json: bytes
    def __init__(self, origin_json: _Optional[bytes] = ...) -> None: ...
