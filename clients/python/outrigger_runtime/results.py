"""What the plugins made of a hook, as plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from outrigger_runtime._gen.outrigger.types.v1 import hook_pb2, plugin_pb2

from .errors import to_ms
from .json_text import decode

APPROVAL_OUTCOMES: dict[str, int] = {
    name.removeprefix("APPROVAL_OUTCOME_").lower(): number
    for name, number in hook_pb2.ApprovalOutcome.items()
    if number != 0
}
"""How an approval may end: `allowed_once`, `allowed_always`, `denied`, `timed_out`, `cancelled`, `no_route`."""
_OUTCOME_NAMES = {number: name for name, number in APPROVAL_OUTCOMES.items()}
_ACTIONS = {hook_pb2.FINALIZE_ACTION_REVISE: "revise", hook_pb2.FINALIZE_ACTION_FINALIZE: "finalize"}
_SEVERITIES = {hook_pb2.APPROVAL_SEVERITY_INFO: "info", hook_pb2.APPROVAL_SEVERITY_CRITICAL: "critical"}

HookResult = dict[str, Any]
"""A merged answer: `kind`, which is the name of the answer in the catalogue, and its members. See the README."""


@dataclass(frozen=True)
class HandlerReport:
    """How one handler fared."""

    plugin_id: str
    handler_id: str
    outcome: str
    """`allow`, `deny`, `error`, `timeout`, `absent` or `skipped`."""
    elapsed_ms: float | None
    message: str | None
    tool_policy: bool
    recheck: bool
    plugin_state: str | None
    """What the plugin was doing instead, of an absent one: `waiting`, `starting`, …"""


@dataclass(frozen=True)
class ApprovalRequest:
    """A question to a person."""

    title: str
    description: str
    detail: str | None
    severity: str
    timeout_ms: float | None
    allowed: tuple[str, ...]
    """Answers offered."""


def enum_name(enum: Any, number: int, prefix: str) -> str | None:
    """The short name of a value; None where it is not known or unspecified."""
    value = enum.DESCRIPTOR.values_by_number.get(number)
    return value.name.removeprefix(prefix).lower() if value is not None and number != 0 else None


def read_outcome(number: int) -> str:
    """How an approval ended; what is not known denies."""
    return _OUTCOME_NAMES.get(number, "denied")


def read_result(wire: Any) -> HookResult | None:
    """A merged answer; None for a kind this client does not know. Raises `ValueError` where JSON in it is none."""
    kind = wire.WhichOneof("result")
    return _READERS[kind](getattr(wire, kind)) if kind in _READERS else None


def _tool_call(wire: Any) -> HookResult:
    params = decode(wire.proceed.params_json) if wire.WhichOneof("decision") == "proceed" else None
    return {"kind": "tool_call", "params": params if isinstance(params, dict) else None}


def _prompt(wire: Any) -> HookResult:
    names = ("prepend_context", "append_context", "prepend_system_context", "append_system_context")
    return {
        "kind": "prompt",
        **{name: getattr(wire, name) or None for name in names},
        "system_prompt": wire.system_prompt if wire.HasField("system_prompt") else None,
        "tools_allow": list(wire.tools_allow.names) if wire.HasField("tools_allow") else None,
    }


def _message(wire: Any) -> HookResult:
    replacement = wire.WhichOneof("replacement")
    return {
        "kind": "message",
        "content": wire.content if replacement == "content" else None,
        "message": decode(wire.message_json) if replacement == "message_json" else None,
        "cancel": wire.cancel,
        "reason": wire.reason or None,
        "metadata": decode(wire.metadata_json),
    }


def _gate(wire: Any) -> HookResult:
    block = None
    if wire.WhichOneof("decision") == "block":
        told = wire.block
        block = {"reason": told.reason or None, "message": told.message or None, "category": told.category or None}
        block["metadata"] = decode(told.metadata_json)
    return {"kind": "gate", "block": block, "findings": [decode(finding) for finding in wire.findings_json]}


def _claim(wire: Any) -> HookResult:
    return {
        "kind": "claim",
        "reply": decode(wire.reply_json),
        "text": wire.text or None,
        "reason": wire.reason or None,
        "queued_final": wire.queued_final,
        "counts": dict(wire.counts),
    }


def read_finalize(wire: Any) -> HookResult:
    """What to do with an answer; what is not known or not set is to go on."""
    retries = [
        {
            "instruction": retry.instruction,
            "idempotency_key": retry.idempotency_key or None,
            "max_attempts": retry.max_attempts,
        }
        for retry in wire.retries
    ]
    action = _ACTIONS.get(wire.action, "continue")
    return {"kind": "finalize", "action": action, "reason": wire.reason or None, "retries": retries}


def _model(wire: Any) -> HookResult:
    model = wire.model if wire.HasField("model") else None
    return {"kind": "model", "model": model, "provider": wire.provider if wire.HasField("provider") else None}


def read_evaluation(wire: Any) -> HookResult:
    """One handler's verdict."""
    verdict = wire.WhichOneof("verdict")
    told: Any = getattr(wire, verdict) if verdict else None
    return {
        "kind": "evaluation",
        "verdict": verdict or "none",
        "block": verdict == "completed" and told.block,
        "reason": (told.reason or None) if told else None,
        "detail": decode(told.detail_json) if verdict == "completed" else None,
    }


def _subagent_spawn(wire: Any) -> HookResult:
    status = wire.WhichOneof("status")
    ready = status == "ok" and wire.ok.thread_binding_ready
    return {"kind": "subagent_spawn", "error": wire.error if status == "error" else None, "thread_binding_ready": ready}


_READERS: dict[str, Callable[[Any], HookResult]] = {
    "tool_call": _tool_call,
    "prompt": _prompt,
    "message": _message,
    "gate": _gate,
    "claim": _claim,
    "finalize": read_finalize,
    "model": _model,
    "exec_environment": lambda wire: {"kind": "exec_environment", "variables": dict(wire.variables)},
    "evaluation": read_evaluation,
    "subagent_spawn": _subagent_spawn,
    "subagent_delivery": lambda wire: {"kind": "subagent_delivery", "origin": decode(wire.origin_json)},
}


def read_report(wire: Any) -> HandlerReport:
    """How a handler fared; an unknown outcome counts as an error."""
    return HandlerReport(
        plugin_id=wire.plugin_id,
        handler_id=wire.handler_id,
        outcome=enum_name(plugin_pb2.HandlerOutcome, wire.outcome, "HANDLER_OUTCOME_") or "error",
        elapsed_ms=to_ms(wire, "elapsed"),
        message=wire.message or None,
        tool_policy=wire.tool_policy,
        recheck=wire.recheck,
        plugin_state=enum_name(plugin_pb2.PluginState, wire.plugin_state, "PLUGIN_STATE_"),
    )


def read_approval_request(wire: Any) -> ApprovalRequest:
    """A question to a person."""
    return ApprovalRequest(
        title=wire.title,
        description=wire.description,
        detail=wire.detail or None,
        severity=_SEVERITIES.get(wire.severity, "warning"),
        timeout_ms=to_ms(wire, "timeout"),
        allowed=tuple(read_outcome(number) for number in wire.allowed),
    )
