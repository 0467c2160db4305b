//! One stream of published events: taken in as it comes, and confirmed while it is open.

use std::sync::Arc;
use std::time::Duration;

use outrigger_proto::runtime::v1::{PublishEventsRequest, PublishEventsResponse};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::codegen::BoxStream;
use tonic::{Status, Streaming};

use super::intake::{Intake, MAX_EVENTS};
use crate::service::runtime_service::key_removed;
use crate::service::runtimes::Runtime;
use crate::service::status::Failure;

/// How far a stream is. Its reader sees the newest only: one that does not read holds nothing up and keeps one answer.
#[derive(Clone, Default)]
struct Progress {
    counts: PublishEventsResponse,
    end: Option<Result<(), Status>>,
}

/// What takes one stream in.
pub(crate) struct Publishing {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) intake: Intake,
    /// How long a runtime counts as attached after its stream has ended.
    pub(crate) runtime_gone: Duration,
    /// The supervisor stops.
    pub(crate) stopping: CancellationToken,
}

impl Publishing {
    /// Takes messages in until they end. Answers what is to run, and the answers it leads to.
    pub(crate) fn begin(
        mut self,
        messages: Streaming<PublishEventsRequest>,
    ) -> (impl Future<Output = ()> + Send, BoxStream<PublishEventsResponse>) {
        let (progress, seen) = watch::channel(Progress::default());
        let work = async move {
            let end = self.take_all(messages, &progress).await;
            progress.send_replace(Progress { counts: self.intake.counts().clone(), end: Some(end) });
        };
        (work, Box::pin(answers(seen)))
    }

    async fn take_all(
        &mut self,
        mut messages: Streaming<PublishEventsRequest>,
        progress: &watch::Sender<Progress>,
    ) -> Result<(), Status> {
        let mut told = 0;
        loop {
            let read = self.intake.counts().read;
            if read - told >= MAX_EVENTS as u64 {
                told = self.tell(progress);
            }
            let message = tokio::select! {
                biased;
                () = self.runtime.removed.cancelled() => return Err(key_removed().into()),
                () = self.stopping.cancelled() => return Err(Status::unavailable("the supervisor is stopping")),
                () = progress.closed() => return Ok(()),
                message = messages.message() => message?,
                // Nothing more is here.
                () = std::future::ready(()), if told < read => {
                    told = self.tell(progress);
                    continue;
                }
            };
            let Some(message) = message else { return Ok(()) };
            if message.events.len() > MAX_EVENTS {
                return Err(Failure::field("events", format!("wants at most {MAX_EVENTS} in a message")).into());
            }
            // A stream outlives the attachment it was opened under.
            self.runtime.check_attached(self.runtime_gone)?;
            self.intake.take(message.events).await;
        }
    }

    /// Tells how far it is: after how many events.
    fn tell(&self, progress: &watch::Sender<Progress>) -> u64 {
        let counts = self.intake.counts();
        progress.send_replace(Progress { counts: counts.clone(), end: None });
        counts.read
    }
}

/// The answers of a stream: the newest whenever there is one, then how it ended.
fn answers(seen: watch::Receiver<Progress>) -> impl tokio_stream::Stream<Item = Result<PublishEventsResponse, Status>> {
    futures_util::stream::unfold(Some(seen), async |seen| {
        let mut seen = seen?;
        // Whoever takes the events in tells how it ended, but where the supervisor's tasks are gone.
        seen.changed().await.ok()?;
        let Progress { counts, end } = seen.borrow_and_update().clone();
        match end {
            None => Some((Ok(counts), Some(seen))),
            Some(Ok(())) => Some((Ok(counts), None)),
            Some(Err(status)) => Some((Err(status), None)),
        }
    })
}
