//! `[supervisor]`: settings of the supervisor as a whole.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::keys::{Form, Key};
use super::reader::{Node, Table};
use crate::domain::settings::Settings;

/// A value of a setting: what it looks like in the file, and reading it.
trait Value: Sized {
    /// What bounds it.
    type Range;

    fn read(node: &Node<'_>, range: Self::Range) -> Option<Self>;
}

impl Value for Duration {
    type Range = RangeInclusive<Self>;

    fn read(node: &Node<'_>, range: RangeInclusive<Self>) -> Option<Self> {
        node.duration(range)
    }
}

/// A size in bytes.
impl Value for u64 {
    type Range = RangeInclusive<Self>;

    fn read(node: &Node<'_>, range: RangeInclusive<Self>) -> Option<Self> {
        node.size(range)
    }
}

impl Value for u32 {
    type Range = RangeInclusive<Self>;

    fn read(node: &Node<'_>, range: RangeInclusive<Self>) -> Option<Self> {
        node.count(range)
    }
}

impl Value for bool {
    type Range = ();

    fn read(node: &Node<'_>, (): ()) -> Option<Self> {
        node.boolean()
    }
}

/// Longer than any sane wait, and short enough to be added to any clock.
const TIME: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 3_600);

macro_rules! settings {
    ($($name:ident = $form:ident $(($range:expr))?, $about:literal;)*) => {
        /// Keys of `[supervisor]`: the fields of [`Settings`].
        pub(super) const SUPERVISOR: &[Key] = &[
            $(Key { name: stringify!($name), required: false, form: Form::$form $(($range))?, about: $about },)*
        ];

        /// Reads the settings; what is missing or wrong has its default.
        pub(super) fn read(table: &Table<'_>) -> Settings {
            let default = Settings::default();
            let settings = Settings {
                $($name: table.get(stringify!($name)).and_then(|node| Value::read(&node, ($($range)?))).unwrap_or(default.$name),)*
            };
            check_order(table, &settings);
            settings
        }
    };
}

settings! {
    startup = Duration(TIME), "Time from a launch until the plugin is registered, where the plugin has no other. Default 10s.";
    hello = Duration(TIME), "How long a connection may be open before its session is welcomed. Default 5s.";
    drain = Duration(TIME), "Time for calls in flight to finish when a plugin is stopped. Default 5s.";
    shutdown = Duration(TIME), "Time between the request to shut down and SIGTERM. Default 3s.";
    terminate = Duration(TIME), "Time between SIGTERM and SIGKILL. Default 2s.";
    stop_all = Duration(TIME), "Time for all plugins together when the supervisor stops. Default 15s.";
    empty = Duration(TIME), "How long the next generation waits until nothing is left of the old tree. Default 2s.";
    cancel_grace = Duration(TIME), "How long a cancelled call may keep its slot before the plugin is recycled. Default 10s.";
    ping = Duration(TIME), "Distance of pings while a call is in flight. Three without an answer: unresponsive. Default 1s.";
    idle_ping = Duration(TIME), "Distance of pings otherwise. Default 30s.";
    sample = Duration(TIME), "Distance of samples of memory, CPU and processes. Default 1s.";
    backoff_first = Duration(TIME), "First wait after a failure. Default 200ms.";
    backoff_max = Duration(TIME), "Longest wait after a failure. Default 30s.";
    quarantine_after = Count(1..=1_000), "Failures without a stable time between them until quarantine. Default 6.";
    stable = Duration(TIME), "Ready for so long is stable: earlier failures are forgotten. Default 1m.";
    probe_first = Duration(TIME), "First wait until a quarantined plugin is tried again. Default 1m.";
    probe_max = Duration(TIME), "Longest such wait; it doubles until then. Default 1h.";
    runtime_gone = Duration(TIME), "A runtime gone for so long has lost its runs. Default 30s.";
    breaker_first = Duration(TIME), "First time a breaker stays open. Default 5s.";
    breaker_max = Duration(TIME), "Longest such time; it doubles until then. Default 5m.";
    starts_at_once = Count(0..=1_024), "Launches that may be starting at once; 0 is twice the cores. Default 0.";
    plugin_bytes_per_second = Size(64 << 10..=16 << 30), "Bytes a second read from a plugin's connections; a quarter of it in a burst. Default 32MiB.";
    host_calls_per_second = Count(1..=1_000_000), "Host calls a second of one plugin; twice as many in a burst. Default 500.";
    log_lines_per_second = Count(1..=1_000_000), "Log lines a second of one plugin. Default 1000.";
    metrics_socket = Flag, "Serve counts and gauges as OpenMetrics on metrics.sock in the runtime directory. Default false.";
    trace_context = Flag, "Pass the trace context of runtimes' calls and events on to plugins. Default false.";
    busy_poll = Flag, "Look for answers for 50 us after each call, before going to sleep. Default true.";
}

/// A first wait is not longer than the longest.
fn check_order(table: &Table<'_>, settings: &Settings) {
    let pairs = [
        ("backoff_first", settings.backoff_first, "backoff_max", settings.backoff_max),
        ("probe_first", settings.probe_first, "probe_max", settings.probe_max),
        ("breaker_first", settings.breaker_first, "breaker_max", settings.breaker_max),
    ];
    for (first_name, first, max_name, max) in pairs {
        if first > max {
            let (name, right) = if table.has(max_name) {
                (max_name, format!("at least {}, as `{first_name}`", super::units::show_duration(first)))
            } else {
                (first_name, format!("at most {}, or a larger `{max_name}`", super::units::show_duration(max)))
            };
            match table.get(name) {
                Some(node) => node.fail("is out of order", &right),
                None => table.fail("is out of order", &right),
            }
        }
    }
}
