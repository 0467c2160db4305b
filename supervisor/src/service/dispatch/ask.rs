//! Asks one handler, of whatever generation serves by then.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::plugin::v1::invocation_result::Outcome as Answer;
use outrigger_proto::types::v1 as types;
use outrigger_proto::types::v1::HandlerOutcome as Fared;
use prost::Message as _;
use tokio::time::Instant;

use super::Call;
use crate::domain::hook::{Access, Hook};
use crate::domain::{json, text};
use crate::service::breaker::Pass;
use crate::service::invocation::scan;
use crate::service::registration::Handler;
use crate::service::registry::Asked;
use crate::service::results::{self, Checked};
use crate::service::session::{Ask, InvokeError, Session};
use crate::service::view::{PASSES, View, state_name};

/// What is left free around event, context and messages in an invocation: ids, handles, names.
const AROUND: usize = 64 * 1024;

/// How asking one handler came out.
pub(crate) struct Asking {
    pub(crate) fared: Fared,
    /// The plugin gave an answer of the right form, be it that its handler failed.
    pub(crate) answered: bool,
    pub(crate) message: String,
    pub(crate) elapsed: Duration,
    /// What it answered, checked; `None` where it has no opinion.
    pub(crate) result: Option<Box<types::HookResult>>,
    /// When it was known.
    pub(crate) at: Instant,
    /// What the breaker let pass, where it was asked.
    pub(crate) pass: Option<Pass>,
}

impl Asking {
    /// Nobody was there to be asked.
    pub(crate) fn absent(message: String) -> Self {
        Self {
            fared: Fared::Absent,
            answered: false,
            message,
            elapsed: Duration::ZERO,
            result: None,
            at: Instant::now(),
            pass: None,
        }
    }
}

impl Call {
    /// Asks one handler about this event; `after` is the newest agent event published before. Cancel safe: a dropped
    /// future cancels the invocation.
    pub(super) async fn ask(&self, one: &Asked, event: Bytes, after: u64, recheck: bool) -> Asking {
        let started = Instant::now();
        let absent = Asking::absent;
        let Some(admitted) = one.counts.admit(started) else {
            return absent("is not asked: the breaker of its handler is open".to_owned());
        };
        if self.deadline.is_some_and(|own| own <= started) {
            // Others used the time up. It is not held against this one.
            let message = "was not asked: the call's time was up before its turn".to_owned();
            return Asking { fared: Fared::Skipped, ..absent(message) };
        }
        let mut session = Arc::clone(&one.session);
        let mut index = one.index;
        for _ in 0..PASSES {
            let deadline = started + session.registration.handlers[index].timeout;
            let deadline = self.deadline.map_or(deadline, |own| own.min(deadline));
            // For each generation anew: another may have other rights.
            let visible = match self.visible(&session.registration.handlers[index], event.clone()).await {
                Ok(visible) => visible,
                Err(why) => return absent(why),
            };
            let invocation = self.invocation(&session, index, &visible, after, recheck);
            let ask = Ask::new(index, started, deadline, invocation).of_run(self.run.clone());
            // Nobody waits for these; what ends one early is a newer one.
            let ask = if self.hook == Hook::CronReconciled { ask.superseded_if_dropped() } else { ask };
            match session.invoke(ask).await {
                Err(InvokeError::NotServing) => {
                    // Nothing was sent. Another generation may serve by now.
                    let Some(current) =
                        one.part.view.serving().filter(|current| current.generation != session.generation)
                    else {
                        return absent(why_absent(&one.part.view));
                    };
                    let known = one.handler();
                    let found = current.registration.handler(self.hook, known.policy, &known.id);
                    let Some(found) = found.filter(|index| current.registration.handlers[*index].wants(self)) else {
                        return absent(format!("its generation {} does not serve this", current.generation));
                    };
                    (session, index) = (current, found);
                }
                Err(InvokeError::Overloaded) => {
                    return absent("is over its bounds: too many calls wait for it already".to_owned());
                }
                result => {
                    let asking = outcome(result, &session, index, started).await;
                    return Asking { pass: admitted.settle(), ..asking };
                }
            }
        }
        absent(why_absent(&one.part.view))
    }

    /// The event as this handler may see it.
    async fn visible(&self, handler: &Handler, event: Bytes) -> Result<Bytes, String> {
        if handler.conversation {
            return Ok(event);
        }
        let hook = self.hook;
        match hook.row().access {
            // Phases, names, times and counts: what is not known to be one stays here.
            Access::Meta => {
                let kept = scan(event.len(), move || json::keep_members(&event, hook.row().meta())).await;
                kept.flatten().ok_or_else(|| "cannot be shown the event".to_owned())
            }
            _ if self.conversation => {
                let left = scan(event.len(), move || json::drop_members(&event, CONVERSATION)).await;
                left.flatten().ok_or_else(|| "cannot be shown the event".to_owned())
            }
            _ => Ok(event),
        }
    }

    fn invocation(
        &self,
        session: &Session,
        index: usize,
        event_json: &Bytes,
        after: u64,
        recheck: bool,
    ) -> wire::Invocation {
        let asked = &self.asked;
        let handler = &session.registration.handlers[index];
        let context_json = if handler.conversation || !self.conversation || asked.context_json.is_empty() {
            asked.context_json.clone()
        } else {
            // The context is short; one that cannot be read is not shown.
            json::drop_members(&asked.context_json, CONVERSATION).unwrap_or_default()
        };
        let wants_messages = handler.wants_messages && !asked.messages_json.is_empty();
        let bytes = asked.messages_json.len() + event_json.len() + context_json.len() + AROUND;
        let fits = bytes <= session.max_receive();
        let call = wire::HookCall {
            hook: crate::service::wire::hook(self.hook) as i32,
            event_json: event_json.clone(),
            context_json,
            messages_json: if wants_messages && fits { asked.messages_json.clone() } else { Bytes::new() },
            messages_omitted: handler.wants_messages && (asked.messages_omitted || (wants_messages && !fits)),
            tool_name: asked.tool_name.clone(),
            tool_call_id: asked.tool_call_id.clone(),
            tool_authority: if handler.tool_authority { asked.tool_authority.clone() } else { String::new() },
            recheck,
        };
        wire::Invocation {
            handler_id: handler.id.clone(),
            session: asked.session.as_ref().map(|reference| session.handles.session(reference)),
            run: asked.run.as_ref().map(|run| session.handles.run(&self.runtime_id, run)),
            trace: asked.trace.clone(),
            event_seq: after,
            call: Some(handler.call(call)),
            ..Default::default()
        }
    }
}

impl Handler {
    /// The handler is for this call.
    pub(super) fn wants(&self, call: &Call) -> bool {
        let asked = &call.asked;
        self.tools.matches(&asked.tool_name)
            && fits(&self.triggers, asked.trigger, types::Trigger::try_from(asked.trigger).is_ok())
            && fits(
                &self.dispatch_kinds,
                asked.dispatch_kind,
                types::DispatchKind::try_from(asked.dispatch_kind).is_ok(),
            )
            && (!self.tool_authority || !asked.tool_authority.is_empty())
    }
}

/// A filter lets a value pass. What is not stated or not known passes no filter but the empty one.
fn fits(filter: &[i32], value: i32, is_known: bool) -> bool {
    filter.is_empty() || (value != 0 && is_known && filter.contains(&value))
}

/// Members of an event or context that hold conversation text, whatever the hook.
pub(crate) const CONVERSATION: &[&str] = &[
    "prompt",
    "messages",
    "historyMessages",
    "queuedInjections",
    "systemPrompt",
    "lastAssistantMessage",
    "lastAssistant",
    "assistantTexts",
];

/// What an answer, or its absence, comes to.
pub(crate) async fn outcome(
    result: Result<Answer, InvokeError>,
    session: &Session,
    index: usize,
    started: Instant,
) -> Asking {
    let at = Instant::now();
    let elapsed = at.duration_since(started);
    let handler = &session.registration.handlers[index];
    let asking = |fared, message: String| {
        let answered = matches!(fared, Fared::Allow | Fared::Deny);
        Asking { fared, answered, message, elapsed, result: None, at, pass: None }
    };
    let error = |message: String| asking(Fared::Error, message);
    let invalid = |message: &str| {
        session.notice(wire::NoticeKind::ResultInvalid, 0, &handler.id, message.to_owned());
        session.invalid_answer();
        error(format!("gave an invalid answer: {message}"))
    };
    match result {
        Ok(Answer::Declined(_) | Answer::Completed(_)) => asking(Fared::Allow, String::new()),
        Ok(Answer::Failed(failed)) => {
            let words = text::clean(&failed.message, 500);
            let words =
                if words.is_empty() { "its handler failed".to_owned() } else { format!("its handler failed: {words}") };
            Asking { answered: true, ..error(words) }
        }
        Ok(Answer::Hook(result)) => match check(result, handler).await {
            Ok(Checked { result, notices }) => {
                for notice in notices {
                    session.notice(wire::NoticeKind::FieldIgnored, 0, &handler.id, notice);
                }
                let (fared, message) = match results::denies(&result) {
                    true => (Fared::Deny, results::reason(&result).to_owned()),
                    false => (Fared::Allow, String::new()),
                };
                Asking { result: Some(Box::new(result)), ..asking(fared, message) }
            }
            Err(why) => invalid(&why),
        },
        Ok(_) => invalid("the answer is of another kind than the call"),
        Err(InvokeError::TimedOut { sent }) => {
            let what = if sent { "did not answer in time" } else { "was busy until the call's time was up" };
            asking(Fared::Timeout, format!("{what} ({elapsed:.1?})"))
        }
        Err(InvokeError::Ended(why)) => error(why),
        Err(InvokeError::TooLarge { bytes, max }) => {
            error(format!("cannot be asked: the call has {bytes} bytes, it can receive {max}"))
        }
        Err(InvokeError::NotServing | InvokeError::Overloaded) => Asking::absent("does not serve".to_owned()),
    }
}

async fn check(result: types::HookResult, handler: &Handler) -> Result<Checked, String> {
    let (hook, policy, id, authority) = (handler.hook, handler.policy, handler.id.clone(), handler.tool_authority);
    let checked = scan(result.encoded_len(), move || results::check(hook, policy, result, &id)).await;
    let checked = checked.unwrap_or_else(|| Err("it could not be read".to_owned()))?;
    Ok(if authority { checked.with_tool_authority() } else { checked })
}

/// The state of a plugin that is not there. In the moment between its end and the news of it, it waits.
pub(crate) fn absent_state(view: &View) -> types::PluginState {
    match view.status().state {
        types::PluginState::Ready if view.serving().is_none_or(|session| !session.is_accepting()) => {
            types::PluginState::Waiting
        }
        state => state,
    }
}

/// The same in words.
pub(crate) fn why_absent(view: &View) -> String {
    let status = view.status();
    let state = absent_state(view);
    if state != status.state {
        return format!("is {}: it has just ended", state_name(state));
    }
    if state == types::PluginState::Ready {
        return "is ready, but no handler of it serves this guard".to_owned();
    }
    let state = state_name(state);
    if status.message.is_empty() { format!("is {state}") } else { format!("is {state}: {}", status.message) }
}
