//! Messages on their way, changed or withheld.

use bytes::Bytes;
use outrigger_proto::types::v1 as types;
use types::hook_result::Result as Kind;
use types::message_rewrite::Replacement;

use super::fields::{self, LONG, Notices, REASON};
use super::merge::{Answer, Merged};
use super::wrap;
use crate::domain::hook::Hook;

/// Checks one handler's rewrite.
pub(super) fn check(
    hook: Hook,
    mut rewrite: types::MessageRewrite,
    notices: &mut Notices,
) -> Result<types::MessageRewrite, String> {
    let sending = hook == Hook::MessageSending;
    if rewrite.cancel && hook == Hook::ToolResultPersist {
        return Err("a cancel, where a message can only be changed".to_owned());
    }
    match &mut rewrite.replacement {
        Some(Replacement::Content(text)) if sending => fields::bound("a content", text, LONG)?,
        Some(Replacement::MessageJson(message)) if !sending => {
            fields::part_of_event("message_json", message)?;
            fields::distrust("message_json", message, notices)?;
        }
        Some(Replacement::Content(_)) => {
            notices.dropped("content");
            rewrite.replacement = None;
        }
        Some(Replacement::MessageJson(_)) => {
            notices.dropped("message_json");
            rewrite.replacement = None;
        }
        None => {}
    }
    fields::line("a reason", &mut rewrite.reason, REASON)?;
    if sending {
        fields::object("metadata_json", &rewrite.metadata_json)?;
    } else {
        notices.drop_json("metadata_json", &mut rewrite.metadata_json);
    }
    Ok(rewrite)
}

/// What the handlers before a position have made of the message, and which of them did.
pub(super) fn shown(answers: &[Answer]) -> Option<(usize, Bytes)> {
    let last = answers.iter().rev().find_map(|answer| Some((answer.position, replacement(answer)?)))?;
    Some((last.0, last.1.clone()))
}

/// What an answer puts in the place of the event's message.
pub(super) fn replacement(answer: &Answer) -> Option<&Bytes> {
    match &answer.result.result {
        Some(Kind::Message(types::MessageRewrite { replacement: Some(Replacement::MessageJson(message)), .. })) => {
            Some(message)
        }
        _ => None,
    }
}

/// Keeps of each field the last that is set. The first cancel ends it.
pub(super) fn merge(answers: Vec<Answer>) -> Merged {
    let merged = Merged::default();
    let mut whole = types::MessageRewrite::default();
    for Answer { position, result, .. } in answers {
        let Some(Kind::Message(rewrite)) = result.result else { continue };
        if !rewrite.reason.is_empty() {
            whole.reason = rewrite.reason;
        }
        if !rewrite.metadata_json.is_empty() {
            whole.metadata_json = rewrite.metadata_json;
        }
        if rewrite.cancel {
            // Nothing is sent, so there is nothing to send in its place.
            let cancelled = types::MessageRewrite { cancel: true, replacement: None, ..whole };
            return merged.stop(position, Kind::Message(cancelled));
        }
        if rewrite.replacement.is_some() {
            whole.replacement = rewrite.replacement;
        }
    }
    if whole == types::MessageRewrite::default() {
        return merged;
    }
    Merged { result: Some(wrap(Kind::Message(whole))), ..merged }
}
