//! Outrigger runs agent plugins as child processes: supervised, fenced, and reclaimed when they fail.

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
pub mod cli;
pub mod config;
pub mod domain;
mod launcher;
pub mod process;
mod service;
pub mod store;
mod supervisor;
pub mod transport;

pub use process::keeper_main;
pub use service::Report;
pub use supervisor::{Options, StartError, Supervisor};
