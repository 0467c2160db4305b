//! A guard: looks at every shell command before it is run, and blocks what would do great harm.
//!
//! It shows what a plugin with a configuration looks like: the configuration becomes the state, the state decides what
//! is registered, and the handler answers from it. See `config.schema.json` beside the manifest for the settings.

mod danger;
mod feed;
mod paths;
mod shell;
mod words;

use outrigger_sdk::{ConfigError, Context, Decision, HandlerError, Launch, Plugin, ToolCall, tracing};
use serde::Deserialize;

use danger::Rules;

/// The operator's settings.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Tools that are blocked whatever they are called with.
    #[serde(default)]
    deny_tools: Vec<String>,
    /// Commands that are blocked, with `*` for any text.
    #[serde(default)]
    deny_patterns: Vec<String>,
    /// Commands that pass whatever they are, with `*` for any text.
    #[serde(default)]
    allow: Vec<String>,
}

struct Gate {
    deny_tools: Vec<String>,
    rules: Rules,
}

/// Parameters of the tool `exec`, as far as the gate reads them.
#[derive(Deserialize)]
struct Exec {
    command: Command,
}

/// A command line for the shell, or a program with its arguments.
#[derive(Deserialize)]
#[serde(untagged)]
enum Command {
    Line(String),
    Words(Vec<String>),
}

fn main() -> outrigger_sdk::Result<()> {
    Plugin::on_start(start)
        .version(env!("CARGO_PKG_VERSION"))
        .before_tool_call("commands", check_command)
        .description("Blocks shell commands that would do great harm")
        .tools(["exec"])
        .priority(100)
        .side_effect_free()
        // Without it there is no gate: better that the launch fails and the operator is told.
        .must_accept()
        .before_tool_call("denied-tools", deny_tool)
        .description("Blocks the tools the operator denies")
        .tools_from(|gate: &Gate| gate.deny_tools.clone())
        .priority(100)
        .side_effect_free()
        .must_accept()
        .run_blocking()
}

/// Makes the state of the configuration, and refuses one that would not do what it seems to say.
async fn start(launch: Launch) -> Result<Gate, outrigger_sdk::StartError> {
    let config: Config = launch.config()?;
    for (key, patterns) in [("deny_patterns", &config.deny_patterns), ("allow", &config.allow)] {
        if patterns.iter().any(|pattern| pattern.trim().is_empty()) {
            return Err(ConfigError::at(key, "a pattern is empty").into());
        }
    }
    if let Some(tool) = config.deny_tools.iter().find(|tool| tool.is_empty() || tool.contains(char::is_uppercase)) {
        return Err(ConfigError::at("deny_tools", format!("`{tool}` is no tool id: they are lower-case")).into());
    }
    Ok(Gate { deny_tools: config.deny_tools, rules: Rules { deny: config.deny_patterns, allow: config.allow } })
}

async fn check_command(call: ToolCall, cx: Context<Gate>) -> Result<Decision, HandlerError> {
    // A command that cannot be read is an error, and an error of a guard blocks.
    let danger = match call.params::<Exec>()?.command {
        Command::Line(line) => cx.state().rules.check(&line),
        Command::Words(words) => cx.state().rules.check_words(&words),
    };
    Ok(match danger {
        Some(reason) => {
            tracing::warn!(tool_call = call.tool_call_id(), "blocked: {reason}");
            Decision::block(reason)
        }
        None => Decision::declined(),
    })
}

async fn deny_tool(call: ToolCall, _: Context<Gate>) -> Result<Decision, HandlerError> {
    Ok(Decision::block(format!("the operator denies the tool `{}`", call.tool())))
}
