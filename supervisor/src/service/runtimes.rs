//! Agent runtimes: who is attached, what each said of itself, and the sessions it announced.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use outrigger_proto::types::v1::{ErrorReason, SessionRef, TraceContext};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::status::Failure;
use crate::domain::hook::Hook;
use crate::domain::text;

/// Sessions of a runtime (architecture §14).
pub(crate) const MAX_SESSIONS: usize = 100_000;
/// Characters of a session key.
const MAX_KEY: usize = 4096;

/// All runtimes that have shown a key since the supervisor started.
#[derive(Default)]
pub(crate) struct Runtimes {
    runtimes: Mutex<BTreeMap<String, Arc<Runtime>>>,
    /// Rises when one attaches, and when one is gone for good.
    changes: watch::Sender<u64>,
    /// Their trace context goes on to plugins.
    traces: bool,
}

/// One runtime.
pub(crate) struct Runtime {
    pub(crate) id: Arc<str>,
    /// Cancelled when its key is removed: its streams end.
    pub(crate) removed: CancellationToken,
    changes: watch::Sender<u64>,
    traces: bool,
    state: Mutex<RuntimeState>,
}

#[derive(Default)]
struct RuntimeState {
    attachment: Option<Attachment>,
    sessions: HashMap<String, Session>,
    last_used: Option<SystemTime>,
    streams: u64,
    /// Names of its own tools, as it told when it attached last, whether or not it is attached.
    tools: BTreeSet<String>,
}

impl RuntimeState {
    fn check_free(&self, id: &str, incarnation: u64) -> Result<(), Failure> {
        let open = self.attachment.as_ref().filter(|attachment| attachment.gone_since.is_none());
        // A stream of the same start may only seem to be open.
        let Some(other) = open.filter(|attachment| attachment.incarnation != incarnation) else { return Ok(()) };
        let who = if other.software.is_empty() { String::new() } else { format!(", by {}", other.software) };
        Err(Failure::new(ErrorReason::RuntimeAttached, format!("runtime `{id}` is attached already{who}"))
            .meta("runtime_id", id)
            .meta("software", &other.software))
    }
}

struct Attachment {
    incarnation: u64,
    software: String,
    /// `None`: it may call every hook.
    served_hooks: Option<BTreeSet<Hook>>,
    stream: u64,
    /// Cancelled when another stream takes its place.
    replaced: CancellationToken,
    gone_since: Option<Instant>,
}

struct Session {
    reference: SessionRef,
    revision: u64,
}

/// A runtime as others see it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) incarnation: u64,
    pub(crate) software: String,
    pub(crate) connected: bool,
    pub(crate) served_hooks: Option<BTreeSet<Hook>>,
}

/// Hooks that attached runtimes call, one entry for each runtime; `None`: it may call every hook.
pub(crate) struct Calls(Vec<Option<BTreeSet<Hook>>>);

impl Calls {
    /// Some attached runtime calls the hook, or none is attached, so that nobody has said that it will not.
    pub(crate) fn calls(&self, hook: Hook) -> bool {
        let calls = |served: &Option<BTreeSet<Hook>>| served.as_ref().is_none_or(|served| served.contains(&hook));
        self.0.is_empty() || self.0.iter().any(calls)
    }
}

/// Ends an attachment when it is dropped.
pub(crate) struct Attached {
    runtime: Arc<Runtime>,
    stream: u64,
    /// Another stream has taken this one's place.
    pub(crate) replaced: CancellationToken,
    /// The runtime was attached before, as the same incarnation.
    pub(crate) again: bool,
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut state = self.runtime.lock();
        if let Some(attachment) = &mut state.attachment
            && attachment.stream == self.stream
        {
            attachment.gone_since = Some(Instant::now());
        }
    }
}

impl Runtimes {
    /// None so far. `traces`: their trace context goes on to plugins.
    pub(crate) fn new(traces: bool) -> Self {
        Self { traces, ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Runtime>>> {
        self.runtimes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The runtime of a key. There are as many as there are key files.
    pub(crate) fn of(&self, id: &str) -> Arc<Runtime> {
        let mut runtimes = self.lock();
        if let Some(runtime) = runtimes.get(id) {
            return Arc::clone(runtime);
        }
        let runtime = Arc::new(Runtime {
            id: id.into(),
            removed: CancellationToken::new(),
            changes: self.changes.clone(),
            traces: self.traces,
            state: Mutex::new(RuntimeState::default()),
        });
        runtimes.insert(id.to_owned(), Arc::clone(&runtime));
        runtime
    }

    /// Runtimes that are attached, or were a moment ago.
    pub(crate) fn attached(&self, gone: Duration) -> Vec<Seen> {
        let runtimes: Vec<Arc<Runtime>> = self.lock().values().cloned().collect();
        runtimes.iter().filter_map(|runtime| runtime.seen(gone)).collect()
    }

    /// Which hooks attached runtimes call.
    pub(crate) fn calls(&self, gone: Duration) -> Calls {
        Calls(self.attached(gone).into_iter().map(|runtime| runtime.served_hooks).collect())
    }

    /// Names that runtimes have for tools of their own.
    pub(crate) fn own_tools(&self) -> BTreeSet<String> {
        let runtimes: Vec<Arc<Runtime>> = self.lock().values().cloned().collect();
        runtimes.iter().flat_map(|runtime| runtime.lock().tools.clone()).collect()
    }

    /// A runtime attached, or is gone for good.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The session an operator names: of the runtime named, else of the only one that announced it.
    ///
    /// # Errors
    /// None or several announced it, or the key is none.
    pub(crate) fn session(&self, named: &SessionRef) -> Result<SessionRef, Failure> {
        check_session(&SessionRef { runtime_id: String::new(), ..named.clone() })?;
        let runtimes: Vec<Arc<Runtime>> = self.lock().values().cloned().collect();
        let is_named = |runtime: &&Arc<Runtime>| named.runtime_id.is_empty() || *runtime.id == *named.runtime_id;
        let known = |runtime: &Arc<Runtime>| Some(runtime.lock().sessions.get(&named.key)?.reference.clone());
        let mut found = runtimes.iter().filter(is_named).filter_map(known);
        match (found.next(), found.next()) {
            (Some(session), None) => Ok(session),
            (Some(_), Some(_)) => {
                Err(Failure::field("session.runtime_id", "several runtimes have announced the session: name one"))
            }
            (None, _) => Err(unknown_session(&named.key)),
        }
    }

    /// When a runtime's key was last shown.
    pub(crate) fn last_used(&self, id: &str) -> Option<SystemTime> {
        self.lock().get(id).and_then(|runtime| runtime.lock().last_used)
    }

    /// Forgets a runtime whose key was removed; true where it was attached.
    pub(crate) fn remove(&self, id: &str) -> bool {
        let Some(runtime) = self.lock().remove(id) else { return false };
        let attachment = runtime.lock().attachment.take();
        runtime.removed.cancel();
        runtime.changed();
        attachment.is_some_and(|attachment| attachment.gone_since.is_none())
    }
}

impl Runtime {
    fn lock(&self) -> MutexGuard<'_, RuntimeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that its key was shown.
    pub(crate) fn used(&self) {
        self.lock().last_used = Some(SystemTime::now());
    }

    /// Opens the directive stream; an older one ends.
    ///
    /// # Errors
    /// It is wanted only if no other incarnation has one open, and one has. Nothing is changed.
    pub(crate) fn attach(
        self: &Arc<Self>,
        incarnation: u64,
        only_if_free: bool,
        software: String,
        served_hooks: Option<BTreeSet<Hook>>,
        own_tools: BTreeSet<String>,
    ) -> Result<Attached, Failure> {
        let mut state = self.lock();
        if only_if_free {
            state.check_free(&self.id, incarnation)?;
        }
        state.tools = own_tools;
        state.streams += 1;
        let stream = state.streams;
        let replaced = CancellationToken::new();
        let attachment =
            Attachment { incarnation, software, served_hooks, stream, replaced: replaced.clone(), gone_since: None };
        let older = state.attachment.replace(attachment);
        drop(state);
        let again = older.as_ref().is_some_and(|older| older.incarnation == incarnation);
        if let Some(older) = older {
            older.replaced.cancel();
        }
        self.changed();
        Ok(Attached { runtime: Arc::clone(self), stream, replaced, again })
    }

    /// Whether no other incarnation has a directive stream open.
    ///
    /// # Errors
    /// One has.
    pub(crate) fn check_free(&self, incarnation: u64) -> Result<(), Failure> {
        self.lock().check_free(&self.id, incarnation)
    }

    /// What it says of itself has changed, or counts no more.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// What of a call's or event's trace goes on to plugins.
    pub(crate) fn trace(&self, trace: Option<TraceContext>) -> Option<TraceContext> {
        super::trace::passed_on(trace, self.traces)
    }

    fn seen(&self, gone: Duration) -> Option<Seen> {
        let state = self.lock();
        let attachment = state.attachment.as_ref()?;
        if attachment.gone_since.is_some_and(|since| since.elapsed() >= gone) {
            return None;
        }
        Some(Seen {
            id: self.id.to_string(),
            incarnation: attachment.incarnation,
            software: attachment.software.clone(),
            connected: attachment.gone_since.is_none(),
            served_hooks: attachment.served_hooks.clone(),
        })
    }

    /// It is attached, or was a moment ago.
    pub(crate) fn check_attached(&self, gone: Duration) -> Result<(), Failure> {
        let state = self.lock();
        match &state.attachment {
            Some(attachment) if attachment.gone_since.is_none_or(|since| since.elapsed() < gone) => Ok(()),
            _ => {
                let why = format!("runtime `{}` is not attached", self.id);
                Err(Failure::new(ErrorReason::NotAttached, why).help("open the Attach stream first"))
            }
        }
    }

    /// Announces a session by the first call that names it, and fills in what is known of it and the runtime's id.
    pub(crate) fn announce(&self, session: &mut SessionRef) -> Result<(), Failure> {
        check_session(session)?;
        if let Some(known) = self.lock().sessions.get(&session.key)
            && is_part_of(session, &known.reference)
        {
            session.id.clone_from(&known.reference.id);
            session.agent_id.clone_from(&known.reference.agent_id);
            session.runtime_id.push_str(&self.id);
            return Ok(());
        }
        *session = self.upsert(std::mem::take(session), 0, "")?.0;
        Ok(())
    }

    /// Announces a session, or what is new of it; true where it was not known.
    pub(crate) fn upsert(
        &self,
        mut session: SessionRef,
        revision: u64,
        previous_key: &str,
    ) -> Result<(SessionRef, bool), Failure> {
        check_session(&session)?;
        session.runtime_id = self.id.to_string();
        session.handle.clear();
        let mut state = self.lock();
        // Of the row as it is, whatever its key: a refusal changes nothing.
        let known = state.sessions.get(previous_key).or_else(|| state.sessions.get(&session.key));
        if let Some(row) = known.filter(|row| revision != 0 && revision < row.revision) {
            let why = format!("revision {revision} is older than {}", row.revision);
            let failure = Failure::new(ErrorReason::VersionConflict, why);
            return Err(failure.meta("current_version", row.revision.to_string()));
        }
        if !previous_key.is_empty()
            && previous_key != session.key
            && let Some(renamed) = state.sessions.remove(previous_key)
        {
            state.sessions.entry(session.key.clone()).or_insert(renamed);
        }
        let known = state.sessions.len();
        match state.sessions.get_mut(&session.key) {
            Some(row) => {
                row.revision = row.revision.max(revision);
                // What a call leaves out is not taken away.
                if !session.id.is_empty() {
                    row.reference.id.clone_from(&session.id);
                }
                if !session.agent_id.is_empty() {
                    row.reference.agent_id.clone_from(&session.agent_id);
                }
                row.reference.key.clone_from(&session.key);
                Ok((row.reference.clone(), false))
            }
            None if known >= MAX_SESSIONS => {
                let why = format!("runtime `{}` has announced {MAX_SESSIONS} sessions", self.id);
                let failure = Failure::new(ErrorReason::FieldInvalid, why).with_code(tonic::Code::ResourceExhausted);
                Err(failure.help("delete sessions that have ended"))
            }
            None => {
                state.sessions.insert(session.key.clone(), Session { reference: session.clone(), revision });
                Ok((session, true))
            }
        }
    }
}

fn unknown_session(key: &str) -> Failure {
    let why = "no such session was announced: UpsertSession announces one, and so does a hook call that names it";
    Failure::new(ErrorReason::SessionUnknown, why).meta("session_key", key)
}

/// It says nothing of the session that is not known.
fn is_part_of(session: &SessionRef, known: &SessionRef) -> bool {
    let same = |new: &str, known: &str| new.is_empty() || new == known;
    same(&session.id, &known.id) && same(&session.agent_id, &known.agent_id)
}

fn check_session(session: &SessionRef) -> Result<(), Failure> {
    let invalid = |why: &str| Failure::new(ErrorReason::SessionKeyInvalid, why).meta("session_key", &session.key);
    if session.key.trim().is_empty() {
        return Err(invalid("the session's key is empty"));
    }
    if text::units(&session.key) > MAX_KEY || session.key.chars().any(char::is_control) {
        return Err(invalid("the session's key wants 1 to 4,096 characters without control characters"));
    }
    if text::units(&session.id) > 256 {
        return Err(Failure::field("session.id", "wants at most 256 characters"));
    }
    let agent = &session.agent_id;
    let shape = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if !agent.is_empty() && (agent.len() > 64 || !agent.chars().all(shape) || agent.starts_with(['_', '-'])) {
        return Err(Failure::field("session.agent_id", "wants [a-z0-9][a-z0-9_-]{0,63}"));
    }
    if !session.runtime_id.is_empty() || !session.handle.is_empty() {
        return Err(Failure::field("session", "handle and runtime_id are the supervisor's to set"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(key: &str) -> SessionRef {
        SessionRef { key: key.to_owned(), ..Default::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_newer_stream_takes_the_place_of_the_older() {
        let runtimes = Runtimes::default();
        let runtime = runtimes.of("a");
        let gone = Duration::from_secs(30);
        assert!(runtime.check_attached(gone).is_err());
        let attach = |incarnation, only_if_free| {
            runtime.attach(incarnation, only_if_free, "a".to_owned(), None, BTreeSet::new())
        };
        let first = attach(1, false).ok().expect("it is free");
        let second = attach(1, true).ok().expect("a stream of the same start may only seem open");
        assert!(attach(2, true).is_err());
        assert!(first.replaced.is_cancelled() && !second.replaced.is_cancelled());
        drop(first);
        assert!(runtimes.attached(gone)[0].connected);
        drop(second);
        assert!(runtime.check_attached(gone).is_ok());
        tokio::time::advance(gone).await;
        assert!(runtime.check_attached(gone).is_err());
        assert!(runtimes.attached(gone).is_empty());
    }

    #[test]
    fn sessions_have_a_bound_and_keep_what_they_have() {
        let runtime = Runtimes::default().of("a");
        let full = SessionRef { id: "1".to_owned(), agent_id: "main".to_owned(), ..session("k") };
        assert!(matches!(runtime.upsert(full, 3, ""), Ok((_, true))));
        let announce = |mut session: SessionRef| runtime.announce(&mut session).map(|()| session);
        let known = announce(session("k")).unwrap_or_default();
        assert_eq!((known.id.as_str(), known.agent_id.as_str(), known.runtime_id.as_str()), ("1", "main", "a"));
        assert!(runtime.upsert(session("k"), 2, "").is_err());
        for number in 1..MAX_SESSIONS {
            assert!(announce(session(&number.to_string())).is_ok());
        }
        assert!(announce(session("one more")).is_err());
        assert!(announce(session("k")).is_ok());
        assert!(matches!(runtime.upsert(session("new"), 0, "k"), Ok((known, false)) if known.id == "1"));
    }

    #[test]
    fn keys_must_be_keys() {
        let runtime = Runtimes::default().of("a");
        for bad in ["", " ", "a\nb"] {
            assert!(runtime.announce(&mut session(bad)).is_err(), "{bad:?}");
        }
        assert!(runtime.announce(&mut SessionRef { agent_id: "Main".to_owned(), ..session("k") }).is_err());
    }
}
