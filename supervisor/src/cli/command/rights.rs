//! `rights`: what each plugin may do and where that comes from, and what it may not do and what would allow it.

use outrigger_proto::admin::v1 as admin;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::args::RightsArgs;
use crate::cli::connection::Admin;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::table::{Column, lines};
use crate::cli::terminal::{BOLD, DIM, WARN};
use crate::cli::text::{bytes, duration, safe};
use crate::cli::view::plugin::{GuardStatus, Quota};
use crate::cli::view::right::Right;

/// Most pages that are asked for: more than any supervisor has.
const MAX_PAGES: usize = 100;

const COLUMNS: &[Column] = &[
    Column::new("RIGHT"),
    Column::new("HELD"),
    Column::new("WHERE FROM"),
    Column::new("QUOTAS").rank(1),
    Column::new("WHAT IT ALLOWS, OR WHAT WOULD ALLOW IT").cut(),
];

#[derive(Serialize)]
struct Document {
    rights: Vec<Right>,
    /// Declared guards of these plugins whose scope is missing: they do not guard.
    ungranted_guards: Vec<GuardStatus>,
}

/// Shows rights.
pub(in crate::cli) async fn rights(context: &mut Context<'_>, args: RightsArgs) -> Result<Exit, Failure> {
    let mut client = context.admin().await?;
    let one = args.plugin.is_some();
    let rights = context.within(list(&mut client, args.plugin.unwrap_or_default())).await?;
    let mut plugins: Vec<String> = rights.iter().map(|right| right.plugin_id.clone()).collect();
    plugins.dedup();
    let mut ungranted_guards = Vec::new();
    for plugin_id in &plugins {
        let request = admin::GetPluginRequest { plugin_id: plugin_id.clone() };
        let guards = context.wait(client.get_plugin(request)).await?.guards;
        let guards = guards.into_iter().map(GuardStatus::from);
        ungranted_guards.extend(guards.filter(|guard| guard.state == "not_granted"));
    }
    let document = Document { rights, ungranted_guards };
    if context.global.json {
        context.document(&document)?;
        return Ok(Exit::Done);
    }
    if plugins.is_empty() {
        let why = if one { "its manifest cannot be read: `outrigger why PLUGIN` tells more" } else { "no plugins" };
        context.line(format!("no rights are known: {why}"))?;
    }
    for (index, plugin) in plugins.iter().enumerate() {
        if index > 0 {
            context.line("")?;
        }
        show(context, plugin, &document, one)?;
    }
    Ok(Exit::Done)
}

/// All rights, page by page.
async fn list(client: &mut Admin, plugin_id: String) -> Result<Vec<Right>, Failure> {
    let mut rights = Vec::new();
    let mut page_token = String::new();
    for _ in 0..MAX_PAGES {
        let request = admin::ListGrantsRequest { plugin_id: plugin_id.clone(), page_size: 1_000, page_token };
        let page = client.list_grants(request).await?.into_inner();
        rights.extend(page.entries.into_iter().map(Right::from));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(rights);
        }
    }
    Err(Failure::new(Exit::Failed, "the list of rights has no end"))
}

/// One plugin: what it has first. `every`: also what nobody asked for.
fn show(context: &mut Context<'_>, plugin: &str, document: &Document, every: bool) -> Result<(), Failure> {
    let of_it = |right: &&Right| right.plugin_id == plugin && (every || right.concerns_somebody());
    let mut rights: Vec<&Right> = document.rights.iter().filter(of_it).collect();
    rights.sort_by_key(|right| (!right.effective, !right.concerns_somebody()));
    let tier = document.rights.iter().find(|right| right.plugin_id == plugin).map(|right| right.tier.as_str());
    let title = context.terminal.paint(BOLD, safe(plugin));
    context.line(format!("{title}, tier {}", safe(tier.unwrap_or("unknown"))))?;
    if rights.is_empty() {
        context.line("  asks for nothing, and has no rights")?;
    }
    let rows: Vec<_> = rights.iter().map(|right| row(right)).collect();
    let width = context.terminal.width.map(|width| width.saturating_sub(2));
    let table = if rows.is_empty() { Vec::new() } else { lines(COLUMNS, &rows, width) };
    for (index, line) in table.iter().enumerate() {
        let held = index.checked_sub(1).and_then(|index| rights.get(index)).is_some_and(|right| right.effective);
        let line = if held { line.clone() } else { context.terminal.paint(DIM, line) };
        context.line(format!("  {line}"))?;
    }
    for guard in document.ungranted_guards.iter().filter(|guard| guard.plugin_id == plugin) {
        let mark = context.terminal.paint(WARN, "!");
        context.line(format!("  {mark} {}: {}", safe(&guard.guard.sentence()), safe(&guard.meaning())))?;
    }
    Ok(())
}

fn row(right: &Right) -> Vec<String> {
    let mut says = String::new();
    if right.effective {
        says.push_str(right.allows.unwrap_or_default());
        if !right.grant.names.is_empty() {
            says.push_str(&format!(": {}", right.grant.names.join(", ")));
        }
    } else {
        says.push_str(right.remedy.as_deref().unwrap_or("no grant can allow it"));
    }
    let quotas: Vec<_> = right.grant.quotas.iter().map(quota).collect();
    vec![
        right.grant.scope.clone(),
        if right.effective { "yes" } else { "no" }.to_owned(),
        right.origin_words().to_owned(),
        if quotas.is_empty() { "-".to_owned() } else { quotas.join(", ") },
        says,
    ]
}

/// `pending-turns 32`, `staged 64 MiB`, `horizon 30d`: the unit is the end of the quota's name.
pub(super) fn quota(quota: &Quota) -> String {
    let Quota { name, limit, used } = quota;
    let used = if *used > 0 { format!("{used} of ") } else { String::new() };
    match (name.strip_suffix("-bytes"), name.strip_suffix("-ms")) {
        (Some(what), _) => format!("{what} {used}{}", bytes(*limit)),
        (_, Some(what)) => format!("{what} {used}{}", duration(std::time::Duration::from_millis(*limit))),
        _ => format!("{name} {used}{limit}"),
    }
}
