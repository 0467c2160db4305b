//! One launch, from its program's start to the last of its processes.
//!
//! A launch ends at the first of: the spawned process exits, the process that dialled exits, the Session ends. Then
//! calls in flight fail at once, every connection ends, and the whole tree is killed. The task lives until the tree is
//! empty; whoever owns the [`Launch`] tells it what to do and hears what happened.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use outrigger_proto::plugin::v1 as wire;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::task::TaskTracker;

use super::connections;
use super::conversation::{End, LINGER};
use super::launch_state::{LaunchState, Phase};
use super::log::Source;
use super::output;
use super::session::{Fault, Session};
use super::watchdog::{self, Alarm};
use crate::domain::failure::{FailureCause, FatalReason, Resource};
use crate::domain::ids::Generation;
use crate::domain::launch::{ExitRecord, Launched, MemoryKill, Tree, Usage};

/// How long the exit record may come after the end of the Session before the process counts as living on. Measured: 0.1
/// to 3.5 ms after a crash; an interpreter that ends in good order takes longer.
const EXIT_GRACE: Duration = Duration::from_secs(1);
/// How long evidence may take.
const EVIDENCE_TIME: Duration = Duration::from_millis(500);
/// How long output may come after the tree is empty.
const OUTPUT_GRACE: Duration = Duration::from_millis(200);
/// Lines of standard error kept with a failure.
const STDERR_TAIL: usize = 50;
/// Samples taken at once, over all launches. Each is a short walk through /proc; a thread for each of a hundred plugins
/// that started together would cost a stack and a heap each.
static SAMPLERS: Semaphore = Semaphore::const_new(2);
/// Samples in a row over a limit that end a launch (architecture §5).
const SAMPLES_OVER: u32 = 2;

/// What the owner wants of a launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// No more invocations; those in flight have so much time.
    Drain(wire::StopReason, Duration),
    /// Ask it to exit within this time.
    Shutdown(wire::StopReason, Duration),
    /// SIGTERM.
    Terminate,
    /// SIGKILL for the whole tree.
    Kill,
}

/// What happened to a launch.
pub(crate) enum News {
    /// It registered.
    Registered(Arc<Session>),
    /// Nothing is in flight any more, after a drain.
    Drained,
    /// A cancelled invocation kept its slot beyond its grace time.
    Overdue(String),
    /// It ended.
    Ended(Box<Ended>),
    /// No process of it is left.
    Empty,
}

/// How a launch ended, for the record.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) cause: FailureCause,
    pub(crate) phase: &'static str,
    pub(crate) exit: Option<ExitRecord>,
    pub(crate) stderr_tail: Vec<String>,
    pub(crate) evidence: Vec<String>,
    /// Calls in flight that were cut off.
    pub(crate) cut_off: u64,
}

/// Resources of a launch and their peaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    pub(crate) now: Usage,
    /// When. `None`: not yet.
    pub(crate) at: Option<SystemTime>,
    pub(crate) peak_memory_bytes: u64,
    /// Processes and threads that the kernel refused it.
    pub(crate) refused: u64,
}

/// A running launch, as its owner holds it. Dropping it kills the tree.
pub(crate) struct Launch {
    pub(crate) state: Arc<LaunchState>,
    pub(crate) tree: Arc<dyn Tree>,
    pub(crate) resources: watch::Receiver<Resources>,
    commands: mpsc::Sender<Command>,
}

impl Launch {
    /// Tells the launch. It takes each command at once, so the queue never fills; one that has ended needs none.
    pub(crate) fn tell(&self, command: Command) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.commands.try_send(command) {
            self.tree.kill();
        }
    }
}

impl Drop for Launch {
    fn drop(&mut self) {
        self.tree.kill();
    }
}

/// Begins to run a launch.
pub(crate) fn run(
    state: Arc<LaunchState>,
    launched: Launched,
    news: mpsc::Sender<(Generation, News)>,
    tasks: &TaskTracker,
) -> Launch {
    let (commands, inbox) = mpsc::channel(16);
    let (usage, resources) = watch::channel(Resources::default());
    let tree = Arc::clone(&launched.tree);
    let running = Running {
        state: Arc::clone(&state),
        tree: Arc::clone(&tree),
        news,
        inside: TaskTracker::new(),
        shutting_down: false,
        registered: None,
    };
    tasks.spawn(running.run(launched, inbox, usage));
    Launch { state, tree, resources, commands }
}

struct Running {
    state: Arc<LaunchState>,
    tree: Arc<dyn Tree>,
    news: mpsc::Sender<(Generation, News)>,
    /// Connections and what they spawn.
    inside: TaskTracker,
    /// The plugin was asked to exit: its Session may end before its process.
    shutting_down: bool,
    /// What it registered as, also after its end.
    registered: Option<Arc<Session>>,
}

/// Aborts a task when it is dropped.
struct Owned(tokio::task::JoinHandle<()>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Running {
    async fn tell(&self, news: News) {
        // The owner outlives its launches; where it is gone the supervisor is ending.
        let _ = self.news.send((self.state.generation, news)).await;
    }

    async fn run(mut self, launched: Launched, mut inbox: mpsc::Receiver<Command>, usage: watch::Sender<Resources>) {
        let Launched { mut connections, stdout, stderr, .. } = launched;
        let state = Arc::clone(&self.state);
        let rate = state.settings.log_lines_per_second;
        let capture = |stream, source| {
            Owned(tokio::spawn(output::capture(stream, source, state.generation, Arc::clone(&state.logs), rate)))
        };
        let mut output = [capture(stdout, Source::Stdout), capture(stderr, Source::Stderr)];
        let (alarm, mut alarms) = mpsc::channel(4);
        let sampler = Owned(tokio::spawn(sample(Arc::clone(&state), Arc::clone(&self.tree), usage, alarm.clone())));
        let accepting = {
            let (state, inside) = (Arc::clone(&state), self.inside.clone());
            Owned(tokio::spawn(async move {
                while let Some(connection) = connections.recv().await {
                    inside.spawn(connections::serve(Arc::clone(&state), connection, inside.clone()));
                }
            }))
        };
        let mut watching = None;
        let mut phases = state.phase();
        let mut exits = self.tree.exit();
        let mut emptied = self.tree.emptied();
        // What happened before this task ran counts, too.
        phases.mark_changed();
        exits.mark_changed();
        emptied.mark_changed();
        let mut drained: Option<Owned> = None;
        let (drain_done, mut drain_news) = mpsc::channel(1);
        let (cause, evidence) = loop {
            tokio::select! {
                biased;
                changed = phases.changed() => {
                    if changed.is_err() {
                        break (FailureCause::SessionClosed, Vec::new());
                    }
                    let phase = phases.borrow_and_update().clone();
                    match phase {
                        Phase::Dialing | Phase::Welcomed => {}
                        Phase::Registered(session) => {
                            watching = Some(Owned(tokio::spawn(watchdog::watch(Arc::clone(&state), Arc::clone(&session), alarm.clone()))));
                            self.registered = Some(Arc::clone(&session));
                            self.tell(News::Registered(session)).await;
                        }
                        Phase::Ended(end, _) => {
                            watching = None;
                            let told = end.is_told();
                            if let Some(cause) = self.ended(end, &mut exits).await {
                                if told {
                                    // The plugin's author should see why: a killed process tells nobody.
                                    let _ = timeout(LINGER, exits.wait_for(Option::is_some)).await;
                                }
                                break (cause, Vec::new());
                            }
                        }
                    }
                }
                _ = exits.changed() => {
                    if exits.borrow_and_update().is_some() {
                        break (self.cause_of_exit(&exits), Vec::new());
                    }
                }
                _ = emptied.changed() => {
                    if emptied.borrow_and_update().is_some() {
                        break (self.cause_of_exit(&exits), Vec::new());
                    }
                }
                Some(alarm) = alarms.recv() => match alarm {
                    Alarm::Overdue(why) => self.tell(News::Overdue(why)).await,
                    Alarm::Unresponsive(why) => {
                        state.logs.say(SystemTime::now(), state.generation, "error", why);
                        break (FailureCause::Unresponsive, self.evidence().await);
                    }
                    Alarm::Fault(Fault::NotReading) => {
                        let why = "its queue of frames is full: it does not read".to_owned();
                        state.logs.say(SystemTime::now(), state.generation, "error", why);
                        break (FailureCause::Unresponsive, self.evidence().await);
                    }
                    Alarm::OverLimit(resource, used, limit) => {
                        break (FailureCause::ResourceLimit { resource, used, limit }, self.evidence().await);
                    }
                },
                Some(()) = drain_news.recv() => self.tell(News::Drained).await,
                command = inbox.recv() => match command {
                    Some(Command::Drain(reason, time)) => {
                        if let Some(session) = self.session() {
                            session.stop_accepting();
                            let last_event_seq = if reason == wire::StopReason::Reload {
                                state.bus.hand_over(&state.spec.id, state.generation)
                            } else {
                                0
                            };
                            let drain = wire::Drain { reason: reason as i32, timeout: Some(super::wire::duration(time)), last_event_seq };
                            let control = Some(wire::session_response::Control::Drain(drain));
                            session.push(wire::SessionResponse { control, ..Default::default() });
                            let done = drain_done.clone();
                            drained = Some(Owned(tokio::spawn(async move {
                                session.drained().await;
                                let _ = done.send(()).await;
                            })));
                        } else {
                            self.tell(News::Drained).await;
                        }
                    }
                    Some(Command::Shutdown(reason, time)) => {
                        self.shutting_down = true;
                        match self.session() {
                            Some(session) => {
                                session.stop_accepting();
                                let shutdown = wire::Shutdown { reason: reason as i32, timeout: Some(super::wire::duration(time)) };
                                let control = Some(wire::session_response::Control::Shutdown(shutdown));
                                session.push(wire::SessionResponse { control, ..Default::default() });
                            }
                            None => self.tree.terminate(),
                        }
                    }
                    Some(Command::Terminate) => {
                        self.shutting_down = true;
                        self.tree.terminate();
                    }
                    Some(Command::Kill) => {
                        let evidence = if self.shutting_down || self.session().is_none() { self.evidence().await } else { Vec::new() };
                        self.kill_and_wait(&mut exits).await;
                        break (self.cause_of_exit(&exits), evidence);
                    }
                    None => break (FailureCause::SessionClosed, Vec::new()),
                },
            }
        };
        drop((watching, drained, sampler));
        let phase = self.phase_name();
        self.end_session(&cause);
        state.closing.cancel();
        self.tree.kill();
        drop(accepting);
        // The last words of a process that ended may still be in the pipe.
        let _ = timeout(LINGER, exits.wait_for(Option::is_some)).await;
        finish(&mut output).await;
        let ended = Ended {
            cause,
            phase,
            exit: *exits.borrow(),
            stderr_tail: state.logs.stderr_tail(state.generation, STDERR_TAIL),
            evidence,
            cut_off: self.registered.as_ref().map_or(0, |session| session.counters.cut_off.load(Ordering::Relaxed)),
        };
        self.tell(News::Ended(Box::new(ended))).await;
        self.inside.close();
        let _ = emptied.wait_for(Option::is_some).await;
        finish(&mut output).await;
        self.inside.wait().await;
        self.tell(News::Empty).await;
    }

    fn session(&self) -> Option<Arc<Session>> {
        match &*self.state.phase().borrow() {
            Phase::Registered(session) => Some(Arc::clone(session)),
            Phase::Dialing | Phase::Welcomed | Phase::Ended(..) => None,
        }
    }

    fn phase_name(&self) -> &'static str {
        if self.shutting_down { "stopping" } else { self.state.phase().borrow().name() }
    }

    /// Ends what is in flight with the cause's own words.
    fn end_session(&self, cause: &FailureCause) {
        if let Some(session) = self.session() {
            let why = cause.to_string();
            session.end(&format!("ended while it had the call: {}", why.trim_end_matches('.')));
        }
        self.state.session_ended(End::Closed);
        self.state.bus.end(&self.state.spec.id, self.state.generation);
    }

    fn cause_of_exit(&self, exits: &watch::Receiver<Option<ExitRecord>>) -> FailureCause {
        // How the process ended only says that it was killed.
        if let Some(MemoryKill { used, limit }) = self.tree.enforced().memory_kill {
            return FailureCause::ResourceLimit { resource: Resource::Memory, used, limit };
        }
        match *exits.borrow() {
            Some(record) => FailureCause::of_exit(record.status, &self.state.spec.final_exit_codes),
            None => FailureCause::Crashed(crate::domain::launch::ExitStatus::Unknown),
        }
    }

    /// The Session has ended; `None` where that was asked for and the process is still to exit.
    async fn ended(&mut self, end: End, exits: &mut watch::Receiver<Option<ExitRecord>>) -> Option<FailureCause> {
        let why = end.why();
        if let Some(words) = why.clone() {
            let state = &self.state;
            state.logs.say(SystemTime::now(), state.generation, "error", words);
        }
        let cause = match end {
            End::Closed if self.shutting_down => return None,
            End::Violation(why) => FailureCause::ProtocolViolation(why),
            End::Frame(why) => FailureCause::FrameInvalid(why),
            End::Refused(_) => FailureCause::RegistrationRefused(why.unwrap_or_default()),
            End::Version(..) => FailureCause::ProtocolUnsupported(why.unwrap_or_default()),
            End::Fatal { reason, message } => FailureCause::Fatal { reason: fatal_reason(reason), message },
            End::Closed | End::DialerGone => {
                // The exit record usually follows within a tenth of a millisecond, and says more.
                if timeout(EXIT_GRACE, exits.wait_for(Option::is_some)).await.is_ok() {
                    return Some(self.cause_of_exit(exits));
                }
                if end == End::DialerGone { FailureCause::DialerGone } else { FailureCause::SessionClosed }
            }
        };
        Some(cause)
    }

    async fn kill_and_wait(&self, exits: &mut watch::Receiver<Option<ExitRecord>>) {
        self.tree.kill();
        let _ = timeout(self.state.settings.empty, exits.wait_for(Option::is_some)).await;
    }

    /// What the tree is doing, taken before it is killed.
    async fn evidence(&self) -> Vec<String> {
        let tree = Arc::clone(&self.tree);
        let taken = tokio::task::spawn_blocking(move || tree.evidence());
        match timeout(EVIDENCE_TIME, taken).await {
            Ok(Ok(evidence)) => {
                let unreadable = evidence.unreadable.into_iter().map(|line| format!("unreadable: {line}"));
                evidence.lines.into_iter().chain(unreadable).take(400).collect()
            }
            Ok(Err(_)) | Err(_) => vec![format!("unreadable: evidence took longer than {EVIDENCE_TIME:?}")],
        }
    }
}

/// Lets the captures come to the end of their streams, each for a moment.
async fn finish(captures: &mut [Owned]) {
    for capture in captures.iter_mut().filter(|capture| !capture.0.is_finished()) {
        let _ = timeout(OUTPUT_GRACE, &mut capture.0).await;
    }
}

impl End {
    /// The plugin is told why by the stream's status, or has said itself that it goes.
    fn is_told(&self) -> bool {
        !matches!(self, Self::Closed | Self::DialerGone)
    }
}

fn fatal_reason(reason: wire::FatalReason) -> FatalReason {
    match reason {
        wire::FatalReason::ConfigInvalid => FatalReason::ConfigInvalid,
        wire::FatalReason::HostUnsuitable => FatalReason::HostUnsuitable,
        wire::FatalReason::DependencyMissing => FatalReason::DependencyMissing,
        wire::FatalReason::Internal | wire::FatalReason::Unspecified => FatalReason::Internal,
    }
}

/// Samples the tree until the launch drops it.
async fn sample(
    state: Arc<LaunchState>,
    tree: Arc<dyn Tree>,
    usage: watch::Sender<Resources>,
    alarms: mpsc::Sender<Alarm>,
) {
    let every = state.settings.sample;
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let limits = &state.spec.limits;
    let memory_limit = limits.memory_bytes.unwrap_or(u64::MAX);
    let (mut over, mut refused, mut is_refused) = (0, 0, false);
    loop {
        ticks.tick().await;
        let Ok(place) = SAMPLERS.acquire().await else { return };
        let read = Arc::clone(&tree);
        let sampled = tokio::task::spawn_blocking(move || {
            // As long as the thread is at it, also where the launch has ended meanwhile.
            let _place = place;
            let now = read.usage()?;
            let memory_over = now.memory_bytes > memory_limit && !read.keeps_memory();
            std::io::Result::Ok((now, memory_over, read.enforced()))
        });
        let Ok(Ok((now, memory_over, enforced))) = sampled.await else { continue };
        usage.send_modify(|resources| {
            resources.now = now;
            resources.at = Some(SystemTime::now());
            resources.peak_memory_bytes = resources.peak_memory_bytes.max(now.memory_bytes);
            resources.refused = enforced.refused;
        });
        if let Some(MemoryKill { used, limit }) = enforced.memory_kill {
            // What it was killed for is over: one is enough.
            let _ = alarms.send(Alarm::OverLimit(Resource::Memory, used, limit)).await;
            return;
        }
        // Said when it begins, not each second that it lasts.
        let was_refused = std::mem::replace(&mut is_refused, enforced.refused > refused);
        if is_refused && !was_refused {
            let text = format!(
                "the kernel refused it {} new processes or threads, as its tree has too many",
                enforced.refused - refused
            );
            state.logs.say(SystemTime::now(), state.generation, "warn", text);
        }
        refused = enforced.refused;
        let memory = limits.memory_bytes.filter(|_| memory_over);
        let processes = limits.processes.filter(|limit| now.processes > *limit);
        let exceeded = match (memory, processes) {
            (Some(limit), _) => Some((Resource::Memory, now.memory_bytes, limit)),
            (None, Some(limit)) => Some((Resource::Processes, u64::from(now.processes), u64::from(limit))),
            (None, None) => None,
        };
        over = if exceeded.is_some() { over + 1 } else { 0 };
        if let Some((resource, used, limit)) = exceeded
            && over >= SAMPLES_OVER
        {
            let _ = alarms.send(Alarm::OverLimit(resource, used, limit)).await;
            return;
        }
    }
}
