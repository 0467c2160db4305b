//! `stop`: an operator's stop lifts the plugin's guards, so it names them and asks first.

use outrigger_proto::admin::v1 as admin;
use serde::Serialize;

use super::control::{StopReport, now};
use crate::cli::Context;
use crate::cli::args::StopArgs;
use crate::cli::connection::Admin;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::terminal::WARN;
use crate::cli::text::safe;
use crate::cli::view::plugin::{Guard, Plugin};

#[derive(Serialize)]
struct Stopped {
    plugin: Plugin,
    report: Option<StopReport>,
    unguarded: Vec<Guard>,
}

/// Stops a plugin.
pub(in crate::cli) async fn stop(context: &mut Context<'_>, args: StopArgs) -> Result<Exit, Failure> {
    let mut client = context.admin().await?;
    let answer = match ask_supervisor(context, &mut client, &args, args.yes).await {
        Err(failure) if failure.reason() == Some("GUARDS_HOLD") => {
            confirm(context, &mut client, &args, failure).await?;
            ask_supervisor(context, &mut client, &args, true).await?
        }
        answer => answer?,
    };
    let stopped = Stopped {
        plugin: answer.plugin.unwrap_or_default().into(),
        report: answer.report.map(StopReport::from),
        unguarded: answer.unguarded.into_iter().map(Guard::from).collect(),
    };
    if context.global.json {
        context.document(&stopped)?;
        return Ok(Exit::Done);
    }
    if let Some(report) = &stopped.report {
        context.line(format!("the process: {}", report.sentence()))?;
    }
    context.line(now(&stopped.plugin))?;
    for guard in &stopped.unguarded {
        let head = context.terminal.paint(WARN, "not guarded any more:");
        context.line(format!("{head} {}", safe(&guard.sentence())))?;
    }
    Ok(Exit::Done)
}

async fn ask_supervisor(
    context: &Context<'_>,
    client: &mut Admin,
    args: &StopArgs,
    confirm_unguarded: bool,
) -> Result<admin::StopPluginResponse, Failure> {
    let request = admin::StopPluginRequest {
        plugin_id: args.plugin.clone(),
        drain_timeout: None,
        kill: args.kill,
        confirm_unguarded,
        dry_run: false,
    };
    context.wait(client.stop_plugin(request)).await
}

/// Names what would be unguarded and asks. Without a person to ask, or with `--json`, the answer is no.
async fn confirm(
    context: &mut Context<'_>,
    client: &mut Admin,
    args: &StopArgs,
    refused: Failure,
) -> Result<(), Failure> {
    let request = admin::StopPluginRequest {
        plugin_id: args.plugin.clone(),
        dry_run: true,
        ..admin::StopPluginRequest::default()
    };
    let guards: Vec<_> =
        context.wait(client.stop_plugin(request)).await?.unguarded.into_iter().map(Guard::from).collect();
    let would = guards.iter().map(|guard| format!("would not be guarded any more: {}", guard.sentence()));
    let person = !context.global.json && context.terminal.answers.is_some();
    if !person {
        return Err(refused
            .details(would)
            .remedy(format!("repeat with --yes to let them go: `outrigger stop {} --yes`", args.plugin)));
    }
    context.flush()?;
    for line in would {
        // A question nobody can read is not answered with yes either.
        let _ = writeln!(context.terminal.err, "{}", safe(&line));
    }
    match context.terminal.confirm(&format!("Stop {} and leave this unguarded?", args.plugin)) {
        Some(true) => Ok(()),
        Some(false) | None => Err(Failure::new(Exit::GuardsHold, format!("{} was not stopped", args.plugin))),
    }
}
