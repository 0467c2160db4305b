//! Another model.

use outrigger_proto::types::v1 as types;
use types::hook_result::Result as Kind;

use super::fields;
use super::merge::{Answer, Merged};
use super::wrap;

/// Longest id, in characters.
const ID: usize = 256;

/// Checks one handler's choice.
pub(super) fn check(mut choice: types::ModelOverride) -> Result<types::ModelOverride, String> {
    for (what, id) in [("a model", &mut choice.model), ("a provider", &mut choice.provider)] {
        if let Some(id) = id {
            fields::line(what, id, ID)?;
            if id.is_empty() {
                return Err(format!("{what} without a name"));
            }
        }
    }
    Ok(choice)
}

/// Takes of each field the first that is set.
pub(super) fn merge(answers: Vec<Answer>) -> Merged {
    let mut whole = types::ModelOverride::default();
    for answer in answers {
        if let Some(Kind::Model(choice)) = answer.result.result {
            whole.model = whole.model.or(choice.model);
            whole.provider = whole.provider.or(choice.provider);
        }
    }
    let chosen = whole != types::ModelOverride::default();
    Merged { result: chosen.then(|| wrap(Kind::Model(whole))), ..Merged::default() }
}
