//! Outrigger runs agent plugins as child processes: supervised, fenced, and reclaimed when they fail.

pub mod domain;
pub mod store;
