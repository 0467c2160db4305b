"""An agent runtime's side of Outrigger."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc

from outrigger_runtime._gen.outrigger.runtime.v1 import directive_pb2, runtime_pb2
from outrigger_runtime._gen.outrigger.types.v1 import common_pb2

from .backoff import backoff_ms
from .catalogue import NUMBERS
from .directives import WINDOW, DirectiveResult, Directives
from .errors import RuntimeCallError, away, from_rpc, to_duration
from .hook_calls import (
    Decision,
    HookAnswer,
    HookCall,
    HookCalls,
    Messages,
    PendingApproval,
    conversation,
    read_decision,
    to_session,
)
from .interest import TRIGGERS, Contributions, Interest, read_contributions
from .json_text import digest, encode, encode_optional
from .key import KeyFileError, read_key
from .link import Link
from .options import LiveRun, RuntimeOptions, SessionRef
from .places import PlaceError, runtime_dir, runtime_key, runtime_socket, state_dir
from .publisher import AgentEvent, Publisher
from .results import APPROVAL_OUTCOMES, read_finalize, read_outcome
from .tasks import Changes, Tasks
from .tools import ServedTool, ToolProgress, ToolResult, invoke_tool, list_tools

_log = logging.getLogger("outrigger_runtime")
_PROTOCOL = 1
"""Version of the protocol spoken."""
_HANDSHAKE_MS = 10_000
"""How long Welcome and Contributions may take."""
_PLACE_MS = 500
"""How often it looks, at most, whether its place is free that another start of the runtime took."""
_CALL_MS = 30_000
"""Longest time of a call without handlers behind it."""
_EVENTS_FIRST_MS = 5_000
"""How long `end_run` waits until the run's events are with the supervisor."""
_MOST_REMEMBERED = 4096
"""Runs that are remembered, the oldest gives way; also the contract's bound on live runs."""
_RUN_ENDS: dict[str, int] = {
    name.removeprefix("RUN_END_").lower(): number for name, number in runtime_pb2.RunEnd.items() if number != 0
}

_V = TypeVar("_V")


@dataclass(frozen=True)
class PreparedTurn:
    """What goes around a turn's prompt."""

    epoch: int
    called: bool = False
    prepend_context: str | None = None
    append_context: str | None = None
    lease_id: str | None = None
    """Names what is leased."""
    injections: list[Any] = field(default_factory=list)
    """As on the wire; already in the texts."""
    system_events: list[Any] = field(default_factory=list)
    """As on the wire; to be put into the prompt by the runtime."""
    superseded_leases: int = 0
    failure: RuntimeCallError | None = None
    """Why there is nothing: the turn goes on without."""


@dataclass(frozen=True)
class Finalized:
    """Whether an answer may go out."""

    epoch: int
    called: bool = False
    action: str = "continue"
    """`continue`, `revise` or `finalize`."""
    reason: str | None = None
    retries: list[dict[str, Any]] = field(default_factory=list)
    """The retry that was taken, or none: `instruction`, `idempotency_key`, `max_attempts`."""
    plugin_id: str | None = None
    """Plugin whose retry was taken or that finalised."""
    budget_used: int = 0
    retry_withheld: bool = False
    """A retry was asked for and not granted."""
    failure: RuntimeCallError | None = None
    """Why nobody was asked: the answer goes out."""


@dataclass(frozen=True)
class Resolved:
    """How an approval counts."""

    verdict: str
    """`go_on` only where it counts as allowed."""
    outcome: str | None = None
    """The outcome that stands."""
    decision: Decision | None = None
    reason: str | None = None


class Runtime:
    """A client of the supervisor, for one event loop. Its methods may be called in any state; none blocks.

    Use it as `async with Runtime(options) as runtime`, or with `start` and `close`.
    """

    def __init__(self, options: RuntimeOptions | None = None) -> None:
        self._options = options or RuntimeOptions()
        self._tasks = Tasks()
        self._changes = Changes()
        self._calls = HookCalls(self._options, _log.warning)
        self._publisher = Publisher(
            self._options.event_buffer_events, self._options.event_buffer_bytes, self._options.backoff, _log.warning
        )
        self._directives = Directives(
            self._options.on_directive,
            self._options.remembered_directives,
            self._options.backoff,
            self._tasks,
            _log.warning,
        )
        self._runs: dict[str, SessionRef | None] = {}
        """Runs that calls and events named, the least recently named first."""
        self._ended: dict[str, bool] = {}
        """Runs that ended here: what is still told of one does not begin it again."""
        self._end_untold = False
        """The end of a run could not be told: which runs go on is then to be told at the next attach."""
        self._state = "connecting"
        self._link: Link | None = None
        self._welcome: Any = None
        self._last_error: RuntimeCallError | None = None
        self._attaching: asyncio.Task[None] | None = None
        self._displaced = False
        self._attaches = 0
        self._reconnects = 0

    async def __aenter__(self) -> Runtime:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def start(self) -> None:
        """Begins to attach, and keeps attached; in a running event loop. May be called again: then it takes the place back, where
        `displaced`."""
        if self._state == "closed" or (self._attaching is not None and not self._displaced):
            return
        before, self._displaced = self._attaching, False
        self._attaching = self._tasks.start(self._keep_attached(before))

    async def attached(self, timeout_ms: float = 10_000) -> bool:
        """Waits until it is attached; False where that takes longer, or it is closed."""
        await self._changes.until(lambda: self._state in ("attached", "closed"), timeout_ms)
        return self._state == "attached"

    @property
    def state(self) -> str:
        """`connecting`: never attached; `attached`; `away`: was attached; `closed`."""
        return self._state

    @property
    def displaced(self) -> bool:
        """Another start of this runtime, with the same key, took the place; this one waits until it is free."""
        return self._displaced

    @property
    def last_error(self) -> RuntimeCallError | None:
        """Why it is not attached."""
        return None if self._state == "attached" else self._last_error

    @property
    def contributions(self) -> Contributions | None:
        """What plugins wanted last; None: never heard."""
        return self._calls.contributions

    @property
    def supervisor_instance(self) -> str | None:
        """Changes with each start of the supervisor; of the last attach."""
        return None if self._welcome is None else self._welcome.supervisor_instance

    @property
    def fast(self) -> bool:
        """The fast stream of hooks is open; else calls are made one by one."""
        return self._calls.fast

    @property
    def stats(self) -> dict[str, int]:
        """Counts since the start, and sizes now."""
        return {
            **self._calls.counts,
            **self._publisher.counts,
            **self._directives.counts,
            "in_flight": self._calls.in_flight,
            "attaches": self._attaches,
            "reconnects": self._reconnects,
        }

    def wants(
        self, hook: str, *, tool_name: str | None = None, trigger: str | None = None, dispatch_kind: str | None = None
    ) -> Interest | None:
        """What is wanted of a hook, by what was heard last; None: nothing, and `call_hook` would make no call."""
        return self._calls.wants(hook, tool_name=tool_name, trigger=trigger, dispatch_kind=dispatch_kind)

    def wants_conversation(self, hook: str) -> bool:
        """Some handler of the hook wants the conversation."""
        interest = self.wants(hook)
        return interest is not None and interest.wants_messages

    def wants_stream(self, stream: str) -> bool:
        """Some plugin, or an operator who watches, wants events of the stream."""
        return self._publisher.wants(stream)

    async def call_hook(self, call: HookCall) -> HookAnswer:
        """Calls a hook. Never raises, but when its task is cancelled, which cancels the call for real. With no subscriber it
        answers at once, and makes no call."""
        if call.run is not None:
            self._note_run(call.run, call.session)
        return await self._calls.call(call)

    async def redeem(self, decision: Decision, params: dict[str, Any]) -> tuple[bool, str | None]:
        """Uses up the decision of a tool call, just before the tool runs with `params`: whether it may, and why not. Never
        raises. Not to be repeated."""
        try:
            params_sha256 = digest(params)
        except (TypeError, ValueError) as error:
            return False, f"outrigger: the parameters are no JSON: {error}"
        if params_sha256 != decision.params_sha256:
            return False, "outrigger: the parameters are not those the decision was given for"
        request = runtime_pb2.RedeemDecisionRequest(
            decision_id=decision.id, tool_call_id=decision.tool_call_id, params_sha256=params_sha256
        )
        refusal = await self._calls.redeem(request)
        return (
            (True, None) if refusal is None else (False, f"outrigger: the decision cannot be used: {refusal.message}")
        )

    async def resolve_approval(
        self, approval: PendingApproval | str, outcome: str, *, resolved_by: str = "", timeout_ms: float = _CALL_MS
    ) -> Resolved:
        """Tells how an approval ended. Never raises. Safe to repeat."""
        approval_id = approval if isinstance(approval, str) else approval.id
        request = runtime_pb2.ResolveApprovalRequest(
            approval_id=approval_id, outcome=APPROVAL_OUTCOMES.get(outcome, 0), resolved_by=resolved_by
        )
        try:
            answer = await self._unary("ResolveApproval", request, runtime_pb2.ResolveApprovalResponse, timeout_ms)
        except RuntimeCallError as error:
            return Resolved("stop", reason=f"outrigger: {error.message}")
        stands = read_outcome(answer.outcome)
        allowed = stands in ("allowed_once", "allowed_always")
        reason = answer.message or (None if allowed else f"outrigger: the approval ended as {stands}")
        return Resolved("go_on" if allowed else "stop", stands, read_decision(answer, answer.tool_call_id), reason)

    def publish(self, event: AgentEvent) -> bool:
        """Publishes an event, if its stream is wanted or the run ends with it; False where it is lost."""
        if self._state == "closed":
            return False
        if event.terminal:
            self._run_ended(event.run_id)
        else:
            session = SessionRef(event.session_key, event.session_id, event.agent_id) if event.session_key else None
            self._note_run(event.run_id, session)
        taken = self._publisher.publish(event)
        self._end_untold |= event.terminal and not taken
        return taken

    async def flush(self, timeout_ms: float = 5_000) -> bool:
        """Waits until all published events are with the supervisor; False where that takes longer."""
        return await self._publisher.flush(timeout_ms)

    async def upsert_session(self, session: SessionRef, *, revision: int = 0, previous_key: str = "") -> bool:
        """Announces a session, or its new id, agent, revision or key; whether it is new. Raises `RuntimeCallError`."""
        request = runtime_pb2.UpsertSessionRequest(
            session=to_session(session), revision=revision, previous_key=previous_key
        )
        return (await self._unary("UpsertSession", request, runtime_pb2.UpsertSessionResponse)).created

    async def reset_session(self, session: SessionRef, *, next_session_id: str = "", plugin_id: str = "") -> list[Any]:
        """Takes back what plugins own in a session that is reset; the reports. Raises `RuntimeCallError`."""
        request = runtime_pb2.ResetSessionRequest(
            session=to_session(session), next_session_id=next_session_id, plugin_id=plugin_id
        )
        return list((await self._unary("ResetSession", request, runtime_pb2.ResetSessionResponse)).reports)

    async def delete_session(self, session: SessionRef) -> list[Any]:
        """Takes back what plugins own in a session that is deleted; the reports. Raises `RuntimeCallError`."""
        request = runtime_pb2.DeleteSessionRequest(session=to_session(session))
        return list((await self._unary("DeleteSession", request, runtime_pb2.DeleteSessionResponse)).reports)

    async def prepare_turn(
        self,
        session: SessionRef,
        run: str,
        *,
        trigger: str | None = None,
        event: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        messages: Messages = None,
        heartbeat_name: str = "",
        directive_id: str = "",
        timeout_ms: float | None = None,
    ) -> PreparedTurn:
        """Prepares a turn: once for each prompt build. Never raises; where it fails the turn goes on without. With nothing
        to come of it, no call is made."""
        self._note_run(run, session)
        if not self._prepares_turns():
            await self._calls.settled()
        if self._link is not None and not self._prepares_turns():
            self._calls.counts["skipped"] += 1
            return PreparedTurn(self._epoch())
        hooks = ["agent_turn_prepare"]
        if trigger == "heartbeat":
            hooks.append("heartbeat_prompt_contribution")
        interests = [interest for hook in hooks if (interest := self.wants(hook, trigger=trigger))]
        longest = sum(interest.max_duration_ms or 0 for interest in interests)
        try:
            request = runtime_pb2.PrepareTurnRequest(
                session=to_session(session),
                run=common_pb2.RunRef(id=run),
                trigger=TRIGGERS.get(trigger or "", 0),
                event_json=encode(event or {}),
                context_json=encode_optional(context),
                messages_json=conversation(messages, any(interest.wants_messages for interest in interests)),
                heartbeat_name=heartbeat_name,
                directive_id=directive_id,
                timeout=None if timeout_ms is None else to_duration(timeout_ms),
            )
            limit = self._calls.limit_ms(timeout_ms, longest)
            answer = await self._unary("PrepareTurn", request, runtime_pb2.PrepareTurnResponse, limit)
        except Exception as error:
            failure = _failure("prepare_turn", error)
            return PreparedTurn(self._epoch(), failure.reason != "SUPERVISOR_AWAY", failure=failure)
        self._calls.answered_under(answer.contribution_epoch)
        return PreparedTurn(
            epoch=answer.contribution_epoch,
            called=True,
            prepend_context=answer.prepend_context or None,
            append_context=answer.append_context or None,
            lease_id=answer.lease_id or None,
            injections=list(answer.injections),
            system_events=list(answer.system_events),
            superseded_leases=answer.superseded_leases,
        )

    async def finalize_turn(
        self,
        session: SessionRef,
        run: str,
        attempt: int,
        *,
        side_effects_committed: bool = False,
        event: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        messages: Messages = None,
        timeout_ms: float | None = None,
    ) -> Finalized:
        """Asks whether answer `attempt` of the run (from 1) may go out. Never raises; where it fails, or nobody wants the hook,
        the answer goes out."""
        self._note_run(run, session)
        hook = "before_agent_finalize"
        if self.wants(hook) is None:
            await self._calls.settled()
        interest = self.wants(hook)
        if interest is None:
            return Finalized(self._epoch())
        try:
            request = runtime_pb2.FinalizeTurnRequest(
                session=to_session(session),
                run=common_pb2.RunRef(id=run),
                attempt=attempt,
                side_effects_committed=side_effects_committed,
                event_json=encode(event or {}),
                context_json=encode_optional(context),
                messages_json=conversation(messages, interest.wants_messages),
                timeout=None if timeout_ms is None else to_duration(timeout_ms),
            )
            limit = self._calls.limit_ms(timeout_ms, interest.max_duration_ms)
            answer = await self._unary("FinalizeTurn", request, runtime_pb2.FinalizeTurnResponse, limit)
        except Exception as error:
            failure = _failure("finalize_turn", error)
            return Finalized(self._epoch(), failure.reason != "SUPERVISOR_AWAY", failure=failure)
        self._calls.answered_under(answer.contribution_epoch)
        told = read_finalize(answer.decision)
        return Finalized(
            epoch=answer.contribution_epoch,
            called=True,
            action=told["action"],
            reason=told["reason"],
            retries=told["retries"],
            plugin_id=answer.plugin_id or None,
            budget_used=answer.budget_used,
            retry_withheld=answer.retry_withheld,
        )

    async def end_run(self, run: str, end: str, *, session: SessionRef | None = None) -> bool:
        """Ends a run (`completed`, `failed`, `cancelled` or `lost`), after its events are with the supervisor; whether every
        subscriber acknowledged them in time. Raises `RuntimeCallError`; safe to repeat."""
        self._run_ended(run)
        if self._link is not None:
            await self._publisher.flush(_EVENTS_FIRST_MS, run)
        self._publisher.forget(run)
        request = runtime_pb2.EndRunRequest(
            run=common_pb2.RunRef(id=run), session=to_session(session), end=_RUN_ENDS.get(end, 0)
        )
        try:
            return (await self._unary("EndRun", request, runtime_pb2.EndRunResponse)).settled
        except BaseException:
            self._end_untold = True
            raise

    async def list_tools(self) -> list[ServedTool]:
        """Lists the tools plugins serve. Raises `RuntimeCallError`. Changes when `contributions.catalogue_epoch` does."""
        return await list_tools(self._live(), _CALL_MS)

    async def invoke_tool(
        self,
        tool: str,
        arguments: dict[str, Any] | None = None,
        *,
        tool_call_id: str,
        decision: Decision | None = None,
        session: SessionRef | None = None,
        run: str | None = None,
        context: dict[str, Any] | None = None,
        timeout_ms: float | None = None,
    ) -> AsyncGenerator[ToolProgress | ToolResult, None]:
        """Runs a served tool: progress, then one result. Raises `RuntimeCallError`. Cancelling its task, or closing the
        iterator (`aclose`), cancels the call."""
        if run is not None:
            self._note_run(run, session)
        request = runtime_pb2.InvokeToolRequest(
            tool_name=tool,
            arguments_json=encode_optional(arguments),
            tool_call_id=tool_call_id,
            decision_id=decision.id if decision else "",
            session=to_session(session),
            run=None if run is None else common_pb2.RunRef(id=run),
            timeout=None if timeout_ms is None else to_duration(timeout_ms),
            context_json=encode_optional(context),
        )
        running = invoke_tool(self._live(), request, timeout_ms)
        try:
            async for event in running:
                if isinstance(event, ToolResult):
                    self._calls.answered_under(event.epoch)
                yield event
        finally:
            await running.aclose()

    def acknowledge(self, directive_id: str, result: DirectiveResult) -> None:
        """Tells how a directive ended that its handler had `accepted`."""
        self._directives.acknowledge(directive_id, result)

    async def close(self, timeout_ms: float = 2_000) -> None:
        """Publishes what is left, within `timeout_ms`, and detaches. What is in flight fails. Idempotent."""
        if self._state == "closed":
            return
        if self._state == "attached":
            await self._publisher.flush(timeout_ms)
        self._enter("closed")
        await self._tasks.end()

    async def _keep_attached(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            before.cancel()
            await asyncio.wait([before])
        failures = 0
        while True:
            attaches = self._attaches
            error = await self._attach()
            failures = 1 if self._attaches > attaches else failures + 1
            if error.code is grpc.StatusCode.ABORTED:
                # To take the place back would only end the other one's stream in turn.
                self._displaced = True
            self._lost(error)
            wait_ms = backoff_ms(self._options.backoff, failures)
            await asyncio.sleep((min(wait_ms, _PLACE_MS) if self._displaced else wait_ms) / 1000)

    async def _attach(self) -> RuntimeCallError:
        """Attaches once, and reads directives until the stream ends; why it did."""
        try:
            socket = self._options.socket_path or runtime_socket(runtime_dir())
            key = read_key(self._options.key_path or runtime_key(state_dir()))
            link = Link(socket, key)
        except (KeyFileError, PlaceError, OSError) as error:
            return away(str(error))
        tasks = Tasks()
        stream = link.server_stream("Attach", self._request(), directive_pb2.AttachResponse)
        try:
            welcome = None
            while True:
                limit = None if self._link is link else _HANDSHAKE_MS / 1000
                message = await asyncio.wait_for(_read(stream), limit)
                if message is grpc.aio.EOF:
                    return away("the supervisor ended the stream of directives")
                for directive in message.directives:
                    kind = directive.WhichOneof("kind")
                    if kind == "welcome":
                        welcome = directive.welcome
                    elif kind != "contributions":
                        self._directive(directive, kind)
                    elif self._link is link:
                        self._learn(read_contributions(directive.contributions))
                    elif welcome is not None:
                        self._attached(link, welcome, read_contributions(directive.contributions), tasks)
        except grpc.aio.AioRpcError as status:
            return from_rpc(status)
        except asyncio.TimeoutError:
            return away(f"the supervisor did not answer Attach within {_HANDSHAKE_MS} ms")
        finally:
            self._link = None
            self._calls.detach()
            stream.cancel()
            await tasks.end()
            await link.close()

    def _request(self) -> Any:
        options = self._options
        agents = [
            directive_pb2.AttachRequest.Agent(
                agent_id=agent.agent_id, workspace_path=agent.workspace_path, is_default=agent.is_default
            )
            for agent in options.agents
        ]
        live_runs = [
            directive_pb2.AttachRequest.LiveRun(run=common_pb2.RunRef(id=live.run_id), session=to_session(live.session))
            for live in self._live_runs()
        ]
        return directive_pb2.AttachRequest(
            incarnation=options.incarnation,
            protocol=common_pb2.ProtocolRange(min=_PROTOCOL, max=_PROTOCOL),
            software=options.software[:128],
            agents=agents,
            served_hooks=[NUMBERS[hook] for hook in options.served_hooks],
            reserved_tool_names=list(options.reserved_tool_names),
            window=WINDOW,
            only_if_free=options.only_if_free or self._displaced,
            all_runs_live=options.live_runs is None and self._attaches > 0 and not self._end_untold,
            live_runs=live_runs[-_MOST_REMEMBERED:],
        )

    def _attached(self, link: Link, welcome: Any, contributions: Contributions, tasks: Tasks) -> None:
        self._link, self._welcome = link, welcome
        self._attaches += 1
        self._displaced = False
        self._end_untold = False
        for run in welcome.lost_run_ids:
            self._run_ended(run)
            self._publisher.forget(run)
        self._publisher.want(contributions)
        self._calls.attach(link, welcome, contributions)
        for service in (self._calls, self._publisher, self._directives):
            tasks.start(service.run(link))
        _log.info("attached to outrigger %s as runtime `%s`", welcome.supervisor_version, welcome.runtime_id)
        self._enter("attached")
        self._tell(self._options.on_contributions, contributions)

    def _learn(self, contributions: Contributions) -> None:
        self._publisher.want(contributions)
        self._calls.learn(contributions)
        self._tell(self._options.on_contributions, contributions)

    def _directive(self, directive: Any, kind: str | None) -> None:
        if directive.directive_id:
            self._directives.take(directive)
            return
        if kind == "withdrawn" and directive.withdrawn.WhichOneof("subject") == "directive_id":
            self._directives.withdraw(directive.withdrawn.directive_id)
        if kind is not None:
            self._tell(self._options.on_notice, kind, getattr(directive, kind))

    def _lost(self, error: RuntimeCallError) -> None:
        self._reconnects += 1
        known = self._state != "attached" and self._last_error is not None and str(self._last_error) == str(error)
        if not known:
            level = logging.WARNING if error.code is grpc.StatusCode.UNAVAILABLE else logging.ERROR
            _log.log(level, "not attached to outrigger: %s", error)
        self._last_error = error
        self._enter("connecting" if self.contributions is None else "away")

    def _enter(self, state: str) -> None:
        if state == self._state or self._state == "closed":
            return
        self._state = state
        self._changes.notify()
        self._tell(self._options.on_state_change, state)

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Tells the runtime; what its own code raises is its own affair."""
        try:
            callback(*arguments)
        except Exception:
            _log.exception("a callback failed")

    def _live(self) -> Link:
        if self._link is None:
            raise away("the runtime client is closed") if self._state == "closed" else away()
        return self._link

    async def _unary(self, name: str, request: Any, answer: Any, timeout_ms: float = _CALL_MS) -> Any:
        try:
            return await self._live().unary(name, request, answer, timeout_ms)
        except grpc.aio.AioRpcError as status:
            raise from_rpc(status) from None

    def _epoch(self) -> int:
        return 0 if self.contributions is None else self.contributions.epoch

    def _prepares_turns(self) -> bool:
        return self.contributions is not None and self.contributions.prepare_turns

    def _run_ended(self, run: str) -> None:
        self._runs.pop(run, None)
        _remember(self._ended, run, True)

    def _note_run(self, run: str, session: SessionRef | None) -> None:
        if run not in self._ended:
            _remember(self._runs, run, session or self._runs.get(run))

    def _live_runs(self) -> Iterable[LiveRun]:
        if self._options.live_runs is None:
            return [LiveRun(run, session) for run, session in self._runs.items()]
        try:
            return list(self._options.live_runs())
        except Exception:
            _log.exception("live_runs failed")
            return []


async def _read(stream: Any) -> Any:
    return await stream.read()


def _failure(what: str, error: Exception) -> RuntimeCallError:
    failure = from_rpc(error)
    _log.warning("%s failed: %s", what, failure)
    return failure


def _remember(table: dict[str, _V], key: str, value: _V) -> None:
    """Puts something last in a bounded table."""
    table.pop(key, None)
    table[key] = value
    if len(table) > _MOST_REMEMBERED:
        del table[next(iter(table))]
