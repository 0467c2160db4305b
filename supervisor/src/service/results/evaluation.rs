//! Verdicts on a proposal.

use bytes::Bytes;
use outrigger_proto::types::v1 as types;
use types::evaluation::Verdict;
use types::hook_result::Result as Kind;

use super::fields::{self, REASON};
use super::merge::{Answer, MAX_MERGED, Merged};

/// Checks one handler's verdict.
pub(super) fn check(mut evaluation: types::Evaluation) -> Result<types::Evaluation, String> {
    match &mut evaluation.verdict {
        Some(Verdict::Completed(completed)) => {
            fields::line("a reason", &mut completed.reason, REASON)?;
            fields::value("detail_json", &completed.detail_json)?;
        }
        Some(Verdict::Skipped(skipped)) => fields::line("a reason", &mut skipped.reason, REASON)?,
        None => return Err("a verdict without a branch that is known here".to_owned()),
    }
    Ok(evaluation)
}

/// Whether it vetoes.
pub(super) fn blocks(evaluation: &types::Evaluation) -> bool {
    matches!(&evaluation.verdict, Some(Verdict::Completed(completed)) if completed.block)
}

/// Why it is as it is.
pub(super) fn reason(evaluation: &types::Evaluation) -> &str {
    match &evaluation.verdict {
        Some(Verdict::Completed(completed)) => &completed.reason,
        Some(Verdict::Skipped(skipped)) => &skipped.reason,
        None => "",
    }
}

/// Keeps all apart; the first that blocks vetoes.
pub(super) fn merge(answers: Vec<Answer>) -> Merged {
    let mut merged = Merged::default();
    let mut bytes = 0;
    for Answer { position, result, .. } in answers {
        let Some(Kind::Evaluation(mut evaluation)) = result.result else { continue };
        if let Some(Verdict::Completed(completed)) = &mut evaluation.verdict {
            // A veto counts whatever else there is; its detail only informs.
            if bytes + completed.detail_json.len() > MAX_MERGED {
                completed.detail_json = Bytes::new();
                merged.notices.push((position, "detail_json was left out, as there is too much of all".to_owned()));
            }
            bytes += completed.detail_json.len();
        }
        if blocks(&evaluation) && !merged.stopped {
            merged.decided_by = Some(position);
            merged.stopped = true;
        }
        merged.evaluations.push((position, evaluation));
    }
    merged
}
