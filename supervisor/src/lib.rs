//! Outrigger runs agent plugins as child processes: supervised, fenced, and reclaimed when they fail.

pub mod config;
pub mod domain;
pub mod service;
pub mod transport;
pub mod process;

pub use process::keeper_main;
