//! Reads an agent's final answer, and sends it back once if it owns up to unfinished work.
//!
//! It shows a bounded retry: the revision has a budget that the idempotency key names, one pass in a run, so that an
//! agent that will not do better is not asked for ever. The words it looks for are the operator's.

use outrigger_sdk::hooks::{self, Call, event};
use outrigger_sdk::{ConfigError, Context, Finalize, HandlerError, Launch, Plugin, Retry, StartError, tracing};
use serde::Deserialize;

/// The operator's settings.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Signs of unfinished work, in any case.
    #[serde(default = "signs")]
    signs: Vec<String>,
    /// Passes in a run.
    #[serde(default = "once")]
    attempts: u32,
}

fn signs() -> Vec<String> {
    ["TODO", "left as an exercise", "not implemented yet", "I did not run the tests"].map(str::to_owned).into()
}

fn once() -> u32 {
    1
}

fn main() -> outrigger_sdk::Result<()> {
    Plugin::on_start(start)
        .version(env!("CARGO_PKG_VERSION"))
        .on(hooks::BEFORE_AGENT_FINALIZE, "unfinished-work", review)
        .description("Sends an answer back that owns up to unfinished work")
        .side_effect_free()
        .run_blocking()
}

async fn start(launch: Launch) -> Result<Config, StartError> {
    let config: Config = launch.config()?;
    if config.signs.iter().any(|sign| sign.trim().is_empty()) {
        return Err(ConfigError::at("signs", "one is empty").into());
    }
    if !(1..=8).contains(&config.attempts) {
        return Err(ConfigError::at("attempts", "is not in 1 to 8").into());
    }
    Ok(config)
}

async fn review(call: Call<event::BeforeAgentFinalize>, cx: Context<Config>) -> Result<Finalize, HandlerError> {
    let event = call.event()?;
    let answer = event.last_assistant_message.unwrap_or_default().to_lowercase();
    let Some(sign) = cx.state().signs.iter().find(|sign| answer.contains(&sign.trim().to_lowercase())) else {
        return Ok(Finalize::declined());
    };
    tracing::info!(sign, run = event.run_id, "an answer owns up to unfinished work");
    let instruction = format!(
        "Your answer says `{sign}`. Finish that work if you can, and say plainly what you could not finish and why."
    );
    // One budget whatever the sign: a second answer with another one is not sent back again.
    let retry = Retry::new(instruction).key("unfinished-work").at_most(cx.state().attempts);
    Ok(Finalize::revise(format!("the answer says `{sign}`")).retry(retry))
}
