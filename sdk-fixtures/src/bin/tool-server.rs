//! A tool server for tests: one tool, `count`, that counts up slowly. Each call is a line of `calls` in the plugin's data
//! directory, and each cancel one of `cancels`: so what reached the plugin is told by the plugin itself.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use outrigger_sdk::{HandlerError, Launch, Plugin, StartError, ToolAnswer, ToolContext};
use serde::Deserialize;
use serde_json::json;

/// Longest pause after a step.
const MOST_PAUSE: u64 = 60_000;

/// What the model asks for.
#[derive(Deserialize)]
struct Arguments {
    /// How far to count.
    to: u32,
    /// After each step, in milliseconds.
    #[serde(default)]
    pause_ms: u64,
    /// Fail at the end.
    #[serde(default)]
    fail: bool,
}

fn main() -> outrigger_sdk::Result<()> {
    let number = json!({ "type": "integer", "minimum": 0, "maximum": 60_000 });
    let schema = json!({
        "type": "object",
        "properties": { "to": number, "pause_ms": number, "fail": { "type": "boolean" } },
        "required": ["to"],
        "additionalProperties": false
    });
    Plugin::on_start(start).tool("count", "Counts up.", schema, count).run_blocking()
}

async fn start(launch: Launch) -> Result<PathBuf, StartError> {
    Ok(launch.data_dir().to_owned())
}

async fn count(arguments: Arguments, cx: ToolContext<PathBuf>) -> Result<ToolAnswer, HandlerError> {
    note(&cx, "calls", cx.tool_call_id())?;
    let mut work = Work { cx: cx.clone(), done: false };
    for step in 0..arguments.to {
        cx.progress(f64::from(step), f64::from(arguments.to), "counting");
        tokio::time::sleep(Duration::from_millis(arguments.pause_ms.min(MOST_PAUSE))).await;
    }
    cx.progress(f64::from(arguments.to), f64::from(arguments.to), "done");
    work.done = true;
    if arguments.fail {
        return Err(std::io::Error::other("it was asked to fail").into());
    }
    Ok(ToolAnswer::text(format!("counted to {}", arguments.to)))
}

/// Work under way; dropped before its end it was cancelled.
struct Work {
    cx: ToolContext<PathBuf>,
    done: bool,
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.done {
            // Whoever waits for the line says that it did not come.
            let _ = note(&self.cx, "cancels", self.cx.tool_call_id());
        }
    }
}

fn note(cx: &ToolContext<PathBuf>, file: &str, line: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(cx.state().join(file))?;
    writeln!(file, "{line}")
}
