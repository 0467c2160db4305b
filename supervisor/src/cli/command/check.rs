//! `check`: every problem of the configuration with its file and line. Needs no supervisor.

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::args::CheckArgs;
use crate::cli::config::{ConfigCheck, ConfigReport};
use crate::cli::connection::default_config_path;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::terminal::{BAD, GOOD};
use crate::cli::text::{count, safe};

#[derive(Serialize)]
struct Document {
    file: PathBuf,
    valid: bool,
    #[serde(flatten)]
    report: ConfigReport,
}

/// Checks the configuration. Exit code 1 where something is wrong.
pub(in crate::cli) fn check(context: &mut Context<'_>, args: &CheckArgs, check: ConfigCheck) -> Result<Exit, Failure> {
    let file = args.file.clone().map_or_else(default_config_path, Ok)?;
    let report = check(&file);
    let valid = report.problems.is_empty();
    let exit = if valid { Exit::Done } else { Exit::Failed };
    if context.global.json {
        context.document(&Document { file, valid, report })?;
        return Ok(exit);
    }
    for problem in &report.problems {
        let line = problem.line.map(|line| format!(":{line}")).unwrap_or_default();
        let place = format!("{}{line}", problem.file.display());
        let head = context.terminal.paint(BAD, format!("{}:", safe(&place)));
        context.line(format!("{head} {}", safe(&problem.message)))?;
    }
    for note in &report.notes {
        context.line(format!("note: {}", safe(note)))?;
    }
    let plugins = count(report.plugins.len() as u64, "plugin");
    let shown = file.display().to_string();
    if valid {
        let good = context.terminal.paint(GOOD, "sound");
        let names = if report.plugins.is_empty() { String::new() } else { format!(": {}", report.plugins.join(", ")) };
        context.line(format!("{} is {good}, {plugins}{}", safe(&shown), safe(&names)))?;
    } else {
        context.line(format!("{}: {}", safe(&shown), count(report.problems.len() as u64, "problem")))?;
    }
    Ok(exit)
}
