//! What a tree uses.

use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};

use super::procfs;
use crate::domain::launch::Usage;

/// Adds up the processes below the keeper.
pub(super) fn of_tree(keeper: u32) -> Usage {
    let mut ticks = 0_u64;
    let mut usage = Usage::default();
    for process in procfs::descendants(keeper) {
        ticks = ticks.saturating_add(process.ticks).saturating_add(process.waited_ticks);
        let bytes = process.resident_pages.saturating_mul(page_size() as u64);
        usage.memory_bytes = usage.memory_bytes.saturating_add(bytes);
        usage.processes += 1;
        usage.threads = usage.threads.saturating_add(process.threads);
        usage.descriptors = usage.descriptors.saturating_add(procfs::descriptor_count(process.pid).unwrap_or(0));
    }
    // The keeper has waited for the orphans of the tree that have ended.
    ticks = ticks.saturating_add(procfs::stat(keeper).map_or(0, |keeper| keeper.waited_ticks));
    let per_second = clock_ticks_per_second().max(1);
    usage.cpu_time =
        Duration::from_secs(ticks / per_second) + Duration::from_millis(ticks % per_second * 1000 / per_second);
    usage
}
