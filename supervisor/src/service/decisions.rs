//! Decisions that a tool may run: given with an outcome, used up once.
//!
//! A decision names the runtime, the tool call and the parameters it was given for, by digest. It lives 10 minutes and
//! not beyond the supervisor, so what is not in the table is a no. Its id need not be secret: whoever redeems it shows
//! the runtime's key and has to name the same call.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use outrigger_proto::runtime::v1 as wire;
use outrigger_proto::types::v1::ErrorReason;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::status::Failure;
use crate::domain::{json, text};

/// How long a decision can be used (`Decision.decision_id`).
pub(crate) const LIFE: Duration = Duration::from_secs(600);
/// Open decisions of a runtime (architecture §14); at the bound the oldest gives way, and its tool has to ask again.
pub(crate) const MAX_OPEN: usize = 4096;

/// The digest of parameters: SHA-256 of their canonical form. `None` where they are no JSON.
pub(crate) fn digest(params: &[u8]) -> Option<[u8; 32]> {
    Some(Sha256::digest(&*json::canonical(params).ok()?).into())
}

/// A decision that cannot be used.
pub(crate) fn unknown(id: &str) -> Failure {
    let why = "no such decision is open: never given, used, older than 10 minutes, or for another call";
    Failure::new(ErrorReason::RecordUnknown, why).meta("kind", "decision").meta("id", text::clean(id, 64))
}

/// What a decision is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) tool_call_id: String,
    pub(crate) tool_name: String,
    /// Key of the session; empty: none.
    pub(crate) session_key: String,
    pub(crate) digest: [u8; 32],
}

struct Open {
    subject: Subject,
    given: Instant,
}

#[derive(Default)]
struct OfRuntime {
    open: HashMap<u64, Open>,
    /// Numbers in the order they were given; used ones may still stand here.
    order: VecDeque<u64>,
}

/// All open decisions.
pub(crate) struct Decisions {
    /// Random, so that an id of an earlier supervisor names nothing.
    instance: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: u64,
    runtimes: HashMap<Arc<str>, OfRuntime>,
}

impl Decisions {
    pub(crate) fn new() -> Self {
        Self { instance: super::entropy::hex::<8>(), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives out a decision.
    pub(crate) fn give(&self, runtime: &Arc<str>, subject: Subject, now: Instant) -> wire::Decision {
        let params_sha256 = Bytes::copy_from_slice(&subject.digest);
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        if !state.runtimes.contains_key(runtime) {
            state.runtimes.insert(Arc::clone(runtime), OfRuntime::default());
        }
        if let Some(of) = state.runtimes.get_mut(runtime) {
            of.forget(now);
            of.open.insert(number, Open { subject, given: now });
            of.order.push_back(number);
        }
        wire::Decision { decision_id: format!("{}-{number:x}", self.instance), params_sha256 }
    }

    /// Uses up a decision; false where it was never given, is used, too old, or for something else. `fits` says whether
    /// it is the right one; a decision that is not stays open, for the call it was given for.
    pub(crate) fn redeem(&self, runtime: &str, id: &str, now: Instant, fits: impl FnOnce(&Subject) -> bool) -> bool {
        let number = id.strip_prefix(self.instance.as_str()).and_then(|rest| rest.strip_prefix('-'));
        let Some(number) = number.and_then(|number| u64::from_str_radix(number, 16).ok()) else { return false };
        let mut state = self.lock();
        let Some(of) = state.runtimes.get_mut(runtime) else { return false };
        let good =
            of.open.get(&number).is_some_and(|open| now.duration_since(open.given) < LIFE && fits(&open.subject));
        good && of.open.remove(&number).is_some()
    }

    /// Forgets what a runtime could still use, as its key was removed.
    pub(crate) fn remove(&self, runtime: &str) {
        self.lock().runtimes.remove(runtime);
    }
}

impl OfRuntime {
    /// Makes room: what is used or too old, and at the bound the oldest.
    fn forget(&mut self, now: Instant) {
        while let Some(oldest) = self.order.front() {
            let old = self.open.get(oldest).is_none_or(|open| now.duration_since(open.given) >= LIFE);
            if !old && self.open.len() < MAX_OPEN {
                // A used one behind an open one waits its turn; the queue is cut when most of it is used.
                if self.order.len() > 2 * MAX_OPEN {
                    self.order.retain(|number| self.open.contains_key(number));
                }
                return;
            }
            self.open.remove(oldest);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(call: &str, params: &str) -> Subject {
        Subject {
            tool_call_id: call.to_owned(),
            tool_name: "exec".to_owned(),
            session_key: String::new(),
            digest: digest(params.as_bytes()).expect("JSON"),
        }
    }

    #[test]
    fn a_decision_is_used_once_by_its_runtime_for_its_call() {
        let decisions = Decisions::new();
        let (a, now) = (Arc::from("a"), Instant::now());
        let wanted = subject("1", r#"{"command":"ls"}"#);
        let given = decisions.give(&a, wanted.clone(), now);
        assert_eq!(given.params_sha256, wanted.digest[..]);
        let redeem =
            |runtime: &str, id: &str, wanted: &Subject| decisions.redeem(runtime, id, now, |subject| subject == wanted);
        assert!(!redeem("b", &given.decision_id, &wanted));
        assert!(!redeem("a", &given.decision_id, &subject("2", r#"{"command":"ls"}"#)));
        assert!(!redeem("a", &given.decision_id, &subject("1", r#"{"command":"rm"}"#)));
        for wrong in ["", "-1", "1", "zz-1", "é", &Decisions::new().give(&a, wanted.clone(), now).decision_id] {
            assert!(!redeem("a", wrong, &wanted), "{wrong}");
        }
        assert!(redeem("a", &given.decision_id, &subject("1", r#"{ "command" : "ls" }"#)), "spelling does not matter");
        assert!(!redeem("a", &given.decision_id, &wanted), "twice");
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_decision_is_a_no() {
        let decisions = Decisions::new();
        let (a, now) = (Arc::from("a"), Instant::now());
        let given = decisions.give(&a, subject("1", "{}"), now);
        assert!(!decisions.redeem("a", &given.decision_id, now + LIFE, |_| true));
        let given = decisions.give(&a, subject("1", "{}"), now);
        assert!(decisions.redeem("a", &given.decision_id, now + LIFE - Duration::from_millis(1), |_| true));
    }

    #[test]
    fn the_table_has_its_bound_and_the_newest_stay() {
        let decisions = Decisions::new();
        let (a, now) = (Arc::from("a"), Instant::now());
        let first = decisions.give(&a, subject("1", "{}"), now);
        // Most are used at once, as a runtime does.
        for _ in 0..4 * MAX_OPEN {
            let given = decisions.give(&a, subject("1", "{}"), now);
            assert!(decisions.redeem("a", &given.decision_id, now, |_| true));
        }
        let kept = decisions.give(&a, subject("1", "{}"), now);
        for _ in 1..MAX_OPEN {
            decisions.give(&a, subject("1", "{}"), now);
        }
        let state = decisions.lock();
        let of = &state.runtimes[&a];
        assert_eq!(of.open.len(), MAX_OPEN);
        assert!(of.order.len() <= 2 * MAX_OPEN + 1, "{}", of.order.len());
        drop(state);
        assert!(!decisions.redeem("a", &first.decision_id, now, |_| true));
        assert!(decisions.redeem("a", &kept.decision_id, now, |_| true));
    }
}
