//! `outrigger run`: the life of the supervisor's process. And `outrigger check`, which reads what it would read.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use outrigger::cli::{ConfigProblem, ConfigReport, Exit, Global, LogFormat, RunArgs};
use outrigger::config;
use outrigger::domain::spec::Entry;
use outrigger::transport::paths::{self, Env, PathError};
use outrigger::{Options, Report, StartError, Supervisor};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Runs until a signal or an operator ends it.
pub(crate) fn run(global: &Global, args: &RunArgs) -> ExitCode {
    outrigger::process::share_heaps();
    outrigger::process::step_aside();
    start_log(args.log_format);
    let options = match options(global, args) {
        Ok(options) => options,
        Err(error) => return failed(&format!("failed to {error}")),
    };
    // One thread for all that is fast; what blocks has threads of its own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("failed to make an event loop: {error}")),
    };
    match runtime.block_on(live(options)) {
        Ok(report) if report.killed.is_empty() => ExitCode::SUCCESS,
        Ok(report) => {
            tracing::warn!("had to be killed: {}", report.killed.join(", "));
            Exit::Failed.into()
        }
        Err(error) => failed(&format!("failed to {error}")),
    }
}

async fn live(options: Options) -> Result<Report, StartError> {
    let (state_dir, config) = (options.state_dir.clone(), options.config.clone());
    let supervisor = Supervisor::start(options).await?;
    tracing::info!(
        pid = std::process::id(),
        config = %config.display(),
        state = %state_dir.display(),
        runtime_socket = %supervisor.runtime_socket().display(),
        admin_socket = %supervisor.admin_socket().display(),
        "outrigger {} accepts",
        env!("CARGO_PKG_VERSION")
    );
    tokio::select! {
        () = terminated() => {}
        () = supervisor.stop_asked() => tracing::info!("an operator asked to stop"),
    }
    let report = supervisor.stop().await;
    tracing::info!("stopped");
    Ok(report)
}

/// SIGTERM or SIGINT. SIGHUP is left to its default where the terminal goes: the supervisor of a closed terminal ends.
async fn terminated() {
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()))
    else {
        tracing::error!("signals cannot be received: only `outrigger shutdown` stops in order");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        _ = hangup.recv() => tracing::info!("SIGHUP: stopping"),
    }
}

fn options(global: &Global, args: &RunArgs) -> Result<Options, PathError> {
    let env = Env::current();
    let (runtime_dir, state_dir) = directories(global, &env)?;
    let config = paths::config_file(&env, args.config.as_deref())?;
    Ok(Options { config, runtime_dir, state_dir, subreaper: true })
}

fn directories(global: &Global, env: &Env) -> Result<(PathBuf, PathBuf), PathError> {
    let runtime_dir = global.runtime_dir.clone().map_or_else(|| paths::runtime_dir(env), Ok)?;
    let state_dir = global.state_dir.clone().map_or_else(|| paths::state_dir(env), Ok)?;
    Ok((runtime_dir, state_dir))
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_env("OUTRIGGER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => log.json().init(),
    }
}

fn failed(why: &str) -> ExitCode {
    tracing::error!("{why}");
    Exit::Failed.into()
}

/// Reads a configuration and all it names, and starts nothing.
pub(crate) fn check(path: &Path) -> ConfigReport {
    let mut report = ConfigReport::default();
    let state_dir = paths::state_dir(&Env::current()).unwrap_or_else(|_| PathBuf::from("/var/lib/outrigger"));
    let config = match config::load(path, &state_dir, &|_| None) {
        Ok(config) => config,
        Err(problems) => {
            report.problems = problems.0.iter().map(problem).collect();
            return report;
        }
    };
    for entry in &config.entries {
        match entry {
            Entry::Sound(spec) => report.plugins.push(spec.id.to_string()),
            Entry::Broken(broken) => {
                let told = broken.problems.iter().map(|message| ConfigProblem {
                    file: path.to_owned(),
                    line: None,
                    message: format!("plugin `{}`: {message}", broken.id),
                });
                report.problems.extend(told);
            }
        }
    }
    report.notes.extend(config.warnings.iter().map(ToString::to_string));
    // What one hostile plugin can make the supervisor hold, by the bounds of each queue and table.
    const WORST_CASE_MIB: usize = 32;
    let plugins = config.entries.len();
    report.notes.push(format!(
        "at worst {} MiB of the supervisor's memory for {plugins} plugin(s): {WORST_CASE_MIB} MiB each",
        plugins * WORST_CASE_MIB
    ));
    report
}

fn problem(problem: &config::problem::Problem) -> ConfigProblem {
    let whole = problem.to_string();
    let place = match problem.line {
        Some(line) => format!("{}:{line}: ", problem.file.display()),
        None => format!("{}: ", problem.file.display()),
    };
    let message = whole.strip_prefix(&place).unwrap_or(&whole).to_owned();
    ConfigProblem { file: problem.file.clone(), line: problem.line.and_then(|line| u32::try_from(line).ok()), message }
}
