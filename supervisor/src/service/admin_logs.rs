//! Logs of plugins as operators read them: what the rings hold, then what comes.

use outrigger_proto::admin::v1 as wire;
use tokio::sync::mpsc;
use tonic::Status;

use super::actor::Plugin;
use super::log::Line;
use super::wire::timestamp;

/// Log lines of one request.
const MAX_LINES: u32 = 10_000;
/// Log lines where the request names no number.
const DEFAULT_LINES: u32 = 100;
/// Log lines of one message.
const LINES_A_MESSAGE: usize = 200;

type LogSender = mpsc::Sender<Result<wire::TailLogsResponse, Status>>;

/// Sends what the rings hold, in order of time, then, if asked, what comes.
pub(super) async fn tail(
    plugins: Vec<Plugin>,
    request: wire::TailLogsRequest,
    sender: LogSender,
    stopping: tokio_util::sync::CancellationToken,
) {
    let generation = request.generation;
    let wanted = match request.lines {
        0 => DEFAULT_LINES,
        lines => lines.min(MAX_LINES),
    } as usize;
    let mut cursors = Vec::new();
    let mut held: Vec<(std::time::SystemTime, wire::tail_logs_response::Line)> = Vec::new();
    for plugin in &plugins {
        let logs = &plugin.view.logs;
        let read = logs.read(logs.newest(wanted as u64), wanted);
        let of_it = |line: &&Line| generation == 0 || line.generation.0 == generation;
        held.extend(read.lines.iter().filter(of_it).map(|line| (line.at, log_line(plugin, line))));
        cursors.push((read.next, logs.dropped()));
    }
    held.sort_by_key(|(at, _)| *at);
    let lines: Vec<_> = held.split_off(held.len().saturating_sub(wanted)).into_iter().map(|(_, line)| line).collect();
    for lines in lines.chunks(LINES_A_MESSAGE) {
        let response = wire::TailLogsResponse { lines: lines.to_vec(), dropped: 0 };
        if sender.send(Ok(response)).await.is_err() {
            return;
        }
    }
    if !request.follow {
        return;
    }
    let follows = plugins.iter().zip(cursors).map(|(plugin, cursor)| follow(plugin, cursor, generation, &sender));
    tokio::select! {
        _ = futures_util::future::join_all(follows) => {}
        () = sender.closed() => {}
        () = stopping.cancelled() => {}
    }
}

/// Sends what comes into one ring, from a place on.
async fn follow(plugin: &Plugin, (mut from, mut dropped): (u64, u64), generation: u64, sender: &LogSender) {
    let logs = &plugin.view.logs;
    let mut changes = logs.changes();
    loop {
        changes.mark_unchanged();
        let read = logs.read(from, LINES_A_MESSAGE);
        from = read.next;
        let of_it = |line: &&Line| generation == 0 || line.generation.0 == generation;
        let lines: Vec<_> = read.lines.iter().filter(of_it).map(|line| log_line(plugin, line)).collect();
        let lost = read.lost + logs.dropped() - std::mem::replace(&mut dropped, logs.dropped());
        if !lines.is_empty() || lost > 0 {
            let response = wire::TailLogsResponse { lines, dropped: lost };
            if sender.send(Ok(response)).await.is_err() {
                return;
            }
        }
        if read.lines.len() < LINES_A_MESSAGE && changes.changed().await.is_err() {
            return;
        }
    }
}

fn log_line(plugin: &Plugin, line: &Line) -> wire::tail_logs_response::Line {
    wire::tail_logs_response::Line {
        time: Some(timestamp(line.at)),
        plugin_id: plugin.view.id.to_string(),
        generation: line.generation.0,
        source: line.source.name().to_owned(),
        level: line.level.to_owned(),
        text: line.text.clone(),
        fields_json: line.fields_json.clone().into(),
        truncated: line.truncated,
    }
}
