//! `replay`: plays recorded traces of an agent the way its runtime would, and tells what the plugins made of them.
//!
//! [`trace`] reads the files, [`runtime_client`] is what any agent runtime needs to talk to a supervisor, [`player`]
//! turns a recorded hook into a call, [`report`] counts and prints.

pub(super) mod player;
pub(super) mod report;
pub(super) mod runtime_client;
pub(super) mod trace;

use std::collections::BTreeSet;
use std::time::Duration;

use self::player::{Pace, Player};
use self::report::Report;
use self::trace::{Step, Trace};
use super::args::ReplayArgs;
use super::exit::Exit;
use super::failure::Failure;
use super::{Context, connection};
use crate::domain::hook::Hook;

/// Plays traces. Exit code 1 where a call failed, 3 where the supervisor went away; a no of a plugin is a result.
pub(super) async fn replay(context: &mut Context<'_>, args: ReplayArgs) -> Result<Exit, Failure> {
    // All of it is read before anything is played: a bad line in the last file is no surprise after minutes.
    let traces = args.files.iter().map(|file| Trace::read(file)).collect::<Result<Vec<_>, _>>();
    let mut traces = traces.map_err(|error| {
        Failure::new(Exit::Failed, error.to_string())
            .remedy("one JSON object a line, as sdk-fixtures/traces/README.md tells")
    })?;
    for trace in &mut traces {
        trace.keep(|call| {
            let hook = args.hooks.is_empty() || args.hooks.contains(&call.hook);
            let tool = !call.hook.row().by_tool || args.tools.is_empty() || args.tools.contains(&call.tool_name());
            hook && tool
        });
    }
    let pace = match (args.speed, args.gap_max) {
        (Some(speed), _) => Pace::Scaled(speed),
        (None, Some(millis)) => Pace::AtMost(Duration::from_millis(millis)),
        (None, None) => Pace::None,
    };
    let served: BTreeSet<Hook> = traces.iter().flat_map(|trace| trace.calls.iter().map(|call| call.hook)).collect();
    let client = connection::runtime(context.global, &args.runtime).await?;
    let mut player = context.within(Player::attach(client, served)).await?;

    let name_width = traces.iter().map(|trace| trace.name.chars().count()).max().unwrap_or(0);
    let mut report = Report::new(&traces);
    for trace in &traces {
        let mut before = None;
        for step in trace.steps() {
            if args.no_events && matches!(step, Step::Event(_)) {
                continue;
            }
            player.pause(pace.gap(before.replace(step.at()), step.at())).await;
            let call = match step {
                Step::Call(call) => call,
                Step::Event(event) => {
                    report.add_event(player.publish(event).await);
                    continue;
                }
            };
            let played = player.play(call).await;
            let decision = report.add(&trace.name, call, played);
            if let Some(decision) = decision.filter(|_| !context.global.json) {
                let line = decision.line(context.terminal, name_width);
                context.line(line)?;
                context.flush()?;
            }
        }
    }
    if context.global.json {
        context.document(&report.document())?;
    } else {
        for line in report.summary(context.terminal) {
            context.line(line)?;
        }
    }
    if !player.is_attached() {
        return Err(Failure::new(
            Exit::NoSupervisor,
            "the supervisor went away: what guards guard was denied from then on",
        )
        .remedy("see whether `outrigger status` answers, then replay again"));
    }
    Ok(if report.has_failures() { Exit::Failed } else { Exit::Done })
}
