//! Guards: what a manifest declares, and whether it counts.

use std::collections::BTreeSet;

use super::hook::{CATALOGUE, FailurePolicy, Hook};
use super::rights::{Denial, Rights, Scope};

/// Which tools a handler or guard is for. Tool ids are canonical: lower-case, no wildcard, no alias.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Tools {
    /// Every tool, and calls that have none.
    #[default]
    All,
    /// These. Not empty.
    Only(BTreeSet<String>),
}

impl Tools {
    /// All tools for an empty list, these tools otherwise.
    pub fn from_list<I: IntoIterator<Item = String>>(tools: I) -> Self {
        let tools: BTreeSet<String> = tools.into_iter().collect();
        if tools.is_empty() { Self::All } else { Self::Only(tools) }
    }

    /// Whether a call of this tool matches.
    #[must_use]
    pub fn matches(&self, tool: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(tools) => tools.contains(tool),
        }
    }

    /// Whether every tool of `other` is among these.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(mine), Self::Only(theirs)) => theirs.is_subset(mine),
        }
    }

    /// The tools as a list; empty for all.
    #[must_use]
    pub fn to_list(&self) -> Vec<String> {
        match self {
            Self::All => Vec::new(),
            Self::Only(tools) => tools.iter().cloned().collect(),
        }
    }
}

/// A guard as a manifest declares it (`[[guard]]`): what it guards is denied while its plugin is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The hook, one that fails closed.
    pub hook: Hook,
    /// What it guards. `All` for hooks without tools.
    pub tools: Tools,
    /// It is a trusted tool policy (`policy = true`).
    pub policy: bool,
}

impl Guard {
    /// What a manifest that never could be read is taken to guard: every fail-closed hook, for all tools.
    #[must_use]
    pub fn everything() -> Vec<Self> {
        CATALOGUE
            .iter()
            .filter(|row| row.failure == FailurePolicy::Closed)
            .map(|row| Self { hook: row.hook, tools: Tools::All, policy: false })
            .collect()
    }

    /// The right without which it guards nothing. `None`: it needs none.
    #[must_use]
    pub fn scope(&self) -> Option<Scope> {
        if self.policy { Some(Scope::PolicyTrusted) } else { self.hook.row().access.scope() }
    }
}

/// Whether a declared guard counts (architecture §8): only where the effective rights hold its scope, so that a plugin
/// cannot stop the runtime beyond the rights it was let in with.
///
/// # Errors
/// The right that is missing, and what would give it. Such a guard is shown as "declared, not granted: does not guard".
pub fn guard_counts(guard: &Guard, rights: &Rights) -> Result<(), Denial> {
    guard.scope().map_or(Ok(()), |scope| rights.decide(scope))
}

/// What happens to what an absent plugin guards. The operator's to set, per plugin and hook.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnAbsent {
    /// It is denied.
    #[default]
    Deny,
    /// It passes, counted as `absent`.
    Skip,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::rights::Tier;

    fn guard(hook: Hook, policy: bool) -> Guard {
        Guard { hook, tools: Tools::All, policy }
    }

    #[test]
    fn each_guard_needs_its_scope() {
        let cases = [
            (guard(Hook::BeforeToolCall, false), Scope::HooksTools),
            (guard(Hook::BeforeToolCall, true), Scope::PolicyTrusted),
            (guard(Hook::BeforeAgentRun, false), Scope::HooksConversation),
            (guard(Hook::BeforeInstall, false), Scope::PolicyTrusted),
        ];
        for (guard, scope) in cases {
            let with = Rights::new(Tier::Trusted, BTreeSet::from([scope]), &BTreeMap::new(), BTreeSet::new());
            assert_eq!(guard_counts(&guard, &with), Ok(()), "{guard:?}");
            let others = Scope::all().filter(|other| *other != scope).collect();
            let without = Rights::new(Tier::Bundled, others, &BTreeMap::new(), BTreeSet::new());
            assert_eq!(guard_counts(&guard, &without).map_err(|denial| denial.scope), Err(scope), "{guard:?}");
        }
    }

    #[test]
    fn a_revoked_right_lifts_a_guard() {
        let requested = BTreeSet::from([Scope::HooksTools]);
        let rights = Rights::new(Tier::Community, requested.clone(), &BTreeMap::new(), requested);
        let denial = guard_counts(&guard(Hook::BeforeToolCall, false), &rights).expect_err("denied");
        assert!(denial.remedy.contains("`deny`"), "{denial}");
    }

    #[test]
    fn everything_is_every_hook_that_fails_closed() {
        let hooks: Vec<_> = Guard::everything().iter().map(|guard| guard.hook).collect();
        assert_eq!(hooks, [Hook::BeforeAgentRun, Hook::BeforeToolCall, Hook::BeforeInstall]);
        assert!(Guard::everything().iter().all(|guard| guard.tools == Tools::All && !guard.policy));
    }
}
