//! Observers: asked all at once, their answers only counted.
//!
//! Nobody waits for them unless the caller says so: a bounded number runs beside everything else, a bounded number
//! waits, and more are left out and counted as skipped, so that a slow observer costs no call anything.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use outrigger_proto::types::v1 as types;
use outrigger_proto::types::v1::HandlerOutcome as Fared;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bounds::Bounds;
use super::round::report;
use super::{Asking, Call};
use crate::service::registry::{Asked, Snapshot};

/// Calls of observed hooks that run at once (host-hooks §1.9).
const RUNNING: usize = 16;
/// Calls of observed hooks that run or wait; more are left out.
const TAKEN: usize = RUNNING + 256;

/// Asks observers beside everything else.
pub(super) struct Observers {
    tasks: TaskTracker,
    taken: Arc<Semaphore>,
    running: Arc<Semaphore>,
    pub(super) bounds: Bounds,
}

impl Observers {
    pub(super) fn new(tasks: TaskTracker) -> Self {
        Self {
            tasks,
            taken: Arc::new(Semaphore::new(TAKEN)),
            running: Arc::new(Semaphore::new(RUNNING)),
            bounds: Bounds::default(),
        }
    }

    /// Asks the observers of a call, some time, unless it counts no more by then.
    pub(super) fn start(&self, call: Call, snapshot: Arc<Snapshot>, after: u64, superseded: Option<CancellationToken>) {
        let Some(table) = snapshot.table(call.hook).filter(|table| table.asked.iter().any(|one| one.wants(&call)))
        else {
            return;
        };
        let Ok(taken) = Arc::clone(&self.taken).try_acquire_owned() else {
            for one in table.asked.iter().filter(|one| one.wants(&call)) {
                one.counts.record(None, Fared::Skipped, Instant::now(), Duration::ZERO);
            }
            return;
        };
        let running = Arc::clone(&self.running);
        self.tasks.spawn(async move {
            // Never closed.
            let _running = running.acquire().await;
            all(&call, &snapshot, after, superseded.as_ref()).await;
            drop(taken);
        });
    }
}

/// Asks everybody at once; how each fared, in order. Whoever is still asked when the call counts no more is cancelled.
pub(super) async fn all(
    call: &Call,
    snapshot: &Snapshot,
    after: u64,
    superseded: Option<&CancellationToken>,
) -> Vec<types::HandlerReport> {
    let Some(table) = snapshot.table(call.hook) else { return Vec::new() };
    let asked = table.asked.iter().filter(|one| one.wants(call)).enumerate();
    let mut asks: FuturesUnordered<_> =
        asked.map(|(at, one)| async move { (at, one, observe(call, one, after, superseded).await) }).collect();
    let mut reports = Vec::new();
    while let Some((at, one, asking)) = asks.next().await {
        if call.asked.report_handlers || call.asked.wait_for_observers {
            reports.push((at, *report(one, asking.fared, asking.elapsed, &asking.message, false)));
        }
    }
    reports.sort_by_key(|(at, _)| *at);
    reports.into_iter().map(|(_, report)| report).collect()
}

async fn observe(call: &Call, one: &Asked, after: u64, superseded: Option<&CancellationToken>) -> Asking {
    let ask = call.ask(one, call.asked.event_json.clone(), after, false);
    let asking = match superseded {
        None => ask.await,
        Some(superseded) => tokio::select! {
            biased;
            () = superseded.cancelled() => {
                let message = "is not asked any more: a newer call took the place of this one".to_owned();
                Asking { fared: Fared::Skipped, ..Asking::absent(message) }
            }
            asking = ask => asking,
        },
    };
    one.note(&asking);
    asking
}
