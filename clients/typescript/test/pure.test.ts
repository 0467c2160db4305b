/** The shared cases, and what is pure beside them. */

import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { awayVerdict } from "../src/away.js";
import { backoffMs } from "../src/backoff.js";
import { FAIL_CLOSED_HOOKS, HOOK_NAMES, type HookName, hookName, hookNumber } from "../src/catalogue.js";
import { digest } from "../src/digest.js";
import { EventBuffer } from "../src/event_buffer.js";
import { Hook } from "../src/gen/outrigger/types/v1/hook_pb.js";
import { match } from "../src/interest.js";
import { canonicalJson, decodeJson, encodeJson } from "../src/json.js";
import { KeyError, readKey } from "../src/key.js";
import { settle } from "../src/options.js";
import { PlaceError, runtimeDir, stateDir } from "../src/places.js";
import { cases, contributions, type InterestCase, type SubjectCase, subject } from "./cases.js";

test("the catalogue is that of the wire contract", () => {
  const numbers = Object.values(Hook).filter((value): value is Hook => typeof value === "number" && value !== 0);
  assert.deepEqual(HOOK_NAMES.map(hookNumber), numbers);
  for (const name of HOOK_NAMES) assert.equal(hookName(hookNumber(name) ?? 0), name);
  assert.equal(hookNumber("unspecified" as HookName), undefined);
});

test("hooks match as the shared cases say", () => {
  type Case = { name?: string; hook: HookName; subject: SubjectCase; wanted: boolean };
  const file = cases<{ hooks: InterestCase[]; cases: Case[] }>("matching.json");
  const { hooks } = contributions(file.hooks);
  for (const one of file.cases) {
    const wanted = match(hooks, one.hook, subject(one.subject)) !== undefined;
    assert.equal(wanted, one.wanted, one.name ?? JSON.stringify(one));
  }
});

test("verdicts while the supervisor is away are as the shared cases say", () => {
  type Case = {
    contributions: string | null;
    fail_closed_hooks?: HookName[];
    hook: HookName;
    subject: SubjectCase;
    verdict: string;
    reason_has?: string[];
  };
  const file = cases<{ contributions: Record<string, InterestCase[]>; cases: Case[] }>("away.json");
  for (const one of file.cases) {
    const heard = one.contributions === null ? undefined : contributions(file.contributions[one.contributions] ?? []);
    const closed = new Set(one.fail_closed_hooks ?? FAIL_CLOSED_HOOKS);
    const { verdict, reason } = awayVerdict(heard, closed, one.hook, subject(one.subject));
    assert.equal(verdict, one.verdict, JSON.stringify(one));
    assert.equal(reason !== undefined, verdict === "stop");
    for (const part of one.reason_has ?? []) assert.ok(reason?.includes(part), `${reason} has no ${part}`);
  }
});

test("digests are as the shared cases say", () => {
  type Case = { name?: string; json: string; canonical: string; sha256: string; beyond_doubles?: boolean };
  const file = cases<{ cases: Case[]; refused: string[] }>("digests.json");
  for (const one of file.cases) {
    // JSON.parse has no integers beyond doubles; given as bigint they are digested as written.
    const value = one.beyond_doubles
      ? JSON.parse(one.json.replace(/-?\d+/g, '"$&"')).map(BigInt)
      : JSON.parse(one.json);
    assert.equal(canonicalJson(value), one.canonical, one.name ?? one.json);
    assert.equal(Buffer.from(digest(value)).toString("hex"), one.sha256);
  }
  const cycle: unknown[] = [];
  cycle.push(cycle);
  const refused: Record<string, unknown> = { nan: Number.NaN, infinity: [Number.POSITIVE_INFINITY], cycle };
  for (const name of file.refused) assert.throws(() => digest(refused[name]), TypeError, name);
  assert.throws(() => digest({ f: () => 1 }), TypeError);
});

test("JSON travels as it is, and absence as no bytes", () => {
  assert.equal(encodeJson(undefined).length, 0);
  assert.equal(decodeJson(new Uint8Array()), undefined);
  assert.equal(decodeJson(encodeJson(null)), null);
  assert.equal(Buffer.from(encodeJson({ a: 9007199254740993n, b: "ä" })).toString(), '{"a":9007199254740993,"b":"ä"}');
  const cycle: unknown[] = [];
  cycle.push(cycle);
  assert.throws(() => encodeJson(cycle), TypeError);
});

test("the buffer of events does as the shared cases say", () => {
  type Step = {
    want?: string[] | "all";
    starting?: boolean;
    offer?: { run: string; stream: string; terminal?: boolean; bytes?: number; seq?: number };
    becomes?: string;
    gives_up?: number;
    take?: { events: number; bytes: number };
    gives?: [string, number, string][];
    take_all?: boolean;
    offer_runs?: number;
    confirm?: true | number;
    restore?: boolean;
    forget?: string;
    holds?: { run: string; is: boolean };
    size?: { waiting: number; written: number; bytes?: number };
  };
  type Script = { name: string; bounds: { events: number; bytes: number }; steps: Step[] };
  for (const script of cases<{ scripts: Script[] }>("events.json").scripts) {
    const buffer = new EventBuffer<null>(script.bounds);
    const offer = (
      { run, stream, terminal = false, bytes = 10, seq }: NonNullable<Step["offer"]>,
      dropped = () => {},
    ) =>
      buffer.offer(
        { event: null, runId: run, stream, terminal, bytes, given: seq === undefined ? undefined : BigInt(seq) },
        dropped,
      );
    script.steps.forEach((step, index) => {
      const where = `${script.name}, step ${index + 1}`;
      if (step.want) {
        const eventStreams = new Set(step.want === "all" ? [] : step.want);
        buffer.want({ allStreams: step.want === "all", eventStreams }, step.starting ?? false);
      }
      if (step.offer) {
        let given = 0;
        assert.equal(
          offer(step.offer, () => (given += 1)),
          step.becomes,
          where,
        );
        assert.equal(given, step.gives_up ?? 0, where);
      }
      if (step.take) {
        const taken = buffer.take(step.take.events, step.take.bytes);
        assert.deepEqual(
          taken.map(({ runId, seq, stream }) => [runId, Number(seq), stream]),
          step.gives,
          where,
        );
      }
      for (let run = 1; run <= (step.offer_runs ?? 0); run += 1) offer({ run: `run-${run}`, stream: "tool" });
      if (step.take_all) while (buffer.waiting > 0) buffer.take(1000, 1e6);
      if (step.confirm) buffer.confirm(step.confirm === true ? undefined : step.confirm);
      if (step.restore) buffer.restore();
      if (step.forget) buffer.forget(step.forget);
      if (step.holds) assert.equal(buffer.holds(step.holds.run), step.holds.is, where);
      if (step.size) {
        const { waiting, written, bytes } = buffer;
        assert.deepEqual({ waiting, written, ...(step.size.bytes === undefined ? {} : { bytes }) }, step.size, where);
      }
    });
  }
});

test("waits are as the shared cases say", () => {
  type Case = { min_ms: number; max_ms: number; failures: number; shortest: number; longest: number };
  for (const one of cases<{ cases: Case[] }>("backoff.json").cases) {
    const backoff = { minMs: one.min_ms, maxMs: one.max_ms };
    assert.equal(backoffMs(backoff, one.failures, 0), one.shortest, JSON.stringify(one));
    assert.equal(backoffMs(backoff, one.failures, 1), one.longest, JSON.stringify(one));
  }
});

test("places are as the shared cases say", () => {
  type Case = { env: Record<string, string>; uid: number; runtime_dir: string | null; state_dir: string | null };
  for (const one of cases<{ cases: Case[] }>("places.json").cases) {
    for (const [look, wanted] of [
      [runtimeDir, one.runtime_dir],
      [stateDir, one.state_dir],
    ] as const) {
      if (wanted === null) assert.throws(() => look(one.env, one.uid), PlaceError, JSON.stringify(one));
      else assert.equal(look(one.env, one.uid), wanted, JSON.stringify(one));
    }
  }
});

test("a key file that others can read, or that holds something else, is refused without being shown", () => {
  const directory = mkdtempSync(join(tmpdir(), "ork-"));
  const path = join(directory, "a.key");
  const secret = "0123456789abcdef".repeat(4);
  try {
    assert.throws(
      () => readKey(path),
      (error) => error instanceof KeyError && error.message.includes("no such file"),
    );
    writeFileSync(path, `default:${secret}\n`, { mode: 0o600 });
    assert.equal(readKey(path), `default:${secret}`);
    chmodSync(path, 0o644);
    assert.throws(
      () => readKey(path),
      (error) => error instanceof KeyError && error.message.includes("0644"),
    );
    chmodSync(path, 0o600);
    for (const bad of [
      "",
      "default",
      `default:${secret}x`,
      `Default:${secret}`,
      `default:${secret}\nmore`,
      "x".repeat(1e5),
    ]) {
      writeFileSync(path, bad);
      assert.throws(
        () => readKey(path),
        (error) => error instanceof KeyError && !error.message.includes(secret),
      );
    }
    assert.throws(() => readKey(directory), KeyError);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("options out of their range are refused by name", () => {
  assert.throws(() => settle({ callTimeoutMs: 0 }), /callTimeoutMs/);
  assert.throws(() => settle({ backoff: { minMs: 10, maxMs: 5 } }), /backoff.maxMs/);
  assert.throws(() => settle({ eventBuffer: { events: 0 } }), /eventBuffer.events/);
  assert.throws(() => settle({ incarnation: 0n }), /incarnation/);
  assert.throws(() => settle({ servedHooks: ["nothing" as HookName] }), /nothing/);
  const { eventBuffer, incarnation } = settle({ eventBuffer: { events: 7 } });
  assert.deepEqual(eventBuffer, { events: 7, bytes: 8 * 1024 * 1024 });
  assert.ok(incarnation > 0n && incarnation !== settle({}).incarnation);
});
