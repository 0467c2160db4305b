//! How often an answer may be sent back: the budgets of retries, and what was decided before.
//!
//! A budget belongs to a run, and is named by the handler's key or else by a hash of the whole instruction. Every retry
//! that is looked at is charged, taken or not, so that a plugin that asks again and again comes to an end. Both tables
//! are bounded, what was not used for the longest time goes first, and what belongs to a run goes with it.

use std::fmt;
use std::sync::Arc;

use outrigger_proto::types::v1 as types;
use sha2::{Digest as _, Sha256};
use types::FinalizeAction;
use types::finalize_decision::RetryCandidate;

use super::finalize::Proposal;
use super::prompt::join;
use super::recent::Recent;

/// Most budgets of all runs (host-hooks §1.13).
const MOST_BUDGETS: usize = 2_048;
/// Most decisions that are kept, for callers that ask once more.
const MOST_ANSWERS: usize = 2_048;
/// Most bytes of texts in them.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// A run of a runtime. Its runtime's id and its own.
type Run = Arc<(String, String)>;
/// Names a budget in its run: a digest, so that a long key costs no more than a short one.
type Budget = [u8; 32];

/// Which answer of which run is about to go out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn<'a> {
    /// The runtime.
    pub(crate) runtime_id: &'a str,
    /// The run, one that has not ended.
    pub(crate) run_id: &'a str,
    /// Which answer of the run this is.
    pub(crate) attempt: u32,
    /// A repetition would have effects twice: no retry is granted.
    pub(crate) side_effects_committed: bool,
}

impl Turn<'_> {
    fn run(&self) -> Run {
        Arc::new((self.runtime_id.to_owned(), self.run_id.to_owned()))
    }
}

/// What was decided about an answer; the fields are those of `FinalizeTurnResponse`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settled {
    /// What to do. REVISE carries the reason with the instruction, and the retry that was taken, if one was.
    pub(crate) decision: types::FinalizeDecision,
    /// Whose retry was taken, or who finalised; empty where it is neither.
    pub(crate) plugin_id: String,
    /// Attempts used of the budget that was taken, this one included; 0 where none was.
    pub(crate) budget_used: u32,
    /// REVISE was wanted and is not granted.
    pub(crate) retry_withheld: bool,
}

impl Settled {
    fn of(action: FinalizeAction, reason: String) -> Self {
        Self {
            decision: types::FinalizeDecision { action: action as i32, reason, retries: Vec::new() },
            plugin_id: String::new(),
            budget_used: 0,
            retry_withheld: false,
        }
    }

    fn bytes(&self) -> usize {
        let retries = self.decision.retries.iter();
        self.decision.reason.len()
            + self.plugin_id.len()
            + retries.map(|retry| retry.instruction.len() + retry.idempotency_key.len()).sum::<usize>()
    }
}

/// The budgets of all runs, and the decisions that were made of late.
#[derive(Default)]
pub(crate) struct RetryBudgets {
    /// Attempts that were asked for.
    used: Recent<(Run, Budget), u32>,
    answers: Recent<(Run, u32), Settled>,
    /// Of the texts in `answers`.
    bytes: usize,
}

impl fmt::Debug for RetryBudgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryBudgets")
            .field("budgets", &self.used.len())
            .field("answers", &self.answers.len())
            .field("bytes", &self.bytes)
            .finish()
    }
}

impl RetryBudgets {
    /// What was decided about this answer before, so that a caller who did not hear it can ask again: then no handler is
    /// asked and nothing is charged.
    pub(crate) fn earlier(&mut self, turn: &Turn<'_>) -> Option<Settled> {
        self.answers.get(&(turn.run(), turn.attempt)).cloned()
    }

    /// Decides about an answer: takes the first retry that is within its budget. `plugin_id` names the plugin whose
    /// handler was at a position. If it was decided before, that decision stands and nothing is charged.
    pub(crate) fn settle(
        &mut self,
        turn: &Turn<'_>,
        proposal: Option<Proposal>,
        plugin_id: impl Fn(usize) -> String,
    ) -> Settled {
        let run = turn.run();
        if let Some(earlier) = self.answers.get(&(Arc::clone(&run), turn.attempt)) {
            return earlier.clone();
        }
        let settled = match proposal {
            None => Settled::of(FinalizeAction::Continue, String::new()),
            Some(Proposal { action: FinalizeAction::Finalize, reason, finalised_by, .. }) => Settled {
                plugin_id: finalised_by.map(&plugin_id).unwrap_or_default(),
                ..Settled::of(FinalizeAction::Finalize, reason)
            },
            Some(proposal) => self.revise(&run, turn, proposal, plugin_id),
        };
        self.remember(run, turn.attempt, settled.clone());
        settled
    }

    fn revise(
        &mut self,
        run: &Run,
        turn: &Turn<'_>,
        proposal: Proposal,
        plugin_id: impl Fn(usize) -> String,
    ) -> Settled {
        let withheld = Settled { retry_withheld: true, ..Settled::of(FinalizeAction::Continue, String::new()) };
        if turn.side_effects_committed {
            return withheld;
        }
        if proposal.retries.is_empty() {
            // There is no budget to a reason alone.
            return Settled::of(FinalizeAction::Revise, proposal.reason);
        }
        for (position, retry) in proposal.retries {
            let used = self.charge(run, budget(&retry));
            if used > retry.max_attempts {
                continue;
            }
            let mut reason = proposal.reason;
            if !reason.contains(&retry.instruction) {
                join(&mut reason, retry.instruction.clone());
            }
            let mut settled = Settled::of(FinalizeAction::Revise, reason);
            settled.decision.retries = vec![retry];
            settled.plugin_id = plugin_id(position);
            settled.budget_used = used;
            return settled;
        }
        withheld
    }

    /// Counts one attempt more; returns how many that makes.
    fn charge(&mut self, run: &Run, budget: Budget) -> u32 {
        let key = (Arc::clone(run), budget);
        if let Some(used) = self.used.get(&key) {
            *used = used.saturating_add(1);
            return *used;
        }
        if self.used.len() == MOST_BUDGETS {
            self.used.pop_oldest();
        }
        self.used.insert(key, 1);
        1
    }

    fn remember(&mut self, run: Run, attempt: u32, settled: Settled) {
        self.bytes += settled.bytes();
        if let Some(before) = self.answers.insert((run, attempt), settled) {
            self.bytes -= before.bytes();
        }
        // One decision alone never has so many bytes, so the newest stays.
        while self.answers.len() > MOST_ANSWERS || self.bytes > MAX_ANSWER_BYTES {
            let Some(oldest) = self.answers.pop_oldest() else { break };
            self.bytes -= oldest.bytes();
        }
    }

    /// Whether something is kept of a run.
    pub(crate) fn knows(&self, turn: &Turn<'_>) -> bool {
        let run = turn.run();
        self.answers.any((Arc::clone(&run), 0)..=(run, u32::MAX))
    }

    /// Frees what belongs to a run that has ended, and nothing of another.
    pub(crate) fn end_run(&mut self, runtime_id: &str, run_id: &str) {
        let run: Run = Arc::new((runtime_id.to_owned(), run_id.to_owned()));
        self.used.remove((Arc::clone(&run), [0; 32])..=(Arc::clone(&run), [u8::MAX; 32]));
        for settled in self.answers.remove((Arc::clone(&run), 0)..=(run, u32::MAX)) {
            self.bytes -= settled.bytes();
        }
    }
}

/// The budget of a retry. Names and instructions are told apart by their first byte.
fn budget(retry: &RetryCandidate) -> Budget {
    let (tag, text) =
        if retry.idempotency_key.is_empty() { (b"i", &retry.instruction) } else { (b"k", &retry.idempotency_key) };
    let mut digest = Sha256::new();
    digest.update(tag);
    digest.update(text.as_bytes());
    digest.finalize().into()
}

#[cfg(test)]
mod tests;
