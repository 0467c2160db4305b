//! `status`: the supervisor and its plugins, once or as they change.

use std::time::Duration;

use anstyle::Style;
use jiff::Timestamp;
use outrigger_proto::admin::v1 as admin;
use serde::Serialize;

use crate::cli::args::StatusArgs;
use crate::cli::connection::Admin;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::table::{Column, lines};
use crate::cli::terminal::{BAD, BOLD, DIM, GOOD, WARN};
use crate::cli::text::{bytes, count, duration, safe};
use crate::cli::view::plugin::Plugin;
use crate::cli::view::supervisor::Supervisor;
use crate::cli::{Context, json};

/// Most pages of plugins that are asked for: more than any supervisor can run.
const MAX_PAGES: usize = 100;
/// Marks a plugin's line; its colour tells its state.
const MARK: &str = "●";

const COLUMNS: &[Column] = &[
    Column::new(""),
    Column::new("PLUGIN"),
    Column::new("STATE"),
    Column::new("SINCE").right().rank(3),
    Column::new("GEN").right().rank(5),
    Column::new("PID").right().rank(4),
    Column::new("MEMORY").right().rank(6),
    Column::new("CPU").right().rank(7),
    Column::new("GUARDS").right().rank(1),
    Column::new("DENIALS").right().rank(2),
    Column::new("RESTARTS").right().rank(2),
    Column::new("MESSAGE").cut(),
];

#[derive(Serialize)]
struct Document {
    supervisor: Supervisor,
    plugins: Vec<Plugin>,
}

/// Shows the supervisor and its plugins.
pub(in crate::cli) async fn status(context: &mut Context<'_>, args: StatusArgs) -> Result<Exit, Failure> {
    let mut client = context.admin().await?;
    if args.follow {
        return follow(context, &mut client, args.plugins).await;
    }
    let supervisor = context.wait(client.get_supervisor(admin::GetSupervisorRequest {})).await?;
    let supervisor = Supervisor::from(supervisor);
    let mut plugins = context.within(list(&mut client)).await?;
    let unknown: Vec<_> =
        args.plugins.iter().filter(|name| !plugins.iter().any(|plugin| plugin.plugin_id == **name)).cloned().collect();
    if !args.plugins.is_empty() {
        plugins.retain(|plugin| args.plugins.contains(&plugin.plugin_id));
    }
    let all_ready = plugins.iter().all(Plugin::is_ready);
    if context.global.json {
        context.document(&Document { supervisor, plugins })?;
    } else {
        show_supervisor(context, &supervisor)?;
        show_plugins(context, &plugins)?;
    }
    if !unknown.is_empty() {
        return Err(Failure::new(Exit::Plugin, format!("there is no plugin `{}`", unknown.join("`, `")))
            .remedy("`outrigger status` lists the plugins"));
    }
    Ok(if args.plugins.is_empty() || all_ready { Exit::Done } else { Exit::Plugin })
}

/// All plugins, page by page.
pub(super) async fn list(client: &mut Admin) -> Result<Vec<Plugin>, Failure> {
    let mut plugins = Vec::new();
    let mut page_token = String::new();
    for _ in 0..MAX_PAGES {
        let request = admin::ListPluginsRequest { states: Vec::new(), page_size: 1_000, page_token };
        let page = client.list_plugins(request).await?.into_inner();
        plugins.extend(page.plugins.into_iter().map(Plugin::from));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(plugins);
        }
    }
    Err(Failure::new(Exit::Failed, "the list of plugins has no end"))
}

fn show_supervisor(context: &mut Context<'_>, supervisor: &Supervisor) -> Result<(), Failure> {
    let mut head = format!("outrigger {}, pid {}", safe(&supervisor.version), supervisor.pid);
    if let Some(up) = age(context, supervisor.started_at.as_deref()) {
        head.push_str(&format!(", up {up}"));
    }
    let mark = context.terminal.paint(GOOD, MARK);
    let head = context.terminal.paint(BOLD, head);
    context.line(format!("{mark} {head}"))?;
    if let Some(path) = &supervisor.config_path {
        context.line(format!("  config    {}", safe(path)))?;
    }
    if supervisor.runtimes.is_empty() {
        context.line("  runtimes  none attached")?;
    }
    for (index, runtime) in supervisor.runtimes.iter().enumerate() {
        let title = if index == 0 { "  runtimes  " } else { "            " };
        let software = runtime.software.as_deref().map(|software| format!(" ({})", safe(software))).unwrap_or_default();
        let gone = if runtime.connected { "" } else { ", not connected" };
        let runs = count(u64::from(runtime.live_runs), "run");
        context.line(format!("{title}{}{software}, {runs}{gone}", safe(&runtime.runtime_id)))?;
    }
    if supervisor.pending_directives > 0 {
        context.line(format!("  pending   {} not acknowledged", count(supervisor.pending_directives, "directive")))?;
    }
    Ok(())
}

fn show_plugins(context: &mut Context<'_>, plugins: &[Plugin]) -> Result<(), Failure> {
    context.line("")?;
    if plugins.is_empty() {
        return context.line("  no plugins");
    }
    let rows: Vec<_> = plugins.iter().map(|plugin| row(context, plugin)).collect();
    let table = lines(COLUMNS, &rows, context.terminal.width);
    for (index, line) in table.iter().enumerate() {
        let shown = match index.checked_sub(1).and_then(|index| plugins.get(index)) {
            None => context.terminal.paint(DIM, line),
            Some(plugin) => line.replacen(MARK, &context.terminal.paint(colour(&plugin.state), MARK), 1),
        };
        context.line(shown)?;
    }
    Ok(())
}

fn row(context: &Context<'_>, plugin: &Plugin) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let used = plugin.resources.as_ref();
    let cpu = used.and_then(|used| used.cpu_time_ms).map(|cpu| duration(Duration::from_millis(cpu)));
    let guards = match plugin.ungranted_guards {
        0 => plugin.guards.to_string(),
        more => format!("{}+{more}", plugin.guards),
    };
    vec![
        MARK.to_owned(),
        plugin.plugin_id.clone(),
        plugin.state.clone(),
        or_dash(age(context, plugin.since.as_deref())),
        or_dash(plugin.generation.map(|generation| generation.to_string())),
        or_dash(plugin.pid.map(|pid| pid.to_string())),
        or_dash(used.map(|used| bytes(used.memory_bytes))),
        or_dash(cpu),
        guards,
        plugin.denials.to_string(),
        plugin.restarts.to_string(),
        remarks(plugin).join("; "),
    ]
}

/// What a person should know of a plugin, most urgent first.
pub(in crate::cli) fn remarks(plugin: &Plugin) -> Vec<String> {
    let mut remarks = Vec::new();
    if !plugin.enabled {
        remarks.push("disabled".to_owned());
    }
    remarks.extend(plugin.message.clone());
    if let Some(wait) = plugin.retry_after_ms.filter(|_| !plugin.is_ready()) {
        remarks.push(format!("again in {}", duration(Duration::from_millis(wait))));
    }
    if plugin.manifest_unreadable {
        remarks.push("its manifest cannot be read: it guards as last known".to_owned());
    }
    if plugin.ungranted_guards > 0 {
        let guards = count(u64::from(plugin.ungranted_guards), "guard");
        remarks.push(format!("{guards} declared and not granted: does not guard"));
    }
    if plugin.refused_items > 0 {
        remarks.push(format!("{} refused", count(u64::from(plugin.refused_items), "item")));
    }
    if plugin.uncalled_hooks > 0 {
        remarks.push(format!("no attached runtime calls {} of it", count(u64::from(plugin.uncalled_hooks), "hook")));
    }
    remarks
}

/// The colour of a state.
pub(in crate::cli) fn colour(state: &str) -> Style {
    match state {
        "ready" => GOOD,
        "quarantined" => BAD,
        "stopped" => DIM,
        _ => WARN,
    }
}

/// How long ago a time was, by this machine's clock. `None` for none, and for one to come.
pub(in crate::cli) fn age(context: &Context<'_>, since: Option<&str>) -> Option<String> {
    let since: Timestamp = since?.parse().ok()?;
    let age = (context.terminal.clock)().duration_since(since);
    Some(duration(Duration::from_secs(Duration::try_from(age).ok()?.as_secs()))).map(|age| match age.as_str() {
        "0" => "0s".to_owned(),
        _ => age,
    })
}

/// One line for each status as it comes, until the supervisor or the reader is gone.
async fn follow(context: &mut Context<'_>, client: &mut Admin, plugins: Vec<String>) -> Result<Exit, Failure> {
    let request = admin::WatchPluginsRequest { plugin_ids: plugins, resource_interval: None };
    let mut changes = context.wait(client.watch_plugins(request)).await?;
    while let Some(change) = changes.message().await? {
        for plugin in change.plugins.into_iter().map(Plugin::from) {
            if context.global.json {
                context.line(json::line(&serde_json::json!({ "plugin": plugin })))?;
                continue;
            }
            let now = crate::cli::view::show_time((context.terminal.clock)());
            let state = context.terminal.paint(colour(&plugin.state), safe(&plugin.state));
            let mut line = format!("{now} {} {state}", safe(&plugin.plugin_id));
            if let Some(generation) = plugin.generation {
                line.push_str(&format!(", generation {generation}"));
            }
            if let Some(pid) = plugin.pid {
                line.push_str(&format!(", pid {pid}"));
            }
            let remarks = remarks(&plugin).join("; ");
            if !remarks.is_empty() {
                line.push_str(&format!(": {}", safe(&remarks)));
            }
            context.line(line)?;
        }
        for plugin in change.removed {
            if context.global.json {
                context.line(json::line(&serde_json::json!({ "removed": plugin })))?;
            } else {
                let now = crate::cli::view::show_time((context.terminal.clock)());
                context.line(format!("{now} {} removed", safe(&plugin)))?;
            }
        }
        context.flush()?;
    }
    Err(Failure::new(Exit::NoSupervisor, "the supervisor has stopped"))
}
