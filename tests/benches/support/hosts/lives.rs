//! What happens to a supervisor's plugins: they are started, used, killed, reloaded, stopped.

use std::time::{Duration, Instant};

use bytes::Bytes;
use outrigger::bench::{Caller, Event};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;
use tokio::task::JoinSet;

use super::super::Result;
use super::super::host::unknown;
use super::super::measure::{Numbers, numbers};
use super::marks::{Mark, Marks};
use super::operator::Operator;
use super::supervisor::go_on;

/// Bytes of a large call, and how many each plugin gets.
const LARGE: (usize, usize) = (256 * 1024, 20);
/// Calls in flight when a plugin is killed.
const PENDING: usize = 16;

pub(super) struct Lives {
    pub(super) caller: Caller,
    pub(super) operator: Operator,
    pub(super) marks: Marks,
}

impl Lives {
    pub(super) async fn carry_out(&mut self, order: &Value) -> Result<Numbers> {
        let plugin = order["plugin"].as_str().unwrap_or_default();
        match order["do"].as_str() {
            Some("spawn") => return self.spawn().await,
            Some("kill") => return self.kill().await,
            Some("large") => self.large().await?,
            Some("stop all") => self.operator.all(false).await?,
            Some("start all") => self.operator.all(true).await?,
            Some("start") => self.operator.start(plugin).await?,
            // One that does nothing more would not stop in order.
            Some("stop") => self.operator.stop(plugin, true).await?,
            Some("reload") => self.operator.reload(plugin).await?,
            Some("kill at once") => self.kill_at_once(plugin).await?,
            _ => return Err(unknown(order)),
        }
        Ok(Numbers::new())
    }

    /// Starts the first plugin anew: `ready` from the launch of its keeper to its registration, `answer` to its first
    /// answer, and `asked` from the operator's request, which has the durable note of the launch in it.
    async fn spawn(&mut self) -> Result<Numbers> {
        let plugin = self.operator.first()?.to_owned();
        self.operator.stop(&plugin, false).await?;
        self.marks.forget();
        let event = Event::check(super::event(super::EVENT_BYTES));
        let asked = Instant::now();
        let start = tokio::spawn({
            let operator = self.operator.clone();
            async move { operator.start(&plugin).await }
        });
        let begun = self.marks.next(Mark::Starts).await?;
        let ready = self.marks.next(Mark::Ready).await?;
        go_on(self.caller.before_tool_call("exec", &event).await)?;
        let answered = Instant::now();
        start.await??;
        let nanos = |from: Instant, to: Instant| to.duration_since(from).as_nanos() as f64;
        Ok(numbers([
            ("ready", nanos(begun, ready)),
            ("answer", nanos(begun, answered)),
            ("asked", nanos(asked, ready)),
        ]))
    }

    /// Kills the first plugin while calls are in flight: `ended` from the signal to the last one's end, `pidfd` to when a
    /// thread that waits for nothing else is told of the very same death.
    async fn kill(&mut self) -> Result<Numbers> {
        let answers = Event::check(Bytes::from_static(br#"{"params":{"answer":true}}"#));
        go_on(self.caller.before_tool_call("wait", &answers).await)?;
        let pid = self.operator.pid(self.operator.first()?).await?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        let watch = std::thread::spawn(move || {
            let polled = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None);
            polled.map(|_| Instant::now())
        });
        let mut pending = JoinSet::new();
        for _ in 0..PENDING {
            let caller = self.caller.clone();
            let waits = Event::check(Bytes::from_static(br#"{"params":{}}"#));
            pending.spawn(async move { caller.before_tool_call("wait", &waits).await });
        }
        // Time for the calls to be with the plugin, and for the thread to wait.
        tokio::time::sleep(Duration::from_millis(20)).await;
        if pending.try_join_next().is_some() {
            return Err("a call ended before the plugin was killed".into());
        }
        self.marks.forget();
        let begin = Instant::now();
        kill_process(pid, Signal::KILL)?;
        let mut passed = 0;
        while let Some(went_on) = pending.join_next().await {
            passed += usize::from(went_on?);
        }
        let ended = begin.elapsed().as_nanos() as f64;
        if passed > 0 {
            return Err("a killed guard let a call pass".into());
        }
        self.marks.next(Mark::Ready).await?;
        let told = watch.join().map_err(|_| "the thread at the pidfd panicked")??;
        Ok(numbers([("ended", ended), ("pidfd", told.duration_since(begin).as_nanos() as f64)]))
    }

    /// Asks every plugin about large calls; plugin `n` guards the tool `tool-n`.
    async fn large(&self) -> Result<()> {
        let text = "x".repeat(LARGE.0);
        let event = Event::check(Bytes::from(format!(r#"{{"params":{{"text":"{text}"}}}}"#)));
        for number in 0..self.operator.plugins.len() {
            for _ in 0..LARGE.1 {
                go_on(self.caller.before_tool_call(&format!("tool-{number}"), &event).await)?;
            }
        }
        Ok(())
    }

    /// Kills a plugin's process, until its next generation is ready.
    async fn kill_at_once(&mut self, plugin: &str) -> Result<()> {
        let pid = self.operator.pid(plugin).await?;
        self.marks.forget();
        kill_process(pid, Signal::KILL)?;
        self.marks.next(Mark::Ready).await?;
        Ok(())
    }
}
