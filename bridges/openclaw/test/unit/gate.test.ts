// The gate with a bridge that answers from a script: what OpenClaw is told, and what is redeemed.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { HookAnswer } from "outrigger-runtime";
import type { Bridge } from "../../src/bridge.js";
import { Calls } from "../../src/gate/calls.js";
import { Gate } from "../../src/gate/gate.js";

const DECISION = { id: "d1", paramsSha256: new Uint8Array(32), toolCallId: "c1" };
const ANSWER: HookAnswer = { verdict: "go_on", called: true, epoch: 1n, handlers: [], evaluations: [], rechecks: 0 };
const event = (params: unknown = { command: "ls" }) => ({ toolName: "exec", params, toolCallId: "c1", runId: "r1" });
const CONTEXT = { sessionKey: "agent:main:main", runId: "r1", toolCallId: "c1" };

function setting(answer: Partial<HookAnswer>, { bindParams = true, redeemed = true, tools = [] as string[], outcome = "go_on" } = {}) {
  const calls = new Calls();
  const seen = { asked: [] as any[], redeemed: [] as any[], resolved: [] as any[] };
  const bridge = {
    config: { bindParams, callMs: 500 },
    tools: tools.map((name) => ({ name })),
    later: (work: Promise<unknown>) => void work,
    call: async (_hook: string, given: unknown) => {
      seen.asked.push(given);
      return { ...ANSWER, ...answer };
    },
    runtime: {
      redeem: async (decision: unknown, params: unknown) => {
        seen.redeemed.push({ decision, params });
        return redeemed ? { ok: true } : { ok: false, reason: "used already" };
      },
      resolveApproval: async (_approval: unknown, told: string) => {
        seen.resolved.push(told);
        return outcome === "go_on" ? { verdict: "go_on", decision: DECISION } : { verdict: "stop", reason: "it ended as timed_out" };
      },
    },
  } as unknown as Bridge;
  return { gate: new Gate(bridge, calls, "outrigger"), calls, seen };
}

const approval = {
  id: "a1",
  pluginId: "gate",
  pluginName: "Gate",
  toolCallId: "c1",
  request: { title: "T".repeat(100), description: "D".repeat(600), severity: "critical" as const, timeoutMs: 1_000, allowed: ["allowed_once" as const, "denied" as const] },
};

test("a stop blocks with the plugin's reason and redeems nothing", async () => {
  const { gate, seen } = setting({ verdict: "stop", reason: "gate: no" });
  assert.deepEqual(await gate.decide(event(), CONTEXT, true), { block: true, blockReason: "gate: no" });
  assert.deepEqual(seen.redeemed, []);
});

test("a call that nobody wants is let pass without a word", async () => {
  const { gate, seen } = setting({ called: false });
  assert.equal(await gate.decide(event(), CONTEXT, true), undefined);
  assert.equal(await gate.confirm(event(), CONTEXT), undefined);
  assert.deepEqual(seen.redeemed, []);
});

test("the last hook redeems what the policy decided, and asks nobody again", async () => {
  const { gate, seen } = setting({ decision: DECISION, result: { kind: "tool_call", params: { command: "pwd" } } });
  assert.deepEqual(await gate.decide(event(), CONTEXT, true), { params: { command: "pwd" } });
  assert.deepEqual(await gate.confirm(event({ command: "pwd" }), CONTEXT), { params: { command: "pwd" } });
  assert.equal(seen.asked.length, 1);
  assert.deepEqual(seen.redeemed, [{ decision: DECISION, params: { command: "pwd" } }]);
});

test("a decision that cannot be redeemed blocks", async () => {
  const { gate } = setting({ decision: DECISION }, { redeemed: false });
  await gate.decide(event(), CONTEXT, true);
  assert.deepEqual(await gate.confirm(event(), CONTEXT), { block: true, blockReason: "used already" });
});

test("an allow without a decision blocks", async () => {
  const { gate } = setting({});
  assert.equal((await gate.confirm(event(), CONTEXT))?.block, true);
});

test("a member that was taken out is given as undefined, as OpenClaw merges", async () => {
  const { gate } = setting({ decision: DECISION, result: { kind: "tool_call", params: { command: "pwd" } } });
  const answer = await gate.confirm(event({ command: "pwd", workdir: "/" }), CONTEXT);
  assert.deepEqual(answer, { params: { workdir: undefined, command: "pwd" } });
  assert.ok("workdir" in (answer?.params ?? {}));
});

test("what another policy changed is overruled, or asked about again", async () => {
  const bound = setting({ decision: DECISION });
  await bound.gate.decide(event({ command: "ls" }), CONTEXT, true);
  assert.deepEqual(await bound.gate.confirm(event({ command: "changed" }), CONTEXT), { params: { command: "ls" } });
  assert.equal(bound.seen.asked.length, 1);

  const free = setting({ decision: DECISION }, { bindParams: false });
  await free.gate.decide(event({ command: "ls" }), CONTEXT, true);
  assert.deepEqual(await free.gate.confirm(event({ command: "changed" }), CONTEXT), {});
  assert.equal(free.seen.asked.length, 2);
  assert.deepEqual(free.seen.redeemed[0].params, { command: "changed" });
});

test("an approval is put in OpenClaw's bounds, and the tool waits for the supervisor to take it", async () => {
  const { gate, seen } = setting({ verdict: "ask", approval });
  const asked = (await gate.decide(event(), CONTEXT, true))?.requireApproval;
  assert.ok(asked);
  assert.equal(asked.title.length, 80);
  assert.ok(asked.description.length <= 512);
  assert.match(asked.description, /Asked by Gate$/);
  assert.deepEqual(asked.allowedDecisions, ["allow-once", "deny"]);
  assert.equal(asked.pluginId, "outrigger");
  const confirmed = gate.confirm(event(), CONTEXT);
  asked.onResolution?.("allow-once");
  assert.deepEqual(await confirmed, { params: { command: "ls" } });
  assert.deepEqual(seen.resolved, ["allowed_once"]);
  assert.equal(seen.redeemed.length, 1);
});

test("an approval that the supervisor does not take blocks, and one that never ends too", async () => {
  const refused = setting({ verdict: "ask", approval }, { outcome: "stop" });
  (await refused.gate.decide(event(), CONTEXT, true))?.requireApproval?.onResolution?.("allow-once");
  assert.deepEqual(await refused.gate.confirm(event(), CONTEXT), { block: true, blockReason: "it ended as timed_out" });

  const silent = setting({ verdict: "ask", approval });
  await silent.gate.decide(event(), CONTEXT, true);
  assert.match((await silent.gate.confirm(event(), CONTEXT))?.blockReason ?? "", /not taken in time/);
});

test("the decision of a served tool is kept for its call", async () => {
  const { gate, calls, seen } = setting({ decision: DECISION }, { tools: ["exec"] });
  await gate.confirm(event(), CONTEXT);
  assert.deepEqual(seen.redeemed, []);
  const admitted = calls.admitted.take("c1");
  assert.equal(admitted?.decision?.id, "d1");
  assert.equal(admitted?.subject.run, "r1");
  assert.equal(calls.admitted.take("c1"), undefined);
});

test("parameters that are no object go apart, as the contract wants", async () => {
  const { gate, seen } = setting({ decision: DECISION });
  await gate.confirm(event("a text"), CONTEXT);
  assert.deepEqual(seen.asked[0].params, {});
  assert.equal(seen.asked[0].givenParams, "a text");
});

test("calls that are never confirmed are forgotten", () => {
  const calls = new Calls();
  for (let at = 0; at < 2_000; at += 1) calls.decided.set(String(at), { params: {} });
  assert.equal(calls.decided.take("0"), undefined);
  assert.ok(calls.decided.take("1999"));
});
