//! A ready plugin: takes calls, then stops.

use std::sync::Arc;
use std::time::Duration;

use outrigger_proto::plugin::v1 as plugin;
use outrigger_proto::plugin::v1::CancelReason;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tracing::{error, warn};

use crate::error::{HandlerError, Result};
use crate::events::Reader;
use crate::handler::Handlers;
use crate::invocation::Invocation;
use crate::launch::Launch;
use crate::plugin::Once;
use crate::running::{caught_future, panic_text};
use crate::session::{Session, Turn};

/// What calls are told that come too late.
const STOPPING: &str = "the plugin is stopping";

/// A registered plugin.
pub(crate) struct Serving<S> {
    session: Session,
    launch: Launch<S>,
    handlers: Handlers<S>,
    max_in_flight: usize,
    /// Handlers that were not done at once; bounded by `max_in_flight`.
    tasks: JoinSet<()>,
    /// What `on_ready` started. Dropping it ends it.
    background: JoinSet<()>,
    events: Option<Events>,
    shutdown: Option<Once<S>>,
}

/// The task that reads events. Dropping it ends it.
struct Events {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Events {
    fn start<S: Send + Sync + 'static>(reader: Reader<S>) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self { task: tokio::spawn(reader.run(stopped)), stop }
    }

    /// Lets it finish the event at hand. Cancel safe.
    async fn finish(&mut self) {
        self.stop.send_replace(true);
        let _ = (&mut self.task).await;
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<S: Send + Sync + 'static> Serving<S> {
    pub(crate) fn new(
        session: Session,
        launch: Launch<S>,
        handlers: Handlers<S>,
        max_in_flight: u32,
        events: Option<Reader<S>>,
        ready: Option<Once<S>>,
        shutdown: Option<Once<S>>,
    ) -> Self {
        let mut background = JoinSet::new();
        if let Some(ready) = ready {
            let launch = launch.clone();
            background.spawn(async move {
                if let Err(panic) = caught_future(async move { ready(launch).await }).await {
                    error!("the background work panicked: {}", panic_text(panic.as_ref()));
                }
            });
        }
        let max_in_flight = usize::try_from(max_in_flight).unwrap_or(usize::MAX);
        let events = events.map(Events::start);
        Self { session, launch, handlers, max_in_flight, tasks: JoinSet::new(), background, events, shutdown }
    }

    /// Serves until the supervisor asks to exit, and tells the time there is for it.
    ///
    /// # Errors
    /// The session ended otherwise.
    pub(crate) async fn serve(&mut self) -> Result<Duration> {
        loop {
            let message = self.session.read().await?;
            for call in message.invocations {
                self.call(call);
            }
            for cancel in message.cancels {
                self.session.outbox.cancel(cancel.invocation_id, cancel.reason());
            }
            match self.session.control(message.control) {
                Some(Turn::Shutdown(patience)) => return Ok(patience),
                Some(Turn::Registered(_)) => warn!("a second answer to the registration; ignored"),
                None => {}
            }
        }
    }

    /// Starts the handler of a call. It is answered now, or by a task.
    fn call(&mut self, mut call: plugin::Invocation) {
        let outbox = &self.session.outbox;
        if outbox.in_flight() >= self.max_in_flight {
            let full = HandlerError::overloaded("more calls than the plugin takes at once");
            outbox.answer(call.invocation_id, full.into_outcome());
            return;
        }
        let invocation = Arc::new(Invocation::take(&mut call));
        match self.handlers.start(call.handler_id, call.call, &self.launch, outbox, invocation.clone()) {
            Ok(outcome) => outbox.answer(call.invocation_id, outcome),
            Err(running) => {
                outbox.begin(invocation);
                // What has ended is taken out, so that the set never holds more than is in flight and was since.
                while self.tasks.try_join_next().is_some() {}
                self.tasks.spawn(running.finish(outbox.clone()));
            }
        }
    }

    /// Exits as the supervisor asked: what still runs is cancelled.
    pub(crate) async fn shut_down(self, patience: Duration) {
        self.session.outbox.cancel_all(CancelReason::Stopping);
        self.finish(patience).await;
    }

    /// Waits for what is in flight, runs `on_shutdown`, and ends the session; all within the time given, of which the
    /// last tenth is left for the process to exit.
    pub(crate) async fn finish(mut self, patience: Duration) {
        self.background.abort_all();
        let (idle, mut events) = (self.session.outbox.clone(), self.events.take());
        let idle = timeout(patience * 3 / 10, async move {
            if let Some(events) = &mut events {
                events.finish().await;
            }
            idle.idle().await;
        });
        // When the session ends or the supervisor asks once more, there is no one left to answer to.
        let _ = self.session.alongside(idle, STOPPING).await;
        self.session.outbox.cancel_all(CancelReason::Stopping);
        self.tasks.abort_all();
        if let Some(shutdown) = self.shutdown.take() {
            let launch = self.launch.clone();
            let shutdown = timeout(patience / 2, caught_future(async move { shutdown(launch).await }));
            let mut shutdown = std::pin::pin!(shutdown);
            let done = match self.session.alongside(shutdown.as_mut(), STOPPING).await {
                Ok(crate::session::Meanwhile::Done(done)) => done,
                // Nobody to read for, but the plugin may still put its things in order.
                Ok(_) | Err(_) => shutdown.await,
            };
            match done {
                Ok(Ok(())) => {}
                Ok(Err(panic)) => error!("the shutdown panicked: {}", panic_text(panic.as_ref())),
                Err(_) => warn!("the shutdown took longer than there is time"),
            }
        }
        self.session.close(patience / 10).await;
    }
}
