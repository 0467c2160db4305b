//! The keeper: parent of one plugin's processes. It starts the plugin, tells the supervisor how it ended, and kills the
//! whole tree when the plugin exits, when told, or when the supervisor is gone.
//!
//! It is compiled twice from the same source, which therefore uses nothing but `core`: as a small static program that
//! the supervisor carries and runs from a sealed memory file, and as a part of the library, for machines that refuse to
//! execute such a file.
//!
//! ```text
//! prepare ── scope ── plan ── child ── Started ──┬── child exits ──── Exited ─┐
//!                               └─ Failed ─┐     └── life ends ───────────────┼── kill, reap, again … ── Empty
//!                                          └──────────────────────────────────┘
//! ```
//!
//! Its standard input is a sequenced-packet socket. Packets to the keeper are first the pieces of the plan, then
//! commands; packets from it are records ([`wire`]). The end of the socket is the order to kill.

mod child;
mod keep;
mod kill;
mod plan;
mod scope;
mod sweep;
mod sys;
pub(crate) mod wire;

pub(crate) use keep::run;
