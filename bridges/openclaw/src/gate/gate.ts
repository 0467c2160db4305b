// Deciding and confirming a tool call.
import { randomUUID } from "node:crypto";
import type { Decision, JsonObject } from "outrigger-runtime";
import { reasonOf } from "../answers.js";
import type { Bridge } from "../bridge.js";
import { toolOf } from "../hooks/register.js";
import type { Fields, ToolCallAnswer } from "../openclaw.js";
import { isFields, plain } from "../payload.js";
import { subjectOf } from "../subject.js";
import { approvalOf } from "./approval.js";
import { type Calls, callKey, type Decided, type Settled } from "./calls.js";
import { sameParams, withRemoved } from "./params.js";

export class Gate {
  constructor(
    readonly bridge: Bridge,
    readonly calls: Calls,
    readonly pluginId: string,
  ) {}

  /** Asks the plugins. With `remember` the last hook finds the decision. */
  async decide(event: Fields, context: Fields, remember: boolean): Promise<ToolCallAnswer | undefined> {
    const asked = await this.#ask(event, context);
    if ("answer" in asked) return asked.answer;
    const { decided, changed, approval } = asked;
    if (remember) this.calls.decided.set(this.#key(event, context), decided);
    return { ...(changed ? { params: decided.params } : {}), ...(approval === undefined ? {} : { requireApproval: approval }) };
  }

  /** The last word: what was decided is redeemed, and is what runs. */
  async confirm(event: Fields, context: Fields): Promise<ToolCallAnswer | undefined> {
    const params = paramsOf(event);
    let decided = this.calls.decided.take(this.#key(event, context));
    if (decided !== undefined && !sameParams(decided.params, params) && !this.bridge.config.bindParams) {
      // Another policy changed what was decided on, and may: so the plugins are asked about the final parameters.
      decided = undefined;
    }
    let approval: ToolCallAnswer["requireApproval"];
    if (decided === undefined) {
      const asked = await this.#ask(event, context);
      if ("answer" in asked) return asked.answer;
      ({ decided, approval } = asked);
    }
    if (approval === undefined) {
      const settled = decided.approval === undefined ? { allowed: true, decision: decided.decision } : await this.#settled(decided.approval);
      if (!settled.allowed) return { block: true, blockReason: settled.reason ?? "the approval was not given" };
      const refused = await this.#redeem(event, context, decided.params, settled.decision);
      if (refused !== undefined) return { block: true, blockReason: refused };
    } else {
      // OpenClaw asks the person after this hook, so nothing is left that could stop the tool; see `registerGate`.
      this.#admit(event, context, undefined, decided.approval);
    }
    const unchanged = sameParams(decided.params, params);
    return { ...(unchanged && !this.bridge.config.bindParams ? {} : { params: withRemoved(params, decided.params) }), ...(approval === undefined ? {} : { requireApproval: approval }) };
  }

  async #ask(event: Fields, context: Fields): Promise<{ answer: ToolCallAnswer | undefined } | { decided: Decided; changed: boolean; approval?: ToolCallAnswer["requireApproval"] }> {
    const params = paramsOf(event);
    const { toolName, toolCallId = randomUUID() } = toolOf(event, context);
    const signal = context["abortSignal"] instanceof AbortSignal ? context["abortSignal"] : undefined;
    const given = isFields(event["params"]) ? { params } : { params, givenParams: event["params"] };
    const answer = await this.bridge.call("before_tool_call", { ...event, ...given, toolCallId }, context, { toolName, toolCallId, signal });
    if (answer.verdict === "stop") return { answer: { block: true, blockReason: reasonOf(answer) } };
    if (!answer.called) {
      this.#admit(event, context, undefined, undefined);
      return { answer: undefined };
    }
    const final = answer.result?.kind === "tool_call" && answer.result.params !== undefined ? (answer.result.params as Fields) : params;
    const decided: Decided = { params: final, decision: answer.decision };
    if (answer.verdict === "ask") {
      const approval = approvalOf(this.bridge, answer, this.pluginId);
      if (approval === undefined) return { answer: { block: true, blockReason: reasonOf(answer) } };
      decided.approval = approval.settled;
      return { decided, changed: !sameParams(final, params), approval: approval.request };
    }
    return { decided, changed: !sameParams(final, params) };
  }

  /** Uses the decision up, or keeps it for a served tool, whose call uses it up itself. Why not, where it may not run. */
  async #redeem(event: Fields, context: Fields, params: Fields, decision: Decision | undefined): Promise<string | undefined> {
    if (this.#isServed(event, context)) {
      this.#admit(event, context, decision, undefined);
      return undefined;
    }
    if (decision === undefined) return "outrigger: there is no decision to redeem";
    const { ok, reason } = await this.bridge.runtime.redeem(decision, params as JsonObject);
    return ok ? undefined : (reason ?? "outrigger: the decision was not redeemed");
  }

  async #settled(approval: Promise<Settled>): Promise<Settled> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<Settled>((done) => {
      timer = setTimeout(() => done({ allowed: false, reason: "outrigger: the approval was not taken in time" }), this.bridge.config.callMs);
    });
    const settled = await Promise.race([approval, late]);
    clearTimeout(timer);
    return settled;
  }

  #admit(event: Fields, context: Fields, decision: Decision | undefined, approval: Promise<Settled> | undefined): void {
    const { toolCallId } = toolOf(event, context);
    if (toolCallId === undefined || !this.#isServed(event, context)) return;
    this.calls.admitted.set(toolCallId, { subject: subjectOf(event, context), decision, approval });
  }

  #isServed(event: Fields, context: Fields): boolean {
    const { toolName } = toolOf(event, context);
    return this.bridge.tools.some(({ name }) => name === toolName);
  }

  #key(event: Fields, context: Fields): string {
    return callKey(subjectOf(event, context).run, toolOf(event, context).toolCallId ?? "");
  }
}

const paramsOf = (event: Fields): Fields => (isFields(event["params"]) ? (plain(event["params"]) as Fields) : {});
