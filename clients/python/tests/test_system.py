"""The client against the real supervisor with real plugins."""

from __future__ import annotations

import asyncio
import sys
import time
import unittest
from itertools import count
from typing import Any

import grpc

from outrigger_runtime import (
    AgentEvent,
    HookAnswer,
    HookCall,
    Runtime,
    RuntimeCallError,
    SessionRef,
    ToolProgress,
    ToolResult,
)

from .fake import Bounded, until
from .world import World, event_reader, fixture, misbehave, recorder, tools

SESSION = SessionRef("agent:main:main", "s-1", "main")
numbers = count(1)

GATE = 'config = { ask_patterns = ["curl *"], set_params = [{ pattern = "make *", params = { timeout = 60 } }] }\n'
NOTES = 'tier = "trusted"\nconfig = { rules = "Be kind.", notes = [{ word = "deploy", text = "Ask first." }] }\n'
SKIP = '[plugin.hooks.before_tool_call]\non_absent = "skip"\n'


def run() -> str:
    """A run's id that no test used before."""
    return f"run-{next(numbers)}"


async def call(runtime: Runtime, tool: str, params: dict[str, Any] | None = None, **more: Any) -> HookAnswer:
    event = {"toolName": tool, "params": params or {}}
    hook = HookCall("before_tool_call", event, tool_name=tool, tool_call_id=f"call-{next(numbers)}", **more)
    return await runtime.call_hook(hook)


async def execute(runtime: Runtime, command: str) -> HookAnswer:
    return await call(runtime, "exec", {"command": command})


class Whole(Bounded):
    async def attach(self, world: World, **options: Any) -> Runtime:
        runtime = world.runtime(**options)
        runtime.start()
        self.assertTrue(await runtime.attached(20_000), runtime.last_error)
        await until("the fast stream is open", lambda: runtime.fast)
        return runtime

    async def assert_fails(self, reason: str, awaitable: Any) -> RuntimeCallError:
        with self.assertRaises(RuntimeCallError) as caught:
            await awaitable
        self.assertEqual(caught.exception.reason, reason, caught.exception)
        return caught.exception


class WellBehaved(Whole):
    """All of one supervisor: what is independent is asked of it in one test, as each start costs a second or two."""

    async def asyncSetUp(self) -> None:
        self.world = World(
            fixture("policy-gate", GATE),
            fixture("audit-observer", SKIP),
            fixture("prompt-contributor", NOTES),
            fixture("review-assistant", 'tier = "trusted"\n'),
            tools(),
            recorder(),
        )
        self.addAsyncCleanup(self.world.end)
        await self.world.start()
        await self.world.ready()
        self.runtime = await self.attach(self.world, software="client tests")
        wants = self.runtime.wants
        await until("all contribute", lambda: None not in (wants("before_agent_finalize"), wants("session_start")))

    async def test_everything(self) -> None:
        for name in [name for name in dir(self) if name.startswith("check_")]:
            with self.subTest(name):
                await getattr(self, name)()

    async def check_a_call_is_allowed_and_its_decision_is_good_once_for_its_parameters(self) -> None:
        runtime = self.runtime
        answer = await execute(runtime, "ls")
        self.assertEqual(answer.verdict, "go_on", answer.reason)
        assert answer.decision
        self.assertFalse((await runtime.redeem(answer.decision, {"command": "rm"}))[0])
        self.assertEqual(await runtime.redeem(answer.decision, {"command": "ls"}), (True, None))
        self.assertFalse((await runtime.redeem(answer.decision, {"command": "ls"}))[0])
        self.assertEqual(runtime.stats["calls_unary"], 0)

    async def check_the_digest_is_the_supervisors_whatever_the_parameters_look_like(self) -> None:
        numbers = [1.5e300, -0.0, 1e21, 1e16, 0.1, 1e-7, 2**70, 9007199254740993, 100.0]
        params = {"z": numbers, "\u20ac": '\U0001f600\u0001"\\', "a": {"b": None}, "": True, "command": "ls"}
        answer = await call(self.runtime, "exec", params)
        assert answer.decision, answer.reason
        self.assertEqual(await self.runtime.redeem(answer.decision, params), (True, None))

    async def check_of_two_starts_the_later_has_the_place_and_the_earlier_gets_it_when_it_is_free(self) -> None:
        # Of a key of its own, as the other tests' runtime keeps its place.
        await self.world.outrigger("key", "add", "twice")
        key_path = str(self.world.directory / "state/keys/twice.key")
        away: list[bool] = []

        def told(state: str) -> None:
            if state == "away":
                away.append(first.displaced)

        first = self.world.runtime(key_path=key_path, on_state_change=told)
        second = self.world.runtime(key_path=key_path)
        first.start()
        self.assertTrue(await first.attached())
        second.start()
        self.assertTrue(await second.attached())
        await until("the first one is told", lambda: first.displaced)
        await until("it was refused since", lambda: getattr(first.last_error, "reason", None) == "RUNTIME_ATTACHED")
        self.assertEqual((first.state, second.state, second.stats["attaches"]), ("away", "attached", 1))
        self.assertEqual(away, [True], "who is told that it is away can ask why")
        await second.close()
        self.assertTrue(await first.attached())
        self.assertFalse(first.displaced)
        await first.close()

    async def check_a_denial_names_the_plugin(self) -> None:
        answer = await call(self.runtime, "exec", {"command": "rm -rf /"}, report_handlers=True)
        self.assertEqual(answer.verdict, "stop")
        self.assertRegex(answer.reason or "", "^policy-gate: ")
        assert answer.decided_by
        self.assertEqual((answer.decided_by.plugin_id, answer.decided_by.outcome), ("policy-gate", "deny"))
        self.assertTrue(answer.handlers)
        self.assertIsNone(answer.decision or answer.failure)

    async def check_rewritten_parameters_are_what_the_decision_is_for(self) -> None:
        answer = await execute(self.runtime, "make all")
        assert answer.result and answer.decision, answer.reason
        self.assertEqual(answer.result, {"kind": "tool_call", "params": {"command": "make all", "timeout": 60}})
        self.assertFalse((await self.runtime.redeem(answer.decision, {"command": "make all"}))[0])
        self.assertTrue((await self.runtime.redeem(answer.decision, answer.result["params"]))[0])

    async def check_a_person_is_asked_an_approval_gives_the_decision_and_a_no_does_not(self) -> None:
        runtime = self.runtime
        answer = await execute(runtime, "curl example.org")
        self.assertEqual(answer.verdict, "ask", answer.reason)
        assert answer.approval
        self.assertEqual(answer.approval.plugin_id, "policy-gate")
        self.assertGreater(answer.approval.expires_at_ms or 0, time.time() * 1000)
        resolved = await runtime.resolve_approval(answer.approval.id, "allowed_once", resolved_by="owner")
        assert resolved.decision
        self.assertEqual(resolved.verdict, "go_on")
        self.assertTrue((await runtime.redeem(resolved.decision, {"command": "curl example.org"}))[0])
        second = (await execute(runtime, "curl example.com")).approval
        assert second
        denied = await runtime.resolve_approval(second, "denied")
        self.assertEqual((denied.verdict, denied.outcome, denied.decision), ("stop", "denied", None))
        again = await runtime.resolve_approval(second, "allowed_once")
        self.assertEqual(again.outcome, "denied", "the first stands")
        self.assertEqual((await runtime.resolve_approval("never-asked", "allowed_once")).verdict, "stop")

    async def check_nobody_asked_no_call_the_supervisor_counts_none(self) -> None:
        runtime = self.runtime
        await call(runtime, "exec", {"command": "ls"}, wait_for_observers=True)
        counts, stats = await self.world.handler_calls(), runtime.stats
        self.assertFalse((await runtime.call_hook(HookCall("llm_input", {}))).called)
        self.assertFalse((await runtime.call_hook(HookCall("after_tool_call", {}, tool_name="read"))).called)
        self.assertTrue((await runtime.finalize_turn(SESSION, run(), 1)).called)
        self.assertEqual(runtime.stats, {**stats, "skipped": stats["skipped"] + 2})
        finalized = "review-assistant/unfinished-work"
        self.assertEqual(await self.world.handler_calls(), {**counts, finalized: counts[finalized] + 1})

    async def check_observers_are_told_and_the_conversation_goes_only_to_who_wants_it(self) -> None:
        event = {"sessionKey": SESSION.key, "note": "observed"}
        waited = HookCall("session_start", event, session=SESSION, wait_for_observers=True)
        answer = await self.runtime.call_hook(waited)
        self.assertEqual((answer.verdict, answer.called), ("go_on", True))

        def never() -> list[Any]:
            raise AssertionError("nobody wants it")

        await self.runtime.call_hook(HookCall("message_sending", {"content": "x"}, messages=never))
        self.assertTrue(self.runtime.wants_conversation("before_prompt_build"))
        messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        build = HookCall("before_prompt_build", {"prompt": "a"}, messages=messages, session=SESSION)
        prompt = (await self.runtime.call_hook(build)).result
        self.assertEqual(prompt and prompt["append_system_context"], "Be kind.")
        book = {line.get("handler"): line for line in self.world.lines("recorder", "calls.jsonl")}
        self.assertEqual(book["session"]["event"]["sessionKey"], SESSION.key)
        self.assertEqual((book["prompt"]["messages"], book["sending"]["messages"]), (2, None))

    async def check_a_turn_is_prepared_finalized_once_more_and_ended(self) -> None:
        runtime, run_id = self.runtime, run()
        event = {"prompt": "please deploy it"}
        prepared = await runtime.prepare_turn(SESSION, run_id, trigger="user", event=event, messages=[])
        self.assertEqual((prepared.failure, prepared.prepend_context), (None, "Ask first."))
        answer = {"lastAssistantMessage": "Done, but TODO: tests"}
        first = await runtime.finalize_turn(SESSION, run_id, 1, event=answer, messages=[])
        self.assertEqual((first.action, first.plugin_id, first.budget_used), ("revise", "review-assistant", 1))
        self.assertIn("TODO", first.retries[0]["instruction"])
        second = await runtime.finalize_turn(SESSION, run_id, 2, event=answer, messages=[])
        self.assertEqual((second.action, second.retry_withheld), ("continue", True))
        runtime.publish(AgentEvent(run_id, "lifecycle", {"phase": "start"}))
        self.assertTrue(await runtime.end_run(run_id, "completed"))
        self.assertTrue(await runtime.end_run(run_id, "completed"), "safe to repeat")
        late = await call(runtime, "exec", {"command": "ls"}, run=run_id)
        assert late.failure and late.failure.error
        self.assertEqual((late.verdict, late.failure.error.reason), ("stop", "RUN_ENDED"))

        def seen() -> bool:
            lines = self.world.lines("audit-observer", "audit.jsonl")
            return any("stream" in line and line["run"] == run_id for line in lines)

        await until("the event was seen", seen)

    async def check_only_wanted_streams_are_published_and_always_the_end_of_a_run(self) -> None:
        runtime, stats, run_id = self.runtime, self.runtime.stats, run()
        self.assertEqual((runtime.wants_stream("lifecycle"), runtime.wants_stream("assistant")), (True, False))
        self.assertTrue(runtime.publish(AgentEvent(run_id, "assistant", {"text": "x"})))
        self.assertTrue(runtime.publish(AgentEvent(run_id, "lifecycle", {"phase": "end"}, terminal=True)))
        self.assertTrue(await runtime.flush(20_000))
        wanted = {"published": stats["published"] + 1, "events_skipped": stats["events_skipped"] + 1}
        self.assertEqual(runtime.stats, {**stats, **wanted})

    async def check_sessions_are_announced_and_what_is_not_served_says_so(self) -> None:
        runtime, key = self.runtime, f"agent:main:{run()}"
        self.assertTrue(await runtime.upsert_session(SessionRef(key, agent_id="main"), revision=2))
        self.assertFalse(await runtime.upsert_session(SessionRef(key)))
        conflict = await self.assert_fails("VERSION_CONFLICT", runtime.upsert_session(SessionRef(key), revision=1))
        self.assertIs(conflict.code, grpc.StatusCode.ABORTED)
        await self.assert_fails("SESSION_KEY_INVALID", runtime.upsert_session(SessionRef("")))
        with self.assertRaises(RuntimeCallError):
            await runtime.delete_session(SessionRef(key))

    async def served(self, tool: str, arguments: dict[str, Any]) -> list[Any]:
        gate = await call(self.runtime, tool, arguments, session=SESSION)
        assert gate.decision, gate.reason
        call_id = gate.decision.tool_call_id
        running = self.runtime.invoke_tool(
            tool, arguments, tool_call_id=call_id, decision=gate.decision, session=SESSION
        )
        return [event async for event in running]

    async def check_served_tools_are_listed_run_with_progress_and_say_what_is_wrong_with_arguments(self) -> None:
        listed = {tool.name: tool for tool in await self.runtime.list_tools()}
        self.assertEqual(
            [(tool.name, tool.available) for tool in listed.values()], [("wait", True), ("word_count", True)]
        )
        tool = listed["word_count"]
        self.assertEqual((tool.plugin_id, tool.hints), ("python-tools", {"read_only": True}))
        self.assertEqual(tool.input_schema["type"], "object")
        # audit-observer wants before_tool_call of all tools: without its decision no served tool runs.
        bare = self.runtime.invoke_tool("word_count", {"text": "a"}, tool_call_id=run(), session=SESSION)
        await self.assert_fails("DECISION_REQUIRED", anext(bare))
        *progress, result = await self.served("word_count", {"text": "one two two"})
        self.assertTrue(progress and all(isinstance(event, ToolProgress) for event in progress))
        self.assertEqual(result.content, [{"type": "text", "text": "3 words, 2 of them different"}])
        self.assertEqual(result.structured, {"words": 3, "common": [["two", 2], ["one", 1]]})
        self.assertEqual((result.is_error, result.plugin_id), (False, "python-tools"))
        (refused,) = await self.served("word_count", {"words": 1})
        self.assertTrue(isinstance(refused, ToolResult) and refused.arguments_invalid and refused.is_error)
        await self.assert_fails("HANDLER_UNKNOWN", anext(self.runtime.invoke_tool("nothing", tool_call_id="x")))

    async def check_a_tool_that_runs_is_cancelled_with_its_task_and_by_closing_its_iterator(self) -> None:
        async def at_rest() -> bool:
            plugins = (await self.world.outrigger("status"))["plugins"]
            return all(plugin["resources"]["invocations_in_flight"] == 0 for plugin in plugins)

        for close in (False, True):
            gate = await call(self.runtime, "wait", {"seconds": 30}, session=SESSION)
            assert gate.decision, gate.reason
            started = time.monotonic()
            call_id = gate.decision.tool_call_id
            running = self.runtime.invoke_tool(
                "wait", {"seconds": 30}, tool_call_id=call_id, decision=gate.decision, session=SESSION
            )
            self.assertIsInstance(await anext(running), ToolProgress)
            if not close:
                reading = asyncio.create_task(self.drain(running))
                await asyncio.sleep(0)
                reading.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await reading
            await running.aclose()
            await until("the plugin is at rest", at_rest)
            self.assertLess(time.monotonic() - started, 25)

    async def drain(self, running: Any) -> None:
        async for _ in running:
            pass

    async def check_a_cancelled_call_is_cancelled_in_the_plugin(self) -> None:
        held = asyncio.create_task(call(self.runtime, "hold"))

        def book(key: str) -> list[Any]:
            return [line[key] for line in self.world.lines("recorder", "calls.jsonl") if key in line]

        await until("the plugin has it", lambda: "hold" in book("handler"))
        held.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await held
        await until("it was told", lambda: len(book("cancelled")) > 0)

    async def check_a_wrong_key_is_refused_and_says_what_to_look_at(self) -> None:
        path = self.world.directory / "wrong.key"
        path.write_text(f"default:{'0' * 64}")
        path.chmod(0o600)
        stranger = self.world.runtime(key_path=str(path))
        stranger.start()
        await until("it was refused", lambda: stranger.last_error is not None)
        self.assertRegex(str(stranger.last_error), r"UNAUTHENTICATED \(KEY_INVALID\)")
        self.assertEqual((stranger.state, (await execute(stranger, "ls")).verdict), ("connecting", "stop"))
        await stranger.close()
        absent = self.world.runtime(key_path=str(self.world.directory / "absent.key"))
        absent.start()
        await until("it was told", lambda: absent.last_error is not None)
        self.assertRegex(str(absent.last_error), "absent.key.*no such file")
        await absent.close()

    async def check_z_two_runtimes_of_one_key_the_older_gives_way(self) -> None:
        far = f"{'/.' * 60}{self.world.directory}/run/runtime.sock"
        second = await self.attach(self.world, socket_path=far)
        await until("the first was told", lambda: getattr(self.runtime.last_error, "reason", "") == "STREAM_REPLACED")
        failure = (await execute(self.runtime, "ls")).failure
        self.assertEqual(failure and failure.kind, "away")
        await second.close()
        self.runtime.start()
        self.assertTrue(await self.runtime.attached())
        self.assertEqual((await execute(self.runtime, "ls")).verdict, "go_on")


class Misbehaving(Whole):
    async def test_a_plugin_that_dies_or_hangs_with_a_call_in_its_hands(self) -> None:
        world = World(
            misbehave("dies", "--fault", "abort"), misbehave("hangs", "--fault", "never-answer"), misbehave("sound")
        )
        self.addAsyncCleanup(world.end)
        await world.start()
        await world.ready()
        runtime = await self.attach(world)
        answer = await call(runtime, "dies")
        self.assertEqual((answer.verdict, answer.decided_by and answer.decided_by.plugin_id), ("stop", "dies"))
        self.assertRegex(answer.reason or "", "^dies: ")
        self.assertEqual((await call(runtime, "sound")).verdict, "go_on")
        started = time.monotonic()
        answer = await call(runtime, "hangs", timeout_ms=300)
        assert answer.decided_by
        self.assertEqual((answer.verdict, answer.decided_by.plugin_id), ("stop", "hangs"))
        self.assertEqual(answer.decided_by.outcome, "timeout")
        self.assertGreaterEqual(time.monotonic() - started, 0.29)


class ComesAndGoes(Whole):
    async def test_the_supervisor_is_killed_and_comes_back_and_events_are_in_order_and_exact(self) -> None:
        world = World(misbehave("guarded"), event_reader())
        self.addAsyncCleanup(world.end)
        states: list[str] = []
        runtime = world.runtime(on_state_change=states.append)
        runtime.start()
        sending = HookCall("message_sending", {})
        unheard = await call(runtime, "guarded")
        self.assertEqual((unheard.verdict, unheard.failure and unheard.failure.kind), ("stop", "away"))
        self.assertRegex(unheard.reason or "", "the supervisor is away.*never heard")
        self.assertEqual((await runtime.call_hook(sending)).verdict, "go_on")
        await until("there is no socket", lambda: runtime.last_error is not None)
        await world.start()
        self.assertTrue(await runtime.attached(20_000), runtime.last_error)
        await world.ready()
        await until("every stream is wanted", lambda: bool(runtime.contributions and runtime.contributions.all_streams))
        self.assertEqual((await call(runtime, "guarded")).verdict, "go_on")
        run_id = run()
        for n in range(1, 301):
            runtime.publish(AgentEvent(run_id, "tool", {"n": n}, session_key=SESSION.key))
        self.assertTrue(await runtime.flush(20_000))

        def positions() -> list[int]:
            lines = world.lines("event-reader", "events")
            return [line["position"] for line in lines if line.get("run") == run_id]

        await until("the reader has all", lambda: len(positions()) >= 300)

        await world.kill()
        await until("the client knows", lambda: runtime.state == "away")
        away = await call(runtime, "guarded")
        self.assertEqual((away.verdict, away.called), ("stop", False))
        self.assertRegex(away.reason or "", "the supervisor is away; before_tool_call of `guarded` is guarded by guarded")
        self.assertEqual((await call(runtime, "unguarded")).verdict, "go_on")
        self.assertEqual((await runtime.call_hook(sending)).verdict, "go_on")
        for n in range(301, 401):
            self.assertTrue(runtime.publish(AgentEvent(run_id, "tool", {"n": n})))
        turn = await runtime.prepare_turn(SESSION, run_id)
        self.assertEqual(turn.failure and turn.failure.reason, "SUPERVISOR_AWAY")

        instance = runtime.supervisor_instance
        await world.start()
        self.assertTrue(await runtime.attached(20_000), runtime.last_error)
        self.assertNotEqual(runtime.supervisor_instance, instance)
        # The guard is declared: denied, by name, until its plugin serves.
        early = await call(runtime, "guarded")
        if early.verdict != "go_on":
            self.assertRegex(early.reason or "", "^guarded: ")
        await world.ready()
        self.assertEqual((await call(runtime, "guarded")).verdict, "go_on")
        # What is published before the reader is back reaches nobody; from then on nothing is missing.
        await until("every stream is wanted", lambda: bool(runtime.contributions and runtime.contributions.all_streams))
        self.assertTrue(await runtime.flush(20_000))
        for n in range(401, 501):
            self.assertTrue(runtime.publish(AgentEvent(run_id, "tool", {"n": n})))
        runtime.publish(AgentEvent(run_id, "lifecycle", {"phase": "end"}, terminal=True))
        self.assertTrue(await runtime.flush(20_000))

        def ended() -> bool:
            lines = world.lines("event-reader", "events")
            return any(line.get("run") == run_id and line["stream"] == "lifecycle" for line in lines)

        await until("the reader has the end", ended)
        got = positions()
        self.assertEqual(got[:300], list(range(1, 301)))
        self.assertEqual(got[-101:], list(range(got[-1] - 100, got[-1] + 1)))
        self.assertEqual(got, sorted(set(got)), "in order, and none twice")
        self.assertEqual(states, ["attached", "away", "attached"])
        self.assertGreaterEqual(runtime.stats["denied_away"], 2)
        self.assertEqual(runtime.stats["attaches"], 2)


if __name__ == "__main__":
    sys.exit(unittest.main())
