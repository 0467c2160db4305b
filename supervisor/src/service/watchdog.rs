//! Tells an unresponsive plugin from a slow one, and a cancelled call that ends from one that does not.
//!
//! Frames are ordered, so an answered Ping proves that all before it was read. Three Pings in a row without an answer,
//! counted only while the supervisor's own tick was on time (a suspended machine kills nobody), are the end. A cancelled
//! invocation that keeps its place beyond the grace time has the plugin recycled.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use outrigger_proto::plugin::v1 as wire;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::launch_state::LaunchState;
use super::session::{Fault, Session};
use crate::domain::failure::Resource;

/// Pings without an answer that make a plugin unresponsive.
const MISSES: u32 = 3;

/// What the watchdog saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// The plugin reads nothing.
    Unresponsive(String),
    /// A cancelled invocation was not ended in its grace time.
    Overdue(String),
    /// The session's own code found a fault.
    Fault(Fault),
    /// The tree is over a limit.
    OverLimit(Resource, u64, u64),
}

/// Watches one session until the launch drops the future.
pub(crate) async fn watch(launch: Arc<LaunchState>, session: Arc<Session>, alarms: mpsc::Sender<Alarm>) {
    let settings = &launch.settings;
    let tick = settings.ping.min(settings.cancel_grace / 4).max(Duration::from_millis(5));
    let mut ticks = interval_at(Instant::now() + tick, tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut faults = session.faults();
    // A fault may have been found before.
    faults.mark_changed();
    let mut heartbeat = Heartbeat::new(Instant::now());
    let mut told = None;
    loop {
        tokio::select! {
            due = ticks.tick() => {
                let now = Instant::now();
                let on_time = now.duration_since(due) <= settings.ping / 2;
                if let Some((id, since)) = session.oldest_cancel()
                    && now.duration_since(since) >= settings.cancel_grace
                    && told.is_none_or(|told| now.duration_since(told) >= settings.cancel_grace)
                {
                    // Told again as long as it lasts: the life cycle may have had no use for it before.
                    told = Some(now);
                    let why = format!("invocation {id} was cancelled {:.1?} ago and has not ended", now.duration_since(since));
                    let _ = alarms.send(Alarm::Overdue(why)).await;
                }
                let busy = session.in_flight() > 0;
                let every = if busy { settings.ping } else { settings.idle_ping };
                let serial = session.registration.serial && busy;
                let answered = launch.pulse.answered.load(Ordering::Relaxed);
                match heartbeat.tick(now, on_time, every, serial, answered) {
                    Beat::Wait => {}
                    Beat::Ping(ping_id) => {
                        launch.pulse.sent.store(ping_id, Ordering::Relaxed);
                        let control = Some(wire::session_response::Control::Ping(wire::Ping { ping_id }));
                        session.push(wire::SessionResponse { control, ..Default::default() });
                    }
                    Beat::Dead => {
                        let why = format!("{MISSES} pings in a row were not answered, {every:?} apart");
                        let _ = alarms.send(Alarm::Unresponsive(why)).await;
                        return;
                    }
                }
            }
            changed = faults.changed() => {
                if changed.is_err() {
                    return;
                }
                let fault = faults.borrow_and_update().clone();
                if let Some(fault) = fault {
                    let _ = alarms.send(Alarm::Fault(fault)).await;
                    return;
                }
            }
        }
    }
}

/// What to do at a tick.
#[derive(Debug, PartialEq, Eq)]
enum Beat {
    Wait,
    Ping(u64),
    Dead,
}

/// The pure part: when to ping, and when it has been in vain.
struct Heartbeat {
    last_sent: Instant,
    last_id: u64,
    misses: u32,
}

impl Heartbeat {
    fn new(now: Instant) -> Self {
        Self { last_sent: now, last_id: 0, misses: 0 }
    }

    fn tick(&mut self, now: Instant, on_time: bool, every: Duration, serial: bool, answered: u64) -> Beat {
        if answered >= self.last_id {
            self.misses = 0;
        }
        if !on_time {
            // We were held up ourselves: what was not answered meanwhile says nothing.
            self.misses = 0;
            self.last_sent = now;
            return Beat::Wait;
        }
        if now.duration_since(self.last_sent) < every || serial {
            if serial {
                self.last_sent = now;
            }
            return Beat::Wait;
        }
        if answered < self.last_id {
            self.misses += 1;
            if self.misses >= MISSES {
                return Beat::Dead;
            }
        }
        self.last_sent = now;
        self.last_id += 1;
        Beat::Ping(self.last_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(1);

    #[test]
    fn three_misses_are_the_end() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start);
        let beats: Vec<Beat> = (1..=4).map(|n| heartbeat.tick(start + EVERY * n, true, EVERY, false, 0)).collect();
        assert_eq!(beats, [Beat::Ping(1), Beat::Ping(2), Beat::Ping(3), Beat::Dead]);
    }

    #[test]
    fn an_answer_or_our_own_lateness_forgives() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start);
        for n in 1..=3 {
            assert_eq!(heartbeat.tick(start + EVERY * n, true, EVERY, false, 0), Beat::Ping(u64::from(n)));
        }
        assert_eq!(heartbeat.tick(start + EVERY * 60, false, EVERY, false, 0), Beat::Wait);
        assert_eq!(heartbeat.tick(start + EVERY * 61, true, EVERY, false, 0), Beat::Ping(4));
        assert_eq!(heartbeat.tick(start + EVERY * 62, true, EVERY, false, 4), Beat::Ping(5));
        assert_eq!(heartbeat.misses, 0);
    }

    #[test]
    fn a_serial_plugin_is_not_pinged_while_it_works() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start);
        for n in 1..=10 {
            assert_eq!(heartbeat.tick(start + EVERY * n, true, EVERY, true, 0), Beat::Wait);
        }
        assert_eq!(heartbeat.tick(start + EVERY * 11, true, EVERY, false, 0), Beat::Ping(1));
    }
}
