//! Additions to a prompt.

use std::collections::HashSet;

use outrigger_proto::types::v1 as types;
use types::hook_result::Result as Kind;

use super::fields::{self, LONG, Notices};
use super::merge::{Answer, MAX_MERGED, Merged};
use super::wrap;
use crate::domain::hook::Hook;
use crate::domain::names;

/// Most tools in a list.
const MOST_TOOLS: usize = 512;
/// What stands between the texts of two handlers.
const BETWEEN: &str = "\n\n";

/// Checks one handler's contribution.
pub(super) fn check(
    hook: Hook,
    mut added: types::PromptContribution,
    notices: &mut Notices,
) -> Result<types::PromptContribution, String> {
    if hook != Hook::BeforePromptBuild {
        context_only(&mut added, notices);
    }
    fields::bound("a prepend_context", &added.prepend_context, LONG)?;
    fields::bound("an append_context", &added.append_context, LONG)?;
    fields::bound("a prepend_system_context", &added.prepend_system_context, LONG)?;
    fields::bound("an append_system_context", &added.append_system_context, LONG)?;
    fields::bound("a system_prompt", added.system_prompt.as_deref().unwrap_or_default(), LONG)?;
    if let Some(list) = &mut added.tools_allow {
        check_tools(&mut list.names, notices);
    }
    Ok(added)
}

/// Leaves only what goes around the person's prompt.
pub(super) fn context_only(added: &mut types::PromptContribution, notices: &mut Notices) {
    notices.drop_text("prepend_system_context", &mut added.prepend_system_context);
    notices.drop_text("append_system_context", &mut added.append_system_context);
    if added.system_prompt.take().is_some() {
        notices.dropped("system_prompt");
    }
    if added.tools_allow.take().is_some() {
        notices.dropped("tools_allow");
    }
}

/// Makes a list canonical. One that cannot be understood allows nothing: it was meant to narrow.
fn check_tools(tools: &mut Vec<String>, notices: &mut Notices) {
    let wrong = if tools.len() > MOST_TOOLS {
        Some(format!("it has {} tools, at most {MOST_TOOLS} are possible", tools.len()))
    } else {
        let wrong = tools.iter().find_map(|tool| names::tool(tool).err().map(|error| (tool, error)));
        wrong.map(|(tool, error)| format!("{} {}", fields::some_names([tool.as_str()].into_iter()), error.wrong()))
    };
    if let Some(wrong) = wrong {
        notices.say(format!("tools_allow allows no tool now: {wrong}"));
        *tools = Vec::new();
        return;
    }
    let mut seen = HashSet::new();
    tools.retain(|tool| seen.insert(tool.clone()));
}

/// Joins texts, keeps the first system prompt, and intersects lists of tools.
pub(super) fn merge(answers: Vec<Answer>) -> Merged {
    let mut merged = Merged::default();
    let mut whole = types::PromptContribution::default();
    let mut anything = false;
    let mut bytes = 0;
    for Answer { position, result, .. } in answers {
        let Some(Kind::Prompt(added)) = result.result else { continue };
        // What narrows counts even where the texts are too much.
        if let Some(list) = added.tools_allow {
            anything = true;
            match &mut whole.tools_allow {
                Some(allowed) => {
                    let too: HashSet<String> = list.names.into_iter().collect();
                    allowed.names.retain(|tool| too.contains(tool));
                }
                none => *none = Some(list),
            }
        }
        let system_prompt = added.system_prompt.filter(|_| whole.system_prompt.is_none());
        let texts = [
            &added.prepend_context,
            &added.append_context,
            &added.prepend_system_context,
            &added.append_system_context,
        ];
        let more = texts.iter().filter(|text| !text.is_empty()).map(|text| text.len() + BETWEEN.len()).sum::<usize>()
            + system_prompt.as_ref().map_or(0, String::len);
        if bytes + more > MAX_MERGED {
            merged.failed.push((position, format!("made the prompt longer than {MAX_MERGED} bytes")));
            continue;
        }
        bytes += more;
        anything |= more > 0 || system_prompt.is_some();
        join(&mut whole.prepend_context, added.prepend_context);
        join(&mut whole.append_context, added.append_context);
        join(&mut whole.prepend_system_context, added.prepend_system_context);
        join(&mut whole.append_system_context, added.append_system_context);
        whole.system_prompt = whole.system_prompt.or(system_prompt);
    }
    merged.result = anything.then(|| wrap(Kind::Prompt(whole)));
    merged
}

/// Adds a text to another, with a blank line between them where neither is empty.
pub(crate) fn join(text: &mut String, more: String) {
    if text.is_empty() {
        *text = more;
    } else if !more.is_empty() {
        text.push_str(BETWEEN);
        text.push_str(&more);
    }
}
