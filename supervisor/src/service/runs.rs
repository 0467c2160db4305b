//! Runs of agent runtimes: they begin with the first call or event that names them and end once.
//!
//! `live → ended, settling → gone`. A run ends by its terminal event, by `EndRun`, or as its runtime lost it; what comes
//! first counts, all lead here. Then its invocations are cancelled, subscribers get time to acknowledge what they were
//! sent of it (5 s at most), and what is kept for it is cleared. Of a run that has ended a mark is left, so that what
//! comes late is known as such.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outrigger_proto::runtime::v1::RunEnd;
use outrigger_proto::types::v1::SessionRef;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::events::Bus;
use crate::domain::ids::PluginId;

/// Runs of one runtime that may be live, settling ones included (architecture §14).
pub(crate) const MAX_LIVE: usize = 4096;
/// Ended runs of one runtime that are remembered as such.
pub(crate) const MAX_ENDED: usize = 16_384;
/// How long subscribers may take to acknowledge what they were sent of an ended run (architecture §9).
pub(crate) const SETTLE: Duration = Duration::from_secs(5);
/// Idempotency keys of one plugin that are remembered (architecture §14).
pub(crate) const MAX_KEYS: usize = 10_000;

/// Why a run is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRun {
    /// It has ended, or is lost.
    Ended,
    /// The runtime has too many.
    TooMany,
}

/// One live or settling run.
pub(crate) struct Run {
    pub(crate) runtime_id: Arc<str>,
    pub(crate) id: Arc<str>,
    /// Cancelled when the run ends: so are its invocations.
    pub(crate) ended: CancellationToken,
    /// Cancelled when it has settled: what is kept for it is to go.
    pub(crate) gone: CancellationToken,
    state: Mutex<RunState>,
    /// Whether every subscriber acknowledged in time; `None`: it has not settled.
    settled: watch::Sender<Option<bool>>,
}

#[derive(Default)]
struct RunState {
    session: Arc<SessionRef>,
    end: Option<RunEnd>,
    /// Number of its newest event, in the supervisor's sequence.
    newest: u64,
    numbers: Numbers,
    /// Emissions by plugin and key: fingerprint of the request, and the event's number.
    keys: HashMap<(PluginId, u128), (u128, u64)>,
}

/// Positions of a run's events that came already: the highest, and which of those before it.
#[derive(Debug, Default)]
struct Numbers {
    highest: u64,
    /// Bit `n`: the position `n` before the highest.
    seen: u128,
}

impl Numbers {
    /// Notes a position; false where it came before, or so long ago that nobody knows. 0 is no position.
    fn note(&mut self, position: u64) -> bool {
        if position == 0 {
            return true;
        }
        if position > self.highest {
            let step = u32::try_from(position - self.highest).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(step).unwrap_or(0) | 1;
            self.highest = position;
            return true;
        }
        let bit = u32::try_from(self.highest - position).ok().and_then(|step| 1_u128.checked_shl(step));
        let new = bit.filter(|bit| self.seen & bit == 0);
        self.seen |= new.unwrap_or(0);
        new.is_some()
    }
}

impl Run {
    fn lock(&self) -> MutexGuard<'_, RunState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its session; without a key: it belongs to none.
    pub(crate) fn session(&self) -> Arc<SessionRef> {
        Arc::clone(&self.lock().session)
    }

    /// Notes its session, as it is known now.
    pub(crate) fn set_session(&self, session: Arc<SessionRef>) {
        self.lock().session = session;
    }

    /// Notes the position of an event in the run; false where it is known.
    pub(crate) fn note_position(&self, position: u64) -> bool {
        self.lock().numbers.note(position)
    }

    /// Notes the number of an event of it.
    pub(crate) fn note_event(&self, seq: u64) {
        self.lock().newest = seq;
    }

    /// How it ended. `None`: it has not.
    pub(crate) fn end(&self) -> Option<RunEnd> {
        self.lock().end
    }

    /// Waits until it has settled; whether every subscriber acknowledged in time. Cancel safe.
    pub(crate) async fn settled(&self) -> bool {
        let mut settled = self.settled.subscribe();
        settled.wait_for(Option::is_some).await.is_ok_and(|settled| *settled == Some(true))
    }
}

#[derive(Default)]
struct OfRuntime {
    live: HashMap<Arc<str>, Arc<Run>>,
    ended: HashSet<u128>,
    order: VecDeque<u128>,
}

impl OfRuntime {
    fn mark(&mut self, print: u128) {
        if self.ended.insert(print) {
            self.order.push_back(print);
        }
        if self.order.len() > MAX_ENDED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }
}

#[derive(Default)]
struct State {
    runtimes: HashMap<Arc<str>, OfRuntime>,
    /// Idempotency keys of each plugin.
    keys: HashMap<PluginId, usize>,
}

/// How an emission with a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyed {
    New,
    /// The same was emitted, as this event.
    Done(u64),
    /// Something else was emitted with the key.
    Mismatch,
    /// The plugin has too many.
    Full,
}

/// All runs.
pub(crate) struct Runs {
    bus: Arc<Bus>,
    tasks: TaskTracker,
    /// Texts become numbers of one size; seeded, so that nobody can make two alike.
    seeds: (RandomState, RandomState),
    state: Mutex<State>,
}

impl Runs {
    pub(crate) fn new(bus: Arc<Bus>, tasks: TaskTracker) -> Arc<Self> {
        Arc::new(Self { bus, tasks, seeds: (RandomState::new(), RandomState::new()), state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A fingerprint of texts.
    pub(crate) fn print(&self, texts: &[&[u8]]) -> u128 {
        let half = |seed: &RandomState| {
            let mut hasher = seed.build_hasher();
            for text in texts {
                hasher.write_usize(text.len());
                hasher.write(text);
            }
            u128::from(hasher.finish())
        };
        half(&self.seeds.0) << 64 | half(&self.seeds.1)
    }

    /// The run of a call or event; one that nobody named before begins.
    ///
    /// # Errors
    /// It has ended, or the runtime has too many.
    pub(crate) fn begin(&self, runtime: &str, run: &str) -> Result<Arc<Run>, NoRun> {
        let mut state = self.lock();
        // The ordinary call names a run that is known, and lives.
        if let Some(known) = state.runtimes.get(runtime).and_then(|of| of.live.get(run)) {
            return if known.ended.is_cancelled() { Err(NoRun::Ended) } else { Ok(Arc::clone(known)) };
        }
        let print = self.print(&[run.as_bytes()]);
        let runtime_id = state.runtimes.get_key_value(runtime).map_or_else(|| runtime.into(), |(id, _)| Arc::clone(id));
        let of = state.runtimes.entry(Arc::clone(&runtime_id)).or_default();
        if of.ended.contains(&print) {
            return Err(NoRun::Ended);
        }
        if of.live.len() >= MAX_LIVE {
            return Err(NoRun::TooMany);
        }
        let begun = Arc::new(Run {
            runtime_id,
            id: run.into(),
            ended: CancellationToken::new(),
            gone: CancellationToken::new(),
            state: Mutex::default(),
            settled: watch::channel(None).0,
        });
        of.live.insert(Arc::clone(&begun.id), Arc::clone(&begun));
        Ok(begun)
    }

    /// A run that is live or settles: plugins may still write for it.
    pub(crate) fn find(&self, runtime: &str, run: &str) -> Option<Arc<Run>> {
        self.lock().runtimes.get(runtime)?.live.get(run).cloned()
    }

    /// Ends a run. The first end counts; whoever comes later waits for the same settling. `None`: it has settled, or was
    /// not known; from now on it has ended.
    pub(crate) fn end(self: &Arc<Self>, runtime: &str, run: &str, how: RunEnd) -> Option<Arc<Run>> {
        let print = self.print(&[run.as_bytes()]);
        let run = {
            let mut state = self.lock();
            let of = state.runtimes.entry(runtime.into()).or_default();
            let run = of.live.get(run).cloned();
            if of.ended.contains(&print) {
                return run;
            }
            of.mark(print);
            run?
        };
        let newest = {
            let mut state = run.lock();
            state.end = Some(how);
            state.newest
        };
        run.ended.cancel();
        let waiting = if how == RunEnd::Lost { Vec::new() } else { self.bus.settled(runtime, &run.id, newest) };
        if waiting.is_empty() {
            self.clear(&run, true);
        } else {
            let (runs, settling) = (Arc::clone(self), Arc::clone(&run));
            self.tasks.spawn(async move {
                let settled = timeout(SETTLE, all(waiting)).await.unwrap_or(false);
                runs.clear(&settling, settled);
            });
        }
        Some(run)
    }

    /// It has settled.
    fn clear(&self, run: &Run, settled: bool) {
        let mut state = self.lock();
        if let Some(of) = state.runtimes.get_mut(&run.runtime_id) {
            of.live.remove(&run.id);
        }
        for (plugin, _) in std::mem::take(&mut run.lock().keys).into_keys() {
            if let Some(count) = state.keys.get_mut(&plugin) {
                *count = count.saturating_sub(1);
            }
        }
        drop(state);
        run.gone.cancel();
        run.settled.send_replace(Some(settled));
    }

    /// Gives up runs of a runtime, but for those named.
    pub(crate) fn lose(self: &Arc<Self>, runtime: &str, but: &BTreeSet<&str>) {
        let lost: Vec<Arc<str>> = match self.lock().runtimes.get(runtime) {
            Some(of) => of.live.keys().filter(|run| !but.contains(&***run)).cloned().collect(),
            None => return,
        };
        for run in lost {
            self.end(runtime, &run, RunEnd::Lost);
        }
    }

    /// Takes the runs that an attaching runtime names as live. With another incarnation all that were known are lost, else
    /// those it does not name, or none where all go on. Ids of those named that had ended, or are lost now.
    pub(crate) fn attach(self: &Arc<Self>, runtime: &str, same: bool, all: bool, live: &BTreeSet<&str>) -> Vec<String> {
        let none = BTreeSet::new();
        if !(same && all) {
            self.lose(runtime, if same { live } else { &none });
        }
        let lost = live.iter().filter(|run| matches!(self.begin(runtime, run), Err(NoRun::Ended)));
        lost.map(|run| (*run).to_owned()).collect()
    }

    /// How many runs of a runtime are live or settle.
    #[cfg(test)]
    pub(crate) fn live(&self, runtime: &str) -> usize {
        self.lock().runtimes.get(runtime).map_or(0, |of| of.live.len())
    }

    /// Looks an emission's key up.
    pub(crate) fn keyed(&self, run: &Run, plugin: &PluginId, key: u128, request: u128) -> Keyed {
        let full = self.lock().keys.get(plugin).is_some_and(|count| *count >= MAX_KEYS);
        match run.lock().keys.get(&(plugin.clone(), key)) {
            Some((before, seq)) if *before == request => Keyed::Done(*seq),
            Some(_) => Keyed::Mismatch,
            None if full => Keyed::Full,
            None => Keyed::New,
        }
    }

    /// Remembers an emission's key until the run has settled.
    pub(crate) fn remember(&self, run: &Run, plugin: &PluginId, key: u128, request: u128, seq: u64) {
        *self.lock().keys.entry(plugin.clone()).or_default() += 1;
        run.lock().keys.insert((plugin.clone(), key), (request, seq));
    }
}

/// Whether all of them fire.
async fn all(waiting: Vec<oneshot::Receiver<()>>) -> bool {
    futures_util::future::join_all(waiting).await.iter().all(Result::is_ok)
}
