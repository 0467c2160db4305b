//! `logs`: what plugins wrote, as `journalctl` shows it.

use outrigger_proto::admin::v1 as admin;
use serde::Serialize;
use serde_json::Value;

use crate::cli::args::LogsArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::terminal::{BAD, DIM, NAME, WARN};
use crate::cli::text::{count, safe};
use crate::cli::view::{self, nonzero, text, time};
use crate::cli::{Context, json};

/// Most lines that are kept for one document: what a supervisor sends at most without `--follow`.
const MAX_LINES: usize = 10_000;

/// One line.
#[derive(Debug, Serialize)]
struct Line {
    time: Option<String>,
    plugin_id: String,
    generation: Option<u64>,
    /// `stdout`, `stderr`, `log` or `supervisor`.
    source: String,
    level: Option<String>,
    text: String,
    fields: Option<Value>,
    truncated: bool,
    /// Lines dropped before this one.
    dropped_before: u64,
}

#[derive(Serialize)]
struct Document {
    lines: Vec<Line>,
}

/// Shows log lines.
pub(in crate::cli) async fn logs(context: &mut Context<'_>, args: LogsArgs) -> Result<Exit, Failure> {
    let mut client = context.admin().await?;
    let request = admin::TailLogsRequest {
        plugin_id: args.plugin.unwrap_or_default(),
        lines: args.lines,
        follow: args.follow,
        generation: args.generation.unwrap_or_default(),
    };
    let mut stream = context.wait(client.tail_logs(request)).await?;
    let mut kept = Vec::new();
    let mut dropped = 0;
    loop {
        let next = async { Ok(stream.message().await?) };
        let message = if args.follow { next.await? } else { context.within(next).await? };
        let Some(message) = message else { break };
        dropped += message.dropped;
        for wire in message.lines {
            let line = Line { dropped_before: std::mem::take(&mut dropped), ..Line::from(wire) };
            match (context.global.json, args.follow) {
                (true, true) => context.line(json::line(&line))?,
                (true, false) if kept.len() < MAX_LINES => kept.push(line),
                (true, false) => break,
                (false, _) => show(context, &line)?,
            }
        }
        if args.follow {
            context.flush()?;
        }
    }
    if args.follow {
        return Err(Failure::new(Exit::NoSupervisor, "the supervisor has stopped"));
    }
    if context.global.json {
        context.document(&Document { lines: kept })?;
    }
    Ok(Exit::Done)
}

impl From<admin::tail_logs_response::Line> for Line {
    fn from(wire: admin::tail_logs_response::Line) -> Self {
        Self {
            time: time(wire.time),
            plugin_id: wire.plugin_id,
            generation: nonzero(wire.generation),
            source: wire.source,
            level: text(wire.level),
            text: wire.text,
            fields: view::json(&wire.fields_json),
            truncated: wire.truncated,
            dropped_before: 0,
        }
    }
}

fn show(context: &mut Context<'_>, line: &Line) -> Result<(), Failure> {
    if line.dropped_before > 0 {
        let gap = format!("-- {} dropped --", count(line.dropped_before, "line"));
        let gap = context.terminal.paint(WARN, gap);
        context.line(gap)?;
    }
    let time = context.terminal.paint(DIM, line.time.as_deref().unwrap_or("-"));
    let generation = line.generation.map(|generation| format!("[{generation}]")).unwrap_or_default();
    let name = context.terminal.paint(NAME, safe(&format!("{}{generation}", line.plugin_id)));
    let (head, style) = match (line.level.as_deref(), line.source.as_str()) {
        (Some(level @ "error"), _) => (level, Some(BAD)),
        (Some(level @ "warn"), _) => (level, Some(WARN)),
        (Some(level), _) => (level, None),
        (None, source) => (source, None),
    };
    let words = style.map_or(safe(&line.text).into_owned(), |style| context.terminal.paint(style, safe(&line.text)));
    let fields = line.fields.as_ref().map(|fields| format!(" {}", json::line(fields))).unwrap_or_default();
    let cut = if line.truncated { "…" } else { "" };
    context.line(format!("{time} {name} {}: {words}{cut}{fields}", safe(head)))
}
