//! A well-behaved plugin beside a misbehaving one: its outcomes must not change, whatever the other does.

use std::time::Duration;

use outrigger_proto::types::v1::HandlerOutcome;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::hooks::{Called, HookStream, Runtime, invoke};

/// Distance of calls: often enough to meet whatever happens, and no load.
const EVERY: Duration = Duration::from_millis(10);

/// Calls a well-behaved plugin all the time, by both ways of calling.
pub struct Neighbour {
    stop: oneshot::Sender<()>,
    calls: JoinHandle<Report>,
}

/// How the calls fared.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Calls that were made.
    pub calls: u64,
    /// The longest one.
    pub slowest: Duration,
    /// Calls that did not come out as ever; at most 10 are kept.
    pub wrong: Vec<String>,
}

impl Neighbour {
    /// Begins to call the plugin, which is a [`Package::well_behaved`](crate::Package::well_behaved) one and ready.
    #[must_use]
    pub fn watch(runtime: &Runtime, plugin: &str) -> Self {
        let (stop, stopped) = oneshot::channel();
        let calls = tokio::spawn(call_on(runtime.clone(), plugin.to_owned(), stopped));
        Self { stop, calls }
    }

    /// Stops calling.
    pub async fn finish(self) -> Report {
        // A task that has panicked is told by the join.
        let _ = self.stop.send(());
        self.calls.await.expect("the calls were made to the end")
    }
}

impl Report {
    /// Asserts that calls were made and all came out as ever.
    ///
    /// # Panics
    /// One did not.
    #[track_caller]
    pub fn assert_unharmed(&self) {
        assert!(self.calls > 0, "no call was made");
        assert!(self.wrong.is_empty(), "calls of the neighbour came out wrong: {:#?}", self.wrong);
    }
}

async fn call_on(runtime: Runtime, plugin: String, mut stopped: oneshot::Receiver<()>) -> Report {
    let mut report = Report::default();
    let stream = match HookStream::open(&runtime).await {
        Ok(stream) => stream,
        Err(status) => {
            report.wrong.push(status.to_string());
            return report;
        }
    };
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => return report,
            _ = ticks.tick() => {}
        }
        // Every fourth is to be blocked; every second goes by the stream.
        let block = report.calls % 4 == 3;
        let params = json!({ "block": block });
        let called = if report.calls % 2 == 0 {
            invoke(&runtime, &plugin, &params).await.map_err(|status| status.to_string())
        } else {
            stream.call(&plugin, &params).await
        };
        report.calls += 1;
        match called {
            Ok(called) => {
                report.slowest = report.slowest.max(called.elapsed);
                if !is_right(&called, &plugin, block) && report.wrong.len() < 10 {
                    report.wrong.push(format!("call {} (block: {block}): {called:?}", report.calls));
                }
            }
            Err(why) if report.wrong.len() < 10 => report.wrong.push(format!("call {}: {why}", report.calls)),
            Err(_) => {}
        }
    }
}

fn is_right(called: &Called, plugin: &str, block: bool) -> bool {
    if block {
        return called.is_stopped_by(plugin)
            && called.stopped_as() == Some(HandlerOutcome::Deny)
            && called.reason.ends_with("misbehave: asked to block");
    }
    let allowed = |handler: &outrigger_proto::types::v1::HandlerReport| {
        handler.plugin_id == plugin && handler.outcome() == HandlerOutcome::Allow
    };
    called.goes_on() && called.handlers.iter().any(allowed)
}
