//! `guards` and `check --live`: a canary through every guard, and whether each guards.

use outrigger_proto::admin::v1 as admin;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::args::GuardsArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::table::{Column, lines};
use crate::cli::terminal::{BAD, DIM, GOOD, WARN};
use crate::cli::text::{count, duration, safe};
use crate::cli::view::handler::Report;
use crate::cli::view::plugin::GuardStatus;

#[derive(Serialize)]
struct Document {
    guards: Vec<GuardStatus>,
    reports: Vec<Report>,
}

/// What `check --live` answers.
#[derive(Serialize)]
struct Live {
    /// Every canary was answered.
    answered: bool,
    #[serde(flatten)]
    document: Document,
}

const COLUMNS: &[Column] = &[
    Column::new("PLUGIN"),
    Column::new("HANDLER").rank(2),
    Column::new("CANARY"),
    Column::new("TIME").right().rank(1),
    Column::new("MESSAGE").cut(),
];

async fn ask(context: &mut Context<'_>, plugin_id: String) -> Result<Document, Failure> {
    let mut client = context.admin().await?;
    let answer = context.wait(client.check_guards(admin::CheckGuardsRequest { plugin_id })).await?;
    Ok(Document {
        guards: answer.guards.into_iter().map(GuardStatus::from).collect(),
        reports: answer.reports.into_iter().map(Report::from).collect(),
    })
}

/// It answered the canary; what it said does not matter.
fn answered(report: &Report) -> bool {
    matches!(report.outcome.as_str(), "allow" | "deny")
}

/// Tries every guard of the running supervisor. Exit code 1 where one that counts did not answer; one that an operator
/// lifted, or never granted, does not count, and is told.
pub(in crate::cli) async fn live(context: &mut Context<'_>) -> Result<Exit, Failure> {
    let document = ask(context, String::new()).await?;
    // A guard of a plugin that serves can be without a handler: nothing of it was tried.
    let unserved = |guard: &&GuardStatus| matches!(guard.state.as_str(), "denying" | "skipped");
    let silent = document.reports.iter().filter(|report| !answered(report)).count();
    let sound = silent == 0 && document.guards.iter().all(|guard| !unserved(&guard));
    let exit = if sound { Exit::Done } else { Exit::Failed };
    if context.global.json {
        context.document(&Live { answered: sound, document })?;
        return Ok(exit);
    }
    if !document.reports.is_empty() {
        let rows: Vec<_> = document.reports.iter().map(report_row).collect();
        for (index, line) in lines(COLUMNS, &rows, context.terminal.width).into_iter().enumerate() {
            let style = match index.checked_sub(1).and_then(|index| document.reports.get(index)) {
                None => Some(DIM),
                Some(report) => (!answered(report)).then_some(BAD),
            };
            let line = style.map_or(line.clone(), |style| context.terminal.paint(style, line));
            context.line(line)?;
        }
    }
    for guard in document.guards.iter().filter(|guard| guard.state != "served") {
        let mark = context.terminal.paint(if unserved(&guard) { BAD } else { WARN }, "!");
        let (plugin, what) = (safe(&guard.plugin_id), guard.guard.sentence());
        context.line(format!("{mark} {plugin}: {} - {}", safe(&what), safe(&guard.meaning())))?;
    }
    let tried = count(document.reports.len() as u64, "guard");
    let verdict = match (sound, document.reports.is_empty()) {
        (true, true) => context.terminal.paint(WARN, "no guard counts"),
        (true, false) => format!("{tried} tried, {}", context.terminal.paint(GOOD, "every one answered")),
        (false, _) => {
            let wrong = if silent > 0 { format!("{silent} did not answer") } else { "some are not served".to_owned() };
            format!("{tried} tried, {}", context.terminal.paint(BAD, wrong))
        }
    };
    context.line(verdict)?;
    Ok(exit)
}

fn report_row(report: &Report) -> Vec<String> {
    let word = if answered(report) { "answered" } else { report.outcome.as_str() };
    let mut message = report.message.clone().unwrap_or_default();
    if let Some(state) = &report.plugin_state
        && message.is_empty()
    {
        message = format!("the plugin is {state}");
    }
    vec![
        report.plugin_id.clone(),
        if report.handler_id.is_empty() { "-".to_owned() } else { report.handler_id.clone() },
        word.to_owned(),
        super::hooks::micros(report.elapsed_us),
        message,
    ]
}

/// Checks guards. Exit code 1 where a declared guard does not guard, or did not answer.
pub(in crate::cli) async fn guards(context: &mut Context<'_>, args: GuardsArgs) -> Result<Exit, Failure> {
    let document = ask(context, args.plugin.unwrap_or_default()).await?;
    let holds = |guard: &GuardStatus| matches!(guard.state.as_str(), "served" | "denying");
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
