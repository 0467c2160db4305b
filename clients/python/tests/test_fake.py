"""The client against a server that plays the supervisor: what a real one cannot be made to do."""

from __future__ import annotations

import asyncio
import math
import sys
import unittest
from itertools import count
from pathlib import Path
from typing import Any

import grpc

from outrigger_runtime import (
    AgentEvent,
    Backoff,
    DirectiveResult,
    HookAnswer,
    HookCall,
    LiveRun,
    Runtime,
    RuntimeCallError,
    SessionRef,
)
from outrigger_runtime._gen.outrigger.runtime.v1 import directive_pb2
from outrigger_runtime._gen.outrigger.types.v1 import common_pb2, hook_pb2, plugin_pb2

from .fake import KEY, Bounded, Fake, guard, until

numbers = count(1)


def exec_call(**more: Any) -> HookCall:
    fields = {"event": {"toolName": "exec", "params": {}}, "tool_name": "exec", "tool_call_id": f"call-{next(numbers)}"}
    return HookCall("before_tool_call", **{**fields, **more})


def sending(**more: Any) -> HookCall:
    return HookCall("message_sending", **{"event": {"content": "x"}, **more})


def wake(directive_id: str) -> Any:
    return directive_pb2.Directive(directive_id=directive_id, wake=directive_pb2.Wake(reason="x"))


def event(run_id: str, n: int) -> AgentEvent:
    return AgentEvent(run_id, "tool", n)


class Client(Bounded):
    async def asyncSetUp(self) -> None:
        self.fake = Fake()
        self.addAsyncCleanup(self.fake.end)

    async def attach(self, **options: Any) -> Runtime:
        await self.fake.start()
        runtime = self.fake.runtime(**options)
        runtime.start()
        self.assertTrue(await runtime.attached(), runtime.last_error)
        return runtime

    async def fast(self, **options: Any) -> Runtime:
        runtime = await self.attach(**options)
        await until("the fast stream is open", lambda: runtime.fast)
        return runtime

    def assert_failed(self, answer: HookAnswer, verdict: str, kind: str) -> None:
        self.assertEqual((answer.verdict, answer.failure and answer.failure.kind), (verdict, kind), answer.reason)

    async def test_a_hook_that_nobody_wants_leaves_the_client_in_no_form(self) -> None:
        runtime = await self.fast()
        for call in (exec_call(tool_name="read"), HookCall("llm_input", {})):
            answer = await runtime.call_hook(call)
            self.assertEqual((answer.verdict, answer.called), ("go_on", False))
        await runtime.call_hook(exec_call())
        self.assertEqual((len(self.fake.calls), len(self.fake.unary), runtime.stats["skipped"]), (1, 0, 2))

    async def test_calls_in_flight_when_the_stream_breaks_fail_as_their_hook_does_and_are_asked_once(self) -> None:
        self.fake.hold = True
        runtime = await self.fast(backoff=Backoff(200, 400))
        asked = asyncio.gather(runtime.call_hook(exec_call()), runtime.call_hook(sending()))
        await until("both were read", lambda: len(self.fake.calls) == 2)
        self.fake.break_streams()
        stopped, passed = await asked
        self.assert_failed(stopped, "stop", "broken")
        self.assertRegex(stopped.reason or "", "^outrigger: the stream of hooks broke")
        self.assert_failed(passed, "go_on", "broken")
        self.assertEqual(runtime.state, "attached")
        self.assertEqual((await runtime.call_hook(exec_call())).verdict, "go_on")
        self.assertEqual((len(self.fake.unary), len(self.fake.calls)), (1, 2))
        self.fake.hold = False
        await until("the fast stream is open", lambda: runtime.fast)
        self.assertEqual((await runtime.call_hook(exec_call())).verdict, "go_on")
        self.assertEqual((len(self.fake.unary), runtime.stats["stream_breaks"]), (1, 1))

    async def test_where_there_is_no_stream_of_hooks_every_call_goes_by_itself(self) -> None:
        self.fake.stream_status = grpc.StatusCode.UNIMPLEMENTED
        runtime = await self.attach()
        await until("the stream was refused", lambda: runtime.stats["stream_breaks"] == 1)
        self.assertEqual((await runtime.call_hook(exec_call())).verdict, "go_on")
        self.assertEqual((len(self.fake.unary), self.fake.streams), (1, 1))

    async def test_a_cancelled_call_is_cancelled_for_real(self) -> None:
        self.fake.hold = True
        runtime = await self.fast()
        call = asyncio.create_task(runtime.call_hook(exec_call()))
        await until("it was read", lambda: len(self.fake.calls) == 1)
        call.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await call
        await until("the cancel was read", lambda: len(self.fake.cancelled) == 1)
        self.assertEqual(self.fake.cancelled[0], self.fake.calls[0].call_id)
        self.assertEqual(runtime.stats["in_flight"], 0)

    async def test_a_supervisor_that_does_not_answer_is_waited_for_within_the_clients_own_bound(self) -> None:
        self.fake.hold = True
        runtime = await self.fast(call_timeout_ms=50)
        answer = await runtime.call_hook(exec_call())
        self.assert_failed(answer, "stop", "timeout")
        self.assertRegex(answer.reason or "", r"did not answer within \d+ ms")
        await until("it was cancelled", lambda: len(self.fake.cancelled) == 1)

    async def test_calls_in_flight_are_bounded_in_number_and_bytes(self) -> None:
        self.fake.hold = True
        self.fake.limits = common_pb2.Limits(max_calls_in_flight=2, max_payload_bytes=1000)
        runtime = await self.fast(max_calls_in_flight=3)
        held = asyncio.gather(runtime.call_hook(exec_call()), runtime.call_hook(exec_call()))
        await until("both are in flight", lambda: runtime.stats["in_flight"] == 2)
        self.assert_failed(await runtime.call_hook(exec_call()), "stop", "overloaded")
        self.fake.break_streams()
        await held
        self.assertEqual(runtime.stats["in_flight"], 0)
        long = exec_call(event={"params": {"text": "x" * 1000}})
        self.assert_failed(await runtime.call_hook(long), "stop", "invalid")
        narrow = self.fake.runtime(max_bytes_in_flight=1500)
        narrow.start()
        await until("the fast stream is open", lambda: narrow.fast)
        one = asyncio.create_task(narrow.call_hook(exec_call()))
        await until("it is in flight", lambda: narrow.stats["in_flight"] == 1)
        self.assert_failed(await narrow.call_hook(exec_call()), "stop", "overloaded")
        self.fake.break_streams()
        await one

    async def test_calls_that_were_given_up_count_until_the_supervisor_has_answered_them(self) -> None:
        self.fake.hold = self.fake.deaf = True
        runtime = await self.fast(max_calls_in_flight=2)
        two = await asyncio.gather(*(runtime.call_hook(exec_call(timeout_ms=1)) for _ in range(2)))
        for answer in two:
            self.assert_failed(answer, "stop", "timeout")
        self.assert_failed(await runtime.call_hook(exec_call()), "stop", "overloaded")
        self.assertEqual(len(self.fake.calls), 2)
        self.fake.hold = self.fake.deaf = False
        self.fake.break_streams()
        await until("the stream is open again", lambda: runtime.fast and self.fake.streams == 2)
        self.assertEqual((await runtime.call_hook(exec_call())).verdict, "go_on")

    async def test_a_call_that_cannot_be_sent_fails_as_its_hook_does_and_no_other_with_it(self) -> None:
        runtime = await self.fast()
        self.assert_failed(await runtime.call_hook(exec_call(event={"params": {"n": math.nan}})), "stop", "invalid")
        self.assert_failed(await runtime.call_hook(sending(event={"content": object()})), "go_on", "invalid")
        self.assert_failed(await runtime.call_hook(HookCall("no_hook", {})), "stop", "invalid")
        self.assertEqual((await runtime.call_hook(exec_call())).verdict, "go_on")

    async def test_an_answer_under_a_newer_epoch_makes_the_next_call_wait_for_contributions(self) -> None:
        runtime = await self.fast()
        self.fake.answer_epoch = 2
        await runtime.call_hook(exec_call())
        self.fake.hooks = [guard()]
        asked = asyncio.create_task(runtime.call_hook(exec_call(tool_name="read")))
        await asyncio.sleep(0)
        self.fake.contribute()
        self.assertTrue((await asked).called)
        self.assertEqual(runtime.contributions and runtime.contributions.epoch, 2)

    async def test_the_conversation_is_asked_for_only_if_it_is_wanted_and_left_out_where_it_is_too_long(self) -> None:
        self.fake.limits = common_pb2.Limits(max_stream_message_bytes=100_000)
        wanted = plugin_pb2.HookInterest(hook=hook_pb2.HOOK_LLM_OUTPUT, wants_messages=True)
        self.fake.hooks = [plugin_pb2.HookInterest(hook=hook_pb2.HOOK_LLM_INPUT), wanted]
        runtime = await self.fast()

        def never() -> list[Any]:
            raise AssertionError("nobody wants it")

        self.assertTrue((await runtime.call_hook(HookCall("llm_input", {}, messages=never))).called)
        self.assertTrue(runtime.wants_conversation("llm_output"))
        await runtime.call_hook(HookCall("llm_output", {}, messages=lambda: ["x" * 100_000]))
        await runtime.call_hook(HookCall("llm_output", {}, messages=["x"]))
        told = [(call.invocation.messages_json, call.invocation.messages_omitted) for call in self.fake.calls]
        self.assertEqual(told, [(b"", False), (b"", True), (b'["x"]', False)])

    async def test_directives_are_carried_out_once_and_answered_again_with_the_same_outcome(self) -> None:
        ran: list[str] = []
        outcomes = {"a": DirectiveResult("done"), "b": DirectiveResult("busy", retry_after_ms=5)}

        async def handle(directive: Any) -> DirectiveResult:
            ran.append(directive.id)
            if directive.id == "c":
                raise ValueError("no")
            return outcomes.get(directive.id, DirectiveResult("accepted"))

        runtime = await self.attach(on_directive=handle)
        told = self.fake.acknowledged
        self.fake.send(wake("a"), wake("b"), wake("c"), wake("d"))
        await until("all were acknowledged", lambda: len(told) == 4)
        self.fake.send(wake("a"), wake("b"))
        await until("they were again", lambda: len(told) == 6)
        self.assertEqual(ran, ["a", "b", "c", "d", "b"])
        runtime.acknowledge("d", DirectiveResult("done", run_id="r"))
        await until("the end was told", lambda: len(told) == 7)
        done, busy = directive_pb2.DIRECTIVE_OUTCOME_DONE, directive_pb2.DIRECTIVE_OUTCOME_BUSY
        failed, accepted = directive_pb2.DIRECTIVE_OUTCOME_FAILED, directive_pb2.DIRECTIVE_OUTCOME_ACCEPTED
        wanted = [("a", done), ("a", done), ("b", busy), ("b", busy), ("c", failed), ("d", accepted), ("d", done)]
        self.assertEqual(sorted(told), sorted(wanted))
        self.assertEqual(runtime.stats["directives_repeated"], 1)

    async def test_outcomes_that_could_not_be_told_are_told_after_a_reconnect_and_the_memory_is_bounded(self) -> None:
        ran: list[str] = []

        def handle(directive: Any) -> DirectiveResult:
            ran.append(directive.id)
            return DirectiveResult("done")

        self.fake.acknowledge_status = grpc.StatusCode.UNAVAILABLE
        runtime = await self.attach(on_directive=handle, remembered_directives=2)
        self.fake.send(wake("1"), wake("2"), wake("3"))
        await until("they ran", lambda: len(ran) == 3)
        await self.fake.stop()
        await until("it is away", lambda: runtime.state == "away")
        self.fake.acknowledge_status = None
        await self.fake.start()
        await until("they were told", lambda: len(self.fake.acknowledged) == 3)
        self.fake.send(wake("2"), wake("3"), wake("1"))
        await until("they were told again", lambda: len(self.fake.acknowledged) == 6)
        self.assertEqual(ran, ["1", "2", "3", "1"], "the oldest was forgotten")

    async def test_directives_at_once_are_bounded_and_one_that_is_taken_back_is_cancelled(self) -> None:
        ran: list[str] = []
        cancelled: list[str] = []

        async def handle(directive: Any) -> DirectiveResult:
            ran.append(directive.id)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(directive.id)
                raise
            return DirectiveResult("done")

        await self.attach(on_directive=handle)
        self.fake.send(*(wake(f"d{n}") for n in range(257)))
        await until("the last was put off", lambda: len(self.fake.acknowledged) == 1)
        busy = directive_pb2.DIRECTIVE_OUTCOME_BUSY
        self.assertEqual((self.fake.acknowledged, len(ran)), ([("d256", busy)], 256))
        self.fake.send(directive_pb2.Directive(withdrawn=directive_pb2.Withdrawn(directive_id="d7")))
        await until("it was cancelled", lambda: cancelled == ["d7"])
        self.assertEqual(len(self.fake.acknowledged), 1)

    async def test_without_a_handler_a_directive_is_unsupported_and_an_unknown_kind_too(self) -> None:
        await self.attach()
        self.fake.send(directive_pb2.Directive(directive_id="x"))
        await until("it was told", lambda: len(self.fake.acknowledged) == 1)
        self.assertEqual(self.fake.acknowledged, [("x", directive_pb2.DIRECTIVE_OUTCOME_UNSUPPORTED)])

    async def test_events_of_a_stream_that_broke_are_written_again_in_order_with_their_positions(self) -> None:
        self.fake.break_publishes = 2
        runtime = await self.attach()
        for n in range(1, 601):
            self.assertTrue(runtime.publish(event(f"r{n % 2}", n)))
        self.assertTrue(runtime.publish(AgentEvent("r0", "lifecycle", {"phase": "end"}, terminal=True)))
        self.assertTrue(await runtime.flush(20_000))
        order = list(dict.fromkeys((event.run_id, event.seq) for event in self.fake.events))
        self.assertEqual(order, [(f"r{n % 2}", (n + 1) // 2) for n in range(1, 601)] + [("r0", 301)])
        self.assertEqual(self.fake.publishes, 3)

    async def test_events_are_confirmed_on_one_long_stream_and_only_others_are_written_again(self) -> None:
        runtime = await self.attach()
        runtime.publish(event("r", 1))
        self.assertTrue(await runtime.flush(20_000))
        # It stays open while nothing is published.
        await asyncio.sleep(0.2)
        self.fake.confirms_at_most = 3
        for n in range(2, 6):
            runtime.publish(event("r", n))
        await until("all were read", lambda: len(self.fake.events) == 5)
        await until("some are confirmed", lambda: runtime.stats["published"] == 3)
        self.assertFalse(await runtime.flush(10))
        self.assertEqual(self.fake.publishes, 1)
        await self.fake.stop()
        await until("it is away", lambda: runtime.state == "away")
        self.fake.confirms_at_most = 1 << 60
        await self.fake.start()
        self.assertTrue(await runtime.flush(20_000))
        self.assertEqual([told.seq for told in self.fake.events], [1, 2, 3, 4, 5, 4, 5])
        self.assertEqual((self.fake.publishes, runtime.stats["published"]), (2, 5))

    async def test_no_more_than_a_window_of_events_is_written_ahead(self) -> None:
        self.fake.confirms_at_most = 0
        runtime = await self.attach()
        for n in range(2000):
            runtime.publish(event("r", n))
        await until("a window was read", lambda: len(self.fake.events) >= 1024)
        await asyncio.sleep(0.1)
        self.assertEqual(len(self.fake.events), 1024)

    async def test_the_buffer_of_events_is_bounded_while_the_supervisor_is_away(self) -> None:
        runtime = await self.attach(event_buffer_events=10)
        await self.fake.stop()
        await until("it is away", lambda: runtime.state == "away")
        self.assertEqual([runtime.publish(event("r", n)) for n in range(12)], [True] * 10 + [False] * 2)
        self.assertTrue(runtime.publish(AgentEvent("r", "lifecycle", {}, terminal=True)), "an end finds room")
        self.assertEqual(runtime.stats["events_dropped"], 3)
        self.assertFalse(await runtime.flush(10))
        await self.fake.start()
        self.assertTrue(await runtime.flush(20_000))
        told = [(event.seq, event.stream) for event in self.fake.events]
        self.assertEqual(told, [(n, "tool") for n in range(1, 10)] + [(10, "lifecycle")])

    async def test_attached_again_with_the_same_incarnation_and_the_runs_that_go_on(self) -> None:
        runtime = await self.attach(incarnation=77, served_hooks=["before_tool_call"], software="test 1")
        await runtime.call_hook(exec_call(run="goes-on", session=SessionRef("agent:main:main")))
        await runtime.call_hook(exec_call(run="ends"))
        runtime.publish(AgentEvent("ends", "lifecycle", {}, terminal=True))
        await runtime.call_hook(exec_call(run="ends"))
        await self.fake.stop()
        await until("it is away", lambda: runtime.state == "away")
        answer = await runtime.call_hook(exec_call())
        self.assert_failed(answer, "stop", "away")
        self.assertFalse(answer.called)
        self.assertEqual((await runtime.call_hook(sending())).verdict, "go_on")
        self.fake.lost_run_ids = ["goes-on"]
        await self.fake.start()
        self.assertTrue(await runtime.attached())
        first, second = self.fake.attaches
        self.assertEqual((first.incarnation, second.incarnation, second.software), (77, 77, "test 1"))
        self.assertEqual(list(second.served_hooks), [hook_pb2.HOOK_BEFORE_TOOL_CALL])
        runs = [[(live.run.id, live.session.key) for live in attach.live_runs] for attach in (first, second)]
        self.assertEqual(runs, [[], [("goes-on", "agent:main:main")]])
        await self.fake.stop()
        await until("it is away", lambda: runtime.state == "away")
        await self.fake.start()
        await until("it attached again", lambda: len(self.fake.attaches) == 3)
        self.assertEqual(list(self.fake.attaches[2].live_runs), [], "what is lost stays lost")
        told = [(attach.all_runs_live, attach.only_if_free) for attach in self.fake.attaches]
        self.assertEqual(told, [(False, False), (True, False), (True, False)])
        self.assertTrue(await runtime.attached())
        self.assertEqual((await runtime.call_hook(exec_call())).verdict, "go_on")

    async def test_runs_go_on_by_the_list_where_there_is_one_or_where_an_end_could_not_be_told(self) -> None:
        runtime = await self.attach(only_if_free=True)
        await self.fake.stop()
        await until("it is away", lambda: runtime.state == "away")
        with self.assertRaises(RuntimeCallError):
            await runtime.end_run("r", "completed")
        await self.fake.start()
        self.assertTrue(await runtime.attached())
        await self.fake.stop()
        await until("it is away again", lambda: runtime.state == "away")
        await self.fake.start()
        await until("it attached again", lambda: len(self.fake.attaches) == 3)
        await runtime.close(0)
        own = self.fake.runtime(live_runs=lambda: [LiveRun("mine")])
        for _ in range(2):
            own.start()
            self.assertTrue(await own.attached())
            await self.fake.stop()
            await until("it is away", lambda: own.state == "away")
            await self.fake.start()
        told = [(attach.all_runs_live, attach.only_if_free) for attach in self.fake.attaches]
        self.assertEqual(told[:3], [(False, True), (False, True), (True, True)])
        self.assertEqual(set(told[3:]), {(False, False)})

    async def test_why_a_call_on_the_stream_was_refused_is_told_in_full(self) -> None:
        self.fake.refuse = True
        runtime = await self.fast()
        answer = await runtime.call_hook(exec_call())
        self.assert_failed(answer, "stop", "refused")
        error = answer.failure and answer.failure.error
        assert error is not None
        self.assertEqual((error.reason, error.metadata), ("RUN_ENDED", {"run_id": "r"}))

    async def test_a_turn_that_nobody_has_anything_for_is_not_prepared(self) -> None:
        runtime = await self.attach()
        skipped = await runtime.prepare_turn(SessionRef("agent:main:main"), "r")
        self.assertEqual((skipped.called, skipped.failure, skipped.epoch), (False, None, 1))
        self.assertEqual(runtime.stats["skipped"], 1)
        self.fake.contributions = {"prepare_turns": True}
        self.fake.contribute()
        await until("it was told", lambda: bool(runtime.contributions and runtime.contributions.prepare_turns))
        asked = await runtime.prepare_turn(SessionRef("agent:main:main"), "r")
        self.assertEqual((asked.called, asked.failure and asked.failure.code), (True, grpc.StatusCode.UNIMPLEMENTED))

    async def test_events_that_were_wanted_wait_while_plugins_start_again(self) -> None:
        self.fake.contributions = {"event_streams": ["tool"]}
        runtime = await self.attach()
        await self.fake.stop()
        await until("it is away", lambda: runtime.state == "away")
        self.fake.contributions = {"starting": True}
        await self.fake.start()
        self.assertTrue(await runtime.attached())
        self.assertTrue(runtime.wants_stream("tool"))
        self.assertTrue(runtime.publish(event("r", 1)))
        self.assertTrue(runtime.publish(AgentEvent("s", "lifecycle", {}, terminal=True)))
        await until("the other run's end is there", lambda: len(self.fake.events) == 1)
        self.assertEqual(self.fake.events[0].run_id, "s")
        self.fake.contributions = {"event_streams": ["tool"]}
        self.fake.contribute()
        self.assertTrue(await runtime.flush(20_000))
        self.assertEqual([event.run_id for event in self.fake.events], ["s", "r"])

    async def test_whose_place_another_start_took_waits_until_it_is_free_and_takes_it_back_when_started(self) -> None:
        runtime, attaches = await self.attach(), self.fake.attaches

        async def lose() -> None:
            self.fake.attach_status = grpc.StatusCode.ABORTED
            await self.fake.stop()
            await self.fake.start()
            await until("it was told", lambda: runtime.displaced)
            before = len(attaches)
            await until("it asks for a free place, again and again", lambda: len(attaches) >= before + 2)
            self.assertTrue(all(attach.only_if_free for attach in attaches[before:]))
            self.assertEqual(runtime.state, "away")

        await lose()
        self.fake.attach_status = None
        self.assertTrue(await runtime.attached())
        self.assertEqual((runtime.displaced, attaches[-1].only_if_free), (False, True))
        await lose()
        self.fake.attach_status = None
        runtime.start()
        self.assertTrue(await runtime.attached())
        self.assertEqual((runtime.displaced, attaches[-1].only_if_free), (False, False))

    async def test_a_wrong_key_is_told_and_one_that_is_put_right_is_read(self) -> None:
        await self.fake.start()
        path = self.fake.directory / "other.key"
        path.write_text(f"default:{'f' * 64}")
        path.chmod(0o600)
        runtime = self.fake.runtime(key_path=str(path))
        runtime.start()
        refused = grpc.StatusCode.UNAUTHENTICATED
        await until("it was refused", lambda: getattr(runtime.last_error, "code", None) is refused)
        self.assertEqual(runtime.state, "connecting")
        self.assertEqual((await runtime.call_hook(exec_call())).verdict, "stop", "never heard: denied")
        path.write_text(KEY)
        self.assertTrue(await runtime.attached())

    async def test_what_a_callback_raises_changes_nothing(self) -> None:
        told: list[Any] = []

        def boom(*arguments: Any) -> Any:
            told.append(arguments)
            raise ValueError("boom")

        runtime = await self.attach(on_state_change=boom, on_contributions=boom, live_runs=boom)
        self.assertEqual((await runtime.call_hook(exec_call())).verdict, "go_on")
        self.assertGreaterEqual(len(told), 3)

    async def test_a_closed_client_answers_at_once_and_leaves_no_task(self) -> None:
        self.fake.hold = True
        runtime = await self.fast()
        held = asyncio.create_task(runtime.call_hook(exec_call()))
        await until("it was read", lambda: len(self.fake.calls) == 1)
        runtime.publish(event("r", 1))
        await runtime.close()
        await runtime.close()
        self.assertEqual(len(self.fake.events), 1, "events are flushed")
        self.assertEqual((await held).verdict, "stop")
        self.assert_failed(await runtime.call_hook(exec_call()), "stop", "away")
        self.assertFalse(runtime.publish(event("r", 1)))
        with self.assertRaises(RuntimeCallError) as caught:
            await runtime.list_tools()
        self.assertEqual(caught.exception.reason, "SUPERVISOR_AWAY")
        self.assertFalse(await runtime.attached())
        runtime.start()
        self.assertEqual(runtime.state, "closed")
        own = [task for task in asyncio.all_tasks() if "outrigger_runtime" in repr(task.get_coro())]
        self.assertEqual(own, [])

    async def test_a_process_with_a_closed_client_ends_by_itself(self) -> None:
        await self.fake.start()
        script = """
import asyncio, sys
from outrigger_runtime import HookCall, Runtime, RuntimeOptions

async def main():
    async with Runtime(RuntimeOptions(socket_path=sys.argv[1], key_path=sys.argv[2])) as runtime:
        attached = await runtime.attached()
        call = HookCall("before_tool_call", {"params": {}}, tool_name="exec", tool_call_id="1")
        print(attached, (await runtime.call_hook(call)).verdict)

asyncio.run(main())
"""
        package = Path(__file__).resolve().parents[1]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", script, str(self.fake.socket), str(self.fake.key)),
            cwd=package,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 60)
        self.assertEqual((process.returncode, out.decode().strip()), (0, "True go_on"))


if __name__ == "__main__":
    unittest.main()
