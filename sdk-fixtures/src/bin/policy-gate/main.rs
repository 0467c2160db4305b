//! A guard: looks at every shell command before it is run, and blocks what would do great harm. Where the operator wants
//! it, it also asks a person first, or changes a command's parameters.
//!
//! It shows what a plugin with a configuration looks like: the configuration becomes the state, the state decides what
//! is registered, and the handler answers from it. See `config.schema.json` beside the manifest for the settings.

mod danger;
mod feed;
mod paths;
mod shell;
mod words;

use std::time::Duration;

use outrigger_sdk::proto::types::v1::ApprovalOutcome;
use outrigger_sdk::{
    Approval, ApprovalEnd, ConfigError, Context, Decision, HandlerError, Launch, Plugin, ToolCall, tracing,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

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
    /// Commands a person is asked about first, with `*` for any text.
    #[serde(default)]
    ask_patterns: Vec<String>,
    /// How long the person may take, in seconds. Running out is a no.
    #[serde(default = "two_minutes")]
    ask_timeout_secs: u64,
    /// Parameters that are set for commands, in this order.
    #[serde(default)]
    set_params: Vec<SetParams>,
}

/// Parameters of the tool that are set whatever the model chose.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetParams {
    /// The commands, with `*` for any text.
    pattern: String,
    params: Map<String, Value>,
}

fn two_minutes() -> u64 {
    120
}

struct Gate {
    rules: Rules,
    config: Config,
}

/// Longest command that can be shown to a person, in characters (`ApprovalRequest.detail`). A longer one is blocked
/// where a person must be asked: what cannot be shown does not run.
const MOST_SHOWN: usize = 16_384;

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

impl Command {
    /// The first pattern one of its program calls is of.
    fn find<'a>(&self, patterns: &'a [String]) -> Option<&'a String> {
        match self {
            Self::Line(line) => danger::find(patterns, line),
            Self::Words(words) => danger::find_words(patterns, words),
        }
    }

    /// The command as a person reads it.
    fn shown(&self) -> String {
        match self {
            Self::Line(line) => line.clone(),
            // With quotes where words have blanks, so that it is seen where they end.
            Self::Words(words) => format!("{words:?}"),
        }
    }
}

fn main() -> outrigger_sdk::Result<()> {
    Plugin::on_start(start)
        .version(env!("CARGO_PKG_VERSION"))
        .before_tool_call("commands", check_command)
        .description("Blocks shell commands that would do great harm; asks about others, or changes their parameters")
        .tools(["exec"])
        .priority(100)
        .side_effect_free()
        // Without it there is no gate: better that the launch fails and the operator is told.
        .must_accept()
        .before_tool_call("denied-tools", deny_tool)
        .description("Blocks the tools the operator denies")
        .tools_from(|gate: &Gate| gate.config.deny_tools.clone())
        .priority(100)
        .side_effect_free()
        .must_accept()
        .on_approval(approval_ended)
        .run_blocking()
}

/// Makes the state of the configuration, and refuses one that would not do what it seems to say.
async fn start(launch: Launch) -> Result<Gate, outrigger_sdk::StartError> {
    let config: Config = launch.config()?;
    let lists =
        [("deny_patterns", &config.deny_patterns), ("allow", &config.allow), ("ask_patterns", &config.ask_patterns)];
    for (key, patterns) in lists {
        if patterns.iter().any(|pattern| pattern.trim().is_empty()) {
            return Err(ConfigError::at(key, "a pattern is empty").into());
        }
    }
    if let Some(set) = config.set_params.iter().find(|set| set.pattern.trim().is_empty() || set.params.is_empty()) {
        return Err(ConfigError::at("set_params", format!("`{}` sets nothing", set.pattern)).into());
    }
    if !(1..=600).contains(&config.ask_timeout_secs) {
        return Err(ConfigError::at("ask_timeout_secs", "is not in 1 to 600").into());
    }
    if let Some(tool) = config.deny_tools.iter().find(|tool| tool.is_empty() || tool.contains(char::is_uppercase)) {
        return Err(ConfigError::at("deny_tools", format!("`{tool}` is no tool id: they are lower-case")).into());
    }
    let rules = Rules { deny: config.deny_patterns.clone(), allow: config.allow.clone() };
    Ok(Gate { rules, config })
}

async fn check_command(call: ToolCall, cx: Context<Gate>) -> Result<Decision, HandlerError> {
    let Gate { rules, config } = cx.state();
    // A command that cannot be read is an error, and an error of a guard blocks.
    let command = call.params::<Exec>()?.command;
    let danger = match &command {
        Command::Line(line) => rules.check(line),
        Command::Words(words) => rules.check_words(words),
    };
    if let Some(reason) = danger {
        tracing::warn!(tool_call = call.tool_call_id(), "blocked: {reason}");
        return Ok(Decision::block(reason));
    }
    // The second question, about the final parameters, can only be answered with a block.
    if call.is_recheck() {
        return Ok(Decision::declined());
    }
    let mut decision = Decision::declined();
    let mut params = Map::new();
    for set in config.set_params.iter().filter(|set| command.find(std::slice::from_ref(&set.pattern)).is_some()) {
        params.extend(set.params.clone());
    }
    if !params.is_empty() {
        decision = Decision::rewrite(params);
    }
    let Some(pattern) = command.find(&config.ask_patterns) else { return Ok(decision) };
    let shown = command.shown();
    if shown.encode_utf16().count() > MOST_SHOWN {
        return Ok(Decision::block("a person must be asked about it, and it is too long to be shown"));
    }
    Ok(decision.after(question(&call, shown, pattern, config.ask_timeout_secs)))
}

fn question(call: &ToolCall, shown: String, pattern: &str, timeout_secs: u64) -> Approval {
    let pattern: String = pattern.chars().take(200).collect();
    Approval::new("Run this command?")
        .description(format!("It is one of `{pattern}`, about which the operator wants you to be asked."))
        .detail(shown)
        .timeout(Duration::from_secs(timeout_secs))
        .offer([ApprovalOutcome::AllowedOnce, ApprovalOutcome::Denied])
        // Comes back with the answer, perhaps to a later launch of this plugin.
        .context(&json!({"tool_call": call.tool_call_id(), "pattern": pattern}))
}

async fn approval_ended(end: ApprovalEnd, _: Context<Gate>) -> Result<(), HandlerError> {
    #[derive(Deserialize)]
    struct Asked {
        tool_call: String,
        pattern: String,
    }
    let Asked { tool_call, pattern } = end.context()?;
    tracing::info!(tool_call, pattern, outcome = end.outcome().as_str_name(), "an approval has ended");
    Ok(())
}

async fn deny_tool(call: ToolCall, _: Context<Gate>) -> Result<Decision, HandlerError> {
    Ok(Decision::block(format!("the operator denies the tool `{}`", call.tool())))
}
