//! How many heaps the threads of this process have: one.

/// Heaps for all threads together. A second one keeps its own pieces of every mass start, which nothing fills again.
#[cfg(target_env = "gnu")]
const HEAPS: libc::c_int = 1;

/// Lets all threads of this process share one heap, in glibc, which would give eight to each processor otherwise. Each
/// keeps what it once needed, and a supervisor's threads besides its first need much now and then, one at a time.
///
/// For a program that is a supervisor and nothing else, before it starts a thread. Elsewhere it does nothing.
#[cfg_attr(target_env = "gnu", expect(unsafe_code, reason = "the setting has no safe form"))]
pub fn share_heaps() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: takes two numbers and changes a setting of the allocator, under its own lock. It refuses
        // settings that it does not know, which costs memory only.
        let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, HEAPS) };
    }
}
