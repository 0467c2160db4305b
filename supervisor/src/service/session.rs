//! The open conversation with one launch: invocations out, answers in.
//!
//! An invocation goes through `waiting for a place → in flight → outcome`. Its caller gets the first of: the plugin's
//! answer, the deadline, the end of the session. Whatever the caller gets, the place stays taken until the plugin
//! reports the end of the work: a cancelled invocation that is not answered within the grace time has the plugin
//! recycled. So one late answer costs one answer, and never a second call's.
//!
//! Identity of answers: ids rise from 1 and are never used again. An answer to an open id is *the* answer; to a cancelled
//! one it is late (dropped, counted); to one answered before it is a duplicate (a violation); to one never given it ends
//! the session.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::types::v1::ToolProgress;
use prost::Message as _;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::busy_poll::BusyPoll;
use super::handles::Handles;
use super::registration::Registration;
use super::runs::Run;
use super::slots::{Admission, Demand, Slots};
use crate::domain::ids::Generation;
use crate::domain::text;

/// Frames that may wait to be written: 64 invocations, as many cancels, and control frames. A plugin that reads so little
/// that this fills up does not read at all.
pub(crate) const OUTBOX: usize = 256;
/// Violations of one generation that end its session: this one does.
const MAX_VIOLATIONS: u32 = 10;
/// Characters of the message of progress.
const MAX_PROGRESS_TEXT: usize = 512;
/// Notices a second.
const NOTICES_PER_SECOND: u32 = 10;

/// Why an invocation has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InvokeError {
    /// It was not sent: the session takes no more. Another generation may take it.
    NotServing,
    /// It was not sent: too many calls wait.
    Overloaded,
    /// Its time was up.
    TimedOut {
        /// It had been sent; otherwise it was still waiting for a place.
        sent: bool,
    },
    /// The session ended while the plugin had it.
    Ended(String),
    /// The message would have been longer than the plugin can receive.
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// What the plugin can receive.
        max: usize,
    },
}

/// What is asked of one handler.
pub(crate) struct Ask {
    demand: Demand,
    /// When it is asked.
    now: Instant,
    /// When the answer must be there.
    deadline: Instant,
    /// The one invocation, without id and timeout, which are filled in when it is sent; as a frame takes it, so that it
    /// stays where it is.
    invocation: Vec<wire::Invocation>,
    /// The run it belongs to.
    run: Option<Arc<Run>>,
    /// Why it is cancelled where its future is dropped. `None`: its run ended, or its caller has gone.
    dropped: Option<wire::CancelReason>,
}

impl Ask {
    /// Asks the handler at this position of the registration. Id and timeout of the invocation are filled in when it is
    /// sent.
    pub(crate) fn new(handler: usize, now: Instant, deadline: Instant, invocation: wire::Invocation) -> Self {
        // What is filled in when it is sent, and the lengths around it.
        const FRAME: usize = 64;
        let demand = Demand { handler, bytes: invocation.encoded_len() + FRAME };
        Self { demand, now, deadline, invocation: vec![invocation], run: None, dropped: None }
    }

    /// The same, of a run: a plugin may act in it while the call is open, and is told when its end is why the call is
    /// cancelled.
    pub(crate) fn of_run(self, run: Option<Arc<Run>>) -> Self {
        Self { run, ..self }
    }

    /// The same, where its future is dropped because a newer call took its place.
    pub(crate) fn superseded_if_dropped(self) -> Self {
        Self { dropped: Some(wire::CancelReason::Superseded), ..self }
    }
}

/// Where the newest progress of a call goes: an older one that nobody has read gives way.
pub(crate) type Progress = watch::Sender<Option<ToolProgress>>;

/// Why a call of a tool has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ToolError {
    /// Its gate did not let it pass: it was not sent.
    Refused,
    /// As any invocation.
    Failed(InvokeError),
}

impl From<InvokeError> for ToolError {
    fn from(error: InvokeError) -> Self {
        Self::Failed(error)
    }
}

struct Open {
    demand: Demand,
    /// Only calls of tools have progress.
    progress: Option<Progress>,
    /// `None` once the caller has its outcome.
    reply: Option<oneshot::Sender<Result<wire::invocation_result::Outcome, String>>>,
    cancelled_at: Option<Instant>,
    /// The run it belongs to.
    run: Option<Arc<Run>>,
}

struct State {
    next_id: u64,
    open: HashMap<u64, Open>,
    slots: Slots,
    waiters: HashMap<u64, oneshot::Sender<()>>,
    /// Takes new invocations.
    accepting: bool,
    violations: u32,
    notices: (Option<Instant>, u32),
    /// Gone once the session has ended, so that its stream ends, too.
    out: Option<mpsc::Sender<Result<wire::SessionResponse, tonic::Status>>>,
}

/// Whether a frame was put into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queued {
    Yes,
    /// The plugin does not read.
    Full,
    /// The stream has ended; its reader finds out how.
    Ended,
}

impl State {
    fn queue(&self, frame: wire::SessionResponse) -> Queued {
        let Some(out) = &self.out else { return Queued::Ended };
        match out.try_send(Ok(frame)) {
            Ok(()) => Queued::Yes,
            Err(mpsc::error::TrySendError::Full(_)) => Queued::Full,
            Err(mpsc::error::TrySendError::Closed(_)) => Queued::Ended,
        }
    }
}

/// Counts of one session, for listings.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Answers that came after the outcome.
    pub(crate) late: AtomicU64,
    /// Second answers, and other violations.
    pub(crate) violations: AtomicU64,
    /// Calls in flight that the end of the session cut off.
    pub(crate) cut_off: AtomicU64,
}

/// The conversation after Registered. Shared by callers; ended by its launch.
pub(crate) struct Session {
    pub(crate) generation: Generation,
    pub(crate) registration: Registration,
    pub(crate) counters: Counters,
    pub(crate) handles: Handles,
    max_receive_bytes: usize,
    busy_poll: Arc<BusyPoll>,
    state: Mutex<State>,
    /// Wakes who waits for the last open invocation of a session that takes no more.
    drained: Notify,
    /// Set when the plugin must be ended for what it did: the watchdog of the launch reads it.
    fault: watch::Sender<Option<Fault>>,
}

/// Why a session must end, as its own code finds out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The plugin does not read.
    NotReading,
}

/// What an answer was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// The first answer to an open invocation.
    InTime,
    /// Its caller had its outcome already.
    Late,
    /// A second answer, within the bound.
    Duplicate,
    /// The session must end.
    Fatal(String),
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A panic while the lock is held would be a defect of ours; the table itself stays consistent.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    pub(crate) fn new(
        generation: Generation,
        registration: Registration,
        max_receive_bytes: usize,
        out: mpsc::Sender<Result<wire::SessionResponse, tonic::Status>>,
        busy_poll: Arc<BusyPoll>,
    ) -> Arc<Self> {
        let slots = Slots::new(registration.max_in_flight, registration.caps());
        Arc::new(Self {
            generation,
            registration,
            counters: Counters::default(),
            handles: Handles::new(),
            max_receive_bytes,
            busy_poll,
            state: Mutex::new(State {
                next_id: 1,
                open: HashMap::new(),
                slots,
                waiters: HashMap::new(),
                accepting: true,
                violations: 0,
                notices: (None, 0),
                out: Some(out),
            }),
            drained: Notify::new(),
            fault: watch::channel(None).0,
        })
    }

    /// Asks one handler and waits for its answer, at most until the deadline. Cancel safe: a dropped future cancels the
    /// invocation.
    pub(crate) async fn invoke(&self, ask: Ask) -> Result<wire::invocation_result::Outcome, InvokeError> {
        match self.run(ask, || true, None).await {
            Ok(outcome) => Ok(outcome),
            Err(ToolError::Failed(error)) => Err(error),
            // Its gate is open.
            Err(ToolError::Refused) => Err(InvokeError::NotServing),
        }
    }

    /// The same for a tool. `gate` is asked once, as the call is taken in: after everything that could keep it out, and
    /// before anything is sent; it must not wait. Cancel safe, as [`Self::invoke`].
    pub(crate) async fn invoke_tool(
        &self,
        ask: Ask,
        gate: impl FnOnce() -> bool,
        progress: Progress,
    ) -> Result<wire::invocation_result::Outcome, ToolError> {
        self.run(ask, gate, Some(progress)).await
    }

    async fn run(
        &self,
        ask: Ask,
        gate: impl FnOnce() -> bool,
        progress: Option<Progress>,
    ) -> Result<wire::invocation_result::Outcome, ToolError> {
        let Ask { demand, now, deadline, invocation, run, dropped } = ask;
        let within = Within { progress, run };
        if demand.bytes > self.max_receive_bytes {
            return Err(InvokeError::TooLarge { bytes: demand.bytes, max: self.max_receive_bytes }.into());
        }
        let (id, answer) = match self.begin(invocation, demand, now, deadline, gate, within)? {
            Begun::Sent(id, answer) => (id, answer),
            Begun::Waits(mut waiting, invocation, within) => {
                match timeout_at(deadline, &mut waiting.granted).await {
                    Ok(Ok(())) => waiting.settled = true,
                    // The queue was dropped: the session drains or has ended.
                    Ok(Err(_)) => {
                        waiting.settled = true;
                        return Err(InvokeError::NotServing.into());
                    }
                    Err(_) => return Err(InvokeError::TimedOut { sent: false }.into()),
                }
                self.send(lock(&self.state), invocation, demand, Instant::now(), deadline, within)?
            }
        };
        let mut in_flight = InFlight { session: self, id, dropped, settled: false };
        let outcome = timeout_at(deadline, answer).await;
        in_flight.settled = true;
        match outcome {
            Ok(Ok(Ok(outcome))) => Ok(outcome),
            Ok(Ok(Err(ended))) => Err(InvokeError::Ended(ended).into()),
            Ok(Err(_)) => Err(InvokeError::Ended("the session ended".to_owned()).into()),
            Err(_) => {
                self.cancel(id, Some(wire::CancelReason::TimedOut));
                Err(InvokeError::TimedOut { sent: true }.into())
            }
        }
    }

    /// Takes a place and sends, or joins those who wait for one.
    fn begin(
        &self,
        invocation: Vec<wire::Invocation>,
        demand: Demand,
        now: Instant,
        deadline: Instant,
        gate: impl FnOnce() -> bool,
        within: Within,
    ) -> Result<Begun<'_>, ToolError> {
        let mut state = lock(&self.state);
        if !state.accepting {
            return Err(InvokeError::NotServing.into());
        }
        match state.slots.admit(demand) {
            Admission::Now => {
                if !gate() {
                    self.release(&mut state, demand);
                    return Err(ToolError::Refused);
                }
                let (id, answer) = self.send(state, invocation, demand, now, deadline, within)?;
                Ok(Begun::Sent(id, answer))
            }
            Admission::Refused => Err(InvokeError::Overloaded.into()),
            Admission::Wait(ticket) => {
                if !gate() {
                    for ticket in state.slots.withdraw(ticket) {
                        Self::grant(&mut state, ticket);
                    }
                    return Err(ToolError::Refused);
                }
                let (grant, granted) = oneshot::channel();
                state.waiters.insert(ticket, grant);
                let waiting = WaitingCall { session: self, ticket, demand, granted, settled: false };
                Ok(Begun::Waits(waiting, invocation, within))
            }
        }
    }

    /// Sends an invocation that has its place.
    fn send(
        &self,
        mut state: MutexGuard<'_, State>,
        mut invocations: Vec<wire::Invocation>,
        demand: Demand,
        now: Instant,
        deadline: Instant,
        within: Within,
    ) -> Result<(u64, Reply), InvokeError> {
        if !state.accepting {
            self.release(&mut state, demand);
            return Err(InvokeError::NotServing);
        }
        let left = deadline.saturating_duration_since(now);
        if left.is_zero() {
            // It would be sent only to be cancelled.
            self.release(&mut state, demand);
            return Err(InvokeError::TimedOut { sent: false });
        }
        let id = state.next_id;
        for invocation in &mut invocations {
            invocation.invocation_id = id;
            invocation.timeout = Some(super::wire::duration(left));
        }
        let queued = state.queue(wire::SessionResponse { invocations, ..Default::default() });
        if queued != Queued::Yes {
            self.release(&mut state, demand);
            drop(state);
            self.note(queued);
            return Err(InvokeError::NotServing);
        }
        let (reply, answer) = oneshot::channel();
        self.busy_poll.expect();
        state.next_id += 1;
        let Within { progress, run } = within;
        state.open.insert(id, Open { demand, progress, reply: Some(reply), cancelled_at: None, run });
        Ok((id, answer))
    }

    fn release(&self, state: &mut State, demand: Demand) {
        for ticket in state.slots.release(demand) {
            Self::grant(state, ticket);
        }
        // Only a drain waits for this, so the ordinary call pays nothing.
        if !state.accepting && state.slots.taken() == 0 {
            self.drained.notify_waiters();
        }
    }

    fn grant(state: &mut State, ticket: u64) {
        // A waiter that is gone gives its place back itself: see `WaitingCall`.
        if let Some(waiter) = state.waiters.remove(&ticket) {
            let _ = waiter.send(());
        }
    }

    /// Ends an invocation for its caller and asks the plugin for an answer now. It keeps its place until then. Without a
    /// reason it is the end of its run or, where that goes on, of the caller's interest.
    fn cancel(&self, id: u64, reason: Option<wire::CancelReason>) {
        let mut state = lock(&self.state);
        let Some(open) = state.open.get_mut(&id) else { return };
        open.reply = None;
        if open.cancelled_at.is_none() {
            open.cancelled_at = Some(Instant::now());
            let ended = open.run.as_ref().is_some_and(|run| run.ended.is_cancelled());
            let own = if ended { wire::CancelReason::RunEnded } else { wire::CancelReason::CallerGone };
            let reason = reason.unwrap_or(own);
            let cancel = wire::Cancel { invocation_id: id, reason: reason as i32 };
            let frame = wire::SessionResponse { cancels: vec![cancel], ..Default::default() };
            let queued = state.queue(frame);
            drop(state);
            self.note(queued);
        }
    }

    /// Takes in one answer.
    pub(crate) fn answer(&self, result: wire::InvocationResult) -> Answered {
        let id = result.invocation_id;
        let mut state = lock(&self.state);
        let Some(open) = state.open.remove(&id) else {
            if id == 0 || id >= state.next_id {
                return Answered::Fatal(format!("answered invocation {id}, which was never given"));
            }
            state.violations += 1;
            self.counters.violations.fetch_add(1, Ordering::Relaxed);
            if state.violations >= MAX_VIOLATIONS {
                return Answered::Fatal(format!(
                    "{} violations, the last a second answer to invocation {id}",
                    state.violations
                ));
            }
            return Answered::Duplicate;
        };
        self.release(&mut state, open.demand);
        drop(state);
        self.busy_poll.expect();
        match open.reply {
            // An answer without a known branch is one from the future, or none: the handler has failed.
            Some(reply) => {
                let outcome =
                    result.outcome.unwrap_or_else(|| failed("the answer has no outcome that this supervisor knows"));
                // The caller may be gone at this very moment; then nobody is left to tell.
                let _ = reply.send(Ok(outcome));
                Answered::InTime
            }
            None => {
                self.counters.late.fetch_add(1, Ordering::Relaxed);
                Answered::Late
            }
        }
    }

    /// Takes in news of a call that goes on.
    ///
    /// # Errors
    /// Why it has no effect, for the author. What comes late is no fault.
    pub(crate) fn progress(&self, news: wire::InvocationProgress) -> Result<(), &'static str> {
        let id = news.invocation_id;
        let progress = {
            let state = lock(&self.state);
            match state.open.get(&id) {
                Some(Open { reply: Some(_), progress, .. }) => {
                    progress.clone().ok_or("progress belongs to calls of served tools only")?
                }
                None if id == 0 || id >= state.next_id => return Err("progress of an invocation that was never given"),
                _ => {
                    self.counters.late.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
            }
        };
        let mut told = news.progress.unwrap_or_default();
        let is_number = |number: f64| number.is_finite() && number >= 0.0;
        if !is_number(told.done) || !is_number(told.total) {
            return Err("progress wants finite numbers from 0");
        }
        if text::units(&told.message) > MAX_PROGRESS_TEXT {
            return Err("the message of progress wants at most 512 characters");
        }
        told.message = text::clean(&told.message, MAX_PROGRESS_TEXT);
        let went_on = progress.send_if_modified(|last| {
            let goes_on = last.as_ref().is_none_or(|last| told.done >= last.done);
            if goes_on {
                *last = Some(told);
            }
            goes_on
        });
        if went_on { Ok(()) } else { Err("progress never goes back") }
    }

    /// The run of an invocation that has no outcome yet, where it has one.
    ///
    /// # Errors
    /// The invocation is not open: it has its outcome, or was never given.
    pub(crate) fn open_run(&self, id: u64) -> Result<Option<Arc<Run>>, NotOpen> {
        match lock(&self.state).open.get(&id) {
            Some(Open { reply: Some(_), run, .. }) => Ok(run.clone()),
            _ => Err(NotOpen),
        }
    }

    /// Counts an invalid answer, for listings. It is the handler's failure and no violation of the protocol.
    pub(crate) fn invalid_answer(&self) {
        self.counters.violations.fetch_add(1, Ordering::Relaxed);
    }

    /// Longest message the plugin can receive, in bytes.
    pub(crate) fn max_receive(&self) -> usize {
        self.max_receive_bytes
    }

    /// It has no room for a further call, not even for one that waits.
    pub(crate) fn is_overloaded(&self) -> bool {
        lock(&self.state).slots.is_full()
    }

    /// Queues a frame. False where the plugin does not read, or its stream has ended.
    pub(crate) fn push(&self, frame: wire::SessionResponse) -> bool {
        let queued = lock(&self.state).queue(frame);
        self.note(queued);
        queued == Queued::Yes
    }

    fn note(&self, queued: Queued) {
        if queued == Queued::Full {
            self.fail(Fault::NotReading);
        }
    }

    /// Tells the author something, at most ten times a second, best effort. False where it was not told.
    pub(crate) fn notice(&self, kind: wire::NoticeKind, invocation_id: u64, handler_id: &str, message: String) -> bool {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let (since, count) = &mut state.notices;
        if since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            (*since, *count) = (Some(now), 0);
        }
        if *count >= NOTICES_PER_SECOND {
            return false;
        }
        *count += 1;
        let notice = wire::Notice {
            kind: kind as i32,
            invocation_id,
            handler_id: handler_id.to_owned(),
            field: String::new(),
            message,
        };
        // Half of the outbox is for what matters more.
        if state.out.as_ref().is_none_or(|out| out.capacity() <= OUTBOX / 2) {
            return false;
        }
        let control = Some(wire::session_response::Control::Notice(notice));
        state.queue(wire::SessionResponse { control, ..Default::default() }) == Queued::Yes
    }

    /// Takes no more invocations: those waiting are told to go elsewhere, those in flight go on.
    pub(crate) fn stop_accepting(&self) {
        let mut state = lock(&self.state);
        state.accepting = false;
        state.slots.clear();
        state.waiters.clear();
    }

    /// Ends the session: every caller is told at once, and the stream ends after what is queued.
    pub(crate) fn end(&self, why: &str) {
        self.stop_accepting();
        let open = {
            let mut state = lock(&self.state);
            state.out = None;
            let open = std::mem::take(&mut state.open);
            for open in open.values() {
                // Nobody waits any more, so nobody is granted a place.
                state.slots.release(open.demand);
            }
            open
        };
        for reply in open.into_values().filter_map(|open| open.reply) {
            self.counters.cut_off.fetch_add(1, Ordering::Relaxed);
            let _ = reply.send(Err(why.to_owned()));
        }
        self.drained.notify_waiters();
    }

    /// It takes invocations.
    pub(crate) fn is_accepting(&self) -> bool {
        lock(&self.state).accepting
    }

    /// Invocations in flight, cancelled ones included.
    pub(crate) fn in_flight(&self) -> usize {
        lock(&self.state).slots.taken()
    }

    /// Bytes in flight and waiting.
    pub(crate) fn queued_bytes(&self) -> usize {
        lock(&self.state).slots.bytes()
    }

    /// When the oldest cancelled invocation was cancelled.
    pub(crate) fn oldest_cancel(&self) -> Option<(u64, Instant)> {
        let state = lock(&self.state);
        state.open.iter().filter_map(|(id, open)| open.cancelled_at.map(|at| (*id, at))).min_by_key(|(_, at)| *at)
    }

    /// Waits until nothing is in flight, after [`Self::stop_accepting`].
    pub(crate) async fn drained(&self) {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            if self.in_flight() == 0 {
                return;
            }
            drained.await;
        }
    }

    /// Notes that the session must end. The first fault counts.
    pub(crate) fn fail(&self, fault: Fault) {
        self.fault.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(fault);
            }
            first
        });
    }

    /// Faults found while frames were handled.
    pub(crate) fn faults(&self) -> watch::Receiver<Option<Fault>> {
        self.fault.subscribe()
    }
}

/// A handler's failure as the session itself reports it.
pub(crate) fn failed(message: &str) -> wire::invocation_result::Outcome {
    wire::invocation_result::Outcome::Failed(wire::Failed {
        reason: wire::FailureReason::Error as i32,
        message: message.to_owned(),
    })
}

/// An invocation has its outcome, or was never given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotOpen;

/// What goes with an open invocation.
struct Within {
    progress: Option<Progress>,
    run: Option<Arc<Run>>,
}

/// A call on its way.
enum Begun<'a> {
    /// Under this id.
    Sent(u64, Reply),
    /// For a place.
    Waits(WaitingCall<'a>, Vec<wire::Invocation>, Within),
}

/// The answer of a plugin to come, or why the session ended.
type Reply = oneshot::Receiver<Result<wire::invocation_result::Outcome, String>>;

/// A call in the queue; gives its ticket or place back when its future is dropped.
struct WaitingCall<'a> {
    session: &'a Session,
    ticket: u64,
    demand: Demand,
    granted: oneshot::Receiver<()>,
    settled: bool,
}

impl Drop for WaitingCall<'_> {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let mut state = lock(&self.session.state);
        if state.waiters.remove(&self.ticket).is_some() {
            for ticket in state.slots.withdraw(self.ticket) {
                Session::grant(&mut state, ticket);
            }
        } else if self.granted.try_recv().is_ok() {
            // It was granted a place in the same moment.
            self.session.release(&mut state, self.demand);
        }
    }
}

/// A call in flight; cancels it when its future is dropped.
struct InFlight<'a> {
    session: &'a Session,
    id: u64,
    dropped: Option<wire::CancelReason>,
    settled: bool,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.session.cancel(self.id, self.dropped);
        }
    }
}
