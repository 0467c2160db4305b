//! Answers to a tool call about to happen.

use std::time::Duration;

use bytes::Bytes;
use outrigger_proto::types::v1 as types;
use types::hook_result::Result as Kind;
use types::tool_call_decision::Decision;

use super::fields::{self, Notices};
use super::merge::{Answer, Merged, Place};
use super::{gate, wrap};
use crate::domain::json::{self, ValueLimits};
use crate::service::wire;

/// Longest JSON that returns to the plugin with the person's answer, in bytes.
const MAX_CONTEXT: usize = 16_384;
/// Time a person has where the plugin says none (host-hooks §1.11).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest time a person may have.
const MAX_TIMEOUT: Duration = Duration::from_secs(600);

/// Checks one handler's decision.
pub(super) fn check(
    mut answer: types::ToolCallDecision,
    handler_id: &str,
    notices: &mut Notices,
) -> Result<types::ToolCallDecision, String> {
    match &mut answer.decision {
        Some(Decision::Block(block)) => gate::check_block(block, false, handler_id, notices)?,
        Some(Decision::Proceed(proceed)) => {
            if !proceed.params_json.is_empty() {
                fields::part_of_event("params_json", &proceed.params_json)?;
            }
            if let Some(approval) = &mut proceed.approval {
                check_approval(approval)?;
            }
        }
        None => return Err("a decision without a branch that is known here".to_owned()),
    }
    Ok(answer)
}

/// Checks a question to a person, and writes out what it leaves to the default.
fn check_approval(approval: &mut types::ApprovalRequest) -> Result<(), String> {
    fields::line("an approval's title", &mut approval.title, 80)?;
    if approval.title.is_empty() {
        return Err("an approval without a title".to_owned());
    }
    fields::lines("an approval's description", &mut approval.description, 512)?;
    fields::lines("an approval's detail", &mut approval.detail, 16_384)?;
    approval.severity = match types::ApprovalSeverity::try_from(approval.severity) {
        Ok(types::ApprovalSeverity::Unspecified) | Err(_) => types::ApprovalSeverity::Warning as i32,
        Ok(severity) => severity as i32,
    };
    let timeout = match &approval.timeout {
        None => DEFAULT_TIMEOUT,
        Some(timeout) => wire::to_duration(timeout).ok_or("an approval's timeout that is no length of time")?,
    };
    approval.timeout = Some(wire::duration(timeout.clamp(Duration::from_millis(1), MAX_TIMEOUT)));
    let offered = [
        types::ApprovalOutcome::AllowedOnce as i32,
        types::ApprovalOutcome::AllowedAlways as i32,
        types::ApprovalOutcome::Denied as i32,
    ];
    if approval.allowed.iter().any(|outcome| !offered.contains(outcome)) {
        return Err("an approval that offers an answer which cannot be given".to_owned());
    }
    let all = approval.allowed.is_empty();
    approval.allowed = offered.into_iter().filter(|outcome| all || approval.allowed.contains(outcome)).collect();
    if !approval.context_json.is_empty() {
        let limits = ValueLimits { max_bytes: MAX_CONTEXT, ..ValueLimits::default() };
        fields::json("approval.context_json", &approval.context_json, &limits)?;
    }
    Ok(())
}

/// The parameters that the handlers before a position have left, as far as a later handler gets to see them: those of
/// the policies before it, up to the first that asks for an approval.
pub(super) fn shown(answers: &[Answer]) -> Option<(usize, Bytes)> {
    let mut shown = None;
    for answer in answers {
        let Some(proceed) = proceed(answer) else { continue };
        if answer.policy && !proceed.params_json.is_empty() {
            shown = Some((answer.position, proceed.params_json.clone()));
        }
        if proceed.approval.is_some() {
            break;
        }
    }
    shown
}

/// The parameters of an answer that replace all others, if it is one of a policy that has some.
pub(super) fn replacement(answer: &Answer) -> Option<&Bytes> {
    proceed(answer).filter(|proceed| answer.policy && !proceed.params_json.is_empty()).map(|it| &it.params_json)
}

fn proceed(answer: &Answer) -> Option<&types::Proceed> {
    match &answer.result.result {
        Some(Kind::ToolCall(types::ToolCallDecision { decision: Some(Decision::Proceed(proceed)) })) => Some(proceed),
        _ => None,
    }
}

/// Merges decisions: the first block ends all, policies replace parameters, hooks merge them key by key, and the first
/// request for an approval freezes them.
pub(super) fn merge(answers: Vec<Answer>, place: &Place) -> Merged {
    let mut merged = Merged::default();
    let mut params: Option<Bytes> = None;
    let mut approval = None;
    for Answer { position, policy, result } in answers {
        let Some(Kind::ToolCall(types::ToolCallDecision { decision: Some(decision) })) = result.result else {
            continue;
        };
        let proceed = match decision {
            Decision::Proceed(proceed) => proceed,
            Decision::Block(block) => {
                return merged.stop(position, Kind::ToolCall(block_of(block)));
            }
        };
        if !proceed.params_json.is_empty() {
            if approval.is_some() {
                let why = "params_json has no effect: an earlier handler asked for an approval of what there was";
                merged.notices.push((position, why.to_owned()));
                merged.ignored.push(position);
            } else {
                match change(params.as_ref(), proceed.params_json, policy, place) {
                    Ok(changed) => {
                        params = Some(changed);
                        merged.changed_by.push(position);
                    }
                    // Nobody knows what would run, so nothing does.
                    Err(why) => {
                        merged.failed.push((position, why));
                        merged.decided_by = Some(position);
                        merged.stopped = true;
                        return merged;
                    }
                }
            }
        }
        if let Some(request) = proceed.approval {
            if approval.is_none() {
                approval = Some(request);
                merged.asked_by = Some(position);
            } else {
                let why = "approval has no effect: an earlier handler asked for one";
                merged.notices.push((position, why.to_owned()));
            }
        }
    }
    if let Some(params) = &params {
        merged.event = place.with(params).ok();
    } else if !merged.ignored.is_empty() {
        merged.event = Some(place.event());
    }
    if params.is_some() || approval.is_some() {
        let proceed = types::Proceed { params_json: params.unwrap_or_default(), approval };
        let decision = types::ToolCallDecision { decision: Some(Decision::Proceed(proceed)) };
        merged.result = Some(wrap(Kind::ToolCall(decision)));
    }
    merged
}

fn block_of(block: types::Block) -> types::ToolCallDecision {
    types::ToolCallDecision { decision: Some(Decision::Block(block)) }
}

/// What the parameters become, if the event can hold them.
fn change(before: Option<&Bytes>, new: Bytes, policy: bool, place: &Place) -> Result<Bytes, String> {
    let changed = if policy {
        new
    } else {
        let own = match before {
            Some(params) => params.clone(),
            None => place.value()?.unwrap_or(Bytes::from_static(b"{}")),
        };
        json::shallow_merge(&own, &new).map_err(|error| format!("changed parameters that cannot be merged: {error}"))?
    };
    place.fits(changed.len())?;
    Ok(changed)
}
