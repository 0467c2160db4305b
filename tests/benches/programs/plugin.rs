//! The plugin of the benchmarks: a guard that declines at once, a reader of events, or both.
//!
//! `bench-plugin [--reads BOOK [--credits N | --deaf]] TOOL…` serves these tools, in sequence with other guards of them;
//! the tool `beside` without side effects, so side by side with others. For the tool `wait`, it answers only where the
//! parameters have `answer`. With `--reads` it counts events of all streams in the file `BOOK`, with `--deaf` it takes the
//! first and no more. `bench-plugin --byte` writes one byte and waits: the least that starting this program can cost.

mod book;

use std::io::{Read as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use outrigger_sdk::{AfterGap, Context, Decision, Event, Gap, HandlerError, Launch, Plugin, ReadEvents, ToolCall};
use serde_json::Value;

use book::Book;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let run = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--byte"] => return byte(),
        ["--reads", book, "--credits", credits, tools @ ..] => match credits.parse() {
            Ok(credits) => reads(guards(tools), book, Some(credits)),
            Err(_) => guards(tools),
        },
        ["--reads", book, "--deaf", tools @ ..] => reads(guards(tools), book, None),
        tools => guards(tools),
    };
    match run.run_blocking() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A plugin with a handler for each of these tools.
fn guards(tools: &[&str]) -> Plugin {
    let mut plugin = Plugin::new().max_in_flight(64);
    for tool in tools {
        let guard = match *tool {
            "wait" => plugin.before_tool_call(*tool, waits),
            _ => plugin.before_tool_call(*tool, declines),
        };
        let guard = guard.tools([*tool]).max_concurrency(64);
        plugin = if *tool == "beside" { guard.side_effect_free().build() } else { guard.build() };
    }
    plugin
}

async fn declines(_call: ToolCall, _cx: Context) -> Result<Decision, HandlerError> {
    Ok(Decision::declined())
}

async fn waits(call: ToolCall, _cx: Context) -> Result<Decision, HandlerError> {
    let params: Value = call.params()?;
    if params.get("answer").is_none() {
        std::future::pending::<()>().await;
    }
    Ok(Decision::declined())
}

/// The same plugin, reading events with so many credits, or none after the first.
fn reads(plugin: Plugin, book: &str, credits: Option<u32>) -> Plugin {
    let deaf = credits.is_none();
    let book = Arc::new(Book::new(book));
    let gaps = Arc::clone(&book);
    plugin
        .subscribe("all", Vec::<String>::new(), move |event: Event, _: Launch| {
            let book = Arc::clone(&book);
            async move {
                if deaf && event.stream() != "mark" {
                    std::future::pending::<()>().await;
                }
                book.event(&event)
            }
        })
        .on_gap(move |gap: Gap, _| {
            gaps.gap(gap);
            async { Ok(AfterGap::Continue) }
        })
        .read_events(move |_| ReadEvents::new().credits(credits.unwrap_or(32)))
        .build()
}

fn byte() -> ExitCode {
    let told = std::io::stdout().write_all(b"1").and_then(|()| std::io::stdout().flush());
    // Until whoever started this has gone.
    let waited = std::io::stdin().read(&mut [0]);
    if told.is_ok() && waited.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
