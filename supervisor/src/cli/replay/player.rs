//! Plays one recorded hook after the other on an attached [`RuntimeClient`].

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use outrigger_proto::runtime::v1 as runtime;
use outrigger_proto::types::v1 as types;
use serde_json::{Map, Value};

use super::runtime_client::{Identity, InvokeError, RuntimeClient};
use super::trace::{Call, Event};
use crate::cli::connection::Runtime;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::domain::hook::Hook;

/// What a call may take beyond what the supervisor said, for the way there and back.
const WAY: Duration = Duration::from_secs(5);
/// Members of events that hold the conversation, which travels apart and only if it is wanted.
const CONVERSATION: [&str; 2] = ["messages", "historyMessages"];

/// What becomes of the recorded pauses.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// None is kept.
    None,
    /// Each is kept, this many times as fast.
    Scaled(f64),
    /// Each is kept up to this length.
    AtMost(Duration),
}

impl Pace {
    /// The pause before a call that was recorded at `at`. The first has none.
    pub(crate) fn gap(self, before: Option<Duration>, at: Duration) -> Duration {
        let recorded = before.map_or(Duration::ZERO, |before| at.saturating_sub(before));
        match self {
            Self::None => Duration::ZERO,
            Self::AtMost(most) => recorded.min(most),
            // A pause beyond a day is not waited for by anybody; the bound keeps the arithmetic sound.
            Self::Scaled(speed) => Duration::try_from_secs_f64(recorded.as_secs_f64() / speed)
                .unwrap_or(Duration::MAX)
                .min(Duration::from_secs(86_400)),
        }
    }
}

/// What became of a recorded hook.
#[derive(Debug)]
pub(crate) enum Played {
    /// No plugin wants it: no call was made.
    NotWanted,
    /// It was answered.
    Answered {
        /// What the plugins made of it.
        outcome: Box<runtime::HookOutcome>,
        /// Time from the call to the answer, as the runtime sees it.
        elapsed: Duration,
    },
    /// It was not answered. What a guard guards is blocked then.
    Failed {
        /// Why.
        error: InvokeError,
        /// A guard guards it.
        blocked: bool,
    },
}

/// What became of a recorded event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// Nobody wants its stream, and it ends no run: it was not published.
    NotWanted,
    /// It was taken in.
    Accepted,
    /// It was not, and why.
    Rejected(String),
}

/// A runtime that lives from recorded hooks.
pub(crate) struct Player {
    client: RuntimeClient,
    /// Put before run ids: a run that has ended is never used again, and the same trace can be played twice.
    incarnation: u64,
    announced: HashSet<String>,
    /// Answers of each run that were asked about.
    attempts: HashMap<String, u32>,
}

impl Player {
    /// Attaches as a new incarnation that calls these hooks.
    pub(crate) async fn attach(client: Runtime, hooks: BTreeSet<Hook>) -> Result<Self, Failure> {
        let random = getrandom::u64()
            .map_err(|error| Failure::new(Exit::Failed, format!("this system gives no random numbers: {error}")))?;
        let incarnation = random.max(1);
        let identity = Identity {
            software: concat!("outrigger replay ", env!("CARGO_PKG_VERSION")).to_owned(),
            incarnation,
            served_hooks: served(hooks),
        };
        let client = RuntimeClient::attach(client, identity).await?;
        Ok(Self { client, incarnation, announced: HashSet::new(), attempts: HashMap::new() })
    }

    /// Waits, and takes in what plugins want meanwhile.
    pub(crate) async fn pause(&mut self, length: Duration) {
        self.client.idle(length).await;
    }

    /// The supervisor is there.
    pub(crate) fn is_attached(&self) -> bool {
        self.client.is_attached()
    }

    /// Plays one call.
    pub(crate) async fn play(&mut self, call: &Call) -> Played {
        let tool = call.tool_name();
        let trigger = trigger(call);
        let Some(interest) = self.interest(call, &tool, trigger) else { return Played::NotWanted };
        let fail_closed = interest.fail_closed;
        let wants_messages = interest.wants_messages;
        let longest = interest.max_duration.and_then(|length| Duration::try_from(length).ok());
        let limit = longest.unwrap_or(call.hook.row().timeout).saturating_add(WAY);

        let session = session(call);
        let new = session.as_ref().filter(|session| !self.announced.contains(&session.key));
        if let Some(new) = new.filter(|_| self.client.is_attached()) {
            if let Err(status) = self.client.announce(new.clone()).await {
                let error = InvokeError::Refused(format!("the session could not be announced: {}", status.message()));
                return Played::Failed { error, blocked: fail_closed };
            }
            self.announced.insert(new.key.clone());
        }
        let invocation = self.invocation(call, tool, trigger, session, wants_messages);
        let begin = Instant::now();
        let outcome = match call.hook {
            Hook::AgentTurnPrepare | Hook::HeartbeatPromptContribution => {
                self.client.prepare(turn(invocation), limit).await.map(prepared)
            }
            Hook::BeforeAgentFinalize => {
                let run = invocation.run.as_ref().map(|run| run.id.clone()).unwrap_or_default();
                let attempt = self.attempts.entry(run).or_default();
                *attempt += 1;
                self.client.finalize(answer(invocation, *attempt), limit).await.map(finalized)
            }
            _ => self.client.invoke(invocation, limit).await,
        };
        match outcome {
            Ok(outcome) => Played::Answered { outcome: Box::new(outcome), elapsed: begin.elapsed() },
            Err(error) => Played::Failed { error, blocked: fail_closed },
        }
    }

    /// What plugins want of a recorded hook. A turn is prepared by one call for all of its hooks, so a heartbeat's is
    /// asked for with it; `None` where that call was recorded, too.
    fn interest(&self, call: &Call, tool: &str, trigger: types::Trigger) -> Option<types::HookInterest> {
        let of = |hook| self.client.interest(hook, tool, trigger);
        match call.hook {
            Hook::HeartbeatPromptContribution => None,
            Hook::AgentTurnPrepare => {
                let heartbeat = of(Hook::HeartbeatPromptContribution).filter(|_| trigger == types::Trigger::Heartbeat);
                of(call.hook).or(heartbeat)
            }
            hook => of(hook),
        }
        .cloned()
    }

    /// Publishes one event. It belongs to the same run as the calls that were recorded with it.
    pub(crate) async fn publish(&mut self, event: &Event) -> Published {
        if !event.is_terminal() && !self.client.wants_stream(event.text("stream")) {
            return Published::NotWanted;
        }
        if !self.client.is_attached() {
            return Published::Rejected("the supervisor is away".to_owned());
        }
        let number = |member: &str| event.event.get(member).and_then(Value::as_u64).unwrap_or(0);
        let millis = number("ts");
        let time = prost_types::Timestamp {
            seconds: i64::try_from(millis / 1_000).unwrap_or(0),
            nanos: i32::try_from(millis % 1_000 * 1_000_000).unwrap_or(0),
        };
        let agent_event = types::AgentEvent {
            run_id: self.run_id(event.text("runId")),
            stream: event.text("stream").to_owned(),
            data_json: json(event.event.get("data").unwrap_or(&Value::Null)),
            seq: number("seq"),
            time: (millis > 0).then_some(time),
            session_key: event.text("sessionKey").to_owned(),
            session_id: if event.text("sessionKey").is_empty() { "" } else { event.text("sessionId") }.to_owned(),
            agent_id: event.text("agentId").to_owned(),
            terminal: event.is_terminal(),
            provenance: types::Provenance::Untrusted as i32,
            ..types::AgentEvent::default()
        };
        match self.client.publish(vec![agent_event]).await {
            Ok(told) if told.rejected == 0 => Published::Accepted,
            Ok(told) => Published::Rejected(told.problems.into_iter().next().unwrap_or_default()),
            Err(status) => Published::Rejected(status.message().to_owned()),
        }
    }

    /// Another for each replay.
    fn run_id(&self, recorded: &str) -> String {
        format!("{:016x}-{recorded}", self.incarnation)
    }

    fn invocation(
        &self,
        call: &Call,
        tool_name: String,
        trigger: types::Trigger,
        session: Option<types::SessionRef>,
        wants_messages: bool,
    ) -> runtime::HookInvocation {
        let run_id = call.text("runId").map(|id| self.run_id(id));
        let mut event = call.event.clone();
        let mut context = call.context.clone();
        let conversation = CONVERSATION.iter().filter_map(|member| event.remove(*member)).next();
        for object in [&mut event, &mut context] {
            if let (Some(id), Some(Value::String(recorded))) = (&run_id, object.get_mut("runId")) {
                recorded.clone_from(id);
            }
        }
        runtime::HookInvocation {
            hook: call.hook as i32,
            event_json: json(&Value::Object(event)),
            context_json: json(&Value::Object(context)),
            messages_json: conversation.filter(|_| wants_messages).map(|messages| json(&messages)).unwrap_or_default(),
            session,
            run: run_id.map(|id| types::RunRef { handle: String::new(), id }),
            tool_name,
            tool_call_id: call.text("toolCallId").unwrap_or_default().to_owned(),
            trigger: trigger as i32,
            trace: trace_context(&call.context),
            report_handlers: true,
            ..runtime::HookInvocation::default()
        }
    }
}

/// The hooks this runtime calls, by whichever call: whoever prepares turns asks heartbeats, too.
fn served(mut hooks: BTreeSet<Hook>) -> BTreeSet<Hook> {
    if hooks.contains(&Hook::AgentTurnPrepare) {
        hooks.insert(Hook::HeartbeatPromptContribution);
    }
    hooks
}

/// The call that prepares a turn.
fn turn(invocation: runtime::HookInvocation) -> runtime::PrepareTurnRequest {
    runtime::PrepareTurnRequest {
        session: invocation.session,
        run: invocation.run,
        trigger: invocation.trigger,
        event_json: invocation.event_json,
        context_json: invocation.context_json,
        messages_json: invocation.messages_json,
        trace: invocation.trace,
        ..runtime::PrepareTurnRequest::default()
    }
}

/// What a prepared turn came to, as the outcome of a hook.
fn prepared(turn: runtime::PrepareTurnResponse) -> runtime::HookOutcome {
    let added = types::PromptContribution {
        prepend_context: turn.prepend_context,
        append_context: turn.append_context,
        ..types::PromptContribution::default()
    };
    let anything = added != types::PromptContribution::default();
    went_on(anything.then_some(types::hook_result::Result::Prompt(added)))
}

/// The call that asks whether an answer may go out.
fn answer(invocation: runtime::HookInvocation, attempt: u32) -> runtime::FinalizeTurnRequest {
    runtime::FinalizeTurnRequest {
        session: invocation.session,
        run: invocation.run,
        attempt,
        event_json: invocation.event_json,
        context_json: invocation.context_json,
        messages_json: invocation.messages_json,
        trace: invocation.trace,
        ..runtime::FinalizeTurnRequest::default()
    }
}

/// What became of an answer, as the outcome of a hook.
fn finalized(told: runtime::FinalizeTurnResponse) -> runtime::HookOutcome {
    went_on(told.decision.map(types::hook_result::Result::Finalize))
}

fn went_on(result: Option<types::hook_result::Result>) -> runtime::HookOutcome {
    runtime::HookOutcome {
        verdict: runtime::HookVerdict::GoOn as i32,
        result: result.map(|result| Box::new(types::HookResult { result: Some(result) })),
        ..runtime::HookOutcome::default()
    }
}

fn json(value: &Value) -> bytes::Bytes {
    value.to_string().into_bytes().into()
}

fn session(call: &Call) -> Option<types::SessionRef> {
    let text = |member| call.text(member).unwrap_or_default().to_owned();
    Some(types::SessionRef {
        handle: String::new(),
        key: call.text("sessionKey")?.to_owned(),
        id: text("sessionId"),
        agent_id: text("agentId"),
        runtime_id: String::new(),
    })
}

fn trigger(call: &Call) -> types::Trigger {
    match call.text("trigger") {
        Some("user") => types::Trigger::User,
        Some("heartbeat") => types::Trigger::Heartbeat,
        Some("cron") => types::Trigger::Cron,
        _ => types::Trigger::Unspecified,
    }
}

/// The recorded trace as a W3C `traceparent`, where all of its parts are there.
fn trace_context(context: &Map<String, Value>) -> Option<types::TraceContext> {
    let trace = context.get("trace")?.as_object()?;
    let part = |member: &str, length: usize| {
        let text = trace.get(member)?.as_str()?;
        (text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)
    };
    let (trace_id, span_id, flags) = (part("traceId", 32)?, part("spanId", 16)?, part("traceFlags", 2)?);
    Some(types::TraceContext { traceparent: format!("00-{trace_id}-{span_id}-{flags}"), tracestate: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_cut_or_scaled() {
        let at = Duration::from_millis;
        assert_eq!(Pace::AtMost(at(300)).gap(None, at(9_000)), at(0));
        assert_eq!(Pace::AtMost(at(300)).gap(Some(at(8_000)), at(9_000)), at(300));
        assert_eq!(Pace::AtMost(at(300)).gap(Some(at(8_900)), at(9_000)), at(100));
        assert_eq!(Pace::Scaled(4.0).gap(Some(at(8_000)), at(9_000)), at(250));
        assert_eq!(Pace::Scaled(1e-300).gap(Some(at(8_000)), at(9_000)), Duration::from_secs(86_400));
        assert_eq!(Pace::Scaled(1.0).gap(Some(at(9_000)), at(8_000)), at(0), "a clock that was set back");
        assert_eq!(Pace::None.gap(Some(at(8_000)), at(9_000)), at(0));
    }

    #[test]
    fn a_trace_context_has_all_parts_or_is_none() {
        let whole = serde_json::json!({ "trace": {
            "traceId": "a773044f043f6b9d751060ee817b2938", "spanId": "3eeafde80b292cfe", "traceFlags": "01" } });
        let context = trace_context(whole.as_object().expect("an object")).expect("a context");
        assert_eq!(context.traceparent, "00-a773044f043f6b9d751060ee817b2938-3eeafde80b292cfe-01");
        let part =
            serde_json::json!({ "trace": { "traceId": "a773", "spanId": "3eeafde80b292cfe", "traceFlags": "01" } });
        assert_eq!(trace_context(part.as_object().expect("an object")), None);
    }
}
