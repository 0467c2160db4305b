//! The plugin of the benchmarks: a guard that declines at once.
//!
//! `bench-plugin TOOL…` serves these tools. For the tool `wait`, it answers only where the parameters have `answer`.
//! `bench-plugin --byte` writes one byte and waits: the least that starting this program can cost.

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use outrigger_sdk::{Context, Decision, Plugin, ToolCall};
use serde_json::Value;

fn main() -> ExitCode {
    let tools: Vec<String> = std::env::args().skip(1).collect();
    if tools.first().is_some_and(|first| first == "--byte") {
        return byte();
    }
    let plugin = Plugin::new()
        .max_in_flight(64)
        .before_tool_call("guard", |_call: ToolCall, _cx: Context| async { Ok(Decision::declined()) })
        .tools(tools.iter().filter(|tool| *tool != "wait"))
        .max_concurrency(64)
        .build();
    let run = if tools.iter().any(|tool| tool == "wait") {
        let waits = plugin.before_tool_call("waits", waits).tools(["wait"]).max_concurrency(64);
        waits.build().run_blocking()
    } else {
        plugin.run_blocking()
    };
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn waits(call: ToolCall, _cx: Context) -> Result<Decision, outrigger_sdk::HandlerError> {
    let params: Value = call.params()?;
    if params.get("answer").is_none() {
        std::future::pending::<()>().await;
    }
    Ok(Decision::declined())
}

fn byte() -> ExitCode {
    let told = std::io::stdout().write_all(b"1").and_then(|()| std::io::stdout().flush());
    // Until whoever started this has gone.
    let waited = std::io::stdin().read(&mut [0]);
    if told.is_ok() && waited.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
