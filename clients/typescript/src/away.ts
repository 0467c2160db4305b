/** What a hook comes to when the supervisor is not there to ask. Pure. */

import type { HookName } from "./catalogue.js";
import { type Contributions, match, type Subject } from "./interest.js";

/** Go on, or stop and why. */
export interface AwayVerdict {
  verdict: "go_on" | "stop";
  reason?: string;
}

/** How many characters of a tool's name a reason has at most. */
const LONGEST_NAME = 128;
/** How many plugins a reason names at most. */
const MOST_NAMED = 3;

/**
 * The verdict while the supervisor is away: what the last Contributions call a guard is denied and other hooks are
 * skipped; where none was ever heard, every hook of `failClosedHooks` is denied.
 */
export function awayVerdict(
  contributions: Contributions | undefined,
  failClosedHooks: ReadonlySet<HookName>,
  hook: HookName,
  subject: Subject,
): AwayVerdict {
  const about = subject.toolName === undefined ? "" : ` of \`${subject.toolName.slice(0, LONGEST_NAME)}\``;
  if (contributions === undefined) {
    if (!failClosedHooks.has(hook)) return { verdict: "go_on" };
    const reason = `outrigger: the supervisor is away; what plugins guard was never heard, so ${hook}${about} is denied`;
    return { verdict: "stop", reason };
  }
  const interest = match(contributions.hooks, hook, subject);
  if (!interest?.failClosed) return { verdict: "go_on" };
  const reason = `outrigger: the supervisor is away; ${hook}${about} is guarded by ${named(interest.guardPluginIds)}`;
  return { verdict: "stop", reason };
}

function named(plugins: readonly string[]): string {
  if (plugins.length === 0) return "a plugin";
  return plugins.slice(0, MOST_NAMED).join(", ") + (plugins.length > MOST_NAMED ? " and others" : "");
}
