//! What the operator can set for the whole supervisor, with the defaults and the reason for each number.

use std::time::Duration;

/// Deadlines, intervals and bounds. Sections of the architecture are given as "§".
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Time from a launch to Registered, where a plugin sets no other (§5).
    pub startup: Duration,
    /// How long a connection may be open before its Session is welcomed (§3).
    pub hello: Duration,
    /// Time for calls in flight to finish when a plugin is stopped (§5).
    pub drain: Duration,
    /// Time between Shutdown and SIGTERM (§5).
    pub shutdown: Duration,
    /// Time between SIGTERM and SIGKILL (§5).
    pub terminate: Duration,
    /// Budget for all plugins together when the supervisor stops (§5).
    pub stop_all: Duration,
    /// How long the next generation waits for the old tree to be empty (§5).
    pub empty: Duration,
    /// How long a cancelled invocation may keep its slot before the plugin is recycled (§5).
    pub cancel_grace: Duration,
    /// Distance of Pings while an invocation is in flight (§5). Three without an answer: unresponsive.
    pub ping: Duration,
    /// Distance of Pings otherwise (§5).
    pub idle_ping: Duration,
    /// Distance of samples of resources (§5).
    pub sample: Duration,
    /// First wait after a failure (§5).
    pub backoff_first: Duration,
    /// Longest wait after a failure (§5).
    pub backoff_max: Duration,
    /// Failures without a stable time between them that quarantine: this one does (§5).
    pub quarantine_after: u32,
    /// Ready for so long is stable: failures are forgotten (§5).
    pub stable: Duration,
    /// First wait until a quarantined plugin is probed (§5).
    pub probe_first: Duration,
    /// Longest wait until the next probe (§5).
    pub probe_max: Duration,
    /// A runtime gone for so long without attaching again has lost its runs (§6).
    pub runtime_gone: Duration,
    /// First time a breaker stays open (§8).
    pub breaker_first: Duration,
    /// Longest time a breaker stays open (§8).
    pub breaker_max: Duration,
    /// Launches that may be starting at once; 0: twice the cores (§5).
    pub starts_at_once: u32,
    /// Bytes a second read from a plugin's connections (§14). The burst is a quarter of it.
    pub plugin_bytes_per_second: u64,
    /// Host calls a second of one plugin; twice as many in a burst (§14).
    pub host_calls_per_second: u32,
    /// Log lines a second of one plugin (§14).
    pub log_lines_per_second: u32,
    /// Serve counts and gauges as OpenMetrics on `metrics.sock`.
    pub metrics_socket: bool,
    /// Pass the trace context of runtimes on to plugins.
    pub trace_context: bool,
    /// After each call and answer look for what comes next for a moment, instead of going to sleep at once (§15).
    pub busy_poll: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            startup: Duration::from_secs(10),
            hello: Duration::from_secs(5),
            drain: Duration::from_secs(5),
            shutdown: Duration::from_secs(3),
            terminate: Duration::from_secs(2),
            stop_all: Duration::from_secs(15),
            empty: Duration::from_secs(2),
            cancel_grace: Duration::from_secs(10),
            ping: Duration::from_secs(1),
            idle_ping: Duration::from_secs(30),
            sample: Duration::from_secs(1),
            backoff_first: Duration::from_millis(200),
            backoff_max: Duration::from_secs(30),
            quarantine_after: 6,
            stable: Duration::from_secs(60),
            probe_first: Duration::from_secs(60),
            probe_max: Duration::from_secs(3600),
            runtime_gone: Duration::from_secs(30),
            breaker_first: Duration::from_secs(5),
            breaker_max: Duration::from_secs(300),
            starts_at_once: 0,
            plugin_bytes_per_second: 32 * 1024 * 1024,
            host_calls_per_second: 500,
            log_lines_per_second: 1_000,
            metrics_socket: false,
            trace_context: false,
            busy_poll: true,
        }
    }
}
