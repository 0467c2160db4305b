//! The task that owns one plugin: it alone holds its launches. What happens becomes an event of the life cycle, what
//! follows is carried out here; every decision is the life cycle's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::types::v1::PluginState;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::busy_poll::BusyPoll;
use super::canary;
use super::events::{self, Bus};
use super::launch::{self, Command, Ended, Launch, News, Resources};
use super::launch_state::{LaunchState, Parts};
use super::registry::{Part, Registry};
use super::runs::Runs;
use super::session::Session;
use super::view::View;
use crate::domain::backoff::later;
use crate::domain::failure::{FailureCause, Resource};
use crate::domain::guard::Guard;
use crate::domain::ids::{Generation, PluginId};
use crate::domain::launch::{ExitStatus, LaunchError, Launched, Launcher, Plan, Protection};
use crate::domain::lifecycle::{Effect, Event, Lifecycle, Policy, Reason, Refusal, Standing, State, StopHow};
use crate::domain::rights::Tier;
use crate::domain::settings::Settings;
use crate::domain::spec::{BrokenEntry, Entry, PluginSpec, ReloadMode};
use crate::domain::store::{FailureRecord, LaunchNote, Quarantine, Store};

/// The last step of the ladder.
const SIGKILL_STEP: u8 = 4;

/// Everything all plugins share.
pub(crate) struct Shared {
    pub(crate) settings: Arc<Settings>,
    pub(crate) launcher: Arc<dyn Launcher>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) registry: Arc<Registry>,
    /// Launches that may be starting at once.
    pub(crate) starts: Arc<Semaphore>,
    pub(crate) bus: Arc<Bus>,
    pub(crate) busy_poll: Arc<BusyPoll>,
    pub(crate) runs: Arc<Runs>,
    pub(crate) boot_id: String,
    pub(crate) tasks: TaskTracker,
}

/// What an operator, or the supervisor itself, wants of a plugin.
pub(crate) enum Request {
    Start { reset: bool, entry: Option<Entry> },
    Stop { how: StopHow },
    Restart { entry: Option<Entry> },
    Reload { entry: Option<Entry>, drain: Option<Duration> },
    Shutdown { how: StopHow },
}

/// A request, and where its answer goes. Boxed in the queue, which has room for many and is mostly empty.
type Asked = (Request, oneshot::Sender<Result<(), Refusal>>);

/// A handle of a plugin's task. Dropping all of them changes nothing: the supervisor ends a plugin by a request.
#[derive(Clone)]
pub(crate) struct Plugin {
    pub(crate) view: Arc<View>,
    requests: mpsc::Sender<Box<Asked>>,
    details: watch::Receiver<Details>,
}

/// What is known of a plugin beyond its status.
#[derive(Clone)]
pub(crate) struct Details {
    pub(crate) entry: Entry,
    /// Guards that hold or would, whether or not the operator lifted them.
    pub(crate) guards: Vec<Guard>,
    /// The guards are what was last known, or everything.
    pub(crate) remembered: bool,
    /// The operator stopped it: its guards do not hold.
    pub(crate) lifted: bool,
    pub(crate) failures: Vec<FailureRecord>,
    pub(crate) resources: Option<watch::Receiver<Resources>>,
    pub(crate) protections: Vec<Protection>,
    pub(crate) sdk: String,
    pub(crate) protocol_version: u32,
    pub(crate) last_stop: Option<StopSummary>,
    /// Highest memory of its tree in any launch.
    pub(crate) peak_memory_bytes: u64,
    /// Failures since the supervisor's start, and the last one in a sentence.
    pub(crate) failure_count: u64,
    pub(crate) last_failure: String,
    /// Rises with each failed next generation, so that a reload knows.
    pub(crate) next_failures: u64,
}

/// How the last launch that was asked to end ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StopSummary {
    pub(crate) generation: Generation,
    /// Highest step of the ladder that was needed: 1 drain, 2 shutdown, 3 SIGTERM, 4 SIGKILL.
    pub(crate) step: u8,
    pub(crate) exit: Option<ExitStatus>,
    pub(crate) cut_off: u64,
    pub(crate) elapsed: Duration,
}

impl Plugin {
    /// Sends a request and waits until the life cycle has taken or refused it.
    pub(crate) async fn request(&self, request: Request) -> Result<(), Refusal> {
        let (reply, answer) = oneshot::channel();
        if self.requests.send(Box::new((request, reply))).await.is_err() {
            return Err(Refusal::Closing);
        }
        answer.await.unwrap_or(Err(Refusal::Closing))
    }

    /// What is known now.
    pub(crate) fn details(&self) -> Details {
        self.details.borrow().clone()
    }

    /// Details and their changes.
    pub(crate) fn watch_details(&self) -> watch::Receiver<Details> {
        self.details.clone()
    }
}

/// A plugin as the supervisor's start found it.
pub(crate) struct Birth {
    pub(crate) entry: Entry,
    pub(crate) position: usize,
    pub(crate) guards: Vec<Guard>,
    pub(crate) remembered: bool,
    pub(crate) failures: Vec<FailureRecord>,
    pub(crate) quarantine: Option<Quarantine>,
    pub(crate) generation: Generation,
}

/// Makes the task of a plugin; its guards hold when this returns, its process starts later.
pub(crate) fn start(shared: &Arc<Shared>, birth: Birth) -> Plugin {
    let id = birth.entry.id().clone();
    shared.bus.add(&id);
    if birth.quarantine.is_none() {
        shared.registry.expect(id.clone());
    }
    let view = View::new(id.clone(), Arc::clone(&shared.settings));
    let (requests, inbox) = mpsc::channel(32);
    let (news, arrivals) = mpsc::channel(64);
    let now = Instant::now();
    let life = match &birth.quarantine {
        None => Lifecycle::new(now.into_std()),
        Some(quarantine) => {
            let probe_at = quarantine.probe_at.map(|at| {
                // The wall clock may have been set since; no probe is further away than the longest wait.
                let wait = at.duration_since(SystemTime::now()).unwrap_or_default();
                later(now.into_std(), wait.min(shared.settings.probe_max))
            });
            Lifecycle::quarantined(probe_at, quarantine.failed_probes)
        }
    };
    let details = Details {
        entry: birth.entry,
        guards: birth.guards,
        remembered: birth.remembered,
        lifted: false,
        failures: birth.failures,
        resources: None,
        protections: Vec::new(),
        sdk: String::new(),
        protocol_version: 0,
        last_stop: None,
        peak_memory_bytes: 0,
        failure_count: 0,
        last_failure: String::new(),
        next_failures: 0,
    };
    view.update(|status| {
        status.generation = birth.generation;
        if let Some(quarantine) = &birth.quarantine {
            status.state = PluginState::Quarantined;
            status.message.clone_from(&quarantine.reason);
            status.since = quarantine.since;
        }
    });
    let wanted = details.entry.clone();
    let (details, seen) = watch::channel(details);
    let mut actor = Actor {
        id,
        shared: Arc::clone(shared),
        view: Arc::clone(&view),
        position: birth.position,
        details,
        wanted,
        life: Some(life),
        launches: HashMap::new(),
        unwritten: HashMap::new(),
        starting: None,
        starts: 0,
        news,
        message: birth.quarantine.map(|quarantine| quarantine.reason).unwrap_or_default(),
        restarts: 0,
        stop_reason: wire::StopReason::Stop,
        serving: None,
        last_generation: birth.generation,
    };
    actor.contribute();
    shared.tasks.spawn(async move { actor.run(inbox, arrivals).await });
    Plugin { view, requests, details: seen }
}

struct Held {
    launch: Launch,
    session: Option<Arc<Session>>,
    ended: Option<Box<Ended>>,
    /// Place among the launches that are starting.
    _permit: Option<OwnedSemaphorePermit>,
    step: u8,
    leaving_since: Option<Instant>,
    canary: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(canary) = &self.canary {
            canary.abort();
        }
    }
}

enum Arrival {
    News(Generation, News),
    /// The start of this number.
    Begun(u64, Box<Begun>),
    Failed(u64, Option<Generation>, FailureCause),
    Canary(Generation, Result<(), String>),
}

struct Begun {
    state: Arc<LaunchState>,
    launched: Launched,
    permit: OwnedSemaphorePermit,
}

struct Actor {
    id: PluginId,
    shared: Arc<Shared>,
    view: Arc<View>,
    position: usize,
    details: watch::Sender<Details>,
    /// What the next launch is made of. It comes into force, in the details, when it serves.
    wanted: Entry,
    /// Always there between two events.
    life: Option<Lifecycle>,
    launches: HashMap<Generation, Held>,
    /// Failures whose particulars are still to come.
    unwritten: HashMap<Generation, FailureCause>,
    /// The launch asked for that has not begun, and the number of its start.
    starting: Option<(u64, tokio::task::JoinHandle<()>)>,
    starts: u64,
    news: mpsc::Sender<Arrival>,
    message: String,
    restarts: u32,
    stop_reason: wire::StopReason,
    serving: Option<Generation>,
    last_generation: Generation,
}

impl Actor {
    async fn run(&mut self, mut inbox: mpsc::Receiver<Box<Asked>>, mut arrivals: mpsc::Receiver<Arrival>) {
        let entry = self.details.borrow().entry.clone();
        // The first event of a life is refused by none.
        let _ = match &entry {
            Entry::Broken(broken) => self.condemn(broken).await,
            Entry::Sound(_) => self.apply(Event::Tick).await,
        };
        loop {
            if matches!(self.life().state(), State::Closed) {
                break;
            }
            let deadline = self.life().deadline().map(Instant::from_std);
            tokio::select! {
                biased;
                Some(arrival) = arrivals.recv() => self.arrived(arrival).await,
                Some(asked) = inbox.recv() => {
                    let (request, reply) = *asked;
                    let answer = self.requested(request).await;
                    // Whoever asked may have gone.
                    let _ = reply.send(answer);
                }
                () = sleep_until(deadline) => {
                    // A tick is refused by none.
                    let _ = self.apply(Event::Tick).await;
                }
            }
        }
        // Its guards hold to the last: calls may still come while other plugins stop.
        self.serving = None;
        self.contribute();
    }

    fn life(&self) -> &Lifecycle {
        // `apply` takes it and puts it back without an await between.
        self.life.as_ref().unwrap_or_else(|| unreachable!("the life cycle is put back by `apply`"))
    }

    fn policy(&self) -> Policy {
        let policy = Policy::new(&self.shared.settings, sound(&self.details.borrow().entry));
        // Only what is started has a time to start.
        let startup = Policy::new(&self.shared.settings, sound(&self.wanted)).startup;
        Policy { startup, ..policy }
    }

    async fn condemn(&mut self, broken: &BrokenEntry) -> Result<(), Refusal> {
        let why = broken.problems.join("; ");
        self.apply(Event::Condemned { cause: FailureCause::ConfigInvalid(why) }).await
    }

    /// Applies one event and carries out what follows.
    async fn apply(&mut self, event: Event) -> Result<(), Refusal> {
        let policy = self.policy();
        let Some(life) = self.life.take() else { return Err(Refusal::Closing) };
        let (life, effects) = life.apply(event, Instant::now().into_std(), &policy, super::entropy::bits());
        self.life = Some(life);
        let mut refused = Ok(());
        for effect in effects {
            if let Effect::Refuse(refusal) = effect {
                refused = Err(refusal);
            } else {
                self.perform(effect).await;
            }
        }
        self.publish();
        refused
    }

    async fn requested(&mut self, request: Request) -> Result<(), Refusal> {
        if matches!(request, Request::Start { .. } | Request::Restart { .. })
            && matches!(self.life().state(), State::Stopped | State::Draining { .. })
        {
            // Why it was stopped says nothing about what comes.
            self.message.clear();
        }
        match request {
            Request::Start { reset, entry } => {
                if reset {
                    self.view.reset_breakers();
                }
                if !matches!(self.life().state(), State::Ready { .. } | State::Starting { .. }) {
                    self.adopt(entry).await;
                }
                self.lift(false);
                let broken = match &self.details.borrow().entry {
                    Entry::Broken(broken) => Some(broken.clone()),
                    Entry::Sound(_) => None,
                };
                if let Some(broken) = broken {
                    return self.condemn(&broken).await;
                }
                self.apply(Event::StartRequested { reset }).await
            }
            Request::Stop { how } => {
                self.stop_reason = wire::StopReason::Stop;
                self.message = "stopped by an operator".to_owned();
                self.lift(true);
                self.apply(Event::StopRequested { how }).await
            }
            Request::Restart { entry } => {
                self.stop_reason = wire::StopReason::Restart;
                self.adopt(entry).await;
                self.lift(false);
                self.apply(Event::RestartRequested).await
            }
            Request::Reload { entry, drain } => {
                let mode = match entry.as_ref().unwrap_or(&self.wanted) {
                    Entry::Sound(spec) => spec.reload,
                    Entry::Broken(_) => ReloadMode::StopFirst,
                };
                let beside = mode == ReloadMode::Overlap && matches!(self.life().state(), State::Ready { .. });
                if !beside {
                    self.stop_reason = wire::StopReason::Reload;
                    self.adopt(entry).await;
                    return self.apply(Event::ReloadRequested { mode, drain }).await;
                }
                // What serves goes on as it is, with its guards; what the files say now counts from the swap on.
                let before = entry.map(|entry| std::mem::replace(&mut self.wanted, entry));
                let reloaded = self.apply(Event::ReloadRequested { mode, drain }).await;
                match (&reloaded, before) {
                    (Ok(()), _) => self.stop_reason = wire::StopReason::Reload,
                    (Err(_), Some(before)) => self.wanted = before,
                    (Err(_), None) => {}
                }
                reloaded
            }
            Request::Shutdown { how } => {
                self.stop_reason = wire::StopReason::SupervisorStop;
                self.apply(Event::ShutdownRequested { how }).await
            }
        }
    }

    /// Takes over what the files say now.
    async fn adopt(&mut self, entry: Option<Entry>) {
        let Some(entry) = entry.filter(|entry| !self.is_in_force(entry)) else { return };
        self.wanted = entry.clone();
        self.put_in_force(entry).await;
    }

    /// The files say what they said. Nearly always, so that it is worth no write, and no new copies of everything.
    fn is_in_force(&self, entry: &Entry) -> bool {
        let details = self.details.borrow();
        let known = sound(&details.entry);
        !details.remembered && known.is_some() && sound(entry) == known && sound(&self.wanted) == known
    }

    /// What the files said of a generation counts: it serves, or nothing else does.
    async fn put_in_force(&mut self, entry: Entry) {
        let guards = match &entry {
            Entry::Sound(spec) => Some((super::guards::counting(spec), super::guards::remembered(spec))),
            Entry::Broken(_) => None,
        };
        self.details.send_modify(|details| {
            details.entry = entry;
            if let Some((guards, _)) = &guards {
                details.guards.clone_from(guards);
                details.remembered = false;
            }
        });
        self.contribute();
        if let Some((_, remembered)) = guards
            && let Err(error) = self.shared.store.remember_guards(self.id.clone(), remembered).await
        {
            tracing::error!(plugin = %self.id, "keep the guards: {error}");
        }
    }

    fn lift(&mut self, lifted: bool) {
        self.details.send_modify(|details| details.lifted = lifted);
        self.contribute();
    }

    async fn arrived(&mut self, arrival: Arrival) {
        let event = match arrival {
            Arrival::Begun(number, begun) => {
                // One that nobody wants is the life cycle's to kill, but where it waits for another.
                let overtaken = !self.wants(number) && self.starting.is_some();
                let Begun { state, launched, permit } = *begun;
                let generation = state.generation;
                let (news, forward) = mpsc::channel(16);
                let launch = launch::run(state, launched, news, &self.shared.tasks);
                self.shared.tasks.spawn(forward_news(forward, self.news.clone()));
                self.last_generation = generation;
                let held = Held {
                    launch,
                    session: None,
                    ended: None,
                    _permit: Some(permit),
                    step: 0,
                    leaving_since: None,
                    canary: None,
                };
                if overtaken {
                    // It came through while its abandoning was on the way, perhaps with files that have changed since.
                    held.launch.tell(Command::Kill);
                }
                self.launches.insert(generation, held);
                if overtaken {
                    return;
                }
                if self.serving.is_none() {
                    self.show(generation);
                }
                Event::LaunchBegun { generation }
            }
            Arrival::Failed(number, generation, cause) => {
                if let Some(generation) = generation {
                    self.last_generation = generation;
                }
                if !self.wants(number) {
                    return;
                }
                Event::LaunchFailed { cause }
            }
            Arrival::Canary(generation, Ok(())) => Event::CanaryPassed { generation },
            Arrival::Canary(generation, Err(why)) => {
                Event::LaunchEnded { generation, cause: FailureCause::CanaryFailed(why) }
            }
            Arrival::News(generation, news) => match news {
                News::Registered(session) => {
                    let Some(held) = self.launches.get_mut(&generation) else { return };
                    held._permit = None;
                    held.session = Some(session);
                    if self.serving.is_none() {
                        self.show(generation);
                    }
                    Event::Registered { generation }
                }
                News::Drained => Event::Drained { generation },
                News::Overdue(why) => {
                    self.view.logs.say(SystemTime::now(), generation, "error", why);
                    Event::RecycleRequested { generation }
                }
                News::Ended(ended) => {
                    if self.serving == Some(generation) {
                        // Nobody may be sent to it any more, whatever the life cycle makes of it.
                        self.serving = None;
                        self.contribute();
                    }
                    let cause = ended.cause.clone();
                    self.note_end(generation, ended).await;
                    Event::LaunchEnded { generation, cause }
                }
                News::Empty => {
                    self.forget(generation).await;
                    Event::TreeEmpty { generation }
                }
            },
        };
        // Only operators' requests are refused.
        let _ = self.apply(event).await;
    }

    /// Whether this is the start that is waited for; then it is so no more.
    fn wants(&mut self, number: u64) -> bool {
        self.starting.take_if(|(starting, _)| *starting == number).is_some()
    }

    async fn note_end(&mut self, generation: Generation, ended: Box<Ended>) {
        if let Some(held) = self.launches.get_mut(&generation) {
            let resources = *held.launch.resources.borrow();
            held._permit = None;
            if let Some(since) = held.leaving_since {
                let summary = StopSummary {
                    generation,
                    // Where it broke a rule on its way down the ladder it was killed, whatever step it was on.
                    step: if ended.cause.is_exit() { held.step } else { SIGKILL_STEP },
                    exit: ended.exit.map(|record| record.status),
                    cut_off: ended.cut_off,
                    elapsed: since.elapsed(),
                };
                self.details.send_modify(|details| details.last_stop = Some(summary));
            }
            // What the kernel would not let it have was between two samples.
            let own = ended.exit.map_or(0, |record| record.peak_memory_bytes).max(match ended.cause {
                FailureCause::ResourceLimit { resource: Resource::Memory, used, .. } => used,
                _ => 0,
            });
            self.details.send_modify(|details| {
                details.peak_memory_bytes = details.peak_memory_bytes.max(resources.peak_memory_bytes).max(own);
            });
            held.ended = Some(ended);
        }
        if let Some(cause) = self.unwritten.remove(&generation) {
            self.write_failure(Some(generation), cause).await;
        }
    }

    async fn forget(&mut self, generation: Generation) {
        if let Some(cause) = self.unwritten.remove(&generation) {
            self.write_failure(Some(generation), cause).await;
        }
        self.launches.remove(&generation);
        if let Err(error) = self.shared.store.end_launch(self.id.clone(), generation).await {
            tracing::error!(plugin = %self.id, %generation, "note the end of the launch: {error}");
        }
    }

    async fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Launch(reason) => self.launch(reason),
            Effect::AbandonLaunch => {
                if let Some((_, starting)) = self.starting.take() {
                    starting.abort();
                }
            }
            Effect::Serve(generation) => self.serve(generation).await,
            Effect::Swap { old, new } => {
                self.serve(new).await;
                let text = format!("generation {new} serves in the place of {old}");
                tracing::info!(plugin = %self.id, generation = %new, "{text}");
                self.view.logs.say(SystemTime::now(), new, "info", text);
            }
            Effect::TryCanary(generation) => self.try_canary(generation),
            Effect::Drain(generation, time) => {
                let reason = self.stop_reason;
                self.leave(generation, 1, Command::Drain(reason, time));
            }
            Effect::Shutdown(generation, time) => {
                let reason = self.stop_reason;
                self.leave(generation, 2, Command::Shutdown(reason, time));
            }
            Effect::Terminate(generation) => self.leave(generation, 3, Command::Terminate),
            Effect::Kill(generation) => self.leave(generation, SIGKILL_STEP, Command::Kill),
            Effect::RecordFailure { generation, cause } => {
                tracing::warn!(plugin = %self.id, generation = ?generation.map(|generation| generation.0), cause = cause.name(), "{cause}");
                self.message = cause.to_string().trim_end_matches('.').to_owned();
                self.details.send_modify(|details| {
                    details.failure_count += 1;
                    details.last_failure.clone_from(&self.message);
                });
                let lives_on = cause == FailureCause::Recycled;
                let pending = generation.filter(|generation| {
                    !lives_on && self.launches.get(generation).is_some_and(|held| held.ended.is_none())
                });
                match pending {
                    // What it was doing, and how it exits, is told in a moment. A stuck one goes on until another has
                    // taken its place, which may never be.
                    Some(generation) => {
                        self.unwritten.entry(generation).or_insert(cause);
                    }
                    None => self.write_failure(generation, cause).await,
                }
            }
            Effect::NextFailed => {
                self.wanted = self.details.borrow().entry.clone();
                self.details.send_modify(|details| details.next_failures += 1);
            }
            // What the files say is read again at the next start, and may be mended by then.
            Effect::EnterQuarantine { cause: FailureCause::ConfigInvalid(_), .. } => {}
            Effect::EnterQuarantine { probe_at, failed_probes, cause } => {
                let now = Instant::now().into_std();
                let reason = cause.to_string().trim_end_matches('.').to_owned();
                let probe_at = probe_at.map(|at| SystemTime::now() + at.saturating_duration_since(now));
                let quarantine = Quarantine { since: SystemTime::now(), probe_at, failed_probes, reason };
                self.keep_quarantine(Some(quarantine)).await;
            }
            Effect::LeaveQuarantine => self.keep_quarantine(None).await,
            Effect::Refuse(_) => {}
        }
    }

    async fn keep_quarantine(&self, quarantine: Option<Quarantine>) {
        if let Err(error) = self.shared.store.set_quarantine(self.id.clone(), quarantine).await {
            tracing::error!(plugin = %self.id, "keep the quarantine: {error}");
        }
    }

    fn leave(&mut self, generation: Generation, step: u8, command: Command) {
        if let Some(held) = self.launches.get_mut(&generation) {
            held.step = held.step.max(step);
            held.leaving_since.get_or_insert_with(Instant::now);
            held.launch.tell(command);
        }
        if self.serving == Some(generation) {
            self.serving = None;
            self.contribute();
        }
    }

    /// In one step: its handlers are asked, and the guards its files declare hold.
    async fn serve(&mut self, generation: Generation) {
        self.serving = Some(generation);
        self.show(generation);
        if let Some(held) = self.launches.get(&generation)
            && let Some(session) = &held.session
        {
            self.shared.bus.serve(&self.id, generation, events::registered(&held.launch.state, session));
        }
        let spec = self.launches.get(&generation).map(|held| Arc::clone(&held.launch.state.spec));
        let in_force = self.details.borrow().entry.clone();
        match spec {
            Some(spec) if !matches!(&in_force, Entry::Sound(known) if **known == *spec) => {
                self.put_in_force(Entry::Sound(Box::new((*spec).clone()))).await;
            }
            _ => self.contribute(),
        }
    }

    /// Lets details be those of this generation.
    fn show(&mut self, generation: Generation) {
        let Some(held) = self.launches.get(&generation) else { return };
        let (sdk, version) = held.launch.state.peer();
        let protections = held.launch.tree.protections();
        self.details.send_modify(|details| {
            details.resources = Some(held.launch.resources.clone());
            details.protections = protections;
            details.sdk = sdk;
            details.protocol_version = version;
        });
    }

    /// Tells the registry what the plugin contributes now.
    fn contribute(&mut self) {
        let details = self.details.borrow();
        let (hooks, name, bundled) = match &details.entry {
            Entry::Sound(spec) => (spec.hooks.clone(), spec.name.clone(), spec.rights.tier() == Tier::Bundled),
            Entry::Broken(broken) => (broken.hooks.clone(), self.id.to_string(), false),
        };
        let session = self
            .serving
            .and_then(|generation| self.launches.get(&generation))
            .and_then(|held| held.session.clone())
            .filter(|session| session.is_accepting());
        let part = Part {
            view: Arc::clone(&self.view),
            name,
            bundled,
            position: self.position,
            guards: if details.lifted { Vec::new() } else { details.guards.clone() },
            hooks,
            session,
        };
        drop(details);
        self.shared.registry.set(part);
    }

    fn try_canary(&mut self, generation: Generation) {
        let Some(held) = self.launches.get_mut(&generation) else { return };
        let Some(session) = held.session.clone() else { return };
        let news = self.news.clone();
        held.canary = Some(tokio::spawn(async move {
            let outcome = canary::try_all(&session).await;
            let _ = news.send(Arrival::Canary(generation, outcome)).await;
        }));
    }

    fn launch(&mut self, reason: Reason) {
        self.starts += 1;
        let number = self.starts;
        let spec = match &self.wanted {
            Entry::Sound(spec) => Arc::new((**spec).clone()),
            Entry::Broken(broken) => {
                let cause = FailureCause::ConfigInvalid(broken.problems.join("; "));
                let news = self.news.clone();
                let failed = async move {
                    let _ = news.send(Arrival::Failed(number, None, cause)).await;
                };
                self.starting = Some((number, tokio::spawn(failed)));
                return;
            }
        };
        let failed_before = self.life().standing() != Standing::Good { failures: 0 };
        let reason = match reason {
            Reason::Probe => wire::LaunchReason::Probe,
            Reason::Reload | Reason::Recycle => wire::LaunchReason::Reload,
            Reason::Start if failed_before => wire::LaunchReason::Restart,
            Reason::Start => wire::LaunchReason::Start,
        };
        if failed_before {
            self.restarts += 1;
        }
        let (shared, view, news) = (Arc::clone(&self.shared), Arc::clone(&self.view), self.news.clone());
        let starting = async move {
            let arrival = match begin(&shared, &view, spec, reason).await {
                Ok(begun) => Arrival::Begun(number, Box::new(begun)),
                Err((generation, cause)) => Arrival::Failed(number, generation, cause),
            };
            let _ = news.send(arrival).await;
        };
        self.starting = Some((number, tokio::spawn(starting)));
    }

    async fn write_failure(&mut self, generation: Option<Generation>, cause: FailureCause) {
        let held = generation.and_then(|generation| self.launches.get(&generation));
        let ended = held.and_then(|held| held.ended.as_deref());
        let record = FailureRecord {
            at: SystemTime::now(),
            generation: generation.unwrap_or_default(),
            cause: cause.name().to_owned(),
            message: cause.to_string(),
            phase: match (ended, held) {
                (Some(ended), _) => ended.phase,
                (None, Some(held)) => held.launch.state.phase().borrow().name(),
                (None, None) => "launch",
            }
            .to_owned(),
            exit: ended.and_then(|ended| ended.exit).map(|exit| exit.status.to_string()).unwrap_or_default(),
            stderr_tail: ended.map(|ended| ended.stderr_tail.clone()).unwrap_or_default(),
            evidence: ended.map(|ended| ended.evidence.clone()).unwrap_or_default(),
        };
        self.details.send_modify(|details| {
            details.failures.push(record.clone());
            let over = details.failures.len().saturating_sub(crate::domain::store::KEPT_FAILURES);
            details.failures.drain(..over);
        });
        if let Err(error) = self.shared.store.add_failure(self.id.clone(), record).await {
            tracing::error!(plugin = %self.id, "keep the failure: {error}");
        }
    }

    /// Shows the state to everybody.
    fn publish(&mut self) {
        let life = self.life();
        let (state, latest) = match life.state() {
            State::Waiting { .. } => (PluginState::Waiting, None),
            State::Starting { attempt } => (PluginState::Starting, attempt.generation()),
            State::Ready { generation, .. } => (PluginState::Ready, Some(*generation)),
            State::Draining { .. } => (PluginState::Draining, life.leaving().last().map(|tree| tree.generation)),
            State::Stopped | State::Closed => (PluginState::Stopped, None),
            State::Quarantined { .. } => (PluginState::Quarantined, None),
        };
        let next_start = match life.state() {
            State::Waiting { not_before } => Some(Instant::from_std(*not_before)),
            State::Quarantined { probe_at } => probe_at.map(Instant::from_std),
            _ => None,
        };
        // Nothing is waited for of one that will not come back by itself.
        let gone = matches!(life.state(), State::Stopped | State::Closed | State::Quarantined { .. });
        let failures = match life.standing() {
            Standing::Good { failures } => failures,
            Standing::Probation { failed_probes } => {
                self.shared.settings.quarantine_after.saturating_add(failed_probes)
            }
        };
        if state == PluginState::Ready && failures == 0 {
            self.message.clear();
        }
        let pid = latest.and_then(|generation| self.launches.get(&generation)).map_or(0, |held| held.launch.tree.pid());
        let message = if state == PluginState::Ready { String::new() } else { self.message.clone() };
        let generation = latest.unwrap_or(self.last_generation);
        self.shared.bus.set_present(&self.id, !gone);
        let before = self.view.status().state;
        self.view.update(|status| {
            status.state = state;
            status.message = message;
            status.generation = generation;
            status.pid = pid;
            status.next_start = next_start;
            status.recent_failures = failures;
            status.restarts = self.restarts;
        });
        // One that is ready has told the registry with what it serves.
        if matches!(state, PluginState::Stopped | PluginState::Quarantined) {
            self.shared.registry.settled(&self.id);
        }
        if before != state {
            let name = super::view::state_name(state);
            tracing::info!(plugin = %self.id, %generation, "is {name}");
        }
    }
}

fn sound(entry: &Entry) -> Option<&PluginSpec> {
    match entry {
        Entry::Sound(spec) => Some(spec),
        Entry::Broken(_) => None,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn forward_news(mut from: mpsc::Receiver<(Generation, News)>, to: mpsc::Sender<Arrival>) {
    while let Some((generation, news)) = from.recv().await {
        if to.send(Arrival::News(generation, news)).await.is_err() {
            return;
        }
    }
}

/// Takes a generation and starts its program. Cancel safe: a dropped future leaves nothing but a number that was taken.
async fn begin(
    shared: &Arc<Shared>,
    view: &Arc<View>,
    spec: Arc<PluginSpec>,
    reason: wire::LaunchReason,
) -> Result<Begun, (Option<Generation>, FailureCause)> {
    let closing = |_| (None, FailureCause::HostFault("the supervisor is stopping".to_owned()));
    let permit = Arc::clone(&shared.starts).acquire_owned().await.map_err(closing)?;
    let nonce = super::entropy::hex::<16>();
    let note = LaunchNote { nonce: nonce.clone(), boot_id: shared.boot_id.clone() };
    let generation = shared
        .store
        .begin_launch(spec.id.clone(), note)
        .await
        .map_err(|error| (None, FailureCause::HostFault(error.to_string())))?;
    let token = super::entropy::hex::<32>();
    let plan = Plan {
        plugin: spec.id.clone(),
        generation,
        nonce,
        token: token.clone(),
        command: spec.command.clone(),
        connect: spec.connect,
        package_dir: spec.package_dir.clone(),
        data_dir: spec.data_dir.clone(),
        environment: spec.environment.clone(),
        limits: spec.limits.clone(),
    };
    let startup = spec.limits.startup.unwrap_or(shared.settings.startup);
    let state = LaunchState::new(Parts {
        spec,
        settings: Arc::clone(&shared.settings),
        generation,
        reason,
        startup_deadline: Instant::now() + startup,
        logs: Arc::clone(&view.logs),
        bus: Arc::clone(&shared.bus),
        busy_poll: Arc::clone(&shared.busy_poll),
        runs: Arc::clone(&shared.runs),
        registry: Arc::clone(&shared.registry),
        token,
        session_secret: super::entropy::hex::<32>(),
    });
    tracing::debug!(plugin = %state.spec.id, %generation, "starts its program");
    let launched = match tokio::time::timeout(startup, shared.launcher.launch(plan)).await {
        Ok(Ok(launched)) => launched,
        failed => {
            let cause = match failed {
                Ok(Err(error @ LaunchError::Exec { .. })) => FailureCause::SpawnFailed(error.to_string()),
                Ok(Err(error)) => FailureCause::HostFault(error.to_string()),
                _ => FailureCause::HostFault(format!("its program did not run within {startup:?}")),
            };
            if let Err(error) = shared.store.end_launch(state.spec.id.clone(), generation).await {
                tracing::error!(plugin = %state.spec.id, %generation, "note the end of the launch: {error}");
            }
            return Err((Some(generation), cause));
        }
    };
    Ok(Begun { state, launched, permit })
}
