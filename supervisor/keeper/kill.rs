//! How far a kill reaches: the one place that chooses between the ways there are.

use super::scope::Scope;
use super::sweep;
use super::sys;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// One `kill(-1)` inside the keeper's scope: the whole tree at once.
    Scope,
    /// Walks the tree and kills what it meets. A tree that forks faster than it is walked lives on for a while.
    Sweep,
    /// The kernel lists no children: only the child's process group can be named.
    Group,
}

impl Reach {
    pub(super) fn choose(scope: &Scope) -> Self {
        if scope.proved {
            Self::Scope
        } else if sweep::is_possible() {
            Self::Sweep
        } else {
            Self::Group
        }
    }

    /// Kills what can be reached now. The caller repeats it until no child is left. `child`: the plugin's first process,
    /// whose number stays taken while its group has members.
    pub(super) fn kill(self, child: i32) {
        match self {
            Self::Scope => drop(sys::kill(-1, sys::SIGKILL)),
            Self::Sweep => sweep::kill_descendants(),
            Self::Group => drop(sys::kill(-child, sys::SIGKILL)),
        }
    }
}
