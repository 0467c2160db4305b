//! What a runtime publishes: checked event by event, then numbered and laid before the subscribers.

use std::sync::Arc;

use bytes::Bytes;
use outrigger_proto::runtime::v1::{PublishEventsResponse, RunEnd};
use outrigger_proto::types::v1 as types;

use super::bus::Bus;
use super::pace::Pace;
use crate::domain::json::{self, PAYLOAD_DEPTH};
use crate::domain::text;
use crate::service::invocation::{MAX_PAYLOAD, scan};
use crate::service::runs::{NoRun, Run, Runs};
use crate::service::runtimes::Runtime;

/// Events of one message (the wire contract's bound).
pub(crate) const MAX_EVENTS: usize = 1024;
/// Problems told (the wire contract's bound).
const MAX_PROBLEMS: usize = 10;
/// Characters of a problem (the wire contract's bound).
const MAX_PROBLEM: usize = 200;

/// One stream of published events.
pub(crate) struct Intake {
    runtime: Arc<Runtime>,
    runs: Arc<Runs>,
    bus: Arc<Bus>,
    counts: PublishEventsResponse,
    pace: Pace,
}

/// What became of one event.
enum Taken {
    Accepted,
    Duplicate,
}

impl Intake {
    pub(crate) fn new(runtime: Arc<Runtime>, runs: Arc<Runs>, bus: Arc<Bus>) -> Self {
        let pace = Pace::new(Arc::clone(&bus));
        Self { runtime, runs, bus, counts: PublishEventsResponse::default(), pace }
    }

    /// Publishes the events of one message. No subscriber is waited for; in between others get their turn.
    pub(crate) async fn take(&mut self, events: Vec<types::AgentEvent>) {
        for event in events {
            let name = text::clean(&event.stream, 40);
            self.counts.read += 1;
            match self.publish(event).await {
                Ok(Taken::Accepted) => self.counts.accepted += 1,
                Ok(Taken::Duplicate) => self.counts.duplicate += 1,
                Err(problem) => {
                    self.counts.rejected += 1;
                    if self.counts.problems.len() < MAX_PROBLEMS {
                        self.counts.problems.push(text::clean(&format!("stream `{name}`: {problem}"), MAX_PROBLEM));
                    }
                }
            }
            self.pace.step().await;
        }
        self.pace.rest();
    }

    /// What became of all events so far.
    pub(crate) fn counts(&self) -> &PublishEventsResponse {
        &self.counts
    }

    async fn publish(&self, mut event: types::AgentEvent) -> Result<Taken, String> {
        self.check(&event)?;
        check_data(&event.data_json).await?;
        let run = match self.runs.begin(&self.runtime.id, &event.run_id) {
            Ok(run) => run,
            // The end was told before, by an event or by EndRun.
            Err(NoRun::Ended) if event.terminal => return Ok(Taken::Duplicate),
            Err(NoRun::Ended) => return Err(format!("run `{}` has ended", text::clean(&event.run_id, 64))),
            Err(NoRun::TooMany) => return Err("the runtime has too many live runs".to_owned()),
        };
        let session = self.session(&run, &event)?;
        if !run.note_position(event.seq) {
            return Ok(Taken::Duplicate);
        }
        event.session_key.clone_from(&session.key);
        event.session_id.clone_from(&session.id);
        event.agent_id.clone_from(&session.agent_id);
        event.runtime_id = self.runtime.id.to_string();
        event.trace = self.runtime.trace(event.trace.take());
        if event.time.is_none() {
            event.time = Some(crate::service::wire::timestamp(std::time::SystemTime::now()));
        }
        let seq = self.bus.lay(&run.runtime_id, &run.id, &session, &event);
        run.note_event(seq);
        if event.terminal {
            // Settling goes on by itself.
            let _ = self.runs.end(&self.runtime.id, &run.id, how_ended(&event.data_json));
        }
        Ok(Taken::Accepted)
    }

    fn check(&self, event: &types::AgentEvent) -> Result<(), String> {
        let within = |what: &str, text: &str, least: usize, most: usize| {
            let units = text::units(text);
            if (least..=most).contains(&units) && !text.chars().any(char::is_control) {
                Ok(())
            } else {
                Err(format!("{what} wants {least} to {most} characters without control characters"))
            }
        };
        within("run_id", &event.run_id, 1, 256)?;
        within("stream", &event.stream, 1, 128)?;
        within("session_id", &event.session_id, 0, 256)?;
        if event.session_key.is_empty() && !event.session_id.is_empty() {
            return Err("session_id without session_key".to_owned());
        }
        if !event.plugin_id.is_empty() || !event.runtime_id.is_empty() {
            return Err("plugin_id and runtime_id are the supervisor's to set".to_owned());
        }
        let owner = event.stream.split('.').next().unwrap_or_default();
        if self.bus.knows(owner) {
            return Err(format!("the stream is that of plugin `{owner}`"));
        }
        if event.terminal && event.stream != "lifecycle" {
            return Err("only an event of `lifecycle` ends a run".to_owned());
        }
        let sound = |time: &prost_types::Timestamp| (0..1_000_000_000).contains(&time.nanos);
        if !event.time.as_ref().is_none_or(sound) {
            return Err("time wants nanos from 0 to 999,999,999".to_owned());
        }
        Ok(())
    }

    /// The session of an event: what it names, else its run's.
    fn session(&self, run: &Run, event: &types::AgentEvent) -> Result<Arc<types::SessionRef>, String> {
        let known = run.session();
        let says_nothing_new = |named: &str, known: &str| named.is_empty() || named == known;
        if says_nothing_new(&event.session_key, &known.key)
            && says_nothing_new(&event.session_id, &known.id)
            && (says_nothing_new(&event.agent_id, &known.agent_id) || known.key.is_empty())
        {
            if known.key.is_empty() && !event.agent_id.is_empty() {
                // Of no session, but of an agent.
                return Ok(Arc::new(types::SessionRef { agent_id: event.agent_id.clone(), ..Default::default() }));
            }
            return Ok(known);
        }
        let mut session = types::SessionRef {
            key: if event.session_key.is_empty() { known.key.clone() } else { event.session_key.clone() },
            id: event.session_id.clone(),
            agent_id: event.agent_id.clone(),
            ..Default::default()
        };
        self.runtime.announce(&mut session).map_err(|failure| failure.message().to_owned())?;
        let announced = Arc::new(session);
        if known.key.is_empty() || known.key == announced.key {
            run.set_session(Arc::clone(&announced));
        }
        Ok(announced)
    }
}

/// What a lifecycle event says of its run's end.
fn how_ended(data: &[u8]) -> RunEnd {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct End {
        phase: serde_json::Value,
        aborted: serde_json::Value,
    }
    let end: End = serde_json::from_slice(data).unwrap_or_default();
    match (end.phase.as_str(), end.aborted.as_bool()) {
        (_, Some(true)) => RunEnd::Cancelled,
        (Some("error"), _) => RunEnd::Failed,
        _ => RunEnd::Completed,
    }
}

async fn check_data(data: &Bytes) -> Result<(), String> {
    if data.is_empty() {
        return Err("data_json wants a JSON text".to_owned());
    }
    let bytes = data.len();
    if bytes > MAX_PAYLOAD {
        return Err(format!("data_json has {bytes} bytes, at most {MAX_PAYLOAD}"));
    }
    let data = data.clone();
    let check = move || {
        json::validate_payload(&data, PAYLOAD_DEPTH)
            .map_err(|error| format!("data_json, byte {}: {}", error.offset, error.rule))
    };
    scan(bytes, check).await.unwrap_or_else(|| Err("the scan of data_json was lost".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::service::runtimes::Runtimes;

    #[tokio::test]
    async fn others_get_their_turn_however_events_are_packed() {
        let bus = Bus::new(1);
        let runs = Runs::new(Arc::clone(&bus), TaskTracker::new());
        let mut intake = Intake::new(Runtimes::default().of("default"), runs, bus);
        let turns = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&turns);
        let other = tokio::spawn(async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
        let event = types::AgentEvent {
            run_id: "r".to_owned(),
            stream: "tool".to_owned(),
            data_json: "{}".into(),
            ..Default::default()
        };
        for (messages, events) in [(160, 1), (10, 16), (1, 160)] {
            let before = turns.load(Ordering::Relaxed);
            for _ in 0..messages {
                intake.take(vec![event.clone(); events]).await;
            }
            let turns = turns.load(Ordering::Relaxed) - before;
            assert!(turns >= 160 / 16, "{turns} turns in {messages} messages of {events}");
        }
        other.abort();
        assert_eq!(intake.counts().accepted, 480);
    }
}
