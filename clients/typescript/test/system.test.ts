/** The client against the real supervisor with real plugins. */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import {
  type HookAnswer,
  type HookCall,
  type JsonObject,
  type Runtime,
  RuntimeError,
  type ToolEvent,
} from "../src/index.js";
import { until } from "./fake.js";
import { eventReader, fixture, misbehave, recorder, tools, World } from "./world.js";

const LIMIT = { timeout: 240_000 };
const SESSION = { key: "agent:main:main", id: "s-1", agentId: "main" };

let last = 0;
function call(
  runtime: Runtime,
  tool: string,
  params: JsonObject = {},
  more: Partial<HookCall> = {},
): Promise<HookAnswer> {
  last += 1;
  const event = { toolName: tool, params };
  return runtime.callHook({ hook: "before_tool_call", event, toolName: tool, toolCallId: `call-${last}`, ...more });
}

const exec = (runtime: Runtime, command: string): Promise<HookAnswer> => call(runtime, "exec", { command });

/** A run's id that no test used before. */
function run(): string {
  last += 1;
  return `run-${last}`;
}

describe("a supervisor with well-behaved plugins", LIMIT, () => {
  let world: World;
  let runtime: Runtime;

  before(async () => {
    const gate = '{ ask_patterns = ["curl *"], set_params = [{ pattern = "make *", params = { timeout = 60 } }] }';
    const notes = '{ rules = "Be kind.", notes = [{ word = "deploy", text = "Ask first." }] }';
    world = new World([
      fixture("policy-gate", { config: gate }),
      fixture("audit-observer", { lines: '[plugin.hooks.before_tool_call]\non_absent = "skip"\n' }),
      fixture("prompt-contributor", { tier: "trusted", config: notes }),
      fixture("review-assistant", { tier: "trusted" }),
      tools(),
      recorder(),
    ]).start();
    runtime = world.runtime({ software: "client tests" });
    runtime.start();
    await world.ready();
    assert.ok(await runtime.attached());
    await until("contributions of all plugins are here", () => {
      return runtime.wants("before_agent_finalize") !== undefined && runtime.wants("session_start") !== undefined;
    });
    await until("the fast stream is open", () => runtime.fast);
  });
  after(() => world.end());

  test("a call is allowed, and its decision is good once, for its parameters", async () => {
    const answer = await exec(runtime, "ls");
    assert.equal(answer.verdict, "go_on", answer.reason);
    assert.ok(answer.decision);
    assert.equal((await runtime.redeem(answer.decision, { command: "rm" })).ok, false);
    assert.equal((await runtime.redeem({ ...answer.decision, toolCallId: "another" }, { command: "ls" })).ok, false);
    assert.deepEqual(await runtime.redeem(answer.decision, { command: "ls" }), { ok: true });
    assert.equal((await runtime.redeem(answer.decision, { command: "ls" })).ok, false);
    assert.equal(runtime.stats.callsUnary, 0);
  });

  test("the digest is the supervisor's, whatever the parameters look like", async () => {
    const params = {
      z: [1.5e300, -0, 1e21, 0.1, 1e-7],
      "\u20ac": '\ud83d\ude00\u0001"\\',
      a: { b: null },
      "": true,
      n: 2 ** 53,
    };
    const answer = await call(runtime, "exec", { ...params, command: "ls" });
    assert.ok(answer.decision, answer.reason);
    assert.deepEqual(await runtime.redeem(answer.decision, { command: "ls", ...params }), { ok: true });
  });

  test("a denial names the plugin", async () => {
    const answer = await call(runtime, "exec", { command: "rm -rf /" }, { reportHandlers: true });
    assert.equal(answer.verdict, "stop");
    assert.match(answer.reason ?? "", /^policy-gate: /);
    assert.deepEqual([answer.decidedBy?.pluginId, answer.decidedBy?.outcome], ["policy-gate", "deny"]);
    assert.ok(answer.handlers.length > 0);
    assert.equal(answer.decision, undefined);
    assert.equal(answer.failure, undefined);
  });

  test("rewritten parameters are what the decision is for", async () => {
    const answer = await exec(runtime, "make all");
    assert.equal(answer.verdict, "go_on", answer.reason);
    assert.ok(answer.result?.kind === "tool_call" && answer.decision);
    assert.deepEqual(answer.result.params, { command: "make all", timeout: 60 });
    assert.equal((await runtime.redeem(answer.decision, { command: "make all" })).ok, false);
    assert.deepEqual(await runtime.redeem(answer.decision, answer.result.params), { ok: true });
  });

  test("a person is asked: an approval gives the decision, a no does not", async () => {
    const answer = await exec(runtime, "curl example.org");
    assert.equal(answer.verdict, "ask", answer.reason);
    assert.ok(answer.approval);
    assert.equal(answer.approval.pluginId, "policy-gate");
    assert.ok(answer.approval.request.title.length > 0 && (answer.approval.expiresAtMs ?? 0) > Date.now());
    const resolved = await runtime.resolveApproval(answer.approval.id, "allowed_once", { resolvedBy: "owner" });
    assert.equal(resolved.verdict, "go_on");
    assert.ok(resolved.decision);
    assert.deepEqual(await runtime.redeem(resolved.decision, { command: "curl example.org" }), { ok: true });
    const second = await exec(runtime, "curl example.com");
    assert.ok(second.approval);
    const denied = await runtime.resolveApproval(second.approval, "denied");
    assert.deepEqual([denied.verdict, denied.outcome, denied.decision], ["stop", "denied", undefined]);
    assert.deepEqual(
      (await runtime.resolveApproval(second.approval, "allowed_once")).outcome,
      "denied",
      "the first stands",
    );
    assert.equal((await runtime.resolveApproval("never-asked", "allowed_once")).verdict, "stop");
  });

  test("who wants a free place waits for it", async () => {
    const other = world.runtime({ onlyIfFree: true });
    other.start();
    await until("it was refused", () => other.lastError?.reason === "RUNTIME_ATTACHED");
    assert.deepEqual(other.lastError?.metadata, { runtime_id: "default", software: "client tests" });
    assert.deepEqual([runtime.state, other.state], ["attached", "connecting"]);
    await other.close();
    assert.equal(runtime.stats.attaches, 1);
  });

  test("two starts of one runtime: the later has the place, the earlier gets it when it is free", async () => {
    // Of a key of its own, as the other tests' runtime keeps its place.
    await world.outrigger("key", "add", "twice");
    const keyPath = join(world.directory, "state/keys/twice.key");
    const [first, second] = [world.runtime({ keyPath }), world.runtime({ keyPath })];
    first.start();
    assert.ok(await first.attached());
    second.start();
    assert.ok(await second.attached());
    await until("the first one is told", () => first.displaced);
    await until("it was refused since", () => first.lastError?.reason === "RUNTIME_ATTACHED");
    assert.deepEqual([first.state, second.state, second.stats.attaches], ["away", "attached", 1]);
    await second.close();
    assert.ok(await first.attached());
    assert.equal(first.displaced, false);
    await first.close();
  });

  test("nobody asked, no call: the supervisor counts none", async () => {
    await call(runtime, "exec", { command: "ls" }, { waitForObservers: true });
    const counts = await world.handlerCalls();
    const { calls, skipped } = runtime.stats;
    assert.equal((await runtime.callHook({ hook: "llm_input", event: {} })).called, false);
    assert.equal((await runtime.callHook({ hook: "after_tool_call", event: {}, toolName: "read" })).called, false);
    assert.equal((await runtime.finalizeTurn({ session: SESSION, run: run(), attempt: 1, event: {} })).called, true);
    assert.equal(runtime.wants("after_tool_call", { toolName: "exec" })?.failClosed, false);
    assert.deepEqual([runtime.stats.calls, runtime.stats.skipped], [calls, skipped + 2]);
    const finalized = "review-assistant/unfinished-work";
    assert.deepEqual(await world.handlerCalls(), { ...counts, [finalized]: (counts[finalized] ?? 0) + 1 });
  });

  test("observers are told, and the conversation goes only to who wants it", async () => {
    const event = { sessionKey: SESSION.key, note: "observed" };
    const waited = await runtime.callHook({ hook: "session_start", event, session: SESSION, waitForObservers: true });
    assert.deepEqual([waited.verdict, waited.called], ["go_on", true]);
    const never = (): never => assert.fail("nobody wants it");
    await runtime.callHook({ hook: "message_sending", event: { content: "x" }, messages: never });
    assert.equal(runtime.wantsConversation("before_prompt_build"), true);
    const messages = [
      { role: "user", content: "a" },
      { role: "assistant", content: "b" },
    ];
    const prompt = await runtime.callHook({
      hook: "before_prompt_build",
      event: { prompt: "a" },
      messages,
      session: SESSION,
    });
    assert.ok(prompt.result?.kind === "prompt");
    assert.equal(prompt.result.appendSystemContext, "Be kind.");
    type Line = { handler: string; event: JsonObject; messages: number | null };
    const book = world.lines<Line>("recorder", "calls.jsonl");
    assert.equal(book.find(({ handler }) => handler === "session")?.event.sessionKey, SESSION.key);
    assert.equal(book.find(({ handler }) => handler === "prompt")?.messages, 2);
    assert.equal(book.find(({ handler }) => handler === "sending")?.messages, null);
  });

  test("a turn: prepared, finalized once more, ended", async () => {
    const turn = { session: SESSION, run: run() };
    const event = { prompt: "please deploy it" };
    assert.equal(runtime.contributions?.prepareTurns, true);
    const prepared = await runtime.prepareTurn({ ...turn, trigger: "user", event, messages: [] });
    assert.equal(prepared.failure, undefined);
    assert.equal(prepared.prependContext, "Ask first.");
    const answer = { lastAssistantMessage: "Done, but TODO: tests" };
    const first = await runtime.finalizeTurn({ ...turn, attempt: 1, event: answer, messages: [] });
    assert.deepEqual([first.action, first.pluginId, first.budgetUsed], ["revise", "review-assistant", 1]);
    assert.match(first.retries[0]?.instruction ?? "", /TODO/);
    const second = await runtime.finalizeTurn({ ...turn, attempt: 2, event: answer, messages: [] });
    assert.deepEqual([second.action, second.retryWithheld], ["continue", true]);
    runtime.publish({ runId: turn.run, stream: "lifecycle", data: { phase: "start" } });
    assert.equal((await runtime.endRun(turn.run, "completed")).settled, true);
    assert.equal((await runtime.endRun(turn.run, "completed")).settled, true, "safe to repeat");
    const late = await call(runtime, "exec", { command: "ls" }, { run: turn.run });
    assert.deepEqual([late.verdict, late.failure?.error?.reason], ["stop", "RUN_ENDED"]);
    type Line = { stream?: string; run: string };
    await until("the event was seen", () => {
      return world.lines<Line>("audit-observer", "audit.jsonl").some((line) => line.stream && line.run === turn.run);
    });
  });

  test("only wanted streams are published, and always the end of a run", async () => {
    const { published, eventsSkipped } = runtime.stats;
    const runId = run();
    assert.equal(runtime.wantsStream("lifecycle"), true);
    assert.equal(runtime.wantsStream("assistant"), false);
    assert.ok(runtime.publish({ runId, stream: "assistant", data: { text: "x" } }));
    assert.ok(runtime.publish({ runId, stream: "lifecycle", data: { phase: "end" }, terminal: true }));
    assert.ok(await runtime.flush(20_000));
    assert.deepEqual([runtime.stats.published, runtime.stats.eventsSkipped], [published + 1, eventsSkipped + 1]);
  });

  test("sessions are announced; what is not served says so", async () => {
    const key = `agent:main:${run()}`;
    assert.deepEqual(await runtime.upsertSession({ key, agentId: "main" }, { revision: 2n }), { created: true });
    assert.deepEqual(await runtime.upsertSession({ key }), { created: false });
    await assert.rejects(runtime.upsertSession({ key }, { revision: 1n }), {
      status: "ABORTED",
      reason: "VERSION_CONFLICT",
    });
    await assert.rejects(runtime.upsertSession({ key: "" }), { reason: "SESSION_KEY_INVALID" });
    await assert.rejects(runtime.deleteSession({ key }), RuntimeError);
  });

  test("served tools are listed, run with progress, and say what is wrong with arguments", async () => {
    const listed = await runtime.listTools();
    assert.deepEqual(
      listed.map(({ name, available }) => [name, available]),
      [
        ["wait", true],
        ["word_count", true],
      ],
    );
    const tool = listed.find(({ name }) => name === "word_count");
    assert.deepEqual([tool?.pluginId, tool?.hints.readOnly, tool?.inputSchema.type], ["python-tools", true, "object"]);
    const one = (args: JsonObject) =>
      collect(runtime.invokeTool({ tool: "word_count", arguments: args, toolCallId: run(), session: SESSION }));
    // audit-observer wants before_tool_call of all tools: without its decision no served tool runs.
    await assert.rejects(one({ text: "a" }), { reason: "DECISION_REQUIRED" });
    const args = { text: "one two two" };
    const gate = await call(runtime, "word_count", args, { session: SESSION });
    assert.ok(gate.decision);
    const { toolCallId, id } = gate.decision;
    const events = await collect(
      runtime.invokeTool({ tool: "word_count", arguments: args, toolCallId, decision: { id }, session: SESSION }),
    );
    assert.ok(events.slice(0, -1).every(({ progress }) => progress !== undefined) && events.length > 1);
    const result = events.at(-1)?.result;
    assert.deepEqual(result?.content, [{ type: "text", text: "3 words, 2 of them different" }]);
    assert.deepEqual(result?.structured, {
      words: 3,
      common: [
        ["two", 2],
        ["one", 1],
      ],
    });
    assert.deepEqual([result?.isError, result?.pluginId], [false, "python-tools"]);
    const wrong = await call(runtime, "word_count", { words: 1 }, { session: SESSION });
    assert.ok(wrong.decision);
    const refused = await collect(
      runtime.invokeTool({
        tool: "word_count",
        arguments: { words: 1 },
        toolCallId: wrong.decision.toolCallId,
        decision: wrong.decision,
        session: SESSION,
      }),
    );
    assert.deepEqual([refused[0]?.result?.argumentsInvalid, refused[0]?.result?.isError], [true, true]);
    await assert.rejects(collect(runtime.invokeTool({ tool: "nothing", toolCallId: "x" })), {
      reason: "HANDLER_UNKNOWN",
    });
  });

  test("a tool that runs is cancelled, by its signal and by leaving the loop", async () => {
    for (const leave of [false, true]) {
      const gate = await call(runtime, "wait", { seconds: 30 }, { session: SESSION });
      assert.ok(gate.decision, gate.reason);
      const abort = new AbortController();
      const started = Date.now();
      const running = runtime.invokeTool({
        tool: "wait",
        arguments: { seconds: 30 },
        toolCallId: gate.decision.toolCallId,
        decision: gate.decision,
        session: SESSION,
        signal: abort.signal,
      });
      const first = await running.next();
      assert.ok(first.value?.progress);
      if (leave) await running.return();
      else {
        abort.abort();
        await assert.rejects(collect(running), { reason: "ABORTED_BY_CALLER" });
      }
      await until("the plugin is at rest", async () => {
        type Status = { plugins: { plugin_id: string; resources: { invocations_in_flight: number } }[] };
        const { plugins } = await world.outrigger<Status>("status");
        return plugins.every(({ resources }) => resources.invocations_in_flight === 0);
      });
      assert.ok(Date.now() - started < 25_000);
    }
  });

  test("an aborted call is cancelled in the plugin", async () => {
    const abort = new AbortController();
    const held = call(runtime, "hold", {}, { signal: abort.signal });
    type Line = { handler?: string; cancelled?: string };
    const book = (): Line[] => world.lines<Line>("recorder", "calls.jsonl");
    await until("the plugin has it", () => book().some(({ handler }) => handler === "hold"));
    abort.abort();
    assert.deepEqual([(await held).verdict, (await held).failure?.kind], ["stop", "aborted"]);
    await until("it was told", () => book().some(({ cancelled }) => cancelled !== undefined));
  });

  test("a wrong key is refused, and says what to look at", async () => {
    const keyPath = join(world.directory, "wrong.key");
    writeFileSync(keyPath, `default:${"0".repeat(64)}`, { mode: 0o600 });
    const told: string[] = [];
    const stranger = world.runtime({ keyPath, logger: { error: (message) => void told.push(message) } });
    stranger.start();
    await until("it was refused", () => stranger.lastError !== undefined);
    assert.deepEqual([stranger.lastError?.status, stranger.lastError?.reason], ["UNAUTHENTICATED", "KEY_INVALID"]);
    assert.equal(stranger.state, "connecting");
    assert.match(told[0] ?? "", /UNAUTHENTICATED \(KEY_INVALID\)/);
    assert.equal((await exec(stranger, "ls")).verdict, "stop");
    const absent = world.runtime({ keyPath: join(world.directory, "absent.key") });
    absent.start();
    await until("it was told", () => absent.lastError !== undefined);
    assert.match(absent.lastError?.message ?? "", /absent\.key.*no such file/);
  });

  test("two runtimes of one key: the older gives way, and does not come back by itself", async () => {
    const second = world.runtime();
    second.start();
    assert.ok(await second.attached());
    await until("the first was told", () => runtime.lastError?.reason === "STREAM_REPLACED");
    assert.equal((await exec(runtime, "ls")).failure?.kind, "away");
    await second.close();
    runtime.start();
    assert.ok(await runtime.attached());
    assert.equal((await exec(runtime, "ls")).verdict, "go_on");
  });

  test("a path longer than a socket's address", async () => {
    const far = world.runtime({ socketPath: `${"/.".repeat(60)}${world.socketPath}` });
    far.start();
    assert.ok(await far.attached(), String(far.lastError));
    await far.close();
    runtime.start();
    assert.ok(await runtime.attached());
  });
});

describe("plugins that misbehave", LIMIT, () => {
  let world: World;
  let runtime: Runtime;

  before(async () => {
    world = new World([
      misbehave("dies", "--fault", "abort"),
      misbehave("hangs", "--fault", "never-answer"),
      misbehave("sound"),
    ]);
    await world.start().ready();
    runtime = world.runtime();
    runtime.start();
    assert.ok(await runtime.attached());
    await until("the fast stream is open", () => runtime.fast);
  });
  after(() => world.end());

  test("a plugin that dies with a call in its hands is a no that names it", async () => {
    const answer = await call(runtime, "dies");
    assert.equal(answer.verdict, "stop");
    assert.match(answer.reason ?? "", /^dies: /);
    assert.equal(answer.decidedBy?.pluginId, "dies");
    assert.equal((await call(runtime, "sound")).verdict, "go_on");
  });

  test("a plugin that hangs is waited for until the deadline of the call", async () => {
    const started = Date.now();
    const answer = await call(runtime, "hangs", {}, { timeoutMs: 300 });
    assert.equal(answer.verdict, "stop");
    assert.deepEqual([answer.decidedBy?.pluginId, answer.decidedBy?.outcome], ["hangs", "timeout"]);
    assert.ok(Date.now() - started >= 290);
  });
});

describe("a supervisor that comes and goes", LIMIT, () => {
  test("the client is there first; the supervisor is killed and comes back; events are in order and exact", async (t) => {
    const world = new World([misbehave("guarded"), eventReader()]);
    t.after(() => world.end());
    const states: string[] = [];
    const runtime = world.runtime({ onStateChange: (state) => states.push(state) });
    runtime.start();
    const unheard = await call(runtime, "guarded");
    assert.deepEqual([unheard.verdict, unheard.failure?.kind], ["stop", "away"]);
    assert.match(unheard.reason ?? "", /the supervisor is away.*never heard/);
    assert.equal((await runtime.callHook({ hook: "message_sending", event: {} })).verdict, "go_on");
    await until("there is no socket", () => runtime.lastError !== undefined);
    world.start();
    assert.ok(await runtime.attached({ timeoutMs: 20_000 }), String(runtime.lastError));
    await world.ready();
    await until("every stream is wanted", () => runtime.contributions?.allStreams === true);
    assert.equal((await call(runtime, "guarded")).verdict, "go_on");
    const runId = run();
    for (let n = 1; n <= 300; n += 1) runtime.publish({ runId, stream: "tool", data: { n }, sessionKey: SESSION.key });
    assert.ok(await runtime.flush(20_000));
    type Line = { run?: string; position?: number; stream?: string };
    const positions = (): number[] => {
      const lines = world.lines<Line>("event-reader", "events");
      return lines.flatMap(({ run, position }) => (run === runId && position !== undefined ? [position] : []));
    };
    await until("the reader has all", () => positions().length >= 300);

    await world.kill();
    await until("the client knows", () => runtime.state === "away");
    const away = await call(runtime, "guarded");
    assert.deepEqual([away.verdict, away.called], ["stop", false]);
    assert.match(away.reason ?? "", /the supervisor is away; before_tool_call of `guarded` is guarded by guarded/);
    assert.equal((await call(runtime, "unguarded")).verdict, "go_on");
    assert.equal((await runtime.callHook({ hook: "message_sending", event: {} })).verdict, "go_on");
    for (let n = 301; n <= 400; n += 1) assert.ok(runtime.publish({ runId, stream: "tool", data: { n } }));
    const turn = await runtime.prepareTurn({ session: SESSION, run: runId, event: {} });
    assert.equal(turn.failure?.reason, "SUPERVISOR_AWAY");

    const epoch = runtime.supervisor?.instance;
    world.start();
    assert.ok(await runtime.attached({ timeoutMs: 20_000 }), String(runtime.lastError));
    assert.notEqual(runtime.supervisor?.instance, epoch);
    // The guard is declared: denied, by name, until its plugin serves.
    const early = await call(runtime, "guarded");
    if (early.verdict !== "go_on") assert.match(early.reason ?? "", /^guarded: /);
    await world.ready();
    assert.equal((await call(runtime, "guarded")).verdict, "go_on");
    // What is published before the reader is back reaches nobody; from then on nothing is missing.
    await until("every stream is wanted", () => runtime.contributions?.allStreams === true);
    assert.ok(await runtime.flush(20_000));
    for (let n = 401; n <= 500; n += 1) assert.ok(runtime.publish({ runId, stream: "tool", data: { n } }));
    runtime.publish({ runId, stream: "lifecycle", data: { phase: "end" }, terminal: true });
    assert.ok(await runtime.flush(20_000));
    await until("the reader has the end", () => {
      const lines = world.lines<Line>("event-reader", "events");
      return lines.some(({ run, stream }) => run === runId && stream === "lifecycle");
    });
    const all = positions();
    assert.deepEqual(
      all.slice(0, 300),
      Array.from({ length: 300 }, (_, n) => n + 1),
    );
    assert.deepEqual(
      all.slice(-101),
      Array.from({ length: 101 }, (_, n) => (all.at(-1) ?? 0) - 100 + n),
    );
    assert.ok(
      all.every((position, n) => n === 0 || position > (all[n - 1] ?? 0)),
      "in order, and none twice",
    );
    assert.deepEqual(states, ["attached", "away", "attached"]);
    assert.ok(runtime.stats.deniedAway >= 2 && runtime.stats.attaches === 2);
  });
});

async function collect(events: AsyncIterable<ToolEvent>): Promise<ToolEvent[]> {
  const all: ToolEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}
