//! One answer checked, several made one.

mod bounds;
mod cleaning;
mod merging;
mod order;
mod samples;
mod tool_calls;
mod whatever;

use bytes::Bytes;
use outrigger_proto::types::v1 as types;
use types::hook_result::Result as Kind;

use super::*;
use crate::domain::hook::CATALOGUE;
use crate::service::invocation::MAX_PAYLOAD;

fn json(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// The answer as it counts, and its notices.
fn checked(hook: Hook, answer: Kind) -> (Kind, Vec<String>) {
    let checked = check(hook, false, wrap(answer), "handler").expect("a valid answer");
    (checked.result.result.expect("a kind"), checked.notices)
}

/// What is wrong with an answer.
fn refused(hook: Hook, answer: Kind) -> String {
    check(hook, false, wrap(answer), "handler").expect_err("an invalid answer")
}

/// The merge of answers in order, each checked.
fn merged(hook: Hook, answers: Vec<Kind>) -> Merged {
    merged_with(hook, "{}", answers.into_iter().map(|answer| (false, answer)).collect())
}

fn merged_with(hook: Hook, event: &str, answers: Vec<(bool, Kind)>) -> Merged {
    let mut merge = Merge::new(hook, json(event), MAX_PAYLOAD);
    for (position, (policy, answer)) in answers.into_iter().enumerate() {
        let checked = check(hook, policy, wrap(answer), "handler").expect("a valid answer");
        merge.add(position, policy, checked.result).expect("it fits");
    }
    merge.finish()
}
