//! `guards`: a canary through every guard, and whether each guards.

use outrigger_proto::admin::v1 as admin;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::args::GuardsArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::terminal::{BAD, GOOD, WARN};
use crate::cli::text::{duration, safe};
use crate::cli::view::handler::Report;
use crate::cli::view::plugin::GuardStatus;

#[derive(Serialize)]
struct Document {
    guards: Vec<GuardStatus>,
    reports: Vec<Report>,
}

/// Checks guards. Exit code 1 where a declared guard does not guard, or did not answer.
pub(in crate::cli) async fn guards(context: &mut Context<'_>, args: GuardsArgs) -> Result<Exit, Failure> {
    let mut client = context.admin().await?;
    let request = admin::CheckGuardsRequest { plugin_id: args.plugin.unwrap_or_default() };
    let answer = context.wait(client.check_guards(request)).await?;
    let document = Document {
        guards: answer.guards.into_iter().map(GuardStatus::from).collect(),
        reports: answer.reports.into_iter().map(Report::from).collect(),
    };
    let holds = |guard: &GuardStatus| matches!(guard.state.as_str(), "served" | "denying");
    let answered = |report: &Report| matches!(report.outcome.as_str(), "allow" | "deny");
    let sound = document.guards.iter().all(holds) && document.reports.iter().all(answered);
    if context.global.json {
        context.document(&document)?;
        return Ok(if sound { Exit::Done } else { Exit::Failed });
    }
    if document.guards.is_empty() {
        context.line("no guards declared")?;
    }
    for guard in &document.guards {
        let style = match guard.state.as_str() {
            "served" => GOOD,
            "denying" => WARN,
            _ => BAD,
        };
        let state = context.terminal.paint(style, safe(&guard.state));
        let (plugin, what) = (safe(&guard.plugin_id), guard.guard.sentence());
        context.line(format!("{state} {plugin}: {} - {}", safe(&what), safe(&guard.meaning())))?;
    }
    for report in &document.reports {
        let style = if answered(report) { GOOD } else { BAD };
        let outcome = if answered(report) { "answered" } else { report.outcome.as_str() };
        let outcome = context.terminal.paint(style, safe(outcome));
        let elapsed = report.elapsed_us.map(std::time::Duration::from_micros).map(duration).unwrap_or_default();
        let message = report.message.as_deref().map(|message| format!(": {}", safe(message))).unwrap_or_default();
        context.line(format!(
            "  canary {outcome} by {}/{} in {elapsed}{message}",
            safe(&report.plugin_id),
            safe(&report.handler_id)
        ))?;
    }
    Ok(if sound { Exit::Done } else { Exit::Failed })
}
