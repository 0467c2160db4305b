"""Hook calls: whether to make them, how, and what a failure comes to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import grpc

from outrigger_runtime._gen.outrigger.runtime.v1 import runtime_pb2
from outrigger_runtime._gen.outrigger.types.v1 import common_pb2

from .away import away_verdict
from .backoff import backoff_ms
from .catalogue import HOOKS_WITH_OWN_CALL, NUMBERS
from .errors import RuntimeCallError, from_rpc, to_duration, unavailable, unknown
from .hook_stream import HookStream
from .interest import DISPATCH_KINDS, TRIGGERS, Contributions, Interest, canonical_tool, match
from .json_text import encode, encode_optional
from .link import Link
from .options import RuntimeOptions, SessionRef
from .results import (
    ApprovalRequest,
    HandlerReport,
    HookResult,
    enum_name,
    read_approval_request,
    read_evaluation,
    read_report,
    read_result,
)
from .tasks import Changes

GRACE_MS = 1_000
"""How much longer than the handlers the supervisor may take."""
_NEWS_MS = 1_000
"""How long an answer may be ahead of the contributions it tells of."""
_REDEEM_MS = 10_000
"""How long a decision's redemption may take."""
_OVERHEAD = 32 * 1024
"""Bytes of a message beside its JSON texts."""
_MOST_MESSAGE, _MOST_PAYLOAD = 4 * 1024 * 1024, 3 * 1024 * 1024
"""The contract's bounds, where Welcome tells none."""

Messages = Sequence[Any] | Callable[[], Sequence[Any]] | None


@dataclass(frozen=True)
class HookCall:
    """One call of a hook."""

    hook: str
    event: dict[str, Any]
    """Without the conversation. `before_tool_call`: with `params`, an object."""
    context: dict[str, Any] | None = None
    messages: Messages = None
    """The conversation; asked for, and sent, only if some handler wants it."""
    session: SessionRef | None = None
    run: str | None = None
    """Id of the run."""
    tool_name: str | None = None
    """Required for tool hooks; sent trimmed and in lower case."""
    tool_call_id: str = ""
    """1 to 256 characters; required for `before_tool_call`."""
    trigger: str | None = None
    """`user`, `heartbeat` or `cron`."""
    dispatch_kind: str | None = None
    """`agent` or `acp`."""
    timeout_ms: float | None = None
    """Longest time for all handlers together. None: what the operator set."""
    wait_for_observers: bool = False
    """Answer when the observers are done, not when they are queued."""
    report_handlers: bool = False
    """Report every handler."""
    target_plugin_id: str = ""
    """Ask this plugin only, for a targeted claim."""
    tool_authority: str = ""
    traceparent: str = ""
    """The caller's trace, as W3C has it."""


@dataclass(frozen=True)
class Decision:
    """Lets a tool run once, with exactly these parameters."""

    id: str
    params_sha256: bytes
    tool_call_id: str
    """The tool call it was given for."""


@dataclass(frozen=True)
class PendingApproval:
    """An approval to obtain from a person, for `resolve_approval`."""

    id: str
    plugin_id: str
    plugin_name: str
    request: ApprovalRequest
    expires_at_ms: float | None
    """Since 1970."""
    tool_call_id: str


@dataclass(frozen=True)
class Failure:
    """Why a call has no answer of plugins."""

    kind: str
    """`away`, `timeout`, `overloaded`, `refused`, `broken` or `invalid`."""
    error: RuntimeCallError | None = None


@dataclass(frozen=True)
class HookAnswer:
    """What became of a hook."""

    verdict: str
    """Anything but `go_on` is a no; `ask`: go on once the approval is given."""
    epoch: int
    """Contribution epoch; 0: none was ever heard."""
    called: bool = False
    """The supervisor was asked."""
    result: HookResult | None = None
    """The merged answer. None: nobody had an opinion."""
    decided_by: HandlerReport | None = None
    """The handler that decided."""
    reason: str | None = None
    """Why not; begins with the plugin's id, or with `outrigger:` where no plugin said it."""
    decision: Decision | None = None
    approval: PendingApproval | None = None
    handlers: list[HandlerReport] = field(default_factory=list)
    evaluations: list[tuple[HandlerReport, HookResult]] = field(default_factory=list)
    rechecks: int = 0
    claim_miss: str | None = None
    """Why a targeted claim was not handled."""
    failure: Failure | None = None
    """Set where the plugins' answer did not come; the verdict is then that of the hook's policy."""
    raw: Any = None
    """As on the wire."""


class HookCalls:
    """Makes hook calls."""

    def __init__(self, options: RuntimeOptions, on_problem: Callable[[str], None]) -> None:
        self.counts = {
            "calls": 0,
            "calls_unary": 0,
            "skipped": 0,
            "denied_away": 0,
            "failed": 0,
            "stream_breaks": 0,
        }
        self.contributions: Contributions | None = None
        """What plugins wanted last."""
        self.in_flight = 0
        self._options = options
        self._fail_closed = frozenset(options.fail_closed_hooks)
        self._on_problem = on_problem
        self._news = Changes()
        self._answered_epoch = 0
        self._link: Link | None = None
        self._stream: HookStream | None = None
        self._bytes_in_flight = 0
        self._limits = (_MOST_MESSAGE, _MOST_PAYLOAD, options.max_calls_in_flight)

    @property
    def stale(self) -> bool:
        """The supervisor answered under a newer epoch than that of the contributions: others are on their way."""
        return self.contributions is not None and self._answered_epoch > self.contributions.epoch

    @property
    def fast(self) -> bool:
        """The fast stream is open."""
        return self._stream is not None and self._stream.ready

    def attach(self, link: Link, welcome: Any, contributions: Contributions) -> None:
        """Calls go over this connection from now on."""
        self._link, self.contributions, self._answered_epoch = link, contributions, 0
        told = welcome.limits
        self._limits = (
            told.max_stream_message_bytes or _MOST_MESSAGE,
            told.max_payload_bytes or _MOST_PAYLOAD,
            min(self._options.max_calls_in_flight, told.max_calls_in_flight or self._options.max_calls_in_flight),
        )
        self._news.notify()

    def learn(self, contributions: Contributions) -> None:
        """Plugins want something else."""
        self.contributions = contributions
        self._news.notify()

    def detach(self) -> None:
        """The connection is gone; the task of `run` is to be cancelled, so that what was in flight ends."""
        self._link = self._stream = None
        self._news.notify()

    async def run(self, link: Link) -> None:
        """Keeps the fast stream open until it is cancelled, or is not served."""
        failures = 0
        while True:
            opened = False

            def ready() -> None:
                nonlocal opened
                opened = True
                self._news.notify()

            self._stream = HookStream(link, ready, self.answered_under)
            error = await self._stream.run()
            if self._link is not link:
                return
            self._stream = None
            self.counts["stream_breaks"] += 1
            if error.code is grpc.StatusCode.UNIMPLEMENTED:
                return
            self._on_problem(f"the stream of hooks ended, calls are made one by one: {error}")
            failures = 1 if opened else failures + 1
            await asyncio.sleep(backoff_ms(self._options.backoff, failures) / 1000)

    def answered_under(self, epoch: int) -> None:
        """An answer was given under this epoch."""
        self._answered_epoch = max(self._answered_epoch, epoch)

    def wants(self, hook: str, **subject: str | None) -> Interest | None:
        """What is wanted of a hook, by what was heard last."""
        return None if self.contributions is None else match(self.contributions.hooks, hook, **subject)

    async def settled(self) -> None:
        """Waits for contributions that are known to be on their way."""
        if self.stale:
            await self._news.until(lambda: not self.stale or self._link is None, _NEWS_MS)

    async def call(self, call: HookCall) -> HookAnswer:
        """Calls a hook. Never raises but `CancelledError`."""
        try:
            return await self._call(call)
        except Exception as error:
            # What is wrong with a call is the runtime's mistake, and no reason to let pass what a guard guards.
            interest = self._interest(call)
            guarded = call.hook in self._fail_closed if interest is None else interest.fail_closed
            return self._failed(guarded, "invalid", str(error) or type(error).__name__)

    async def redeem(self, request: Any) -> RuntimeCallError | None:
        """Uses up a decision; why not, or None."""
        link, stream = self._link, self._stream
        if link is None:
            return unavailable("the supervisor is away")
        if stream is not None and stream.ready:
            try:
                return await asyncio.wait_for(stream.redeem(request), _REDEEM_MS / 1000)
            except asyncio.TimeoutError:
                why = f"no answer within {_REDEEM_MS} ms"
                return RuntimeCallError(grpc.StatusCode.DEADLINE_EXCEEDED, "", why)
        try:
            await link.unary("RedeemDecision", request, runtime_pb2.RedeemDecisionResponse, _REDEEM_MS)
        except grpc.aio.AioRpcError as status:
            return from_rpc(status)
        return None

    def limit_ms(self, timeout_ms: float | None, max_duration_ms: float | None) -> float:
        """Longest wait for a call: what it asks for, or the setting, but never less than the handlers may take."""
        if timeout_ms is not None:
            return timeout_ms + GRACE_MS
        return max(self._options.call_timeout_ms, (max_duration_ms or 0) + GRACE_MS)

    def _interest(self, call: HookCall) -> Interest | None:
        return self.wants(call.hook, **_subject(call))

    async def _call(self, call: HookCall) -> HookAnswer:
        if call.hook not in NUMBERS:
            return self._failed(True, "invalid", f"`{call.hook}` is no hook")
        if call.hook in HOOKS_WITH_OWN_CALL:
            return self._failed(False, "invalid", f"{call.hook} has a call of its own")
        if self._link is not None and self._interest(call) is None:
            await self.settled()
        link = self._link
        if link is None:
            return self._away(call)
        interest = self._interest(call)
        if interest is None:
            self.counts["skipped"] += 1
            return self._unasked("go_on")
        most_message, most_payload, most_in_flight = self._limits
        invocation, payload, size = self._invocation(call, interest)
        if payload > most_payload or size > most_message:
            why = f"event and context have {payload} bytes, at most {most_payload}"
            return self._failed(interest.fail_closed, "invalid", why)
        # Calls that were given up here are the supervisor's until it has answered them.
        stream = self._stream
        in_flight = max(self.in_flight, stream.in_flight if stream else 0)
        bytes_in_flight = max(self._bytes_in_flight, stream.bytes_in_flight if stream else 0)
        if in_flight >= most_in_flight or bytes_in_flight + size > self._options.max_bytes_in_flight:
            return self._failed(interest.fail_closed, "overloaded", f"{in_flight} hook calls are in flight")
        self.in_flight += 1
        self._bytes_in_flight += size
        try:
            return await self._ask(link, call, interest, invocation, size)
        finally:
            self.in_flight -= 1
            self._bytes_in_flight -= size

    async def _ask(self, link: Link, call: HookCall, interest: Interest, invocation: Any, size: int) -> HookAnswer:
        limit = self.limit_ms(call.timeout_ms, interest.max_duration_ms)
        self.counts["calls"] += 1
        stream = self._stream
        try:
            if stream is not None and stream.ready:
                asked = stream.call(invocation, size)
            else:
                self.counts["calls_unary"] += 1
                asked = self._unary(link, invocation)
            outcome, epoch = await asyncio.wait_for(asked, limit / 1000)
        except asyncio.TimeoutError:
            why = f"the supervisor did not answer within {limit:.0f} ms"
            return replace(self._failed(interest.fail_closed, "timeout", why), called=True)
        except (RuntimeCallError, grpc.aio.AioRpcError) as status:
            return replace(self._unanswered(link, interest, from_rpc(status)), called=True)
        return self._read(call, interest, outcome, epoch)

    async def _unary(self, link: Link, invocation: Any) -> tuple[Any, int]:
        request = runtime_pb2.InvokeHookRequest(invocation=invocation)
        answer = await link.unary("InvokeHook", request, runtime_pb2.InvokeHookResponse)
        self.answered_under(answer.contribution_epoch)
        if not answer.HasField("outcome"):
            raise unknown()
        return answer.outcome, answer.contribution_epoch

    def _unanswered(self, link: Link, interest: Interest, error: RuntimeCallError) -> HookAnswer:
        if self._link is not link:
            return self._failed(interest.fail_closed, "away", f"supervisor away: {error.message}", error)
        if error.code is grpc.StatusCode.UNAVAILABLE and not error.reason:
            return self._failed(interest.fail_closed, "broken", f"the stream of hooks broke: {error.message}", error)
        return self._failed(interest.fail_closed, "refused", error.message, error)

    def _invocation(self, call: HookCall, interest: Interest) -> tuple[Any, int, int]:
        event_json, context_json = encode(call.event), encode_optional(call.context)
        payload = len(event_json) + len(context_json)
        messages_json = conversation(call.messages, interest.wants_messages)
        room = min(self._limits[0] - _OVERHEAD - payload, self._limits[1])
        omitted = len(messages_json) > room
        if omitted:
            messages_json = b""
        invocation = runtime_pb2.HookInvocation(
            hook=NUMBERS[call.hook],
            timeout=None if call.timeout_ms is None else to_duration(call.timeout_ms),
            event_json=event_json,
            context_json=context_json,
            messages_json=messages_json,
            session=to_session(call.session),
            run=None if call.run is None else common_pb2.RunRef(id=call.run),
            tool_name="" if call.tool_name is None else canonical_tool(call.tool_name),
            tool_call_id=call.tool_call_id,
            trigger=TRIGGERS.get(call.trigger or "", 0),
            dispatch_kind=DISPATCH_KINDS.get(call.dispatch_kind or "", 0),
            target_plugin_id=call.target_plugin_id,
            trace=common_pb2.TraceContext(traceparent=call.traceparent) if call.traceparent else None,
            wait_for_observers=call.wait_for_observers,
            report_handlers=call.report_handlers,
            messages_omitted=omitted,
            tool_authority=call.tool_authority,
        )
        return invocation, payload, payload + len(messages_json) + 1024

    def _read(self, call: HookCall, interest: Interest, raw: Any, epoch: int) -> HookAnswer:
        try:
            result = read_result(raw.result) if raw.HasField("result") else None
        except ValueError as error:
            why = f"an answer cannot be read: {error}"
            return replace(self._failed(interest.fail_closed, "invalid", why), called=True)
        if raw.HasField("result") and result is None:
            why = "an answer is of a kind that this client does not know"
            return replace(self._failed(interest.fail_closed, "invalid", why), called=True)
        approval = read_approval(raw.approval, call.tool_call_id) if raw.approval.HasField("request") else None
        verdict = "go_on" if raw.verdict == runtime_pb2.HOOK_VERDICT_GO_ON else "stop"
        if raw.verdict == runtime_pb2.HOOK_VERDICT_ASK and approval is not None:
            verdict = "ask"
        return HookAnswer(
            verdict=verdict,
            epoch=epoch,
            called=True,
            result=result,
            decided_by=read_report(raw.decided_by) if raw.HasField("decided_by") else None,
            reason=raw.reason or None,
            decision=read_decision(raw, call.tool_call_id),
            approval=approval,
            handlers=[read_report(report) for report in raw.handlers],
            evaluations=[(read_report(one.handler), read_evaluation(one.evaluation)) for one in raw.evaluations],
            rechecks=raw.rechecked_guards,
            claim_miss=_claim_miss(raw.claim_miss),
            raw=raw,
        )

    def _away(self, call: HookCall) -> HookAnswer:
        verdict, reason = away_verdict(self.contributions, self._fail_closed, call.hook, **_subject(call))
        self.counts["denied_away" if verdict == "stop" else "skipped"] += 1
        failure = Failure("away") if verdict == "stop" else None
        return replace(self._unasked(verdict), reason=reason, failure=failure)

    def _failed(self, guarded: bool, kind: str, why: str, error: RuntimeCallError | None = None) -> HookAnswer:
        self.counts["failed"] += 1
        answer = self._unasked("stop" if guarded else "go_on")
        return replace(answer, reason=f"outrigger: {why}", failure=Failure(kind, error))

    def _unasked(self, verdict: str) -> HookAnswer:
        return HookAnswer(verdict, 0 if self.contributions is None else self.contributions.epoch)


def _subject(call: HookCall) -> dict[str, str | None]:
    return {"tool_name": call.tool_name, "trigger": call.trigger, "dispatch_kind": call.dispatch_kind}


def conversation(messages: Messages, wanted: bool) -> bytes:
    """The conversation as it travels, if it is wanted."""
    if messages is None or not wanted:
        return b""
    return encode(list(messages() if callable(messages) else messages))


def to_session(session: SessionRef | None) -> Any:
    """A session as it travels."""
    if session is None:
        return None
    return common_pb2.SessionRef(key=session.key, id=session.id, agent_id=session.agent_id)


def read_decision(wire: Any, tool_call_id: str) -> Decision | None:
    """The decision of a message that may have one, as it came for a tool call."""
    if not wire.HasField("decision"):
        return None
    return Decision(wire.decision.decision_id, wire.decision.params_sha256, tool_call_id)


def read_approval(wire: Any, tool_call_id: str) -> PendingApproval:
    """An approval to obtain."""
    return PendingApproval(
        id=wire.approval_id,
        plugin_id=wire.plugin_id,
        plugin_name=wire.plugin_name,
        request=read_approval_request(wire.request),
        expires_at_ms=wire.expires_at.ToMilliseconds() if wire.HasField("expires_at") else None,
        tool_call_id=tool_call_id,
    )


def _claim_miss(number: int) -> str | None:
    return None if number == 0 else enum_name(runtime_pb2.ClaimMiss, number, "CLAIM_MISS_") or "declined"
