// Conversions between OpenClaw's values and ours.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { HookAnswer } from "outrigger-runtime";
import * as answers from "../../src/answers.js";
import { readConfig } from "../../src/config.js";
import { contextOf, eventOf, plain } from "../../src/payload.js";
import { subjectOf } from "../../src/subject.js";
import { answerOf } from "../../src/tools.js";

const answer = (more: Partial<HookAnswer>): HookAnswer => ({ verdict: "go_on", called: true, epoch: 1n, handlers: [], evaluations: [], rechecks: 0, ...more });

test("a context is taken by an allow-list, so that no configuration leaves the process", () => {
  const context = { sessionKey: "k", config: { apiKey: "secret" }, cfg: {}, getCron: () => 1, dispatcher: {}, abortSignal: AbortSignal.abort() };
  assert.deepEqual(contextOf(context), { sessionKey: "k" });
});

test("the conversation travels apart", () => {
  assert.deepEqual(eventOf({ prompt: "p", messages: [1], other: undefined }), { event: { prompt: "p" }, messages: [1] });
  assert.deepEqual(eventOf({ historyMessages: [2] }), { event: {}, messages: [2] });
});

test("a value becomes JSON, whatever it is", () => {
  const cycle: Record<string, unknown> = { name: "x" };
  cycle["self"] = cycle;
  assert.ok(JSON.stringify(plain(cycle)).length > 0);
  const given = { a: Number.NaN, b: 1n, c: () => 1, d: [undefined, 2], e: new Date(0), f: new Error("no"), g: Buffer.from("x") };
  assert.deepEqual(plain(given), { a: null, b: "1", d: [null, 2], e: "1970-01-01T00:00:00.000Z", f: "no" });
});

test("who and what a hook is about", () => {
  const subject = subjectOf({ runId: "e", sessionId: "s" }, { sessionKey: "k", runId: "c", trigger: "cron", agentId: "main" });
  assert.deepEqual(subject, { session: { key: "k", id: "s", agentId: "main" }, run: "c", trigger: "cron", dispatchKind: undefined });
  assert.equal(subjectOf({}, { trigger: "webhook" }).trigger, undefined);
});

test("a blocked run has the members that OpenClaw's strict gate takes, and no other", () => {
  const block = { reason: "r", message: "m" };
  const blocked = answers.agentRun(answer({ verdict: "stop", reason: "gate: r", result: { kind: "gate", block, findings: [] } }), {});
  assert.deepEqual(blocked, { outcome: "block", reason: "gate: r", message: "m" });
  assert.equal(answers.agentRun(answer({}), {}), undefined);
});

test("nobody's opinion is none", () => {
  for (const convert of [answers.model, answers.prompt, answers.agentReply, answers.dispatch, answers.inbound, answers.replyDispatch, answers.sending, answers.payload, answers.environment, answers.delivery, answers.evaluation, answers.install]) {
    assert.equal(convert(answer({}), {}), undefined);
  }
});

test("answers in OpenClaw's words", () => {
  assert.deepEqual(answers.model(answer({ result: { kind: "model", model: "m" } }), {}), { modelOverride: "m" });
  assert.deepEqual(answers.prompt(answer({ result: { kind: "prompt", prependContext: "p", toolsAllow: [] } }), {}), { prependContext: "p", toolsAllow: [] });
  assert.deepEqual(answers.agentReply(answer({ result: { kind: "claim", reply: { text: "t" }, queuedFinal: false, counts: {} } }), {}), { handled: true, reply: { text: "t" } });
  assert.deepEqual(answers.sending(answer({ result: { kind: "message", content: "", cancel: false } }), {}), { content: "" });
  assert.deepEqual(answers.payload(answer({ result: { kind: "message", message: { text: "t" }, cancel: true, reason: "r" } }), {}), { payload: { text: "t" }, cancel: true, reason: "r" });
  assert.deepEqual(answers.environment(answer({ result: { kind: "exec_environment", variables: { A: "1" } } }), {}), { A: "1" });
  assert.deepEqual(answers.install(answer({ verdict: "stop", reason: "gate: no", result: { kind: "gate", findings: [{ ruleId: "x" }] } }), {}), { block: true, blockReason: "gate: no", findings: [{ ruleId: "x" }] });
});

test("one block among verdicts vetoes", () => {
  const evaluations = [
    { handler: undefined, evaluation: { verdict: "completed" as const, block: false, reason: "fine" } },
    { handler: undefined, evaluation: { verdict: "completed" as const, block: true, reason: "bad" } },
  ];
  assert.equal((answers.evaluation(answer({ evaluations }), {}) as any).decision, "block");
});

test("a tool's error is thrown, and its structured answer stands apart from OpenClaw's own members", () => {
  const tool = { pluginId: "p", name: "t" };
  const result = { isError: false, structured: { status: "failed" }, pluginId: "p", argumentsInvalid: false, epoch: 1n };
  assert.deepEqual(answerOf(tool, { ...result, content: [{ type: "text", text: "a" }] }), { content: [{ type: "text", text: "a" }], details: { plugin: "p", value: { status: "failed" } } });
  assert.deepEqual(answerOf(tool, { ...result, content: [] }).content, [{ type: "text", text: '{"status":"failed"}' }]);
  assert.throws(() => answerOf(tool, { ...result, isError: true, content: [{ type: "text", text: "no" }] }), /^Error: no$/);
});

test("a configuration gets its defaults", () => {
  const config = readConfig({ deadlines: { callMs: 5 }, supervisor: { start: true } });
  assert.equal(config.callMs, 5);
  assert.equal(config.attachMs, 2_000);
  assert.equal(config.bindParams, true);
  assert.deepEqual([config.supervisor.start, config.supervisor.command], [true, "outrigger"]);
});
