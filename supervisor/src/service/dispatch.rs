//! Calls a hook: who is asked, in which order, and what their answers come to.
//!
//! `before_tool_call` is a gate. First, guards that hold and whose plugin is absent: a call that cannot pass costs nobody
//! a call. Then handlers in order, each about the event as it came; the first that blocks, fails, or does not answer in
//! time ends it. Parameters are merged key by key over the event's; whoever allowed something else than what will run,
//! before or after it was changed, is asked once more. No lock is held while a plugin is asked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::plugin::v1::invocation_result::Outcome as Answer;
use outrigger_proto::runtime::v1 as runtime;
use outrigger_proto::types::v1 as types;
use outrigger_proto::types::v1::HandlerOutcome as Fared;
use prost::Message as _;
use tokio::time::Instant;

use super::breaker::Pass;
use super::invocation::MAX_PAYLOAD;
use super::registry::{Asked, Registry, Snapshot, Table, Unserved};
use super::session::{Ask, InvokeError, Session};
use super::tool_gate::{self, Decided};
use super::view::{View, state_name};
use crate::domain::guard::OnAbsent;
use crate::domain::hook::Hook;

/// How often a call is passed on to a newer generation before the plugin counts as absent. Each pass means that a
/// generation began to serve in between.
const PASSES: usize = 4;

/// A hook call, checked.
pub(crate) struct Call {
    /// Who calls; empty for an operator.
    pub(crate) runtime_id: Arc<str>,
    pub(crate) hook: Hook,
    /// As the runtime sent it. `event_json` is a JSON object, and so is `context_json` where it is not empty;
    /// `messages_json` is an array or empty; the session is one the runtime announced.
    pub(crate) asked: Box<runtime::HookInvocation>,
    /// The caller's own deadline.
    pub(crate) deadline: Option<Instant>,
    pub(crate) canary: bool,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    GoOn,
    Stop,
}

/// What the plugins made of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) result: Option<Box<types::HookResult>>,
    /// Why not; begins with the plugin's id.
    pub(crate) reason: String,
    pub(crate) decided_by: Option<Box<types::HandlerReport>>,
    pub(crate) rechecked: u32,
    pub(crate) handlers: Vec<types::HandlerReport>,
    /// Epoch this was answered under.
    pub(crate) epoch: u64,
}

/// How asking one handler came out.
pub(crate) struct Asking {
    pub(crate) fared: Fared,
    /// The plugin gave an answer of the right form, be it that its handler failed.
    pub(crate) answered: bool,
    pub(crate) message: String,
    pub(crate) elapsed: Duration,
    pub(crate) decided: Decided,
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
            decided: Decided::Pass,
            result: None,
            at: Instant::now(),
            pass: None,
        }
    }
}

/// Asks plugins.
pub(crate) struct Dispatcher {
    registry: Arc<Registry>,
}

impl Dispatcher {
    pub(crate) fn new(registry: Arc<Registry>) -> Arc<Self> {
        Arc::new(Self { registry })
    }

    /// The contribution epoch now.
    pub(crate) fn epoch(&self) -> u64 {
        self.registry.snapshot().epoch
    }

    /// Dispatches one call. Cancel safe: a dropped future cancels what is in flight.
    pub(crate) async fn dispatch(&self, call: Call) -> Outcome {
        let snapshot = self.registry.snapshot();
        let mut gate = Gate { call, snapshot: &snapshot, reports: Vec::new(), rechecked: 0 };
        let stopped = gate.run().await;
        let Gate { reports, rechecked, .. } = gate;
        let epoch = snapshot.epoch;
        match stopped {
            Err(stop) => Outcome {
                verdict: Verdict::Stop,
                result: stop.result,
                reason: stop.reason,
                decided_by: Some(stop.report),
                rechecked,
                handlers: reports,
                epoch,
            },
            Ok(params) => Outcome {
                verdict: Verdict::GoOn,
                result: params.map(|params| Box::new(tool_gate::proceed(params))),
                reason: String::new(),
                decided_by: None,
                rechecked,
                handlers: reports,
                epoch,
            },
        }
    }
}

/// Why a call does not go on.
struct Stop {
    reason: String,
    report: Box<types::HandlerReport>,
    result: Option<Box<types::HookResult>>,
}

struct Gate<'a> {
    call: Call,
    snapshot: &'a Snapshot,
    reports: Vec<types::HandlerReport>,
    rechecked: u32,
}

impl Gate<'_> {
    /// Asks everybody; `Ok` with the changed parameters, if they were changed.
    async fn run(&mut self) -> Result<Option<Bytes>, Box<Stop>> {
        let Some(table) = self.snapshot.table(self.call.hook) else { return Ok(None) };
        for unserved in &table.unserved {
            if unserved.tools.matches(&self.call.asked.tool_name) {
                self.unserved(unserved)?;
            }
        }
        let mut changes: Vec<Bytes> = Vec::new();
        let mut changers: Vec<usize> = Vec::new();
        for (position, one) in table.asked.iter().enumerate() {
            if !one.wants(&self.call.asked.tool_name) {
                continue;
            }
            let event = self.call.asked.event_json.clone();
            let asking = self.ask(one, event, false).await;
            if let Some(added) = self.judge(one, asking, false)? {
                changers.push(position);
                changes.push(added);
            }
        }
        if changes.is_empty() {
            return Ok(None);
        }
        self.recheck(table, &changers, changes).await.map(Some)
    }

    /// Asks whoever allowed something else than what the handlers at `changers` made of it; the merged parameters.
    async fn recheck(&mut self, table: &Table, changers: &[usize], changes: Vec<Bytes>) -> Result<Bytes, Box<Stop>> {
        // What the handlers changed is merged over what the event had; that is what runs.
        let given = self.call.asked.event_json.clone();
        let bytes = given.len() + changes.iter().map(Bytes::len).sum::<usize>();
        let merged = tool_gate::scan(bytes, move || tool_gate::with_changes(&given, &changes)).await.flatten();
        let (event, merged) = merged.unwrap_or_default();
        if let Some(last) = changers.last()
            && (event.is_empty() || event.len() > MAX_PAYLOAD)
        {
            let message = match event.len() {
                0 => "changed parameters that cannot be merged".to_owned(),
                bytes => format!("made the call {bytes} bytes long, at most {MAX_PAYLOAD} can be passed on"),
            };
            let last = &table.asked[*last];
            let report = report(&last.part.view, last.handler(), Fared::Error, Duration::ZERO, &message, false);
            self.keep(&report);
            return Err(stop(&last.part.view, report, &message, None));
        }
        for (position, one) in table.asked.iter().enumerate() {
            if changers == [position] || !one.wants(&self.call.asked.tool_name) {
                continue;
            }
            let asking = self.ask(one, event.clone(), true).await;
            self.rechecked += 1;
            self.judge(one, asking, true)?;
        }
        Ok(merged)
    }

    /// Counts a guard that nobody serves; `Err` where that ends the call.
    fn unserved(&mut self, unserved: &Unserved) -> Result<(), Box<Stop>> {
        let view = &unserved.part.view;
        let message = match &unserved.part.session {
            Some(_) => "serves no handler for this, which it declares to guard".to_owned(),
            None => why_absent(view),
        };
        unserved.counts.record(None, Fared::Absent, Instant::now(), Duration::ZERO);
        let report = report(view, "", Fared::Absent, Duration::ZERO, &message, false);
        self.keep(&report);
        if unserved.on_absent == OnAbsent::Deny { Err(stop(view, report, &message, None)) } else { Ok(()) }
    }

    /// Counts and reports one handler's answer; `Err` where it ends the call.
    fn judge(&mut self, one: &Asked, asking: Asking, recheck: bool) -> Result<Option<Bytes>, Box<Stop>> {
        let view = &one.part.view;
        if let Some(open) = one.counts.record(asking.pass, asking.fared, asking.at, asking.elapsed) {
            let id = one.handler();
            let text = format!("the breaker of handler `{id}` opened for {open:.1?}");
            tracing::warn!(plugin = %view.id, handler = id, "{text}");
            view.logs.say(std::time::SystemTime::now(), one.session.generation, "warn", text);
        }
        let ends = match asking.fared {
            Fared::Allow => false,
            Fared::Absent => one.part.on_absent(self.call.hook) == OnAbsent::Deny,
            _ => true,
        };
        if ends || self.call.asked.report_handlers {
            let report = report(view, one.handler(), asking.fared, asking.elapsed, &asking.message, recheck);
            self.keep(&report);
            if ends {
                return Err(stop(view, report, &asking.message, asking.result));
            }
        }
        match asking.decided {
            // In a recheck only a block counts.
            Decided::Params(params) if !recheck => Ok(Some(params)),
            Decided::Params(_) | Decided::Pass | Decided::Block(_) => Ok(None),
        }
    }

    /// Keeps a report for a caller who wants all of them.
    fn keep(&mut self, report: &types::HandlerReport) {
        if self.call.asked.report_handlers {
            self.reports.push(report.clone());
        }
    }

    /// Asks one handler, of whatever generation serves by then.
    async fn ask(&self, one: &Asked, event_json: Bytes, recheck: bool) -> Asking {
        let started = Instant::now();
        let absent = Asking::absent;
        let Some(pass) = one.counts.admit(started) else {
            return absent("is not asked: the breaker of its handler is open".to_owned());
        };
        let admitted = Admitted { one, pass, settled: false };
        let mut session = Arc::clone(&one.session);
        let mut index = one.index;
        for _ in 0..PASSES {
            let deadline = started + session.registration.handlers[index].timeout;
            let deadline = self.call.deadline.map_or(deadline, |own| own.min(deadline));
            let invocation = self.invocation(&session, index, &event_json, recheck);
            match session.invoke(Ask::new(index, started, deadline, invocation)).await {
                Err(InvokeError::NotServing) => {
                    // Nothing was sent. Another generation may serve by now.
                    let Some(current) =
                        one.part.view.serving().filter(|current| current.generation != session.generation)
                    else {
                        return absent(why_absent(&one.part.view));
                    };
                    let found = current.registration.handler(self.call.hook, one.handler());
                    let matches =
                        |index: &usize| current.registration.handlers[*index].tools.matches(&self.call.asked.tool_name);
                    let Some(found) = found.filter(matches) else {
                        return absent(format!("its generation {} does not serve this guard", current.generation));
                    };
                    (session, index) = (current, found);
                }
                Err(InvokeError::Overloaded) => {
                    return absent("is over its bounds: too many calls wait for it already".to_owned());
                }
                result => return admitted.settle(outcome(result, &session, index, started).await),
            }
        }
        absent(why_absent(&one.part.view))
    }

    fn invocation(&self, session: &Session, index: usize, event_json: &Bytes, recheck: bool) -> wire::Invocation {
        let asked = &self.call.asked;
        let handler = &session.registration.handlers[index];
        let wants_messages = handler.wants_messages && !asked.messages_json.is_empty();
        let fits = asked.messages_json.len() + event_json.len() + asked.context_json.len() + 64 * 1024
            <= session.max_receive();
        wire::Invocation {
            handler_id: handler.id.clone(),
            session: asked.session.as_ref().map(|reference| session.handles.session(reference)),
            run: asked.run.as_ref().map(|run| session.handles.run(&self.call.runtime_id, run)),
            trace: asked.trace.clone(),
            canary: self.call.canary,
            call: Some(wire::invocation::Call::Hook(wire::HookCall {
                hook: super::wire::hook(self.call.hook) as i32,
                event_json: event_json.clone(),
                context_json: asked.context_json.clone(),
                messages_json: if wants_messages && fits { asked.messages_json.clone() } else { Bytes::new() },
                messages_omitted: handler.wants_messages && (asked.messages_omitted || (wants_messages && !fits)),
                tool_name: asked.tool_name.clone(),
                tool_call_id: asked.tool_call_id.clone(),
                tool_authority: String::new(),
                recheck,
            })),
            ..Default::default()
        }
    }
}

/// How one handler fared.
fn report(
    view: &View,
    handler: &str,
    fared: Fared,
    elapsed: Duration,
    message: &str,
    recheck: bool,
) -> Box<types::HandlerReport> {
    Box::new(types::HandlerReport {
        plugin_id: view.id.to_string(),
        handler_id: handler.to_owned(),
        outcome: fared as i32,
        elapsed: Some(super::wire::duration(elapsed)),
        message: crate::domain::text::clean(message, 500),
        tool_policy: false,
        recheck,
        plugin_state: if fared == Fared::Absent { absent_state(view) as i32 } else { 0 },
    })
}

fn stop(
    view: &View,
    report: Box<types::HandlerReport>,
    message: &str,
    result: Option<Box<types::HookResult>>,
) -> Box<Stop> {
    view.denied();
    let mut reason = format!("{}: {message}", view.id);
    if reason.chars().count() > 2200 {
        reason = reason.chars().take(2200).collect();
    }
    Box::new(Stop { reason, report, result })
}

/// A call the breaker let pass; says so if it comes to nothing.
struct Admitted<'a> {
    one: &'a Asked,
    pass: Pass,
    settled: bool,
}

impl Admitted<'_> {
    fn settle(mut self, asking: Asking) -> Asking {
        self.settled = true;
        Asking { pass: Some(self.pass), ..asking }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.one.counts.abandon(self.pass);
        }
    }
}

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
    let asking = |fared, message: String, decided, result| {
        let answered = matches!(fared, Fared::Allow | Fared::Deny);
        Asking { fared, answered, message, elapsed, decided, result, at, pass: None }
    };
    let error = |message: String| asking(Fared::Error, message, Decided::Pass, None);
    let invalid = |message: &str| {
        session.notice(wire::NoticeKind::ResultInvalid, 0, &handler.id, message.to_owned());
        session.invalid_answer();
        error(format!("gave an invalid answer: {message}"))
    };
    match result {
        Ok(Answer::Declined(_) | Answer::Completed(_)) => asking(Fared::Allow, String::new(), Decided::Pass, None),
        Ok(Answer::Failed(failed)) => {
            let words = crate::domain::text::clean(&failed.message, 500);
            let words =
                if words.is_empty() { "its handler failed".to_owned() } else { format!("its handler failed: {words}") };
            Asking { answered: true, ..error(words) }
        }
        Ok(Answer::Hook(result)) => match decide(result, &handler.id).await {
            Ok(Decided::Block(reason)) => {
                // Cleaned, and without what this hook has no use for: its size is the plugin's to choose.
                let block = Some(Box::new(tool_gate::block(reason.clone())));
                asking(Fared::Deny, reason.clone(), Decided::Block(reason), block)
            }
            Ok(decided) => asking(Fared::Allow, String::new(), decided, None),
            Err(why) => invalid(&why),
        },
        Ok(_) => invalid("the answer is of another kind than the call"),
        Err(InvokeError::TimedOut { sent }) => {
            let what = if sent { "did not answer in time" } else { "was busy until the call's time was up" };
            asking(Fared::Timeout, format!("{what} ({:.1?})", elapsed), Decided::Pass, None)
        }
        Err(InvokeError::Ended(why)) => error(why),
        Err(InvokeError::TooLarge { bytes, max }) => {
            error(format!("cannot be asked: the call has {bytes} bytes, it can receive {max}"))
        }
        Err(InvokeError::NotServing | InvokeError::Overloaded) => Asking::absent("does not serve".to_owned()),
    }
}

async fn decide(result: types::HookResult, handler: &str) -> Result<Decided, String> {
    let handler = handler.to_owned();
    let decided = tool_gate::scan(result.encoded_len(), move || tool_gate::decide(&result, &handler)).await;
    decided.unwrap_or_else(|| Err("it could not be read".to_owned()))
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
