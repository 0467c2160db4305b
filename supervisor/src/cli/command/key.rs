//! `key`: keys of runtimes. Secrets are never printed; the file is named.

use outrigger_proto::admin::v1 as admin;
use serde::Serialize;

use super::status::age;
use crate::cli::Context;
use crate::cli::args::KeyCommand;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::table::{Column, lines};
use crate::cli::terminal::DIM;
use crate::cli::text::safe;
use crate::cli::view::key::Key;

const COLUMNS: &[Column] = &[
    Column::new("RUNTIME"),
    Column::new("GROUP").rank(2),
    Column::new("AGE").right().rank(3),
    Column::new("LAST USED").right().rank(1),
    Column::new("FILE").cut(),
];

#[derive(Serialize)]
struct Added {
    key: Key,
    created: bool,
}

#[derive(Serialize)]
struct Listed {
    keys: Vec<Key>,
}

#[derive(Serialize)]
struct Removed {
    removed: bool,
    was_attached: bool,
}

/// Makes, lists and removes keys.
pub(in crate::cli) async fn key(context: &mut Context<'_>, command: KeyCommand) -> Result<Exit, Failure> {
    let mut client = context.admin().await?;
    match command {
        KeyCommand::Add { runtime, group } => {
            let request =
                admin::AddRuntimeKeyRequest { runtime_id: runtime.to_string(), group: group.unwrap_or_default() };
            let answer = context.wait(client.add_runtime_key(request)).await?;
            let added = Added { key: answer.key.unwrap_or_default().into(), created: answer.created };
            if context.global.json {
                context.document(&added)?;
            } else {
                let was = if added.created { "made" } else { "was there" };
                let group = added.key.group.as_deref().map(|group| format!(", readable by group {group}"));
                context.line(format!("{was}: {}{}", safe(&added.key.path), safe(&group.unwrap_or_default())))?;
            }
        }
        KeyCommand::List => {
            let answer = context.wait(client.list_runtime_keys(admin::ListRuntimeKeysRequest {})).await?;
            let keys: Vec<_> = answer.keys.into_iter().map(Key::from).collect();
            if context.global.json {
                context.document(&Listed { keys })?;
            } else {
                list(context, &keys)?;
            }
        }
        KeyCommand::Remove { runtime } => {
            let request = admin::RemoveRuntimeKeyRequest { runtime_id: runtime.to_string() };
            let answer = context.wait(client.remove_runtime_key(request)).await?;
            let removed = Removed { removed: answer.removed, was_attached: answer.was_attached };
            if context.global.json {
                context.document(&removed)?;
            } else {
                let what = match (removed.removed, removed.was_attached) {
                    (false, _) => "there was no such key",
                    (true, false) => "removed; no runtime was attached with it",
                    (true, true) => "removed; the runtime attached with it is cut off",
                };
                context.line(format!("{runtime}: {what}"))?;
            }
        }
    }
    Ok(Exit::Done)
}

fn list(context: &mut Context<'_>, keys: &[Key]) -> Result<(), Failure> {
    if keys.is_empty() {
        return context.line("no keys");
    }
    let ago = |time: Option<&str>, none: &str| age(context, time).map_or(none.to_owned(), |age| format!("{age} ago"));
    let rows: Vec<_> = keys
        .iter()
        .map(|key| {
            vec![
                key.runtime_id.clone(),
                key.group.clone().unwrap_or_else(|| "-".to_owned()),
                age(context, key.created_at.as_deref()).unwrap_or_else(|| "-".to_owned()),
                ago(key.last_used_at.as_deref(), "never"),
                key.path.clone(),
            ]
        })
        .collect();
    for (index, line) in lines(COLUMNS, &rows, context.terminal.width).into_iter().enumerate() {
        let line = if index == 0 { context.terminal.paint(DIM, line) } else { line };
        context.line(line)?;
    }
    Ok(())
}
