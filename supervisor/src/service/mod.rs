//! The services: what plugins, runtimes and operators talk to, and the tasks that own plugins.
//!
//! Uses the domain's contracts and the wire contract; makes no process and binds no socket itself.

mod actor;
mod admin_explain;
mod admin_logs;
mod admin_rights;
mod admin_service;
mod admin_views;
mod approvals;
mod bounded;
mod breaker;
mod busy_poll;
mod canary;
mod connections;
mod control;
mod conversation;
mod core;
mod decisions;
mod dispatch;
mod entropy;
mod events;
mod guards;
mod handles;
mod hook_stream;
mod invocation;
mod latency;
mod launch;
mod launch_state;
mod log;
mod metrics;
mod news;
mod output;
mod plugin_service;
mod rate;
mod registration;
mod registry;
mod results;
mod runs;
mod runtime_service;
mod runtimes;
#[expect(clippy::module_inception, reason = "the file that puts the services together")]
mod service;
mod session;
mod slots;
mod status;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tools;
mod trace;
mod turns;
mod view;
mod watchdog;
mod wire;

#[cfg(feature = "bench")]
pub(crate) use dispatch::{Call, Dispatcher, Verdict};
#[cfg(feature = "bench")]
pub(crate) use events::{Bus, Pace};
pub use service::Report;
pub(crate) use service::{Service, ServiceParts};
