//! Processes: starts a plugin under its keeper, follows it to its end, and leaves none behind.
//!
//! ```text
//! Starter ── posix_spawn ──▶ keeper ── clone ──▶ plugin ──▶ what it starts
//!    │                         ▲
//!    └─ KeptTree ── life ──────┘   ends: the keeper kills everything below it
//! ```
//!
//! The keeper's own code is in `keeper/` beside `src/`. A keeper that is itself killed leaves its tree to this process
//! ([`become_subreaper`]), which then does the killing.

mod cgroup;
pub mod environment;
mod evidence;
mod heaps;
#[path = "../../keeper/mod.rs"]
mod keeper;
pub mod leftovers;
mod orphans;
mod pinned;
mod plan;
mod procfs;
mod program;
mod protections;
mod spawn;
mod start;
mod tree;
mod usage;
mod watch;

pub use cgroup::{Groups, step_aside};
pub use heaps::share_heaps;
pub use orphans::become_subreaper;
pub use program::keeper_main;
pub use start::{Started, Starter};
pub use tree::KeptTree;
