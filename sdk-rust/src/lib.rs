//! Write an [Outrigger](https://github.com/outrigger/outrigger) plugin in Rust.
//!
//! A plugin is a program of its own. The supervisor starts it; it dials back over a private socket, tells what it
//! handles, and answers calls until it is told to stop. This crate does all of that but the answering:
//!
//! ```no_run
//! use outrigger_sdk::{Context, Decision, Plugin, ToolCall};
//!
//! # fn main() -> outrigger_sdk::Result<()> {
//! Plugin::new()
//!     .before_tool_call("guard", |call: ToolCall, _cx: Context| async move {
//!         #[derive(serde::Deserialize)]
//!         struct Exec {
//!             command: String,
//!         }
//!         let exec: Exec = call.params()?;
//!         Ok(if exec.command.contains("rm -rf /") {
//!             Decision::block("this would delete everything")
//!         } else {
//!             Decision::declined()
//!         })
//!     })
//!     .tools(["exec"])
//!     .must_accept()
//!     .run_blocking()
//! # }
//! ```
//!
//! [`Plugin::on`] takes any hook of the catalogue ([`hooks`]), [`Plugin::policy`] a trusted tool policy, [`Plugin::tool`]
//! serves a tool to the model, and [`Plugin::subscribe`] listens to agent events.
//!
//! # What happens
//!
//! 1. [`Plugin::run`] takes the launch token out of the environment, connects, and says hello. The supervisor's
//!    welcome has the configuration, secrets, rights and limits: see [`Launch`].
//! 2. The closure given to [`Plugin::on_start`] warms up and makes the plugin's state.
//! 3. Everything added to the [`Plugin`] is registered. The supervisor gives a verdict for each item; what it refuses
//!    is logged with the reason and the remedy, and ends the launch only if it is [`must_accept`](Plugin::must_accept).
//! 4. Calls come, several at a time, each to one handler with a [`Context`]. A handler that is ready at once is answered
//!    from the reading loop; any other becomes a task. A handler that panics or fails answers `failed`, and the hook's
//!    failure policy decides: for a guard that is a block.
//!    Events come beside them, one at a time.
//! 5. The supervisor asks to stop: calls in flight and the event at hand end, [`Plugin::on_shutdown`] runs, and `run` returns `Ok`.
//!
//! A session that ends in any other way makes `run` return an [`Error`]; a process never dials twice. Let `main` return
//! it, so that the process ends with another status than 0.
//!
//! # Blocking
//!
//! All handlers share the runtime `run` was called on. Work that computes for long or blocks belongs on
//! `tokio::task::spawn_blocking`; while a handler blocks the runtime's only thread, no other call and no ping is
//! answered, and after three missed pings the supervisor takes the plugin for dead.
//!
//! # Tests
//!
//! With the feature `testkit`, the module `testkit` plays the host: in the same process, or for a program.

pub mod answer;
pub mod hooks;
pub mod host;
pub mod item;
pub mod log;
#[cfg(feature = "testkit")]
pub mod testkit;

mod agent_event;
mod approval;
mod connect;
mod context;
mod environment;
mod error;
mod error_info;
mod events;
mod handler;
mod invocation;
mod launch;
mod options;
mod outbox;
mod plugin;
mod running;
mod serve;
mod session;
mod start;
mod tool;
mod wire;

pub use agent_event::{AfterGap, Event, Gap, ReadEvents};
pub use answer::{
    Approval, Claim, Decision, Evaluation, ExecEnvironment, Finalize, Gate, MessageRewrite, ModelOverride, Proceed,
    Prompt, Retry, SubagentDelivery, SubagentSpawn, TextRewrite, ToolResultRewrite,
};
pub use approval::ApprovalEnd;
pub use context::Context;
pub use environment::Environment;
pub use error::{ConfigError, Error, HandlerError, InputError, Result, StartError};
pub use host::{Host, HostError};
pub use launch::Launch;
pub use outrigger_proto as proto;
pub use plugin::Plugin;
pub use tool::{ToolAnswer, ToolContext};
/// A tool call about to happen, for a guard or trusted policy.
pub type ToolCall = hooks::Call<hooks::event::BeforeToolCall>;

/// Log with [`tracing::info`] and its siblings; see the module [`log`].
pub use tracing;

/// The examples of the README, compiled and run.
#[cfg(all(doctest, feature = "testkit"))]
#[doc = include_str!("../README.md")]
struct Readme;
