//! `hooks`: handlers in the order in which they are asked, with what they answered so far.

use std::time::Duration;

use outrigger_proto::admin::v1 as admin;
use serde::Serialize;

use super::status::age;
use crate::cli::Context;
use crate::cli::args::HooksArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::table::{Column, lines};
use crate::cli::terminal::{BAD, DIM, WARN};
use crate::cli::text::duration;
use crate::cli::view::handler::Handler;
use crate::cli::view::plugin::guard_meaning;

const COLUMNS: &[Column] = &[
    Column::new("HOOK"),
    Column::new("#").right().rank(11),
    Column::new("PLUGIN"),
    Column::new("HANDLER").rank(5),
    Column::new("TOOLS").rank(3),
    Column::new("GUARD").rank(2),
    Column::new("PRIO").right().rank(12),
    Column::new("LIMIT").right().rank(13),
    Column::new("CALLS").right().rank(1),
    Column::new("ALLOW").right().rank(10),
    Column::new("DENY").right().rank(4),
    Column::new("ERROR").right().rank(8),
    Column::new("TIMEOUT").right().rank(8),
    Column::new("ABSENT").right().rank(9),
    Column::new("SKIPPED").right().rank(14),
    Column::new("P50").right().rank(7),
    Column::new("P99").right().rank(6),
    Column::new("LAST").right().rank(5),
    Column::new("REMARKS").cut(),
];

/// Columns of one plugin's handlers.
pub(super) const STATS_COLUMNS: &[Column] = &[
    Column::new("HANDLER"),
    Column::new("OF"),
    Column::new("CALLS").right(),
    Column::new("ALLOW").right().rank(3),
    Column::new("DENY").right().rank(1),
    Column::new("FAILED").right().rank(1),
    Column::new("P50").right().rank(5),
    Column::new("P99").right().rank(4),
    Column::new("REMARKS").cut(),
];

#[derive(Serialize)]
struct Document {
    handlers: Vec<Handler>,
}

/// Lists handlers.
pub(in crate::cli) async fn hooks(context: &mut Context<'_>, args: HooksArgs) -> Result<Exit, Failure> {
    let mut client = context.admin().await?;
    let request = admin::ListHooksRequest {
        hook: args.hook.map_or(0, |hook| hook as i32),
        plugin_id: args.plugin.unwrap_or_default(),
    };
    let answer = context.wait(client.list_hooks(request)).await?;
    let handlers: Vec<_> = answer.handlers.into_iter().map(Handler::from).collect();
    if context.global.json {
        context.document(&Document { handlers })?;
        return Ok(Exit::Done);
    }
    if handlers.is_empty() {
        context.line("no handlers")?;
        return Ok(Exit::Done);
    }
    let mut rows = Vec::new();
    let mut asked = 0;
    for (index, handler) in handlers.iter().enumerate() {
        if index > 0 && handlers[index - 1].hook != handler.hook {
            asked = 0;
        }
        asked += u32::from(handler.handler_id.is_some());
        rows.push(row(context, handler, asked));
    }
    for (index, line) in lines(COLUMNS, &rows, context.terminal.width).into_iter().enumerate() {
        let style = match index.checked_sub(1).and_then(|index| handlers.get(index)) {
            None => Some(DIM),
            Some(handler) if handler.breaker_open || handler.guard.as_deref() == Some("denying") => Some(BAD),
            Some(handler) if matches!(handler.guard.as_deref(), Some("not_granted" | "skipped")) => Some(WARN),
            Some(_) => None,
        };
        let line = style.map_or(line.clone(), |style| context.terminal.paint(style, line));
        context.line(line)?;
    }
    Ok(Exit::Done)
}

/// A row of [`COLUMNS`]. `place`: the how-manieth it is asked.
fn row(context: &Context<'_>, handler: &Handler, place: u32) -> Vec<String> {
    let dash = || "-".to_owned();
    let counts = handler.handler_id.is_some();
    let count = |outcome: &str| if counts { handler.with_outcome(outcome).to_string() } else { dash() };
    let last = match age(context, handler.last_called_at.as_deref()) {
        Some(age) => format!("{age} ago"),
        None if counts => "never".to_owned(),
        None => dash(),
    };
    vec![
        handler.hook.clone(),
        if counts { place.to_string() } else { dash() },
        handler.plugin_id.clone(),
        handler.handler_id.clone().unwrap_or_else(dash),
        if handler.tools.is_empty() { "*".to_owned() } else { handler.tools.join(",") },
        handler.guard.clone().unwrap_or_else(dash),
        if counts { handler.priority.to_string() } else { dash() },
        handler.timeout_ms.map_or_else(dash, |timeout| duration(Duration::from_millis(timeout))),
        if counts { handler.calls.to_string() } else { dash() },
        count("allow"),
        count("deny"),
        count("error"),
        count("timeout"),
        count("absent"),
        count("skipped"),
        micros(handler.p50_us),
        micros(handler.p99_us),
        last,
        remarks(handler),
    ]
}

/// A row of [`STATS_COLUMNS`].
pub(super) fn stats_row(handler: &Handler) -> Vec<String> {
    let of = if handler.hook == "unknown" { handler.kind.clone() } else { Some(handler.hook.clone()) };
    vec![
        handler.handler_id.clone().unwrap_or_else(|| "-".to_owned()),
        of.unwrap_or_default(),
        handler.calls.to_string(),
        handler.with_outcome("allow").to_string(),
        handler.with_outcome("deny").to_string(),
        failed(handler).to_string(),
        micros(handler.p50_us),
        micros(handler.p99_us),
        remarks(handler),
    ]
}

/// Calls it did not answer properly: errors, timeouts, absences.
fn failed(handler: &Handler) -> u64 {
    ["error", "timeout", "absent"].iter().map(|outcome| handler.with_outcome(outcome)).fold(0, u64::saturating_add)
}

/// A length of time in microseconds, for people.
pub(super) fn micros(micros: Option<u64>) -> String {
    micros.map_or_else(|| "-".to_owned(), |micros| duration(Duration::from_micros(micros)))
}

fn remarks(handler: &Handler) -> String {
    let mut remarks = Vec::new();
    if handler.tool_policy {
        remarks.push("trusted policy".to_owned());
    }
    if let Some(state) = handler.guard.as_deref().filter(|state| *state != "served") {
        remarks.push(guard_meaning(state).to_owned());
    }
    if handler.breaker_open {
        remarks.push("breaker open: counts as absent".to_owned());
    }
    if handler.violations > 0 {
        remarks.push(format!("{} late or invalid answers", handler.violations));
    }
    if !handler.not_called_by.is_empty() {
        remarks.push(format!("not called by {}", handler.not_called_by.join(", ")));
    }
    remarks.join("; ")
}
