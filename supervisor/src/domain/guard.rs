//! Guards: what a manifest declares, and whether it counts.

use std::collections::BTreeSet;

use super::hook::Hook;

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

/// What happens to what an absent plugin guards. The operator's to set, per plugin and hook.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnAbsent {
    /// It is denied.
    #[default]
    Deny,
    /// It passes, counted as `absent`.
    Skip,
}
