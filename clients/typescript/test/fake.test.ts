/** The client against a server that plays the supervisor: what a real one cannot be made to do. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";

import { status } from "@grpc/grpc-js";

import { DirectiveOutcome } from "../src/gen/outrigger/runtime/v1/directive_pb.js";
import { Hook } from "../src/gen/outrigger/types/v1/hook_pb.js";
import type { DirectiveResult, HookAnswer, HookCall, Runtime, RuntimeOptions } from "../src/index.js";
import { PACKAGE } from "./cases.js";
import { Fake, until } from "./fake.js";

const LIMIT = { timeout: 120_000 };

async function world(t: TestContext, options: RuntimeOptions = {}, setUp: (fake: Fake) => void = () => {}) {
  const fake = new Fake();
  t.after(() => fake.end());
  setUp(fake);
  await fake.start();
  const runtime = fake.runtime(options);
  runtime.start();
  assert.ok(await runtime.attached(), String(runtime.lastError));
  return { fake, runtime };
}

const fast = (runtime: Runtime): Promise<void> => until("the fast stream is open", () => runtime.fast);

let lastCall = 0;
function exec(runtime: Runtime, more: Partial<HookCall> = {}): Promise<HookAnswer> {
  lastCall += 1;
  const event = { toolName: "exec", params: {} };
  return runtime.callHook({
    hook: "before_tool_call",
    event,
    toolName: "exec",
    toolCallId: `call-${lastCall}`,
    ...more,
  });
}

test("a hook that nobody wants leaves the client in no form", LIMIT, async (t) => {
  const { fake, runtime } = await world(t);
  await fast(runtime);
  for (const call of [exec(runtime, { toolName: "read" }), runtime.callHook({ hook: "llm_input", event: {} })]) {
    const { verdict, called } = await call;
    assert.deepEqual({ verdict, called }, { verdict: "go_on", called: false });
  }
  await exec(runtime);
  assert.equal(fake.seen.calls.length, 1);
  assert.equal(fake.seen.unary.length, 0);
  assert.equal(runtime.stats.skipped, 2);
});

test(
  "calls in flight when the stream breaks are undecided, asked once, and fail as their hook does; the next go one by one",
  LIMIT,
  async (t) => {
    const { fake, runtime } = await world(t, { backoff: { minMs: 200, maxMs: 400 } }, (fake) => {
      fake.onCall = "hold";
    });
    await fast(runtime);
    const guarded = exec(runtime);
    const open = runtime.callHook({ hook: "message_sending", event: { content: "x" } });
    await until("both were read", () => fake.seen.calls.length === 2);
    fake.breakStreams();
    const [stopped, passed] = await Promise.all([guarded, open]);
    assert.equal(stopped.verdict, "stop");
    assert.equal(stopped.failure?.kind, "broken");
    assert.match(stopped.reason ?? "", /^outrigger: the stream of hooks broke/);
    assert.equal(passed.verdict, "go_on");
    assert.equal(passed.failure?.kind, "broken");
    assert.equal(runtime.state, "attached");
    assert.equal((await exec(runtime)).verdict, "go_on");
    assert.equal(fake.seen.unary.length, 1);
    assert.equal(fake.seen.calls.length, 2, "nothing was asked twice");
    fake.onCall = "go_on";
    await fast(runtime);
    assert.equal((await exec(runtime)).verdict, "go_on");
    assert.equal(fake.seen.unary.length, 1);
    assert.equal(runtime.stats.streamBreaks, 1);
  },
);

test("where there is no stream of hooks every call goes by itself", LIMIT, async (t) => {
  const { fake, runtime } = await world(t, {}, (fake) => {
    fake.streamStatus = status.UNIMPLEMENTED;
  });
  await until("the stream was refused", () => runtime.stats.streamBreaks === 1);
  assert.equal((await exec(runtime)).verdict, "go_on");
  assert.equal(fake.seen.unary.length, 1);
  assert.equal(fake.seen.streams, 1, "it is not tried again");
});

test("an aborted call ends at once and is cancelled for real", LIMIT, async (t) => {
  const { fake, runtime } = await world(t, {}, (fake) => {
    fake.onCall = "hold";
  });
  await fast(runtime);
  const abort = new AbortController();
  const call = exec(runtime, { signal: abort.signal });
  await until("it was read", () => fake.seen.calls.length === 1);
  abort.abort();
  const answer = await call;
  assert.equal(answer.verdict, "stop");
  assert.equal(answer.failure?.kind, "aborted");
  await until("the cancel was read", () => fake.seen.cancelled.length === 1);
  assert.equal(fake.seen.cancelled[0], fake.seen.calls[0]?.[0]);
  const late = await exec(runtime, { signal: abort.signal });
  assert.deepEqual([late.verdict, late.called], ["stop", false]);
  assert.equal(fake.seen.calls.length, 1, "a call that is aborted before is not made");
  assert.equal(runtime.stats.inFlight, 0);
});

test("a supervisor that does not answer is waited for within the client's own bound", LIMIT, async (t) => {
  const { fake, runtime } = await world(t, { callTimeoutMs: 50 }, (fake) => {
    fake.onCall = "hold";
  });
  await fast(runtime);
  const answer = await exec(runtime);
  assert.equal(answer.failure?.kind, "timeout");
  assert.match(answer.reason ?? "", /did not answer within \d+ ms/);
  await until("it was cancelled", () => fake.seen.cancelled.length === 1);
});

test(
  "calls in flight are bounded, in number and bytes, by the setting and by what the supervisor takes",
  LIMIT,
  async (t) => {
    const { fake, runtime } = await world(t, { maxCallsInFlight: 3 }, (fake) => {
      fake.onCall = "hold";
      fake.limits = { maxCallsInFlight: 2, maxPayloadBytes: 1000n };
    });
    await fast(runtime);
    const held = [exec(runtime), exec(runtime)];
    const third = await exec(runtime);
    assert.deepEqual([third.verdict, third.failure?.kind], ["stop", "overloaded"]);
    assert.equal(runtime.stats.inFlight, 2);
    fake.breakStreams();
    await Promise.all(held);
    assert.equal(runtime.stats.inFlight, 0);
    const long = await exec(runtime, { event: { params: { text: "x".repeat(1000) } } });
    assert.deepEqual([long.verdict, long.failure?.kind], ["stop", "invalid"]);
    const bytes = fake.runtime({ maxBytesInFlight: 1500 });
    bytes.start();
    await bytes.attached();
    await fast(bytes);
    const one = exec(bytes);
    assert.equal((await exec(bytes)).failure?.kind, "overloaded");
    fake.breakStreams();
    await one;
  },
);

test("calls that were given up count until the supervisor has answered them", LIMIT, async (t) => {
  const { fake, runtime } = await world(t, { callTimeoutMs: 20, maxCallsInFlight: 2 }, (fake) => {
    fake.onCall = "deaf";
  });
  await fast(runtime);
  const two = await Promise.all([exec(runtime, { timeoutMs: 1 }), exec(runtime, { timeoutMs: 1 })]);
  assert.deepEqual(
    two.map(({ failure }) => failure?.kind),
    ["timeout", "timeout"],
  );
  assert.equal((await exec(runtime)).failure?.kind, "overloaded");
  assert.equal(fake.seen.calls.length, 2);
  fake.onCall = "go_on";
  fake.breakStreams();
  await until("the stream is open again", () => runtime.fast && fake.seen.streams === 2);
  assert.equal((await exec(runtime)).verdict, "go_on");
});

test("a call that cannot be sent fails as its hook does, and no other with it", LIMIT, async (t) => {
  const { runtime } = await world(t);
  await fast(runtime);
  const cycle: Record<string, never> = {};
  (cycle as Record<string, unknown>).self = cycle;
  assert.deepEqual((await exec(runtime, { event: cycle })).failure?.kind, "invalid");
  assert.equal((await exec(runtime, { event: cycle })).verdict, "stop");
  assert.equal((await runtime.callHook({ hook: "message_sending", event: cycle })).verdict, "go_on");
  assert.equal((await runtime.callHook({ hook: "no_hook" as "agent_end", event: {} })).verdict, "stop");
  assert.equal((await exec(runtime)).verdict, "go_on");
});

test(
  "an answer under a newer epoch makes the next call wait for the contributions that are on their way",
  LIMIT,
  async (t) => {
    const { fake, runtime } = await world(t);
    await fast(runtime);
    fake.answerEpoch = 2n;
    await exec(runtime);
    fake.contributions = { hooks: [{ hook: Hook.BEFORE_TOOL_CALL, failClosed: true }] };
    const asked = exec(runtime, { toolName: "read" });
    await new Promise((resolve) => setImmediate(resolve));
    fake.contribute();
    assert.equal((await asked).called, true);
    assert.equal(runtime.contributions?.epoch, 2n);
  },
);

test("the conversation is asked for only if it is wanted, and left out where it is too long", LIMIT, async (t) => {
  const { fake, runtime } = await world(t, {}, (fake) => {
    fake.limits = { maxStreamMessageBytes: 100_000n };
    fake.contributions = { hooks: [{ hook: Hook.LLM_INPUT }, { hook: Hook.LLM_OUTPUT, wantsMessages: true }] };
  });
  await fast(runtime);
  const never = () => assert.fail("nobody wants it");
  assert.equal((await runtime.callHook({ hook: "llm_input", event: {}, messages: never })).called, true);
  assert.equal(runtime.wantsConversation("llm_output"), true);
  const answer = await runtime.callHook({ hook: "llm_output", event: {}, messages: () => ["x".repeat(100_000)] });
  assert.equal(answer.verdict, "go_on");
  assert.deepEqual(
    fake.seen.invocations.map(({ messagesJson, messagesOmitted }) => [messagesJson.length, messagesOmitted]),
    [
      [0, false],
      [0, true],
    ],
  );
  await runtime.callHook({ hook: "llm_output", event: {}, messages: ["x"] });
  assert.equal(Buffer.from(fake.seen.invocations[2]?.messagesJson ?? []).toString(), '["x"]');
});

test("directives are carried out once, acknowledged, and answered again with the same outcome", LIMIT, async (t) => {
  const ran: string[] = [];
  const outcomes: Record<string, DirectiveResult> = { a: { outcome: "done" }, b: { outcome: "busy", retryAfterMs: 5 } };
  const { fake, runtime } = await world(t, {
    onDirective: ({ id }) => {
      ran.push(id);
      if (id === "c") throw new Error("no");
      return outcomes[id] ?? { outcome: "accepted" };
    },
  });
  const wake = (directiveId: string) => ({
    directiveId,
    kind: { case: "wake", value: { reason: "x" } as never } as const,
  });
  const told = (id: string) => fake.seen.acknowledged.filter(([told]) => told === id).map(([, outcome]) => outcome);
  fake.send(wake("a"), wake("b"), wake("c"), wake("d"));
  await until("all were acknowledged", () => fake.seen.acknowledged.length === 4);
  fake.send(wake("a"), wake("b"));
  await until("they were again", () => fake.seen.acknowledged.length === 6);
  assert.deepEqual(ran, ["a", "b", "c", "d", "b"]);
  assert.deepEqual(told("a"), [DirectiveOutcome.DONE, DirectiveOutcome.DONE]);
  assert.deepEqual(told("b"), [DirectiveOutcome.BUSY, DirectiveOutcome.BUSY]);
  assert.deepEqual(told("c"), [DirectiveOutcome.FAILED]);
  runtime.acknowledge("d", { outcome: "done", runId: "r" });
  await until("the end was told", () => told("d").length === 2);
  assert.equal(runtime.stats.directivesRepeated, 1);
});

test(
  "outcomes that could not be told are told after a reconnect; the memory of outcomes is bounded",
  LIMIT,
  async (t) => {
    const ran: string[] = [];
    const { fake, runtime } = await world(
      t,
      {
        rememberedDirectives: 2,
        onDirective: ({ id }) => {
          ran.push(id);
          return { outcome: "done" };
        },
      },
      (fake) => {
        fake.acknowledgeStatus = status.UNAVAILABLE;
      },
    );
    const wake = (directiveId: string) => ({ directiveId, kind: { case: "wake", value: {} as never } as const });
    fake.send(wake("1"), wake("2"), wake("3"));
    await until("they ran", () => ran.length === 3);
    fake.stop();
    await until("it is away", () => runtime.state === "away");
    fake.acknowledgeStatus = undefined;
    await fake.start();
    await until("they were told", () => fake.seen.acknowledged.length === 3);
    fake.send(wake("2"), wake("3"), wake("1"));
    await until("they were told again", () => fake.seen.acknowledged.length === 6);
    assert.deepEqual(ran, ["1", "2", "3", "1"], "the oldest was forgotten");
  },
);

test("directives at once are bounded; one that is taken back is aborted and not acknowledged", LIMIT, async (t) => {
  const ran: string[] = [];
  const aborted: string[] = [];
  const { fake } = await world(t, {
    onDirective: ({ id, signal }) => {
      ran.push(id);
      return new Promise((resolve) => {
        signal.addEventListener("abort", () => {
          aborted.push(id);
          resolve({ outcome: "done" });
        });
      });
    },
  });
  const many = Array.from({ length: 257 }, (_, index) => `d${index}`);
  fake.send(...many.map((directiveId) => ({ directiveId, kind: { case: "wake", value: {} as never } as const })));
  await until("the last was put off", () => fake.seen.acknowledged.length === 1);
  assert.deepEqual(fake.seen.acknowledged, [["d256", DirectiveOutcome.BUSY]]);
  assert.equal(ran.length, 256);
  fake.send({ kind: { case: "withdrawn", value: { subject: { case: "directiveId", value: "d7" } } as never } });
  await until("it was aborted", () => aborted.length === 1);
  assert.deepEqual(aborted, ["d7"]);
  assert.equal(fake.seen.acknowledged.length, 1);
});

test("without a handler a directive is unsupported, and an unknown kind too", LIMIT, async (t) => {
  const { fake } = await world(t);
  fake.send({ directiveId: "x" });
  await until("it was told", () => fake.seen.acknowledged.length === 1);
  assert.deepEqual(fake.seen.acknowledged, [["x", DirectiveOutcome.UNSUPPORTED]]);
});

test("events of a stream that broke are written again, in order, with their positions", LIMIT, async (t) => {
  const { fake, runtime } = await world(t, {}, (fake) => {
    fake.breakPublishes = 2;
  });
  for (let n = 1; n <= 600; n += 1) assert.ok(runtime.publish({ runId: `r${n % 2}`, stream: "tool", data: n }));
  assert.ok(runtime.publish({ runId: "r0", stream: "lifecycle", data: { phase: "end" }, terminal: true }));
  assert.ok(await runtime.flush(20_000));
  const seen = new Set<string>();
  const order: string[] = [];
  for (const { runId, seq } of fake.seen.events) {
    const key = `${runId}/${seq}`;
    if (!seen.has(key)) order.push(key);
    seen.add(key);
  }
  const wanted = [];
  for (let n = 1; n <= 600; n += 1) wanted.push(`r${n % 2}/${Math.ceil(n / 2)}`);
  assert.deepEqual(order, [...wanted, "r0/301"]);
  assert.equal(fake.seen.publishes, 3);
});

test("events are confirmed on one long stream, and only what was not confirmed is written again", LIMIT, async (t) => {
  const { fake, runtime } = await world(t);
  const publish = (n: number) => runtime.publish({ runId: "r", stream: "tool", data: n });
  publish(1);
  assert.ok(await runtime.flush(20_000));
  // It stays open while nothing is published.
  await new Promise((resolve) => setTimeout(resolve, 200));
  fake.confirmsAtMost = 3n;
  for (let n = 2; n <= 5; n += 1) publish(n);
  await until("all were read", () => fake.seen.events.length === 5);
  await until("some are confirmed", () => runtime.stats.published === 3);
  assert.equal(await runtime.flush(10), false);
  assert.equal(fake.seen.publishes, 1);
  fake.stop();
  await until("it is away", () => runtime.state === "away");
  fake.confirmsAtMost = 1n << 60n;
  await fake.start();
  assert.ok(await runtime.flush(20_000));
  assert.deepEqual(
    fake.seen.events.map(({ seq }) => Number(seq)),
    [1, 2, 3, 4, 5, 4, 5],
  );
  assert.deepEqual([fake.seen.publishes, runtime.stats.published], [2, 5]);
});

test("no more than a window of events is written ahead of what is confirmed", LIMIT, async (t) => {
  const { fake, runtime } = await world(t, {}, (fake) => {
    fake.confirmsAtMost = 0n;
  });
  for (let n = 1; n <= 2000; n += 1) runtime.publish({ runId: "r", stream: "tool", data: n });
  await until("a window was read", () => fake.seen.events.length >= 1024);
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(fake.seen.events.length, 1024);
});

test("the buffer of events is bounded while the supervisor is away; what it holds comes in order", LIMIT, async (t) => {
  const { fake, runtime } = await world(t, { eventBuffer: { events: 10 } });
  fake.stop();
  await until("it is away", () => runtime.state === "away");
  for (let n = 1; n <= 12; n += 1) assert.equal(runtime.publish({ runId: "r", stream: "tool", data: n }), n <= 10);
  assert.ok(runtime.publish({ runId: "r", stream: "lifecycle", data: {}, terminal: true }), "an end finds room");
  assert.equal(runtime.stats.eventsDropped, 3);
  assert.equal(await runtime.flush(10), false);
  await fake.start();
  assert.ok(await runtime.flush(20_000));
  const stream = (n: bigint) => (n === 10n ? "lifecycle" : "tool");
  assert.deepEqual(
    fake.seen.events.map(({ seq, stream }) => [seq, stream]),
    Array.from({ length: 10 }, (_, n) => [BigInt(n + 1), stream(BigInt(n + 1))]),
  );
});

test("attached again with the same incarnation and the runs that go on", LIMIT, async (t) => {
  const { fake, runtime } = await world(t, { incarnation: 77n, servedHooks: ["before_tool_call"], software: "test 1" });
  await exec(runtime, { run: "goes-on", session: { key: "agent:main:main" } });
  await exec(runtime, { run: "ends" });
  runtime.publish({ runId: "ends", stream: "lifecycle", data: {}, terminal: true });
  await exec(runtime, { run: "ends" });
  fake.stop();
  await until("it is away", () => runtime.state === "away");
  const answer = await exec(runtime);
  assert.deepEqual([answer.verdict, answer.failure?.kind, answer.called], ["stop", "away", false]);
  assert.equal((await runtime.callHook({ hook: "message_sending", event: {} })).verdict, "go_on");
  fake.lostRunIds = ["goes-on"];
  await fake.start();
  assert.ok(await runtime.attached());
  const [first, second] = fake.seen.attaches;
  assert.deepEqual([first?.incarnation, second?.incarnation], [77n, 77n]);
  assert.deepEqual([second?.servedHooks, second?.software], [[Hook.BEFORE_TOOL_CALL], "test 1"]);
  const runs = (index: number) =>
    fake.seen.attaches[index]?.liveRuns.map(({ run, session }) => [run?.id, session?.key]);
  assert.deepEqual(runs(0), []);
  assert.deepEqual(runs(1), [["goes-on", "agent:main:main"]]);
  fake.stop();
  await until("it is away", () => runtime.state === "away");
  await fake.start();
  await until("it attached again", () => fake.seen.attaches.length === 3);
  assert.deepEqual(runs(2), [], "what is lost stays lost");
  assert.deepEqual(
    fake.seen.attaches.map(({ allRunsLive, onlyIfFree }) => [allRunsLive, onlyIfFree]),
    [
      [false, false],
      [true, false],
      [true, false],
    ],
  );
  assert.ok(await runtime.attached());
  assert.equal((await exec(runtime)).verdict, "go_on");
});

test("runs go on by the list where the runtime gives one, or where an end could not be told", LIMIT, async (t) => {
  const { fake, runtime } = await world(t, { onlyIfFree: true });
  const own = fake.runtime({ liveRuns: () => [{ runId: "mine" }] });
  fake.stop();
  await until("it is away", () => runtime.state === "away");
  await assert.rejects(runtime.endRun("r", "completed"), { reason: "SUPERVISOR_AWAY" });
  await fake.start();
  assert.ok(await runtime.attached());
  own.start();
  assert.ok(await own.attached());
  fake.stop();
  await until("both are away", () => runtime.state === "away" && own.state === "away");
  await fake.start();
  assert.ok((await runtime.attached()) && (await own.attached()));
  const told = (free: boolean) =>
    fake.seen.attaches.filter(({ onlyIfFree }) => onlyIfFree === free).map(({ allRunsLive }) => allRunsLive);
  assert.deepEqual(told(true), [false, false, true]);
  assert.deepEqual(told(false), [false, false]);
});

test("why a call on the stream was refused is told in full", LIMIT, async (t) => {
  const { fake, runtime } = await world(t, {}, (fake) => {
    fake.onCall = "refuse";
  });
  await fast(runtime);
  const { verdict, failure } = await exec(runtime);
  assert.deepEqual([verdict, failure?.kind, failure?.error?.reason], ["stop", "refused", "RUN_ENDED"]);
  assert.deepEqual(failure?.error?.metadata, { run_id: "r" });
  assert.equal(fake.seen.calls.length, 1);
});

test("a turn that nobody has anything for is not prepared", LIMIT, async (t) => {
  const { fake, runtime } = await world(t);
  const turn = { session: { key: "agent:main:main" }, run: "r", event: {} };
  const skipped = await runtime.prepareTurn(turn);
  assert.deepEqual([skipped.called, skipped.failure, skipped.epoch], [false, undefined, 1n]);
  assert.equal(runtime.stats.skipped, 1);
  fake.contributions = { ...fake.contributions, prepareTurns: true };
  fake.contribute();
  await until("it was told", () => runtime.contributions?.prepareTurns === true);
  const asked = await runtime.prepareTurn(turn);
  assert.deepEqual([asked.called, asked.failure?.code], [true, status.UNIMPLEMENTED], "this server has no such call");
});

test("events that were wanted wait while plugins start again", LIMIT, async (t) => {
  const { fake, runtime } = await world(t, {}, (fake) => {
    fake.contributions = { eventStreams: ["tool"] };
  });
  fake.stop();
  await until("it is away", () => runtime.state === "away");
  fake.contributions = { starting: true };
  await fake.start();
  assert.ok(await runtime.attached());
  assert.equal(runtime.wantsStream("tool"), true);
  assert.ok(runtime.publish({ runId: "r", stream: "tool", data: 1 }));
  assert.ok(runtime.publish({ runId: "s", stream: "lifecycle", data: {}, terminal: true }));
  await until("the other run's end is there", () => fake.seen.events.length === 1);
  assert.equal(fake.seen.events[0]?.runId, "s");
  fake.contributions = { eventStreams: ["tool"] };
  fake.contribute();
  assert.ok(await runtime.flush(20_000));
  assert.deepEqual(
    fake.seen.events.map(({ runId }) => runId),
    ["s", "r"],
  );
});

test("whose place another start took waits until it is free, and takes it back when started", LIMIT, async (t) => {
  const { fake, runtime } = await world(t);
  const lose = async (): Promise<void> => {
    fake.attachStatus = status.ABORTED;
    fake.stop();
    await fake.start();
    await until("it was told", () => runtime.displaced);
    const { length } = fake.seen.attaches;
    await until("it asks for a free place, again and again", () => fake.seen.attaches.length >= length + 2);
    assert.ok(fake.seen.attaches.slice(length).every(({ onlyIfFree }) => onlyIfFree));
    assert.equal(runtime.state, "away");
  };
  await lose();
  fake.attachStatus = undefined;
  assert.ok(await runtime.attached());
  assert.deepEqual([runtime.displaced, fake.seen.attaches.at(-1)?.onlyIfFree], [false, true]);
  await lose();
  const { length } = fake.seen.attaches;
  fake.attachStatus = undefined;
  runtime.start();
  assert.ok(await runtime.attached());
  assert.deepEqual([runtime.displaced, fake.seen.attaches.slice(length).map(({ onlyIfFree }) => onlyIfFree).at(-1)], [false, false]);
});

test("a wrong key is told, and one that is put right is read", LIMIT, async (t) => {
  const fake = await new Fake().start();
  t.after(() => fake.end());
  const keyPath = join(fake.directory, "other.key");
  writeFileSync(keyPath, `default:${"f".repeat(64)}`, { mode: 0o600 });
  const runtime = fake.runtime({ keyPath });
  runtime.start();
  await until("it was refused", () => runtime.lastError?.code === status.UNAUTHENTICATED);
  assert.equal(runtime.state, "connecting");
  assert.equal((await exec(runtime)).verdict, "stop", "never heard: denied");
  writeFileSync(keyPath, `default:${"0123456789abcdef".repeat(4)}`);
  assert.ok(await runtime.attached());
});

test("what a callback throws changes nothing", LIMIT, async (t) => {
  const told: string[] = [];
  const boom = () => {
    throw new Error("boom");
  };
  const logger = { error: (message: string) => void told.push(message) };
  const { runtime } = await world(t, { onStateChange: boom, onContributions: boom, liveRuns: boom, logger });
  assert.equal((await exec(runtime)).verdict, "go_on");
  assert.ok(told.every((message) => message.includes("boom")) && told.length >= 3, told.join());
});

test("a closed client answers at once, and keeps nothing alive", LIMIT, async (t) => {
  const { fake, runtime } = await world(t, {}, (fake) => {
    fake.onCall = "hold";
  });
  await fast(runtime);
  const held = exec(runtime);
  await until("it was read", () => fake.seen.calls.length === 1);
  runtime.publish({ runId: "r", stream: "tool", data: 1 });
  await runtime.close();
  await runtime.close();
  assert.equal(fake.seen.events.length, 1, "events are flushed");
  assert.equal((await held).verdict, "stop");
  assert.equal((await exec(runtime)).failure?.kind, "away");
  assert.equal(runtime.publish({ runId: "r", stream: "tool", data: 1 }), false);
  await assert.rejects(runtime.listTools(), { reason: "SUPERVISOR_AWAY" });
  assert.equal(await runtime.attached(), false);
  runtime.start();
  assert.equal(runtime.state, "closed");
});

for (const [what, unref, close] of [
  ["closed", false, true],
  ["not closed, with unref", true, false],
] as const) {
  test(`a process with a client that is ${what} ends by itself`, LIMIT, async (t) => {
    const fake = await new Fake().start();
    t.after(() => fake.end());
    const script = `
      import { Runtime } from ${JSON.stringify(join(PACKAGE, "build/src/index.js"))};
      const [socketPath, keyPath] = process.argv.slice(-2);
      const runtime = new Runtime({ socketPath, keyPath, unref: ${unref} });
      runtime.start();
      const attached = await runtime.attached();
      const event = { params: {} };
      const { verdict } = await runtime.callHook({ hook: "before_tool_call", event, toolName: "exec", toolCallId: "1" });
      runtime.publish({ runId: "r", stream: "tool", data: 1 });
      ${close ? "await runtime.close();" : ""}
      console.log(attached, verdict);`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script, fake.socketPath, fake.keyPath]);
    let out = "";
    child.stdout.on("data", (chunk) => (out += chunk));
    child.stderr.on("data", (chunk) => (out += chunk));
    const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
    const code = await new Promise((resolve) => child.on("close", resolve));
    clearTimeout(timer);
    assert.deepEqual([code, out.trim()], [0, "true go_on"]);
  });
}
