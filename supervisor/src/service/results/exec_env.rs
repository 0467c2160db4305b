//! Variables for a command.

use std::collections::BTreeMap;

use outrigger_proto::types::v1 as types;
use types::hook_result::Result as Kind;

use super::fields::{self, Notices, some_names, thousands};
use super::merge::{Answer, MAX_MERGED, Merged};
use super::{variables, wrap};
use crate::domain::text;

/// Most variables, of one handler and of all.
const MOST_VARIABLES: usize = 128;
/// Longest name, in characters.
const NAME: usize = 128;
/// Longest value, in characters.
const VALUE: usize = 32_768;

/// Checks one handler's variables.
pub(super) fn check(
    mut answer: types::ExecEnvironment,
    notices: &mut Notices,
) -> Result<types::ExecEnvironment, String> {
    if answer.variables.len() > MOST_VARIABLES {
        return Err(format!("more than {MOST_VARIABLES} variables"));
    }
    for (name, value) in &answer.variables {
        if !variables::is_name(name) || name.len() > NAME {
            return Err(format!("`{}`, which is not the name of a variable", text::clean(name, 64)));
        }
        if value.contains('\0') {
            return Err(format!("a value of `{name}` that no variable can have"));
        }
        if fields::bound("", value, VALUE).is_err() {
            return Err(format!("a value of `{name}` longer than {} characters", thousands(VALUE)));
        }
    }
    let (kept, reserved): (BTreeMap<_, _>, BTreeMap<_, _>) =
        std::mem::take(&mut answer.variables).into_iter().partition(|(name, _)| !variables::is_reserved(name));
    if !reserved.is_empty() {
        let names = some_names(reserved.keys().map(String::as_str));
        notices.say(format!("variables that decide what code runs or whom it reaches were left out: {names}"));
    }
    answer.variables = kept;
    Ok(answer)
}

/// Takes of each name the last.
pub(super) fn merge(answers: Vec<Answer>) -> Merged {
    let mut merged = Merged::default();
    let mut whole = BTreeMap::new();
    let mut bytes = 0;
    for Answer { position, result, .. } in answers {
        let Some(Kind::ExecEnvironment(added)) = result.result else { continue };
        let mut count = whole.len();
        let mut size = bytes;
        for (name, value) in &added.variables {
            match whole.get(name) {
                Some(before) => size -= String::len(before),
                None => {
                    count += 1;
                    size += name.len();
                }
            }
            size += value.len();
        }
        if count > MOST_VARIABLES || size > MAX_MERGED {
            let why = format!("set more than {MOST_VARIABLES} variables or {MAX_MERGED} bytes with those before it");
            merged.failed.push((position, why));
            continue;
        }
        bytes = size;
        whole.extend(added.variables);
    }
    if !whole.is_empty() {
        merged.result = Some(wrap(Kind::ExecEnvironment(types::ExecEnvironment { variables: whole })));
    }
    merged
}
