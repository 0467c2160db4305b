//! The Landlock signal scope: nobody inside can signal, trace or read the memory of a process outside.
//!
//! The keeper enters one, the child a second one inside it. So the plugin reaches neither keeper nor supervisor, and
//! `kill(-1)` by the keeper reaches exactly the tree, in one step that no fork can outrun.

use super::sys;

/// The first version of Landlock with signal scopes.
const FIRST_VERSION: usize = 6;
/// The first that can leave refusals out of the audit log.
const FIRST_QUIET_VERSION: usize = 7;

pub(super) struct Scope {
    /// Makes scopes, closed on exec. `None`: the kernel has none.
    pub(super) ruleset: Option<i32>,
    /// The keeper is inside one, and signals to the outside were seen to be refused.
    pub(super) proved: bool,
}

impl Scope {
    /// Enters a scope, where the kernel has them. `parent`: the supervisor, which is outside; 0 where it cannot be named.
    pub(super) fn enter(parent: i32) -> Self {
        let version = sys::landlock_version();
        if version < FIRST_VERSION {
            return Self { ruleset: None, proved: false };
        }
        let Ok(ruleset) = sys::landlock_signal_ruleset() else { return Self { ruleset: None, proved: false } };
        // A parent of 0 would name the own group. That the signal passed before is what makes its refusal a proof:
        // an ordinary user may not signal process 1 anyway. Wrongly believed, `kill(-1)` would end all that user has.
        let reachable = parent > 0 && sys::kill(parent, 0).is_ok();
        // The signals below are meant to be refused: no news for the audit log.
        let entered = sys::landlock_enter(ruleset, version >= FIRST_QUIET_VERSION).is_ok();
        let refused = |pid| sys::kill(pid, 0) == Err(sys::EPERM);
        let proved = reachable && entered && refused(1) && refused(parent);
        Self { ruleset: Some(ruleset), proved }
    }
}
