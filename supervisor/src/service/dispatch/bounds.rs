//! Observed calls that end before their handlers' own time (host-hooks §1.9, §1.12): a state of the runtime's scheduler that
//! a newer one has taken the place of, and the ends of sessions while the runtime shuts down.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Call;
use crate::domain::hook::Hook;
use crate::service::invocation::scan;

/// What a runtime that shuts down waits for all ends of sessions together.
const SHUTDOWN: Duration = Duration::from_secs(2);
/// A shutdown that began so long ago is another one.
const OVER: Duration = Duration::from_secs(30);

/// By runtime, of which there are as many as keys.
#[derive(Default)]
pub(super) struct Bounds {
    runtimes: Mutex<HashMap<Arc<str>, Of>>,
}

#[derive(Default)]
struct Of {
    /// Cancelled when the runtime's scheduler has another state.
    scheduler: CancellationToken,
    /// When its sessions began to end.
    shutdown: Option<Instant>,
}

impl Bounds {
    /// Bounds a call; what is cancelled when it counts no more.
    pub(super) async fn bound(&self, call: &mut Call) -> Option<CancellationToken> {
        match call.hook {
            Hook::CronReconciled => {
                let current = CancellationToken::new();
                self.of(&call.runtime_id, |of| std::mem::replace(&mut of.scheduler, current.clone())).cancel();
                Some(current)
            }
            // It closes.
            Hook::GatewayStop => {
                self.of(&call.runtime_id, |of| of.scheduler.clone()).cancel();
                None
            }
            Hook::SessionEnd if is_shutdown(call.asked.event_json.clone()).await => {
                let now = Instant::now();
                let began = self.of(&call.runtime_id, |of| {
                    *of.shutdown.insert(of.shutdown.filter(|began| now.duration_since(*began) < OVER).unwrap_or(now))
                });
                let latest = began + SHUTDOWN;
                call.deadline = Some(call.deadline.map_or(latest, |own| own.min(latest)));
                None
            }
            _ => None,
        }
    }

    fn of<T>(&self, runtime: &Arc<str>, change: impl FnOnce(&mut Of) -> T) -> T {
        let mut runtimes = self.runtimes.lock().unwrap_or_else(PoisonError::into_inner);
        change(runtimes.entry(Arc::clone(runtime)).or_default())
    }
}

/// The session ends as the runtime shuts down.
async fn is_shutdown(event: Bytes) -> bool {
    #[derive(serde::Deserialize)]
    struct Event<'a> {
        #[serde(borrow, default)]
        reason: Option<Cow<'a, str>>,
    }
    let bytes = event.len();
    let read = move || {
        let event: Option<Event<'_>> = serde_json::from_slice(&event).ok();
        event.is_some_and(|event| event.reason.as_deref() == Some("shutdown"))
    };
    scan(bytes, read).await.unwrap_or(false)
}
