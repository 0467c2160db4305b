//! Gates: something goes on or does not.

use outrigger_proto::types::v1 as types;
use types::gate_decision::{Decision, Pass};
use types::hook_result::Result as Kind;

use super::fields::{self, Notices, REASON};
use super::merge::{Answer, MAX_MERGED, Merged};
use super::wrap;
use crate::domain::hook::Hook;

/// Most findings, of one handler and of all.
const MOST_FINDINGS: usize = 256;
/// Longest class of refusal, in characters.
const CATEGORY: usize = 64;

/// Checks one handler's decision.
pub(super) fn check(
    hook: Hook,
    mut answer: types::GateDecision,
    handler_id: &str,
    notices: &mut Notices,
) -> Result<types::GateDecision, String> {
    match &mut answer.decision {
        Some(Decision::Block(block)) => check_block(block, hook == Hook::BeforeAgentRun, handler_id, notices)?,
        Some(Decision::Pass(_)) => {}
        None => return Err("a decision without a branch that is known here".to_owned()),
    }
    if hook != Hook::BeforeInstall {
        if !answer.findings_json.is_empty() {
            notices.dropped("findings_json");
            answer.findings_json = Vec::new();
        }
        return Ok(answer);
    }
    if answer.findings_json.len() > MOST_FINDINGS {
        return Err(format!("more than {MOST_FINDINGS} findings"));
    }
    for (index, finding) in answer.findings_json.iter().enumerate() {
        let field = format!("findings_json[{index}]");
        if finding.is_empty() {
            return Err(format!("{field}: it is empty"));
        }
        fields::object(&field, finding)?;
    }
    Ok(answer)
}

/// Checks a refusal. Of a run alone there is more to say than why.
pub(super) fn check_block(
    block: &mut types::Block,
    of_a_run: bool,
    handler_id: &str,
    notices: &mut Notices,
) -> Result<(), String> {
    fields::line("a reason", &mut block.reason, REASON)?;
    if block.reason.is_empty() {
        block.reason = format!("blocked by {handler_id}");
    }
    if of_a_run {
        fields::lines("a message", &mut block.message, REASON)?;
        fields::line("a category", &mut block.category, CATEGORY)?;
        fields::value("metadata_json", &block.metadata_json)?;
    } else {
        notices.drop_text("message", &mut block.message);
        notices.drop_text("category", &mut block.category);
        notices.drop_json("metadata_json", &mut block.metadata_json);
    }
    Ok(())
}

/// Puts findings one after the other. The first block ends it.
pub(super) fn merge(answers: Vec<Answer>) -> Merged {
    let mut merged = Merged::default();
    let mut findings = Vec::new();
    let mut bytes = 0;
    for Answer { position, result, .. } in answers {
        let Some(Kind::Gate(types::GateDecision { decision: Some(decision), findings_json })) = result.result else {
            continue;
        };
        let told = findings_json.len();
        for (index, finding) in findings_json.into_iter().enumerate() {
            if findings.len() == MOST_FINDINGS || bytes + finding.len() > MAX_MERGED {
                let left = told - index;
                merged
                    .notices
                    .push((position, format!("the last {left} findings were left out, as there are too many")));
                break;
            }
            bytes += finding.len();
            findings.push(finding);
        }
        if let Decision::Block(block) = decision {
            let decision = types::GateDecision { decision: Some(Decision::Block(block)), findings_json: findings };
            return merged.stop(position, Kind::Gate(decision));
        }
    }
    if !findings.is_empty() {
        let decision = types::GateDecision { decision: Some(Decision::Pass(Pass {})), findings_json: findings };
        merged.result = Some(wrap(Kind::Gate(decision)));
    }
    merged
}
