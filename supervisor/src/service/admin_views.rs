//! Plugins as operators see them.

use std::sync::Arc;

use outrigger_proto::admin::v1 as wire;
use outrigger_proto::types::v1 as types;
use tokio::time::Instant;

use super::actor::{Details, Plugin, StopSummary};
use super::core::Core;
use super::registry::Snapshot;
use super::runtimes::Seen;
use super::session::Session;
use super::view::HandlerStats;
use super::wire::{duration, timestamp};
use crate::domain::guard::{Guard, OnAbsent, guard_counts};
use crate::domain::hook::Hook;
use crate::domain::launch::{ExitStatus, FIXED_VARIABLES};
use crate::domain::spec::Entry;
use crate::domain::store::FailureRecord;

/// Entries of one page of a listing, as the contract's conventions have it.
pub(crate) fn page_size(asked: u32) -> usize {
    match asked {
        0 => 100,
        size => size.min(1000) as usize,
    }
}

/// A plugin at a glance.
pub(crate) fn status(core: &Core, plugin: &Plugin) -> wire::PluginStatus {
    let (status, details) = (plugin.view.status(), plugin.details());
    let session = plugin.view.serving();
    let (p50, p99) = plugin.view.quantiles();
    let (name, version, tier) = match &details.entry {
        Entry::Sound(spec) => (spec.name.clone(), spec.version.clone(), spec.tier),
        Entry::Broken(broken) => (broken.id.to_string(), String::new(), broken.tier),
    };
    let events = core.shared.bus.counts(&plugin.view.id);
    let resources = resources(&details, session.as_deref(), status.pid);
    let peak = resources.as_ref().map_or(0, |resources| resources.peak_memory_bytes).max(details.peak_memory_bytes);
    let now = Instant::now();
    wire::PluginStatus {
        plugin_id: plugin.view.id.to_string(),
        plugin_name: name,
        version,
        tier: super::wire::tier(tier) as i32,
        state: status.state as i32,
        state_since: Some(timestamp(status.since)),
        message: crate::domain::text::clean(&status.message, 500),
        generation: status.generation.0,
        pid: status.pid,
        retry_after: status.next_start.map(|at| duration(at.saturating_duration_since(now))),
        recent_failures: status.recent_failures,
        refused_items: session.as_ref().map_or(0, |session| session.registration.refused().count() as u32),
        resources,
        enabled: true,
        guards: if details.lifted { 0 } else { details.guards.len() as u32 },
        ungranted_guards: ungranted(&details).count() as u32,
        manifest_unreadable: details.remembered,
        uncalled_hooks: session.as_ref().map_or(0, |session| uncalled_hooks(core, session).len() as u32),
        p50: p50.map(duration),
        p99: p99.map(duration),
        denials: plugin.view.denials(),
        restarts: status.restarts,
        event_lag: events.lag,
        peak_memory_bytes: peak,
        events_dropped: events.dropped,
        events_refused: events.refused,
    }
}

fn resources(details: &Details, session: Option<&Session>, pid: u32) -> Option<wire::ResourceUse> {
    let seen = *details.resources.as_ref().filter(|_| pid != 0)?.borrow();
    let limit = match &details.entry {
        Entry::Sound(spec) => spec.limits.memory_bytes.unwrap_or(0),
        Entry::Broken(_) => 0,
    };
    Some(wire::ResourceUse {
        cpu_time: Some(duration(seen.now.cpu_time)),
        memory_bytes: seen.now.memory_bytes,
        peak_memory_bytes: seen.peak_memory_bytes,
        memory_limit_bytes: limit,
        descriptors: seen.now.descriptors,
        processes: seen.now.processes,
        threads: seen.now.threads,
        invocations_in_flight: session.map_or(0, |session| session.in_flight() as u32),
        queued_bytes: session.map_or(0, |session| session.queued_bytes() as u64),
        sampled_at: seen.at.map(timestamp),
    })
}

/// The hooks of accepted handlers that no attached runtime calls, one for each handler.
pub(crate) fn uncalled_hooks(core: &Core, session: &Session) -> Vec<Hook> {
    let calls = core.runtimes.calls(core.shared.settings.runtime_gone);
    let hooks = session.registration.handlers.iter().map(|handler| handler.hook);
    hooks.filter(|hook| !calls.calls(*hook)).collect()
}

/// Attached runtimes that said that they do not call the hook.
pub(crate) fn not_called_by(core: &Core, hook: Hook) -> Vec<String> {
    let attached = core.runtimes.attached(core.shared.settings.runtime_gone);
    attached.into_iter().filter(|runtime| says_not_to_call(runtime, hook)).map(|runtime| runtime.id).collect()
}

fn says_not_to_call(runtime: &Seen, hook: Hook) -> bool {
    runtime.served_hooks.as_ref().is_some_and(|served| !served.contains(&hook))
}

fn ungranted(details: &Details) -> impl Iterator<Item = (&Guard, crate::domain::rights::Denial)> {
    let spec = match &details.entry {
        Entry::Sound(spec) => Some(spec),
        Entry::Broken(_) => None,
    };
    spec.into_iter()
        .flat_map(|spec| spec.guards.iter().map(move |guard| (guard, guard_counts(guard, &spec.rights))))
        .filter_map(|(guard, counts)| counts.err().map(|denial| (guard, denial)))
}

/// Every declared guard of a plugin, and whether it guards.
pub(crate) fn guards(plugin: &Plugin) -> Vec<wire::GuardStatus> {
    let details = plugin.details();
    let session = plugin.view.serving();
    let hooks = match &details.entry {
        Entry::Sound(spec) => &spec.hooks,
        Entry::Broken(broken) => &broken.hooks,
    };
    let row = |guard: &Guard, state: wire::GuardState, missing: &str| wire::GuardStatus {
        plugin_id: plugin.view.id.to_string(),
        guard: Some(super::wire::guard(guard)),
        state: state as i32,
        missing_scope: missing.to_owned(),
        remembered: details.remembered,
    };
    let mut rows = Vec::new();
    for guard in &details.guards {
        let served =
            session.as_ref().is_some_and(|session| {
                !session.registration.unserved.iter().any(|left| {
                    left.hook == guard.hook && left.policy == guard.policy && guard.tools.covers(&left.tools)
                })
            });
        let skips = hooks.get(&guard.hook).is_some_and(|setting| setting.on_absent == OnAbsent::Skip);
        let state = match (details.lifted, served, skips) {
            (true, _, _) => wire::GuardState::Lifted,
            (false, true, _) => wire::GuardState::Served,
            (false, false, true) => wire::GuardState::Skipped,
            (false, false, false) => wire::GuardState::Denying,
        };
        rows.push(row(guard, state, ""));
    }
    rows.extend(
        ungranted(&details).map(|(guard, denial)| row(guard, wire::GuardState::NotGranted, denial.scope.name())),
    );
    rows
}

/// How a handler fares.
pub(crate) fn stats(
    id: &str,
    hook: types::Hook,
    policy: bool,
    mut stats: HandlerStats,
    session: Option<&Session>,
) -> wire::HandlerStats {
    let now = Instant::now();
    let violations = session.map_or(0, |session| {
        let counters = &session.counters;
        counters.violations.load(std::sync::atomic::Ordering::Relaxed)
            + counters.late.load(std::sync::atomic::Ordering::Relaxed)
    });
    wire::HandlerStats {
        handler_id: id.to_owned(),
        hook: hook as i32,
        outcomes: stats
            .outcomes
            .iter()
            .map(|(outcome, count)| wire::handler_stats::OutcomeCount { outcome: *outcome, count: *count })
            .collect(),
        last_called_at: stats.last_called.map(timestamp),
        p50: stats.latencies.quantile(now, 0.5).map(duration),
        p99: stats.latencies.quantile(now, 0.99).map(duration),
        breaker_open: stats.breaker.is_open(now),
        violations,
        kind: if policy { types::ItemKind::ToolPolicy } else { types::ItemKind::Hook } as i32,
    }
}

/// A plugin in full.
pub(crate) fn full(core: &Core, plugin: &Plugin) -> wire::GetPluginResponse {
    let details = plugin.details();
    let session = plugin.view.serving();
    let mut response = wire::GetPluginResponse {
        status: Some(status(core, plugin)),
        guards: guards(plugin),
        sdk: details.sdk.clone(),
        protocol_version: if session.is_some() { details.protocol_version } else { 0 },
        ..Default::default()
    };
    if let Entry::Sound(spec) = &details.entry {
        response.command.clone_from(&spec.command);
        response.grants = super::wire::grants(&spec.rights);
        response.environment_names =
            FIXED_VARIABLES.iter().map(|name| (*name).to_owned()).chain(spec.environment.keys().cloned()).collect();
        // The only one that is passed on, where there is one.
        if std::env::var_os("TZ").is_some() {
            response.environment_names.push("TZ".to_owned());
        }
        response.environment_names.sort();
        response.environment_names.dedup();
    }
    if let Some(session) = &session {
        let snapshot = core.shared.registry.snapshot();
        let withdrawn = snapshot.withdrawn(&plugin.view.id);
        for verdict in &session.registration.verdicts {
            let is_withdrawn = verdict.kind == types::ItemKind::Tool as i32
                && withdrawn.is_some_and(|withdrawn| withdrawn.contains(&verdict.id));
            response.items.push(wire::get_plugin_response::Item {
                kind: verdict.kind,
                id: verdict.id.clone(),
                accepted: !is_withdrawn
                    && verdict.reason == outrigger_proto::plugin::v1::VerdictReason::Accepted as i32,
                message: if is_withdrawn {
                    "withdrawn: an agent runtime has a tool of this name".to_owned()
                } else {
                    verdict.message.clone()
                },
                remedy: verdict.remedy.clone(),
            });
        }
    }
    // Without an id are counted the calls that met nobody.
    for (hook, policy, id, counts) in plugin.view.handlers().into_iter().filter(|(_, _, id, _)| !id.is_empty()) {
        response.handlers.push(stats(&id, super::wire::hook(hook), policy, counts, session.as_deref()));
    }
    for protection in &details.protections {
        response.sandbox.push(wire::get_plugin_response::SandboxRung {
            name: protection.name.to_owned(),
            mode: "best-effort".to_owned(),
            applied: protection.applied,
            detail: protection.detail.clone(),
        });
        if !protection.applied {
            response.exposures.push(format!("{} does not hold: {}", protection.name, protection.detail));
        }
    }
    let refused = details.resources.as_ref().map_or(0, |resources| resources.borrow().refused);
    if refused > 0 {
        response.exposures.push(format!(
            "Its tree has reached the number of threads that the kernel gives it: {refused} new processes or threads were refused."
        ));
    }
    response.exposures.push(
        "The package is not pinned: it runs in place, and whoever can write there changes what runs at the next launch.".to_owned(),
    );
    response.exposures.push(
        "The plugin runs as the supervisor's user without a file sandbox: it can read what that user can, the keys in the state directory among it; a peer from its process tree is refused on the control sockets all the same.".to_owned(),
    );
    response
}

/// How the last stop went.
pub(crate) fn stop_report(summary: &StopSummary) -> wire::StopReport {
    let step = match summary.step {
        0 => wire::StopStep::Unspecified,
        1 => wire::StopStep::Drain,
        2 => wire::StopStep::Shutdown,
        3 => wire::StopStep::Sigterm,
        _ => wire::StopStep::Sigkill,
    };
    let (exit_status, signal) = match summary.exit {
        Some(ExitStatus::Exited(code)) => (Some(code), 0),
        Some(ExitStatus::Signalled(signal)) => (None, signal.unsigned_abs()),
        Some(ExitStatus::Unknown) | None => (None, 0),
    };
    wire::StopReport {
        step: step as i32,
        exit_status,
        signal,
        cut_off_invocations: u32::try_from(summary.cut_off).unwrap_or(u32::MAX),
        elapsed: Some(duration(summary.elapsed)),
    }
}

/// One failure, for `why`.
pub(crate) fn failure(record: &FailureRecord) -> wire::explain_plugin_response::Failure {
    use wire::FailureCause as Cause;
    let cause = match record.cause.as_str() {
        "crashed" if record.exit.contains("signal") => Cause::Signal,
        "crashed" | "exited-unasked" => Cause::Exit,
        "session-closed" | "dialer-gone" => Cause::SessionClosed,
        "unresponsive" => Cause::Unresponsive,
        "recycled" => Cause::Recycled,
        "protocol-violation" | "frame-invalid" | "protocol-unsupported" | "registration-refused" | "canary-failed" => {
            Cause::ProtocolViolation
        }
        "resource-limit" => Cause::ResourceLimit,
        "startup-timeout" => Cause::StartupTimeout,
        "spawn-failed" | "host-fault" | "config-invalid" => Cause::NotLaunchable,
        "final-exit" => Cause::FinalExit,
        cause if cause.starts_with("fatal") => Cause::Fatal,
        _ => Cause::Unspecified,
    };
    let phase = match record.phase.as_str() {
        "hello" => wire::LaunchPhase::Hello,
        "register" => wire::LaunchPhase::Register,
        "ready" => wire::LaunchPhase::Serving,
        "stopping" | "ended" => wire::LaunchPhase::Draining,
        _ => wire::LaunchPhase::Spawn,
    };
    let number = |prefix: &str| record.exit.strip_prefix(prefix).and_then(|rest| rest.parse::<i32>().ok());
    wire::explain_plugin_response::Failure {
        time: Some(timestamp(record.at)),
        generation: record.generation.0,
        phase: phase as i32,
        cause: cause as i32,
        message: record.message.clone(),
        cause_name: record.cause.clone(),
        exit_status: number("exited with status "),
        signal: number("was ended by signal ").map_or(0, i32::unsigned_abs),
        stderr_tail: record.stderr_tail.clone(),
        evidence: if record.evidence.is_empty() {
            Vec::new()
        } else {
            let text = record.evidence.join("\n").chars().take(16_384).collect();
            vec![wire::Evidence { name: "process-tree".to_owned(), content: Some(wire::evidence::Content::Text(text)) }]
        },
    }
}

/// By hook, active handlers in the order of asking, after the guards that nobody serves; then what is declared and not
/// granted.
pub(crate) fn hooks(
    core: &Core,
    snapshot: &Arc<Snapshot>,
    request: &wire::ListHooksRequest,
) -> Vec<wire::list_hooks_response::Handler> {
    use wire::list_hooks_response::Handler as Row;
    let of_it = |id: &str| request.plugin_id.is_empty() || request.plugin_id == id;
    let mut ungranted_guards: Vec<(String, Guard)> = Vec::new();
    for plugin in
        core.order.iter().filter_map(|id| core.plugins.get(id)).filter(|plugin| of_it(plugin.view.id.as_str()))
    {
        let details = plugin.details();
        ungranted_guards.extend(ungranted(&details).map(|(guard, _)| (plugin.view.id.to_string(), guard.clone())));
    }
    let mut rows = Vec::new();
    for row in crate::domain::hook::CATALOGUE {
        if request.hook != 0 && request.hook != row.hook as i32 {
            continue;
        }
        let hook = super::wire::hook(row.hook);
        let unserved = snapshot.table(row.hook).into_iter().flat_map(|table| &table.unserved);
        for unserved in unserved.filter(|unserved| of_it(unserved.part.view.id.as_str())) {
            let state = match unserved.on_absent {
                OnAbsent::Deny => wire::GuardState::Denying,
                OnAbsent::Skip => wire::GuardState::Skipped,
            };
            rows.push(Row {
                plugin_id: unserved.part.view.id.to_string(),
                tool_names: unserved.tools.to_list(),
                guard: state as i32,
                tool_policy: unserved.policy,
                hook: hook as i32,
                not_called_by: not_called_by(core, row.hook),
                ..Default::default()
            });
        }
        let asked = snapshot.table(row.hook).into_iter().flat_map(|table| &table.asked);
        for asked in asked.filter(|asked| of_it(asked.part.view.id.as_str())) {
            let handler = asked.handler();
            let counts = asked.counts.snapshot();
            rows.push(Row {
                plugin_id: asked.part.view.id.to_string(),
                stats: Some(stats(&handler.id, hook, handler.policy, counts, Some(&asked.session))),
                tool_names: handler.tools.to_list(),
                priority: handler.priority,
                guard: if row.hook.is_guard() { wire::GuardState::Served as i32 } else { 0 },
                tool_policy: handler.policy,
                timeout: Some(duration(handler.timeout)),
                hook: hook as i32,
                not_called_by: not_called_by(core, row.hook),
            });
        }
        for (plugin_id, guard) in ungranted_guards.iter().filter(|(_, guard)| guard.hook == row.hook) {
            rows.push(Row {
                plugin_id: plugin_id.clone(),
                tool_names: guard.tools.to_list(),
                guard: wire::GuardState::NotGranted as i32,
                tool_policy: guard.policy,
                hook: hook as i32,
                ..Default::default()
            });
        }
    }
    rows
}
