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
/// Those kept with the used ones among them, which cost a pointer each. An open one older than so many others gives way,
/// too: more than a hundred calls a second for all of its life.
const MAX_KEPT: usize = 16 * MAX_OPEN;

/// SHA-256 of the canonical form of parameters.
pub(crate) type ParamsDigest = [u8; 32];

/// The digest of parameters. `None` where they are no JSON.
pub(crate) fn digest(params: &[u8]) -> Option<ParamsDigest> {
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
    pub(crate) digest: ParamsDigest,
}

struct Open {
    subject: Subject,
    given: Instant,
}

/// The decisions of one runtime, numbered in the order they were given.
#[derive(Default)]
struct OfRuntime {
    /// Number of the first that is kept.
    first: u64,
    /// Those from there on; used ones may still stand among them.
    given: VecDeque<Option<Box<Open>>>,
    /// How many of them are open.
    open: usize,
}

/// All open decisions.
pub(crate) struct Decisions {
    /// Random, so that an id of an earlier supervisor names nothing.
    instance: String,
    runtimes: Mutex<HashMap<Arc<str>, OfRuntime>>,
}

impl Decisions {
    pub(crate) fn new() -> Self {
        Self { instance: super::entropy::hex::<8>(), runtimes: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, OfRuntime>> {
        self.runtimes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives out a decision.
    pub(crate) fn give(&self, runtime: &Arc<str>, subject: Subject, now: Instant) -> wire::Decision {
        let params_sha256 = Bytes::copy_from_slice(&subject.digest);
        let mut runtimes = self.lock();
        let number = match runtimes.get_mut(runtime) {
            Some(known) => known.give(subject, now),
            None => runtimes.entry(Arc::clone(runtime)).or_default().give(subject, now),
        };
        wire::Decision { decision_id: format!("{}-{number:x}", self.instance), params_sha256 }
    }

    /// Uses up a decision; false where it was never given, is used, too old, or for something else. `fits` says whether
    /// it is the right one; a decision that is not stays open, for the call it was given for.
    pub(crate) fn redeem(&self, runtime: &str, id: &str, now: Instant, fits: impl FnOnce(&Subject) -> bool) -> bool {
        let number = id.strip_prefix(self.instance.as_str()).and_then(|rest| rest.strip_prefix('-'));
        let Some(number) = number.and_then(|number| u64::from_str_radix(number, 16).ok()) else { return false };
        self.lock().get_mut(runtime).is_some_and(|known| known.redeem(number, now, fits))
    }

    /// Forgets what a runtime could still use, as its key was removed.
    pub(crate) fn remove(&self, runtime: &str) {
        self.lock().remove(runtime);
    }
}

impl OfRuntime {
    /// Keeps one, and makes room for it; its number.
    fn give(&mut self, subject: Subject, now: Instant) -> u64 {
        while let Some(oldest) = self.given.front() {
            let keep = oldest.as_ref().is_some_and(|open| now.duration_since(open.given) < LIFE);
            if keep && self.open < MAX_OPEN && self.given.len() < MAX_KEPT {
                break;
            }
            self.open -= usize::from(oldest.is_some());
            self.given.pop_front();
            self.first += 1;
        }
        self.given.push_back(Some(Box::new(Open { subject, given: now })));
        self.open += 1;
        self.first + self.given.len() as u64 - 1
    }

    fn redeem(&mut self, number: u64, now: Instant, fits: impl FnOnce(&Subject) -> bool) -> bool {
        let place = number.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        let Some(open) = place.and_then(|place| self.given.get_mut(place)) else { return false };
        let good = open.as_ref().is_some_and(|open| now.duration_since(open.given) < LIFE && fits(&open.subject));
        if good {
            *open = None;
            self.open -= 1;
        }
        good
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
        let runtimes = decisions.lock();
        let of = &runtimes[&a];
        assert_eq!((of.open, of.given.len()), (MAX_OPEN, MAX_OPEN));
        drop(runtimes);
        assert!(!decisions.redeem("a", &first.decision_id, now, |_| true));
        assert!(decisions.redeem("a", &kept.decision_id, now, |_| true));
    }

    #[test]
    fn used_ones_behind_an_open_one_have_their_bound() {
        let decisions = Decisions::new();
        let (a, now) = (Arc::from("a"), Instant::now());
        let old = [decisions.give(&a, subject("1", "{}"), now), decisions.give(&a, subject("1", "{}"), now)];
        let use_one = || {
            let given = decisions.give(&a, subject("1", "{}"), now);
            assert!(decisions.redeem("a", &given.decision_id, now, |_| true));
        };
        for _ in 2..MAX_KEPT {
            use_one();
        }
        assert_eq!(decisions.lock()[&a].given.len(), MAX_KEPT);
        assert!(decisions.redeem("a", &old[0].decision_id, now, |_| true), "it is kept until then");
        use_one();
        assert_eq!(decisions.lock()[&a].given.len(), MAX_KEPT);
        use_one();
        assert_eq!(decisions.lock()[&a].given.len(), 1, "with it go the used ones behind it");
        assert!(!decisions.redeem("a", &old[1].decision_id, now, |_| true));
    }
}
