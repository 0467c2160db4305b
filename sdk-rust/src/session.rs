//! Holds the conversation with the supervisor: reads what it says, and answers what no handler is needed for.
//!
//! One task reads. It answers pings, starts handlers, and polls each once; only a handler that is not done then becomes
//! a task. So a call that is answered at once costs no hop, and a ping is answered however many handlers wait.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use outrigger_proto::plugin::v1::invocation_result::Outcome;
use outrigger_proto::plugin::v1::session_request::Control as Say;
use outrigger_proto::plugin::v1::session_response::Control as Heard;
use outrigger_proto::plugin::v1::{Notice, Pong, Registered, SessionResponse};
use outrigger_proto::types::v1::ErrorReason;
use tokio::signal::unix::{SignalKind, signal};
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use tracing::{debug, info, warn};

use crate::environment::Environment;
use crate::error::{Error, HandlerError, Result};
use crate::error_info;
use crate::launch::Facts;
use crate::outbox::Outbox;
use crate::plugin::Parts;
use crate::start::start;
use crate::wire;

/// Time until Shutdown ends in SIGTERM where the supervisor names none: its default.
const SHUTDOWN: Duration = Duration::from_secs(3);
/// Time to finish after SIGTERM; SIGKILL follows it after 2 s.
const TERMINATE: Duration = Duration::from_millis(1_500);

/// Ends when the process is asked to terminate.
///
/// # Errors
/// The signal cannot be caught.
pub(crate) fn sigterm() -> io::Result<impl Future<Output = ()>> {
    let mut signal = signal(SignalKind::terminate())?;
    Ok(async move {
        signal.recv().await;
    })
}

/// Runs a plugin over a connection, until it is stopped or the session ends.
pub(crate) async fn hold<S: Send + Sync + 'static>(
    parts: Parts<S>,
    environment: &Environment,
    channel: Channel,
    terminate: impl Future<Output = ()>,
) -> Result<()> {
    let mut terminate = pin!(terminate);
    let started = tokio::select! {
        biased;
        started = start(parts, environment, channel) => started?,
        // Nothing is in flight before the start is over.
        () = &mut terminate => return Ok(()),
    };
    let Some(mut serving) = started else { return Ok(()) };
    tokio::select! {
        biased;
        asked = serving.serve() => serving.shut_down(asked?).await,
        () = &mut terminate => {
            info!("asked to terminate; finishing the calls in flight");
            serving.finish(TERMINATE).await;
        }
    }
    Ok(())
}

/// The open stream.
pub(crate) struct Session {
    pub(crate) inbound: Streaming<SessionResponse>,
    pub(crate) outbox: Outbox,
    pub(crate) facts: Arc<Facts>,
}

/// What the supervisor said that changes the course.
pub(crate) enum Turn {
    /// The plugin is registered.
    Registered(Registered),
    /// It must exit in this time.
    Shutdown(Duration),
}

/// How work that was done beside reading ended.
pub(crate) enum Meanwhile<T> {
    /// It is done.
    Done(T),
    /// The supervisor took another turn first.
    Turned(Turn),
}

impl Session {
    /// Reads a message. Cancel safe.
    pub(crate) async fn read(&mut self) -> Result<SessionResponse> {
        match self.inbound.message().await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(Error::SessionEnded("the supervisor ended the stream".to_owned())),
            Err(status) => Err(ended(&status)),
        }
    }

    /// Handles a control frame, as far as no handler is needed.
    pub(crate) fn control(&self, control: Option<Heard>) -> Option<Turn> {
        match control? {
            Heard::Ping(ping) => self.outbox.control(Say::Pong(Pong { ping_id: ping.ping_id })),
            Heard::Registered(registered) => return Some(Turn::Registered(registered)),
            Heard::Shutdown(shutdown) => {
                return Some(Turn::Shutdown(shutdown.timeout.map_or(SHUTDOWN, wire::duration)));
            }
            Heard::Drain(drain) => {
                debug!(reason = drain.reason().as_str_name(), "draining");
                self.facts.set_draining();
            }
            Heard::Notice(notice) => log_notice(&notice),
            Heard::GrantsChanged(changed) => {
                for verdict in &changed.withdrawn {
                    warn!(
                        id = verdict.id,
                        scope = verdict.scope,
                        "withdrawn, its right was taken: {}",
                        verdict.message
                    );
                }
                self.facts.set_grants(changed.grants);
            }
            Heard::Welcome(_) => warn!("a second welcome; ignored"),
        }
        None
    }

    /// Does `work` while the stream is read. Calls that come are refused with `why`.
    ///
    /// # Errors
    /// The session ended first.
    pub(crate) async fn alongside<T>(&mut self, work: impl Future<Output = T>, why: &str) -> Result<Meanwhile<T>> {
        let mut work = pin!(work);
        loop {
            let message = tokio::select! {
                biased;
                message = self.read() => message?,
                done = &mut work => return Ok(Meanwhile::Done(done)),
            };
            for call in &message.invocations {
                let refusal = HandlerError::overloaded(why).into_outcome();
                self.outbox.answer(call.invocation_id, refusal);
            }
            for cancel in &message.cancels {
                self.outbox.cancel(cancel.invocation_id, cancel.reason());
            }
            if let Some(turn) = self.control(message.control) {
                return Ok(Meanwhile::Turned(turn));
            }
        }
    }

    /// Ends the sending side and waits for the supervisor to end its own, for so long at most.
    pub(crate) async fn close(&mut self, patience: Duration) {
        self.outbox.close();
        // What still comes concerns nobody.
        let rest = async { while let Ok(Some(_)) = self.inbound.message().await {} };
        let _ = tokio::time::timeout(patience, rest).await;
    }
}

/// A status that ended the stream, or kept it from beginning.
pub(crate) fn ended(status: &Status) -> Error {
    let message = status.message().to_owned();
    match error_info::reason(status) {
        ErrorReason::Unspecified => Error::SessionEnded(format!("{:?}: {message}", status.code())),
        ErrorReason::ProtocolUnsupported => Error::ProtocolUnsupported { message },
        reason => Error::Refused { reason, message },
    }
}

fn log_notice(notice: &Notice) {
    warn!(
        notice = notice.kind().as_str_name(),
        about = notice.invocation_id,
        handler = notice.handler_id,
        field = notice.field,
        "notice from the supervisor: {}",
        notice.message
    );
}

impl HandlerError {
    /// The answer to a call that failed so.
    pub(crate) fn into_outcome(self) -> Outcome {
        Outcome::Failed(self.into_wire())
    }
}
