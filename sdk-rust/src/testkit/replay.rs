//! Recorded traces of agent runtimes, played to a plugin.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use outrigger_proto::plugin::v1::invocation_result::Outcome;
use outrigger_proto::types::v1::{AgentEvent, Hook, RunRef, SessionRef};
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{Call, CallError};
use super::registered::{fits, handlers_of, policies_of};
use super::{TestHost, events::Fate};
use crate::answer::Decision;

/// A recorded trace: hooks and agent events of a run, line by line.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace(Vec<Line>);

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    Hook { n: u64, t: u64, hook: String, event: Value, ctx: Value },
    Event { n: u64, t: u64, event: Value },
}

/// Why a trace cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// It cannot be read.
    #[error("read the trace")]
    Read(#[from] io::Error),
    /// A line is not of the format.
    #[error("read line {line} of the trace: {problem}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

impl Trace {
    /// Reads a trace from a file.
    ///
    /// # Errors
    /// It cannot be read, or is not of the format.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, TraceError> {
        Self::parse(&fs::read_to_string(path)?)
    }

    /// Reads a trace's text: one JSON object a line.
    ///
    /// # Errors
    /// It is not of the format.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let line = |(at, text): (usize, &str)| {
            let failed = |problem: String| TraceError::Line { line: at + 1, problem };
            let line: Line = serde_json::from_str(text).map_err(|error| failed(error.to_string()))?;
            let (Line::Hook { n, t, event, .. } | Line::Event { n, t, event }) = &line;
            if *n != at as u64 {
                return Err(failed(format!("its number is {n}")));
            }
            if *t == 0 || !event.is_object() {
                return Err(failed("it has no time, or its event is no object".to_owned()));
            }
            match &line {
                Line::Hook { hook, .. } if named(hook).is_none() => Err(failed(format!("there is no hook `{hook}`"))),
                Line::Event { event, .. } if !event["stream"].is_string() || !event["runId"].is_string() => {
                    Err(failed("the event has no stream or run".to_owned()))
                }
                _ => Ok(line),
            }
        };
        text.lines().enumerate().map(line).collect::<Result<_, _>>().map(Self)
    }
}

fn named(hook: &str) -> Option<Hook> {
    Hook::from_str_name(&format!("HOOK_{}", hook.to_uppercase()))
}

/// What came of playing a trace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Hooks the plugin has handlers for, by name.
    pub hooks: BTreeMap<String, Counts>,
    /// Hooks of the trace that no handler of the plugin wants.
    pub unwanted: usize,
    /// Events of the trace, those no subscription wants included.
    pub events: usize,
    /// Why handlers failed, oldest first.
    pub failures: Vec<String>,
}

impl Replayed {
    /// What came of one hook; nothing, if it was not called.
    #[must_use]
    pub fn hook(&self, name: &str) -> Counts {
        self.hooks.get(name).copied().unwrap_or_default()
    }
}

/// How the calls of a hook ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls, one for each handler that wants it.
    pub calls: usize,
    /// The handler had no opinion, or an observer had seen it.
    pub quiet: usize,
    /// The handler answered.
    pub answered: usize,
    /// It failed, or answered with what is none to this hook.
    pub failed: usize,
}

impl TestHost {
    /// Plays a trace: every hook to every handler that wants it, in the order of asking and each with the recorded event,
    /// and every event to the subscriptions. Returns when all is answered and acknowledged.
    ///
    /// # Errors
    /// The session ended, or there was no answer in the time a test waits.
    pub async fn replay(&self, trace: &Trace) -> Result<Replayed, CallError> {
        let mut replayed = Replayed::default();
        for line in &trace.0 {
            match line {
                Line::Hook { hook, event, ctx, .. } => {
                    let kind = named(hook).unwrap_or_default();
                    self.replay_hook(&mut replayed, hook, kind, event, ctx).await?;
                }
                Line::Event { event, .. } => {
                    replayed.events += 1;
                    self.publish_as(agent_event(event), false, Fate::Delivered);
                }
            }
        }
        let last = self.stage.with(|state| state.events.last());
        if last > 0 {
            self.events_opened(1).await;
        }
        if self.stage.with(|state| state.events.acknowledges()) {
            self.acknowledged_up_to(last).await;
        }
        Ok(replayed)
    }

    async fn replay_hook(
        &self,
        replayed: &mut Replayed,
        name: &str,
        hook: Hook,
        event: &Value,
        ctx: &Value,
    ) -> Result<(), CallError> {
        let text = |member: &str| event[member].as_str().or(ctx[member].as_str()).unwrap_or_default().to_owned();
        let mut event = event.clone();
        if hook == Hook::BeforeToolCall && !event["params"].is_object() {
            event["givenParams"] = std::mem::replace(&mut event["params"], json!({}));
        }
        let tool = text("toolName").to_lowercase();
        let (policies, handlers) = self.stage.with(|state| {
            let policies = match hook {
                Hook::BeforeToolCall => policies_of(state.register.as_ref(), &tool),
                _ => Vec::new(),
            };
            (policies, handlers_of(state.register.as_ref(), hook, &tool))
        });
        if policies.is_empty() && handlers.is_empty() {
            replayed.unwanted += 1;
            return Ok(());
        }
        let session = SessionRef {
            handle: format!("session-handle-of-{}", text("sessionKey")),
            key: text("sessionKey"),
            id: text("sessionId"),
            agent_id: text("agentId"),
            ..Default::default()
        };
        let run = RunRef { handle: format!("run-handle-of-{}", text("runId")), id: text("runId") };
        let policies = policies.into_iter().map(|policy| (true, policy.handler_id));
        for (is_policy, id) in policies.chain(handlers.into_iter().map(|handler| (false, handler.handler_id))) {
            let mut call = Call::<Decision>::of_hook(self.stage.clone(), hook, event.clone()).handler(&id);
            if is_policy {
                call = call.for_policy();
            }
            let pending = call.context(ctx.clone()).session(session.clone()).run(run.clone()).send();
            let counts = replayed.hooks.entry(name.to_owned()).or_default();
            counts.calls += 1;
            match pending.outcome().await? {
                Outcome::Failed(failed) => {
                    counts.failed += 1;
                    replayed.failures.push(format!("{name}: {}", failed.message));
                }
                outcome if !fits(hook, &outcome) => {
                    counts.failed += 1;
                    replayed.failures.push(format!("{name}: the answer is none to this hook"));
                }
                Outcome::Declined(_) | Outcome::Completed(_) => counts.quiet += 1,
                _ => counts.answered += 1,
            }
        }
        Ok(())
    }
}

/// A recorded agent event as a runtime publishes it.
fn agent_event(event: &Value) -> AgentEvent {
    let text = |member: &str| event[member].as_str().unwrap_or_default().to_owned();
    let phase = event["data"]["phase"].as_str().unwrap_or_default();
    AgentEvent {
        run_id: text("runId"),
        stream: text("stream"),
        data_json: event["data"].to_string().into(),
        seq: event["seq"].as_u64().unwrap_or_default(),
        session_key: text("sessionKey"),
        session_id: text("sessionId"),
        agent_id: text("agentId"),
        terminal: event["stream"] == "lifecycle" && matches!(phase, "end" | "error"),
        ..Default::default()
    }
}
