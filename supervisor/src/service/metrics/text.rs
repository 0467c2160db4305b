//! OpenMetrics 1.0 text: families one after the other, each with its type, unit and help, `# EOF` last.

use std::fmt::{Display, Write as _};
use std::time::UNIX_EPOCH;

use outrigger_proto::admin::v1::{PluginStatus, ResourceUse};
use outrigger_proto::types::v1::{HandlerOutcome, PluginState};

use super::samples::Samples;
use crate::service::view::state_name;
use crate::service::wire::to_duration;

const STATES: [PluginState; 6] = [
    PluginState::Waiting,
    PluginState::Starting,
    PluginState::Ready,
    PluginState::Draining,
    PluginState::Stopped,
    PluginState::Quarantined,
];

/// Outcomes with the value of their label.
const OUTCOMES: [(HandlerOutcome, &str); 6] = [
    (HandlerOutcome::Allow, "allow"),
    (HandlerOutcome::Deny, "deny"),
    (HandlerOutcome::Error, "error"),
    (HandlerOutcome::Timeout, "timeout"),
    (HandlerOutcome::Absent, "absent"),
    (HandlerOutcome::Skipped, "skipped"),
];

/// A number of one plugin, with the family it belongs to.
struct OfPlugin<T> {
    family: &'static str,
    help: &'static str,
    value: fn(&T) -> f64,
}

const fn of<T>(family: &'static str, help: &'static str, value: fn(&T) -> f64) -> OfPlugin<T> {
    OfPlugin { family, help, value }
}

const COUNTERS: &[OfPlugin<PluginStatus>] = &[
    of("outrigger_plugin_restarts", "Launches after a failure.", |status| f64::from(status.restarts)),
    of("outrigger_plugin_denials", "Calls denied by the plugin, or because it was absent.", |status| {
        status.denials as f64
    }),
    of("outrigger_plugin_events_dropped", "Events the plugin will not get: too slow, or away too long.", |status| {
        status.events_dropped as f64
    }),
    of("outrigger_plugin_events_refused", "Events the plugin emitted that were refused for their rate.", |status| {
        status.events_refused as f64
    }),
];

const GAUGES: &[OfPlugin<PluginStatus>] = &[
    of("outrigger_plugin_generation", "The serving or latest generation.", |status| status.generation as f64),
    of("outrigger_plugin_recent_failures", "Failures since the plugin was last stable.", |status| {
        f64::from(status.recent_failures)
    }),
    of("outrigger_plugin_event_lag", "Events published for the plugin that it has not acknowledged.", |status| {
        status.event_lag as f64
    }),
    of("outrigger_plugin_guards", "Declared guards that count.", |status| f64::from(status.guards)),
    of(
        "outrigger_plugin_ungranted_guards",
        "Declared guards that do not guard, as their right is missing.",
        |status| f64::from(status.ungranted_guards),
    ),
    of("outrigger_plugin_uncalled_hooks", "Accepted hooks that no attached runtime calls.", |status| {
        f64::from(status.uncalled_hooks)
    }),
];

/// Only of plugins with a process.
const USES: &[OfPlugin<ResourceUse>] = &[
    of("outrigger_plugin_calls_in_flight", "Calls the plugin has not answered yet.", |used| {
        f64::from(used.invocations_in_flight)
    }),
    of("outrigger_plugin_queued_bytes", "Bytes that wait to be sent to the plugin.", |used| used.queued_bytes as f64),
    of("outrigger_plugin_memory_bytes", "Memory of the plugin's process tree.", |used| used.memory_bytes as f64),
    of("outrigger_plugin_processes", "Processes of the plugin.", |used| f64::from(used.processes)),
    of("outrigger_plugin_descriptors", "Open descriptors of the plugin.", |used| f64::from(used.descriptors)),
];

/// Writes everything.
pub(super) fn write(samples: &Samples) -> String {
    let mut text = Text(String::with_capacity(8 * 1024 + samples.plugins.len() * 4 * 1024));
    text.family("outrigger_build", "info", "The supervisor.");
    text.sample("outrigger_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.family("outrigger_start_time_seconds", "gauge", "When the supervisor started.");
    let started = samples.started_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    text.sample("outrigger_start_time_seconds", &[], started.as_secs_f64());
    text.family("outrigger_runtimes", "gauge", "Agent runtimes that are attached.");
    text.sample("outrigger_runtimes", &[], samples.runtimes);

    text.family("outrigger_plugin_state", "stateset", "The state of a plugin.");
    for PluginLine { id, status } in plugins(samples) {
        for state in STATES {
            let labels = [("plugin", id), ("outrigger_plugin_state", state_name(state))];
            text.sample("outrigger_plugin_state", &labels, u8::from(status.state == state as i32));
        }
    }
    for counter in COUNTERS {
        text.family(counter.family, "counter", counter.help);
        for PluginLine { id, status } in plugins(samples) {
            text.sample(&format!("{}_total", counter.family), &[("plugin", id)], (counter.value)(status));
        }
    }
    for gauge in GAUGES {
        text.family(gauge.family, "gauge", gauge.help);
        for PluginLine { id, status } in plugins(samples) {
            text.sample(gauge.family, &[("plugin", id)], (gauge.value)(status));
        }
    }
    for gauge in USES {
        text.family(gauge.family, "gauge", gauge.help);
        for PluginLine { id, status } in plugins(samples) {
            if let Some(used) = &status.resources {
                text.sample(gauge.family, &[("plugin", id)], (gauge.value)(used));
            }
        }
    }
    let family = "outrigger_plugin_cpu_seconds";
    text.family(family, "counter", "Processor time of the plugin's process tree since its launch.");
    for PluginLine { id, status } in plugins(samples) {
        let used = status.resources.as_ref().and_then(|used| used.cpu_time.as_ref()).and_then(to_duration);
        if let Some(used) = used {
            text.sample("outrigger_plugin_cpu_seconds_total", &[("plugin", id)], used.as_secs_f64());
        }
    }
    hooks(&mut text, samples);
    text.0.push_str("# EOF\n");
    text.0
}

fn hooks(text: &mut Text, samples: &Samples) {
    let all = || {
        samples.plugins.iter().flat_map(|plugin| {
            plugin.hooks.iter().map(|(hook, of)| (plugin.status.plugin_id.as_str(), hook.name(), of))
        })
    };
    text.family("outrigger_hook_calls", "counter", "Calls of the plugin's handlers of a hook, by outcome.");
    for (plugin, hook, of) in all() {
        for (outcome, name) in OUTCOMES {
            let count = of.outcomes.get(&(outcome as i32)).copied().unwrap_or(0);
            let labels = [("plugin", plugin), ("hook", hook), ("outcome", name)];
            text.sample("outrigger_hook_calls_total", &labels, count);
        }
    }
    text.family("outrigger_hook_latency_seconds", "summary", "Times of answers over the last one to two minutes.");
    for (plugin, hook, of) in all() {
        for (quantile, time) in [("0.5", of.p50), ("0.99", of.p99)] {
            if let Some(time) = time {
                let labels = [("plugin", plugin), ("hook", hook), ("quantile", quantile)];
                text.sample("outrigger_hook_latency_seconds", &labels, time.as_secs_f64());
            }
        }
    }
    text.family("outrigger_hook_breakers_open", "gauge", "Handlers that are not asked, as they failed in a row.");
    for (plugin, hook, of) in all() {
        text.sample("outrigger_hook_breakers_open", &[("plugin", plugin), ("hook", hook)], of.open_breakers);
    }
}

struct PluginLine<'a> {
    id: &'a str,
    status: &'a PluginStatus,
}

fn plugins(samples: &Samples) -> impl Iterator<Item = PluginLine<'_>> {
    samples.plugins.iter().map(|plugin| PluginLine { id: &plugin.status.plugin_id, status: &plugin.status })
}

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.push(format_args!("# TYPE {name} {kind}\n"));
        // A unit is the end of a family's name.
        for unit in ["seconds", "bytes"] {
            if name.ends_with(&format!("_{unit}")) {
                self.push(format_args!("# UNIT {name} {unit}\n"));
            }
        }
        self.push(format_args!("# HELP {name} {help}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, of)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            self.push(format_args!("{before}{label}=\"{}\"", escape(of)));
        }
        self.push(format_args!("{} {value}\n", if labels.is_empty() { "" } else { "}" }));
    }

    fn push(&mut self, arguments: std::fmt::Arguments<'_>) {
        // A string takes every write.
        let _ = self.0.write_fmt(arguments);
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
