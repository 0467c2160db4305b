//! A plugin's state in words, and what an operator can do about it.

use outrigger_proto::types::v1 as types;
use tokio::time::Instant;

use super::actor::Plugin;
use super::admin_views::uncalled_hooks;
use super::core::Core;
use crate::domain::hook::Hook;

/// A plugin's state in a paragraph, and what can be done.
pub(super) fn explain(core: &Core, plugin: &Plugin) -> (String, Vec<String>) {
    use types::PluginState as State;
    let (status, details) = (plugin.view.status(), plugin.details());
    let id = plugin.view.id.as_str();
    let guards = details.guards.len();
    let denies = if guards > 0 && !details.lifted {
        format!(" What its {guards} guard(s) guard is denied meanwhile, unless the operator set on_absent = \"skip\".")
    } else {
        String::new()
    };
    let because = if status.message.is_empty() { String::new() } else { format!(" {}.", status.message) };
    let mut advice = Vec::new();
    let summary = match status.state {
        State::Ready if status.recent_failures == 0 => format!("`{id}` serves as generation {}.", status.generation),
        State::Ready => format!(
            "`{id}` serves as generation {}, after {} failure(s) since it was last stable.",
            status.generation, status.recent_failures
        ),
        State::Starting => format!("`{id}` is starting.{because}{denies}"),
        State::Waiting => {
            let wait = status.next_start.map(|at| at.saturating_duration_since(Instant::now()));
            let when = wait.map_or(String::new(), |wait| format!(" It is started again in {wait:.1?}."));
            advice.push(format!("outrigger start {id}   # without waiting"));
            format!("`{id}` waits to be started again.{because}{when}{denies}")
        }
        State::Draining => format!("`{id}` is finishing what it has.{because}"),
        State::Stopped => {
            advice.push(format!("outrigger start {id}"));
            format!("`{id}` is stopped: an operator stopped it, and its guards do not hold.")
        }
        State::Quarantined => {
            advice.push(format!("outrigger start --reset {id}   # once it is mended"));
            let wait = status.next_start.map(|at| at.saturating_duration_since(Instant::now()));
            let when = match wait {
                Some(wait) => format!(" It is tried again in {wait:.0?}."),
                None => " It is not tried again before an operator releases it.".to_owned(),
            };
            format!("`{id}` is quarantined.{because}{when}{denies}")
        }
        State::Unspecified => format!("`{id}` is in an unknown state."),
    };
    let summary = match plugin.view.serving().map(|session| uncalled_hooks(core, &session)) {
        Some(mut hooks) if !hooks.is_empty() => {
            hooks.sort();
            hooks.dedup();
            let hooks: Vec<&str> = hooks.into_iter().map(Hook::name).collect();
            format!("{summary} No attached runtime calls {}: its handlers of it are not asked.", hooks.join(", "))
        }
        _ => summary,
    };
    if !details.failures.is_empty() {
        advice.push(format!("outrigger logs {id}"));
    }
    (summary, advice)
}
