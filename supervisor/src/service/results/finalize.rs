//! Answers to an answer about to go out.

use outrigger_proto::types::v1 as types;
use types::FinalizeAction;
use types::finalize_decision::RetryCandidate;
use types::hook_result::Result as Kind;

use super::fields::{self, Notices, REASON};
use super::merge::{Answer, Merged};
use super::prompt::join;

/// Most retries of one handler.
const MOST_RETRIES: usize = 8;
/// Most retries of all handlers.
const MOST_RETRIES_MERGED: usize = 64;
/// Most bytes that the retries' instructions have together, and the reasons.
const MAX_BYTES: usize = 1 << 20;
/// Longest instruction, in characters.
const INSTRUCTION: usize = 32_768;
/// Longest name of a budget, in characters.
const KEY: usize = 512;

/// What several handlers propose. Budgets decide which retry is taken, if any.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Proposal {
    /// REVISE or FINALIZE; where nobody wants either there is no proposal.
    pub(crate) action: FinalizeAction,
    /// Why: the joined reasons of those who want another pass, or the reason of the first who finalises.
    pub(crate) reason: String,
    /// Retries to try in order, and whose they are. Instructions are not blank, and at least one attempt is allowed.
    pub(crate) retries: Vec<(usize, RetryCandidate)>,
    /// Who finalises.
    pub(crate) finalised_by: Option<usize>,
}

/// Checks one handler's decision.
pub(super) fn check(
    mut answer: types::FinalizeDecision,
    notices: &mut Notices,
) -> Result<types::FinalizeDecision, String> {
    let action = match FinalizeAction::try_from(answer.action) {
        Ok(FinalizeAction::Unspecified) | Err(_) => return Err("an action that is not known here".to_owned()),
        Ok(action) => action,
    };
    fields::lines("a reason", &mut answer.reason, REASON)?;
    if action != FinalizeAction::Revise {
        if !answer.retries.is_empty() {
            notices.dropped("retries");
            answer.retries = Vec::new();
        }
        return Ok(answer);
    }
    if answer.retries.len() > MOST_RETRIES {
        notices.say(format!("retries after the first {MOST_RETRIES} have no effect and were left out"));
        answer.retries.truncate(MOST_RETRIES);
    }
    for retry in &mut answer.retries {
        trim(&mut retry.instruction);
        fields::bound("an instruction", &retry.instruction, INSTRUCTION)?;
        trim(&mut retry.idempotency_key);
        fields::bound("an idempotency_key", &retry.idempotency_key, KEY)?;
        retry.max_attempts = retry.max_attempts.max(1);
    }
    let retries = answer.retries.len();
    answer.retries.retain(|retry| !retry.instruction.is_empty());
    if answer.retries.len() < retries {
        notices.say("retries with a blank instruction have no effect and were left out");
    }
    if answer.retries.is_empty() && answer.reason.is_empty() {
        answer.action = FinalizeAction::Continue as i32;
    }
    Ok(answer)
}

fn trim(text: &mut String) {
    if text.trim().len() != text.len() {
        *text = text.trim().to_owned();
    }
}

/// FINALIZE beats REVISE beats CONTINUE. Reasons are joined, and retries kept in order.
pub(super) fn merge(answers: Vec<Answer>) -> Merged {
    let mut merged = Merged::default();
    let decisions: Vec<_> = answers
        .into_iter()
        .filter_map(|answer| match answer.result.result {
            Some(Kind::Finalize(decision)) => Some((answer.position, decision)),
            _ => None,
        })
        .collect();
    if let Some((position, first)) =
        decisions.iter().find(|(_, decision)| decision.action == FinalizeAction::Finalize as i32)
    {
        merged.decided_by = Some(*position);
        merged.finalize = Some(Proposal {
            action: FinalizeAction::Finalize,
            reason: first.reason.clone(),
            retries: Vec::new(),
            finalised_by: Some(*position),
        });
        return merged;
    }
    let mut proposal =
        Proposal { action: FinalizeAction::Revise, reason: String::new(), retries: Vec::new(), finalised_by: None };
    let mut wanted = false;
    let mut bytes = 0;
    for (position, decision) in decisions {
        if decision.action != FinalizeAction::Revise as i32 {
            continue;
        }
        wanted = true;
        if proposal.reason.len() + decision.reason.len() <= MAX_BYTES {
            join(&mut proposal.reason, decision.reason);
        } else {
            merged.notices.push((position, "reason was left out, as there is too much of all".to_owned()));
        }
        for retry in decision.retries {
            if proposal.retries.len() == MOST_RETRIES_MERGED || bytes + retry.instruction.len() > MAX_BYTES {
                merged.notices.push((position, "retries were left out, as there are too many".to_owned()));
                break;
            }
            bytes += retry.instruction.len();
            proposal.retries.push((position, retry));
        }
    }
    merged.finalize = wanted.then_some(proposal);
    merged
}
