//! A runtime that publishes as fast as the supervisor takes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use outrigger_proto::runtime::v1 as wire;
use outrigger_proto::types::v1 as types;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::super::Result;
use super::super::measure::{Numbers, numbers};
use super::events::{self, BURST};
use super::runtime::Client;

/// Messages that wait for the connection.
const AHEAD: usize = 4;

/// The publisher.
pub(super) struct Flood {
    client: Client,
    /// Position of the last event in its run.
    position: u64,
    marks: u64,
    running: Option<Running>,
}

struct Running {
    begun: Instant,
    stop: Arc<AtomicBool>,
    /// Ends with the position of the last event.
    pump: JoinHandle<Result<u64>>,
    answer: JoinHandle<std::result::Result<wire::PublishEventsResponse, Status>>,
}

impl Flood {
    pub(super) fn new(client: Client) -> Self {
        Self { client, position: 0, marks: 0, running: None }
    }

    /// Begins.
    pub(super) fn start(&mut self) -> Result<Numbers> {
        let (out, messages) = mpsc::channel(AHEAD);
        let answer = tokio::spawn(publish(self.client.clone(), ReceiverStream::new(messages)));
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, mut position) = (Arc::clone(&stop), self.position);
        let pump = tokio::spawn(async move {
            let event = events::agent_event();
            while !stopped.load(Ordering::Relaxed) {
                let next = |_| {
                    position += 1;
                    types::AgentEvent { seq: position, ..event.clone() }
                };
                let events = (0..BURST).map(next).collect();
                out.send(wire::PublishEventsRequest { events }).await?;
            }
            Ok(position)
        });
        self.running = Some(Running { begun: Instant::now(), stop, pump, answer });
        Ok(Numbers::new())
    }

    /// Ends: `rate` in events a second that the supervisor took, from the first to its answer after the last.
    pub(super) async fn stop(&mut self) -> Result<Numbers> {
        let running = self.running.take().ok_or("nothing is published")?;
        running.stop.store(true, Ordering::Relaxed);
        let last = running.pump.await?;
        let answer = running.answer.await??;
        let took = running.begun.elapsed();
        let sent = last? - self.position;
        self.position += sent;
        if answer.accepted != sent {
            return Err(format!("{sent} events were published: {answer:?}").into());
        }
        Ok(numbers([("rate", sent as f64 / took.as_secs_f64()), ("events", sent as f64)]))
    }

    /// Publishes a mark: `mark` is its number, `published` the events before it.
    pub(super) async fn mark(&mut self) -> Result<Numbers> {
        self.marks += 1;
        let message = wire::PublishEventsRequest { events: vec![events::mark(self.marks)] };
        let answer = publish(self.client.clone(), tokio_stream::once(message)).await?;
        if answer.accepted != 1 {
            return Err(format!("a mark was published: {answer:?}").into());
        }
        Ok(numbers([("mark", self.marks as f64), ("published", self.position as f64)]))
    }
}

/// Publishes messages until there are no more; what the supervisor said of all of them.
async fn publish(
    mut client: Client,
    messages: impl tokio_stream::Stream<Item = wire::PublishEventsRequest> + Send + 'static,
) -> std::result::Result<wire::PublishEventsResponse, Status> {
    let mut answers = client.publish_events(messages).await?.into_inner();
    let mut last = wire::PublishEventsResponse::default();
    while let Some(answer) = answers.message().await? {
        last = answer;
    }
    Ok(last)
}
