//! `start`, `restart` and `reload`.

use std::time::Duration;

use outrigger_proto::admin::v1 as admin;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::args::{PluginArg, StartArgs};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::text::{count, duration, safe};
use crate::cli::view::plugin::Plugin;
use crate::cli::view::{length, name, nonzero};

/// How a process tree ended.
#[derive(Debug, Serialize)]
pub(super) struct StopReport {
    /// Last step that was needed: `unknown` where there was no process.
    step: String,
    exit_status: Option<i32>,
    signal: Option<u32>,
    cut_off_invocations: u32,
    elapsed_ms: Option<u64>,
}

impl From<admin::StopReport> for StopReport {
    fn from(wire: admin::StopReport) -> Self {
        Self {
            step: name!(admin::StopStep, "STOP_STEP_", wire.step),
            exit_status: wire.exit_status,
            signal: nonzero(wire.signal),
            cut_off_invocations: wire.cut_off_invocations,
            elapsed_ms: length(wire.elapsed).map(|elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

impl StopReport {
    /// `while draining, exit status 0, in 12ms`.
    pub(super) fn sentence(&self) -> String {
        let mut sentence = match self.step.as_str() {
            "unknown" => return "there was no process".to_owned(),
            "drain" => "ended while draining".to_owned(),
            "shutdown" => "ended when asked to".to_owned(),
            "sigterm" => "ended on SIGTERM".to_owned(),
            "sigkill" => "had to be killed".to_owned(),
            other => other.to_owned(),
        };
        if let Some(status) = self.exit_status {
            sentence.push_str(&format!(", exit status {status}"));
        }
        if let Some(signal) = self.signal {
            sentence.push_str(&format!(", signal {signal}"));
        }
        if let Some(elapsed) = self.elapsed_ms {
            sentence.push_str(&format!(", in {}", duration(Duration::from_millis(elapsed))));
        }
        if self.cut_off_invocations > 0 {
            sentence.push_str(&format!("; {} cut off", count(u64::from(self.cut_off_invocations), "call")));
        }
        sentence
    }
}

#[derive(Serialize)]
struct Started {
    plugin: Plugin,
}

#[derive(Serialize)]
struct Restarted {
    plugin: Plugin,
    report: Option<StopReport>,
}

#[derive(Serialize)]
struct Reloaded {
    plugin: Plugin,
    previous_generation: Option<u64>,
}

/// Starts a plugin and waits until it is ready or has failed.
pub(in crate::cli) async fn start(context: &mut Context<'_>, args: StartArgs) -> Result<Exit, Failure> {
    let mut client = context.admin().await?;
    let request = admin::StartPluginRequest { plugin_id: args.plugin.clone(), reset: args.reset };
    let answer = context.wait(client.start_plugin(request)).await?;
    let plugin = Plugin::from(answer.plugin.unwrap_or_default());
    let exit = exit(&plugin);
    if context.global.json {
        context.document(&Started { plugin })?;
        return Ok(exit);
    }
    context.line(now(&plugin))?;
    if plugin.state == "quarantined" && !args.reset {
        context.line(format!("  -> `outrigger start {} --reset` releases it from quarantine", args.plugin))?;
    }
    Ok(exit)
}

/// Stops and starts a plugin.
pub(in crate::cli) async fn restart(context: &mut Context<'_>, args: PluginArg) -> Result<Exit, Failure> {
    let mut client = context.admin().await?;
    let answer = context.wait(client.restart_plugin(admin::RestartPluginRequest { plugin_id: args.plugin })).await?;
    let plugin = Plugin::from(answer.plugin.unwrap_or_default());
    let report = answer.report.map(StopReport::from);
    let exit = exit(&plugin);
    if context.global.json {
        context.document(&Restarted { plugin, report })?;
        return Ok(exit);
    }
    if let Some(report) = &report {
        context.line(format!("the old process: {}", report.sentence()))?;
    }
    context.line(now(&plugin))?;
    Ok(exit)
}

/// Swaps a plugin for its next generation.
pub(in crate::cli) async fn reload(context: &mut Context<'_>, args: PluginArg) -> Result<Exit, Failure> {
    let mut client = context.admin().await?;
    let request = admin::ReloadPluginRequest { plugin_id: args.plugin, drain_timeout: None };
    let answer = context.wait(client.reload_plugin(request)).await?;
    let plugin = Plugin::from(answer.plugin.unwrap_or_default());
    let previous_generation = nonzero(answer.previous_generation);
    let exit = exit(&plugin);
    if context.global.json {
        context.document(&Reloaded { plugin, previous_generation })?;
        return Ok(exit);
    }
    let before = previous_generation.map(|number| format!(" (generation {number} before)")).unwrap_or_default();
    context.line(format!("{}{before}", now(&plugin)))?;
    Ok(exit)
}

/// `policy-gate is ready, generation 4, pid 4711`.
pub(in crate::cli) fn now(plugin: &Plugin) -> String {
    let mut text = format!("{} is {}", plugin.plugin_id, plugin.state);
    if let Some(generation) = plugin.generation {
        text.push_str(&format!(", generation {generation}"));
    }
    if let Some(pid) = plugin.pid {
        text.push_str(&format!(", pid {pid}"));
    }
    let remarks = super::status::remarks(plugin).join("; ");
    if !remarks.is_empty() {
        text.push_str(&format!(": {remarks}"));
    }
    safe(&text).into_owned()
}

fn exit(plugin: &Plugin) -> Exit {
    if plugin.is_ready() { Exit::Done } else { Exit::Plugin }
}
