//! Moments in a supervisor's log: when it starts a plugin's program, and when the plugin is ready.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::super::Result;

/// A plugin that does not come to its next moment in this time makes the benchmark fail.
const PATIENCE: Duration = Duration::from_secs(30);

/// A moment in the life of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Its keeper is about to be started.
    Starts,
    /// It is registered and serves.
    Ready,
}

/// The moments, in order.
pub(super) struct Marks(mpsc::UnboundedReceiver<(Mark, Instant)>);

impl Marks {
    /// When the next such moment was, or is.
    pub(super) async fn next(&mut self, wanted: Mark) -> Result<Instant> {
        let next = async {
            while let Some((mark, at)) = self.0.recv().await {
                if mark == wanted {
                    return Ok(at);
                }
            }
            Err("the log has ended".into())
        };
        timeout(PATIENCE, next).await.map_err(|_| format!("{wanted:?} did not come"))?
    }

    /// Passes over what was.
    pub(super) fn forget(&mut self) {
        while self.0.try_recv().is_ok() {}
    }
}

struct Recorder(mpsc::UnboundedSender<(Mark, Instant)>);

/// The text of an event.
#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let at = Instant::now();
        let mut message = Message::default();
        event.record(&mut message);
        let mark = match message.0.as_str() {
            "starts its program" => Mark::Starts,
            "is ready" => Mark::Ready,
            _ => return,
        };
        // Nobody reads where the host is ending.
        let _ = self.0.send((mark, at));
    }
}

/// Listens to this process's log from now on.
pub(super) fn install() -> Marks {
    let (sender, marks) = mpsc::unbounded_channel();
    let levels = Targets::new().with_target("outrigger::service::actor", LevelFilter::DEBUG);
    let subscriber = tracing_subscriber::registry().with(Recorder(sender).with_filter(levels));
    // The only subscriber of this process.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Marks(marks)
}
