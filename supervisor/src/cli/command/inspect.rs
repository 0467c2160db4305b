//! `inspect`: all about one plugin. What does not hold for it comes first and is said plainly.

use std::time::Duration;

use outrigger_proto::admin::v1 as admin;

use super::status::{age, colour, remarks};
use crate::cli::Context;
use crate::cli::args::PluginArg;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::table::{Column, lines};
use crate::cli::terminal::{BAD, BOLD, GOOD, WARN};
use crate::cli::text::{bytes, count, duration, safe};
use crate::cli::view::plugin::{Detail, Plugin};

/// Shows all about a plugin.
pub(in crate::cli) async fn inspect(context: &mut Context<'_>, args: PluginArg) -> Result<Exit, Failure> {
    let mut client = context.admin().await?;
    let detail = context.wait(client.get_plugin(admin::GetPluginRequest { plugin_id: args.plugin })).await?;
    let detail = Detail::from(detail);
    if context.global.json {
        context.document(&detail)?;
        return Ok(Exit::Done);
    }
    head(context, &detail)?;
    exposures(context, &detail.exposures)?;
    resources(context, &detail.plugin)?;
    guards(context, &detail)?;
    rights(context, &detail)?;
    items(context, &detail)?;
    handlers(context, &detail)?;
    sandbox(context, &detail)?;
    Ok(Exit::Done)
}

fn head(context: &mut Context<'_>, detail: &Detail) -> Result<(), Failure> {
    let plugin = &detail.plugin;
    let mark = context.terminal.paint(colour(&plugin.state), "●");
    let mut title = plugin.plugin_id.clone();
    if let Some(version) = &plugin.version {
        title.push_str(&format!(" {version}"));
    }
    if plugin.name != plugin.plugin_id && !plugin.name.is_empty() {
        title.push_str(&format!(" - {}", plugin.name));
    }
    let title = context.terminal.paint(BOLD, safe(&title));
    context.line(format!("{mark} {title}"))?;

    let state = context.terminal.paint(colour(&plugin.state), safe(&plugin.state));
    let since = age(context, plugin.since.as_deref()).map(|age| format!(" for {age}")).unwrap_or_default();
    let remarks = remarks(plugin);
    let why = if remarks.is_empty() { String::new() } else { format!(": {}", safe(&remarks.join("; "))) };
    context.line(format!("  state       {state}{since}{why}"))?;
    fact(context, "tier", &plugin.tier)?;
    fact(context, "generation", &plugin.generation.map_or("never launched".to_owned(), |number| number.to_string()))?;
    if let Some(pid) = plugin.pid {
        fact(context, "pid", &pid.to_string())?;
    }
    fact(context, "command", &detail.command.join(" "))?;
    let pinned = detail.tree_sha256.as_deref().map_or("not pinned".to_owned(), |digest| format!("sha256 {digest}"));
    fact(context, "package", &pinned)?;
    if let Some(sdk) = &detail.sdk {
        fact(context, "sdk", sdk)?;
    }
    let protocol = detail.protocol_version.map_or("no session".to_owned(), |version| format!("version {version}"));
    fact(context, "protocol", &protocol)?;
    let counts = format!(
        "{} of it or because it was absent; {} after a failure, {} since it was last stable",
        count(plugin.denials, "denial"),
        count(u64::from(plugin.restarts), "launch"),
        count(u64::from(plugin.recent_failures), "failure"),
    );
    fact(context, "counts", &counts)?;
    if !detail.environment_names.is_empty() {
        fact(context, "environment", &detail.environment_names.join(" "))?;
    }
    Ok(())
}

fn fact(context: &mut Context<'_>, title: &str, text: &str) -> Result<(), Failure> {
    context.line(format!("  {title:<11} {}", safe(text)))
}

fn section(context: &mut Context<'_>, title: &str) -> Result<(), Failure> {
    let title = context.terminal.paint(BOLD, title);
    context.line("")?;
    context.line(title)
}

fn exposures(context: &mut Context<'_>, exposures: &[String]) -> Result<(), Failure> {
    section(context, "What does not hold")?;
    if exposures.is_empty() {
        let good = context.terminal.paint(GOOD, "nothing: all protections hold");
        return context.line(format!("  {good}"));
    }
    for exposure in exposures {
        let mark = context.terminal.paint(BAD, "!");
        context.line(format!("  {mark} {}", safe(exposure)))?;
    }
    Ok(())
}

fn resources(context: &mut Context<'_>, plugin: &Plugin) -> Result<(), Failure> {
    let Some(used) = &plugin.resources else { return Ok(()) };
    section(context, "Resources")?;
    let limit = used.memory_limit_bytes.map_or("no limit".to_owned(), |limit| format!("limit {}", bytes(limit)));
    fact(context, "memory", &format!("{}, peak {}, {limit}", bytes(used.memory_bytes), bytes(used.peak_memory_bytes)))?;
    if let Some(cpu) = used.cpu_time_ms {
        fact(context, "cpu", &duration(Duration::from_millis(cpu)))?;
    }
    fact(
        context,
        "tree",
        &[(used.processes, "process"), (used.threads, "thread"), (used.descriptors, "descriptor")]
            .map(|(number, thing)| count(u64::from(number), thing))
            .join(", "),
    )?;
    fact(context, "calls", &format!("{} in flight, {} queued", used.invocations_in_flight, bytes(used.queued_bytes)))?;
    if let (Some(p50), Some(p99)) = (plugin.p50_us, plugin.p99_us) {
        let micros = |micros| duration(Duration::from_micros(micros));
        fact(context, "last minute", &format!("p50 {}, p99 {}", micros(p50), micros(p99)))?;
    }
    Ok(())
}

fn guards(context: &mut Context<'_>, detail: &Detail) -> Result<(), Failure> {
    section(context, "Guards")?;
    if detail.declared_guards.is_empty() {
        return context.line("  none declared");
    }
    for guard in &detail.declared_guards {
        let style = match guard.state.as_str() {
            "served" => GOOD,
            "denying" => WARN,
            _ => BAD,
        };
        let state = context.terminal.paint(style, safe(&guard.state));
        context.line(format!("  {state} {}: {}", safe(&guard.guard.sentence()), safe(&guard.meaning())))?;
    }
    Ok(())
}

fn rights(context: &mut Context<'_>, detail: &Detail) -> Result<(), Failure> {
    section(context, "Rights")?;
    if detail.grants.is_empty() {
        return context.line("  none");
    }
    for grant in &detail.grants {
        let mut line = grant.scope.clone();
        if !grant.names.is_empty() {
            line.push_str(&format!(": {}", grant.names.join(", ")));
        }
        for quota in &grant.quotas {
            line.push_str(&format!(" [{}]", super::rights::quota(quota)));
        }
        context.line(format!("  {}", safe(&line)))?;
    }
    Ok(())
}

fn items(context: &mut Context<'_>, detail: &Detail) -> Result<(), Failure> {
    section(context, "Registered")?;
    if detail.items.is_empty() {
        return context.line("  nothing");
    }
    for item in &detail.items {
        if item.accepted {
            context.line(format!("  {} {}", safe(&item.kind), safe(&item.id)))?;
            continue;
        }
        let refused = context.terminal.paint(BAD, "refused");
        let why = item.message.as_deref().unwrap_or("no reason given");
        context.line(format!("  {} {} {refused}: {}", safe(&item.kind), safe(&item.id), safe(why)))?;
        if let Some(remedy) = &item.remedy {
            context.line(format!("    -> {}", safe(remedy)))?;
        }
    }
    Ok(())
}

fn handlers(context: &mut Context<'_>, detail: &Detail) -> Result<(), Failure> {
    if detail.handlers.is_empty() {
        return Ok(());
    }
    section(context, "Handlers")?;
    let rows: Vec<_> = detail.handlers.iter().map(super::hooks::stats_row).collect();
    for line in lines(super::hooks::STATS_COLUMNS, &rows, context.terminal.width.map(|width| width.saturating_sub(2))) {
        context.line(format!("  {line}"))?;
    }
    Ok(())
}

fn sandbox(context: &mut Context<'_>, detail: &Detail) -> Result<(), Failure> {
    if detail.sandbox.is_empty() {
        return Ok(());
    }
    section(context, "Sandbox")?;
    const COLUMNS: &[Column] =
        &[Column::new("RUNG"), Column::new("MODE"), Column::new("APPLIED"), Column::new("DETAIL").cut()];
    let rows: Vec<_> = detail
        .sandbox
        .iter()
        .map(|rung| {
            let applied = if rung.applied { "yes" } else { "no" };
            vec![rung.name.clone(), rung.mode.clone(), applied.to_owned(), rung.detail.clone().unwrap_or_default()]
        })
        .collect();
    for line in lines(COLUMNS, &rows, context.terminal.width.map(|width| width.saturating_sub(2))) {
        context.line(format!("  {line}"))?;
    }
    Ok(())
}
