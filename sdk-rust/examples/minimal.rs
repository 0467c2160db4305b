//! The smallest useful plugin: no `sudo` in shell commands.

use outrigger_sdk::{Context, Decision, Plugin, ToolCall};
use serde::Deserialize;

#[derive(Deserialize)]
struct Exec {
    command: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> outrigger_sdk::Result<()> {
    Plugin::new()
        .before_tool_call("no-sudo", |call: ToolCall, _cx: Context| async move {
            let exec: Exec = call.params()?;
            let sudo = exec.command.split_whitespace().any(|word| word == "sudo");
            Ok(if sudo { Decision::block("no sudo here") } else { Decision::declined() })
        })
        .tools(["exec"])
        .run()
        .await
}
