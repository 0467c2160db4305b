//! `why`: what happened to a plugin, newest first, with the evidence, and what to do about it.

use outrigger_proto::admin::v1 as admin;

use super::control::now;
use crate::cli::Context;
use crate::cli::args::PluginArg;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure as CommandFailure;
use crate::cli::terminal::{BAD, BOLD, DIM};
use crate::cli::text::safe;
use crate::cli::view::explain::{Evidence, Explanation, Failure, Reclaim};

/// Tells why a plugin is as it is.
pub(in crate::cli) async fn why(context: &mut Context<'_>, args: PluginArg) -> Result<Exit, CommandFailure> {
    let mut client = context.admin().await?;
    let answer = context.wait(client.explain_plugin(admin::ExplainPluginRequest { plugin_id: args.plugin })).await?;
    let explanation = Explanation::from(answer);
    if context.global.json {
        context.document(&explanation)?;
        return Ok(Exit::Done);
    }
    let head = context.terminal.paint(BOLD, now(&explanation.plugin));
    context.line(head)?;
    if let Some(summary) = &explanation.summary {
        context.line(safe(summary))?;
    }
    for advice in &explanation.advice {
        context.line(format!("  -> {}", safe(advice)))?;
    }
    context.line("")?;
    if explanation.failures.is_empty() {
        context.line("no failures on record")?;
    }
    for failure in &explanation.failures {
        show_failure(context, failure)?;
    }
    if let Some(reclaim) = &explanation.last_reclaim {
        show_reclaim(context, reclaim)?;
    }
    Ok(Exit::Done)
}

fn show_failure(context: &mut Context<'_>, failure: &Failure) -> Result<(), CommandFailure> {
    let time = context.terminal.paint(DIM, failure.time.as_deref().unwrap_or("-"));
    let cause = context.terminal.paint(BAD, safe(&failure.cause.replace('_', " ")));
    let mut line = format!("{time} {cause}");
    if let Some(generation) = failure.generation {
        line.push_str(&format!(", generation {generation}"));
    }
    line.push_str(&format!(", {}", phase(&failure.phase)));
    if let Some(status) = failure.exit_status {
        line.push_str(&format!(", exit status {status}"));
    }
    if let Some(signal) = failure.signal {
        line.push_str(&format!(", signal {signal}"));
    }
    context.line(line)?;
    if let Some(message) = &failure.message {
        context.line(format!("  {}", safe(message)))?;
    }
    if !failure.stderr_tail.is_empty() {
        context.line("  last lines of stderr:")?;
        for line in &failure.stderr_tail {
            context.line(format!("  | {}", safe(line)))?;
        }
    }
    for evidence in &failure.evidence {
        show_evidence(context, evidence)?;
    }
    Ok(())
}

fn phase(phase: &str) -> String {
    match phase {
        "spawn" => "before the plugin's file ran".to_owned(),
        "hello" => "waiting for hello".to_owned(),
        "register" => "waiting for register".to_owned(),
        "serving" => "while serving".to_owned(),
        "draining" => "while draining".to_owned(),
        other => format!("phase {}", safe(other)),
    }
}

fn show_evidence(context: &mut Context<'_>, evidence: &Evidence) -> Result<(), CommandFailure> {
    let name = safe(&evidence.name);
    match (&evidence.text, &evidence.unreadable) {
        (Some(text), _) => {
            context.line(format!("  {name}:"))?;
            for line in text.lines() {
                context.line(format!("  | {}", safe(line)))?;
            }
            Ok(())
        }
        (None, Some(why)) => context.line(format!("  {name}: cannot be read: {}", safe(why))),
        (None, None) => context.line(format!("  {name}: not tried")),
    }
}

fn show_reclaim(context: &mut Context<'_>, reclaim: &Reclaim) -> Result<(), CommandFailure> {
    context.line("")?;
    let time = reclaim.started_at.as_deref().unwrap_or("-");
    let going_on = if reclaim.finished_at.is_none() { ", still going on" } else { "" };
    context.line(format!("last reclaim, {time}, cause {}{going_on}:", safe(&reclaim.cause.replace('_', " "))))?;
    for item in &reclaim.items {
        let kind = item.kind.replace('_', " ");
        context.line(format!(
            "  {}: {} released, {} kept, {} to do",
            safe(&kind),
            item.released,
            item.kept,
            item.failed
        ))?;
    }
    for failure in &reclaim.failures {
        let failed = context.terminal.paint(BAD, "not released");
        context.line(format!("  {failed}: {}: {}", safe(&failure.subject), safe(&failure.message)))?;
    }
    Ok(())
}
