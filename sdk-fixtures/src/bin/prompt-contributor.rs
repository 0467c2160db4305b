//! Adds to prompts: house rules to every one, and a checklist to those that are about it.
//!
//! It shows the two prompt hooks side by side. `before_prompt_build` adds to the system prompt what always holds;
//! `agent_turn_prepare` looks at the turn's prompt, which it sees only with `hooks.conversation`, and adds what fits.

use outrigger_sdk::hooks::{self, Call, event};
use outrigger_sdk::{ConfigError, Context, HandlerError, Launch, Plugin, Prompt, StartError};
use serde::Deserialize;

/// Longest text a prompt takes from a plugin, in characters (`PromptContribution`).
const MOST_TEXT: usize = 65_536;

/// The operator's settings.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// What always holds; goes after the system prompt. Empty: nothing.
    #[serde(default)]
    rules: String,
    /// What is added when a word is in the prompt.
    #[serde(default)]
    notes: Vec<Note>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    /// The word, in any case.
    word: String,
    /// What is added before the prompt.
    text: String,
}

fn main() -> outrigger_sdk::Result<()> {
    Plugin::on_start(start)
        .version(env!("CARGO_PKG_VERSION"))
        .on(hooks::BEFORE_PROMPT_BUILD, "rules", rules)
        .description("Adds the house rules to the system prompt")
        .side_effect_free()
        .on(hooks::AGENT_TURN_PREPARE, "notes", notes)
        .description("Adds the notes whose word is in the prompt")
        .side_effect_free()
        .run_blocking()
}

async fn start(launch: Launch) -> Result<Config, StartError> {
    let config: Config = launch.config()?;
    if config.rules.encode_utf16().count() > MOST_TEXT {
        return Err(ConfigError::at("rules", format!("is longer than {MOST_TEXT} characters")).into());
    }
    if let Some(at) = config.notes.iter().position(|note| note.word.trim().is_empty() || note.text.is_empty()) {
        return Err(ConfigError::at(format!("notes.{at}"), "its word or text is empty").into());
    }
    let all: usize = config.notes.iter().map(|note| note.text.encode_utf16().count() + 1).sum();
    if all > MOST_TEXT {
        return Err(ConfigError::at("notes", format!("together they are longer than {MOST_TEXT} characters")).into());
    }
    Ok(config)
}

async fn rules(_: Call<event::BeforePromptBuild>, cx: Context<Config>) -> Result<Prompt, HandlerError> {
    let rules = &cx.state().rules;
    Ok(if rules.is_empty() { Prompt::declined() } else { Prompt::default().append_system(rules) })
}

async fn notes(call: Call<event::AgentTurnPrepare>, cx: Context<Config>) -> Result<Prompt, HandlerError> {
    let prompt = call.event()?.prompt.unwrap_or_default().to_lowercase();
    let fitting = cx.state().notes.iter().filter(|note| has_word(&prompt, &note.word.trim().to_lowercase()));
    let texts: Vec<_> = fitting.map(|note| note.text.as_str()).collect();
    Ok(if texts.is_empty() { Prompt::declined() } else { Prompt::default().prepend(texts.join("\n")) })
}

/// A word by itself, not a part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, found)| {
        let before = text[..at].chars().next_back();
        let after = text[at + found.len()..].chars().next();
        ![before, after].into_iter().flatten().any(char::is_alphanumeric)
    })
}

#[cfg(test)]
mod tests {
    use super::has_word;

    #[test]
    fn a_word_is_no_part_of_another() {
        assert!(
            has_word("please deploy.", "deploy") && has_word("deploy", "deploy") && has_word("a déploy b", "déploy")
        );
        assert!(!has_word("redeploy deployed", "deploy"));
        assert!(has_word("redeploy, then deploy", "deploy"));
    }
}
