//! Checks what a runtime asks before any plugin sees it.

use std::sync::Arc;
use std::time::Duration;

use outrigger_proto::runtime::v1 as wire;
use outrigger_proto::types::v1::{ErrorReason, RunRef, SessionRef};
use tokio::time::Instant;

use super::dispatch::{CONVERSATION, Call};
use super::runs::{NoRun, Run, Runs};
use super::runtimes::Runtime;
use super::status::Failure;
use crate::domain::hook::{Hook, Kind};
use crate::domain::json::{self, Found, PAYLOAD_DEPTH, ValueLimits};
use crate::domain::names;
use crate::domain::text;

/// Event and context of a call together (architecture §14).
pub(crate) const MAX_PAYLOAD: usize = 3 * 1024 * 1024;
/// The event of a proposal that wants a verdict (host-hooks §1.12).
const MAX_PROPOSAL: usize = 512 * 1024;
/// Texts longer than this are scanned off the data thread (architecture §15).
pub(crate) const SCAN_HERE: usize = 64 * 1024;

/// Works on texts of this size: here where they are short, elsewhere where that would hold up every other call
/// (architecture §15). `None` where the work was lost.
pub(crate) async fn scan<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if bytes <= SCAN_HERE { Some(work()) } else { tokio::task::spawn_blocking(work).await.ok() }
}

/// The hook of a call that came as a hook call.
///
/// # Errors
/// It is not known here, or has an RPC of its own.
pub(crate) fn hook(number: i32) -> Result<Hook, Failure> {
    let Some(hook) = Hook::from_number(number) else {
        return Err(Failure::field("invocation.hook", format!("{number} is no hook that is known here")));
    };
    let own_rpc = match hook {
        Hook::AgentTurnPrepare | Hook::HeartbeatPromptContribution => "PrepareTurn",
        Hook::BeforeAgentFinalize => "FinalizeTurn",
        _ => return Ok(hook),
    };
    let why = format!("`{}` is called by {own_rpc}", hook.name());
    Err(Failure::new(ErrorReason::HookNotInvocable, why).meta("hook", hook.name()).meta("rpc", own_rpc))
}

/// Checks one call.
///
/// # Errors
/// What is wrong, as the contract names it; no handler ran.
pub(crate) async fn check(
    invocation: Box<wire::HookInvocation>,
    hook: Hook,
    runtime: &Runtime,
    runs: &Runs,
) -> Result<Call, Failure> {
    let deadline = match &invocation.timeout {
        None => None,
        Some(timeout) => match super::wire::to_duration(timeout) {
            Some(timeout) if timeout > Duration::ZERO => Some(Instant::now() + timeout.min(Duration::from_secs(3600))),
            _ => return Err(Failure::field("invocation.timeout", "wants more than zero")),
        },
    };
    if hook.row().by_tool
        && let Err(error) = names::tool(&invocation.tool_name)
    {
        let wrong = format!("`{}` {error}", text::clean(&invocation.tool_name, 64));
        return Err(Failure::field("invocation.tool_name", wrong));
    }
    let id = text::units(&invocation.tool_call_id);
    if id > 256 || (id == 0 && hook == Hook::BeforeToolCall) {
        return Err(Failure::field("invocation.tool_call_id", "wants 1 to 256 characters"));
    }
    if text::units(&invocation.tool_authority) > 512 {
        return Err(Failure::field("invocation.tool_authority", "wants at most 512 characters"));
    }
    if !invocation.target_plugin_id.is_empty() && hook.row().kind != Kind::Claim {
        return Err(Failure::field("invocation.target_plugin_id", format!("`{}` is no claim", hook.name())));
    }
    let size = invocation.event_json.len() + invocation.context_json.len();
    let messages = invocation.messages_json.len();
    if size > MAX_PAYLOAD {
        let why = format!("event and context have {size} bytes, at most {MAX_PAYLOAD}");
        return Err(Failure::field("invocation.event_json", why));
    }
    if hook == Hook::SkillProposalEvaluate && invocation.event_json.len() > MAX_PROPOSAL {
        let why = format!("a proposal has {} bytes, at most {MAX_PROPOSAL}", invocation.event_json.len());
        return Err(Failure::field("invocation.event_json", why));
    }
    if invocation.event_json.is_empty() {
        return Err(Failure::field("invocation.event_json", "wants a JSON object"));
    }
    let texts = move || check_texts(&invocation, hook).map(|found| (invocation, found));
    let lost = || Err(Failure::new(ErrorReason::Unspecified, "the scan of the payload was lost"));
    let (mut invocation, found) = scan(size + messages, texts).await.unwrap_or_else(lost)?;
    invocation.trace = runtime.trace(invocation.trace.take());
    if let Some(session) = &mut invocation.session {
        runtime.announce(session)?;
    }
    let run = match &invocation.run {
        None => None,
        Some(run) => {
            let id = check_run("invocation.run", Some(run))?;
            begin(runs, runtime, id, invocation.session.as_ref(), hook)?
        }
    };
    Ok(Call {
        runtime_id: Arc::clone(&runtime.id),
        hook,
        asked: invocation,
        deadline,
        conversation: found.others,
        params: found.first,
        run,
    })
}

/// The run that a call names; one that nobody named before begins. `None` for an observer of one that has ended: what
/// ended it may be what it is told of.
fn begin(
    runs: &Runs,
    runtime: &Runtime,
    id: &str,
    session: Option<&SessionRef>,
    hook: Hook,
) -> Result<Option<Arc<Run>>, Failure> {
    match runs.begin(&runtime.id, id) {
        Ok(run) => {
            if let Some(session) = session
                && run.session().key.is_empty()
            {
                run.set_session(Arc::new(session.clone()));
            }
            Ok(Some(run))
        }
        Err(NoRun::Ended) if hook.row().kind == Kind::Observe => Ok(None),
        Err(none) => Err(no_run(runtime, id, none)),
    }
}

/// Checks the name of a run, as it stands at a field.
///
/// # Errors
/// It has none, or a handle, which is the supervisor's to give.
pub(crate) fn check_run<'a>(field: &str, run: Option<&'a RunRef>) -> Result<&'a str, Failure> {
    match run {
        Some(run) if (1..=256).contains(&text::units(&run.id)) && run.handle.is_empty() => Ok(&run.id),
        _ => Err(Failure::field(field, "wants an id of 1 to 256 characters, and no handle")),
    }
}

/// Why a call has no run.
pub(crate) fn no_run(runtime: &Runtime, id: &str, why: NoRun) -> Failure {
    match why {
        NoRun::Ended => run_ended(id),
        NoRun::TooMany => {
            let why = format!("runtime `{}` has too many live runs", runtime.id);
            let failure = Failure::new(ErrorReason::FieldInvalid, why).with_code(tonic::Code::ResourceExhausted);
            failure.help("end runs that are over with EndRun or their terminal event")
        }
    }
}

/// A call in a run that is over.
pub(crate) fn run_ended(id: &str) -> Failure {
    let id = text::clean(id, 64);
    Failure::new(ErrorReason::RunEnded, format!("run `{id}` has ended")).meta("run_id", id)
}

/// Checks the texts of a call: where the event's `params` are, and whether they have something that only readers of the
/// conversation may see.
fn check_texts(invocation: &wire::HookInvocation, hook: Hook) -> Result<Found, Failure> {
    let event = check_text("invocation.event_json", &invocation.event_json, true)?;
    // `params` must be there and an object: what is approved and digested is always one.
    let begins = event.first.as_ref().and_then(|params| invocation.event_json.get(params.start));
    if hook == Hook::BeforeToolCall && begins != Some(&b'{') {
        let right = "wants an object; `{}` where the tool got none or something else";
        return Err(Failure::field("invocation.event_json.params", right));
    }
    let context = check_text("invocation.context_json", &invocation.context_json, true)?;
    check_text("invocation.messages_json", &invocation.messages_json, false)?;
    Ok(Found { others: event.others || context.others, ..event })
}

/// Checks one text, and looks for `params` and for members that hold conversation.
fn check_text(field: &str, text: &[u8], object: bool) -> Result<Found, Failure> {
    if text.is_empty() {
        return Ok(Found::default());
    }
    let limits = ValueLimits::payload(PAYLOAD_DEPTH);
    let limits = if object { limits.object() } else { limits };
    let found =
        json::validate_members(text, &limits, "params", CONVERSATION).map_err(|error| Failure::json(field, error))?;
    if !object && text.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'[') {
        return Err(Failure::field(field, "wants a JSON array"));
    }
    Ok(found)
}
