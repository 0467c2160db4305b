//! `events`: what agents and plugins publish, one line an event.

use outrigger_proto::admin::v1 as admin;
use outrigger_proto::types::v1 as types;
use serde::Serialize;
use serde_json::Value;

use crate::cli::args::EventsArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::terminal::{BAD, DIM, GOOD, NAME, WARN};
use crate::cli::text::{count, safe, shorten};
use crate::cli::view::{self, nonzero, text, time};
use crate::cli::{Context, json};

/// Characters of a run's id that a line shows: what tells two apart at a glance.
const RUN_CHARACTERS: usize = 12;
/// Characters of an event's data where the terminal has no width.
const DATA_CHARACTERS: usize = 160;
/// Fewest characters of an event's data, however narrow the terminal is.
const LEAST_DATA: usize = 24;
/// Most events that are kept for one document: what a supervisor has at most.
const MAX_EVENTS: usize = 8_192;

/// One event.
#[derive(Debug, Serialize)]
struct Event {
    time: Option<String>,
    runtime_id: String,
    run_id: String,
    /// Position in the run. `null`: a plugin emitted it, or the runtime does not number.
    position: Option<u64>,
    stream: String,
    /// The plugin that emitted it. `null`: the runtime did.
    plugin_id: Option<String>,
    session_key: Option<String>,
    agent_id: Option<String>,
    /// The run ends with it.
    terminal: bool,
    data: Option<Value>,
    /// Events of any kind that were lost before this one.
    dropped_before: u64,
}

#[derive(Serialize)]
struct Document {
    events: Vec<Event>,
}

/// Shows agent events.
pub(in crate::cli) async fn events(context: &mut Context<'_>, args: EventsArgs) -> Result<Exit, Failure> {
    let mut client = context.admin().await?;
    let request = admin::WatchEventsRequest {
        streams: args.streams,
        runtime_id: args.runtime.map(|runtime| runtime.to_string()).unwrap_or_default(),
        session_key: args.session.unwrap_or_default(),
        run_id: args.run.unwrap_or_default(),
        recent: args.number,
        until_now: !args.follow,
    };
    let mut stream = context.wait(client.watch_events(request)).await?;
    let mut kept = Vec::new();
    loop {
        let next = async { Ok(stream.message().await?) };
        let message = if args.follow { next.await? } else { context.within(next).await? };
        let Some(message) = message else { break };
        let mut dropped = message.dropped;
        for wire in message.events {
            let event = Event { dropped_before: std::mem::take(&mut dropped), ..Event::from(wire) };
            match (context.global.json, args.follow) {
                (true, true) => context.line(json::line(&event))?,
                (true, false) if kept.len() < MAX_EVENTS => kept.push(event),
                (true, false) => break,
                (false, _) => show(context, &event)?,
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
        context.document(&Document { events: kept })?;
    }
    Ok(Exit::Done)
}

impl From<types::AgentEvent> for Event {
    fn from(wire: types::AgentEvent) -> Self {
        Self {
            time: time(wire.time),
            runtime_id: wire.runtime_id,
            run_id: wire.run_id,
            position: nonzero(wire.seq),
            stream: wire.stream,
            plugin_id: text(wire.plugin_id),
            session_key: text(wire.session_key),
            agent_id: text(wire.agent_id),
            terminal: wire.terminal,
            data: view::json(&wire.data_json),
            dropped_before: 0,
        }
    }
}

fn show(context: &mut Context<'_>, event: &Event) -> Result<(), Failure> {
    if event.dropped_before > 0 {
        let gap = format!("-- {} lost --", count(event.dropped_before, "event"));
        let gap = context.terminal.paint(WARN, gap);
        context.line(gap)?;
    }
    let time = event.time.as_deref().unwrap_or("-");
    let run = safe(&event.run_id);
    let run = format!("{:<RUN_CHARACTERS$}", shorten(&run, RUN_CHARACTERS));
    let stream = format!("{:<14}", safe(&event.stream));
    let data = event.data.as_ref().map(json::line).unwrap_or_default();
    let data = safe(&data);
    let before = time.chars().count() + run.chars().count() + stream.chars().count() + 3;
    let room = context
        .terminal
        .width
        .map_or(DATA_CHARACTERS, |width| usize::from(width).saturating_sub(before).max(LEAST_DATA));
    let data = shorten(&data, room);
    let terminal = &context.terminal;
    let style = match event.stream.as_str() {
        _ if event.terminal => GOOD,
        "error" => BAD,
        _ => NAME,
    };
    let line =
        format!("{} {} {} {data}", terminal.paint(DIM, time), terminal.paint(DIM, run), terminal.paint(style, stream));
    context.line(line.trim_end())
}
