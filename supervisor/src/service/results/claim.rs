//! Claims: the subject is the plugin's.

use outrigger_proto::types::v1 as types;
use types::hook_result::Result as Kind;

use super::fields::{self, Notices, REASON};
use super::merge::{Answer, Merged};
use super::wrap;
use crate::domain::hook::Hook;

/// Kinds of replies that are counted.
const COUNTED: [&str; 3] = ["tool", "block", "final"];

/// Checks one handler's claim.
pub(super) fn check(hook: Hook, mut claim: types::Claim, notices: &mut Notices) -> Result<types::Claim, String> {
    if matches!(hook, Hook::BeforeAgentReply | Hook::InboundClaim) {
        fields::value("reply_json", &claim.reply_json)?;
        if !claim.reply_json.is_empty() {
            fields::distrust("reply_json", &mut claim.reply_json, notices)?;
        }
    } else {
        notices.drop_json("reply_json", &mut claim.reply_json);
    }
    if hook != Hook::BeforeDispatch {
        notices.drop_text("text", &mut claim.text);
    }
    fields::line("a reason", &mut claim.reason, REASON)?;
    if hook == Hook::ReplyDispatch {
        let counts = claim.counts.len();
        claim.counts.retain(|kind, _| COUNTED.contains(&kind.as_str()));
        if claim.counts.len() < counts {
            notices.say("counts of kinds other than `tool`, `block` and `final` have no effect and were left out");
        }
    } else {
        if !claim.counts.is_empty() {
            notices.dropped("counts");
            claim.counts.clear();
        }
        if std::mem::take(&mut claim.queued_final) {
            notices.dropped("queued_final");
        }
    }
    Ok(claim)
}

/// Takes the first claim.
pub(super) fn merge(answers: Vec<Answer>) -> Merged {
    let claim = answers.into_iter().find(|answer| matches!(answer.result.result, Some(Kind::Claim(_))));
    match claim {
        Some(Answer { position, result, .. }) => {
            Merged { decided_by: Some(position), result: result.result.map(wrap), ..Merged::default() }
        }
        None => Merged::default(),
    }
}
