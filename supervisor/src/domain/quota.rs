//! Quotas of rights: which there are, their defaults by tier, and how far a grant can set them.

use super::rights::{Rights, Scope, Tier};

const MIB: u64 = 1 << 20;
const DAY_MS: u64 = 24 * 3600 * 1000;
/// Where nothing else bounds a quota: still exact as a 64-bit float, so that it survives every tool that shows it.
const UNBOUNDED: u64 = (1 << 53) - 1;

/// One quota of a scope. The unit follows from its name: bytes, milliseconds (`-ms`), else a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The right it bounds.
    pub scope: Scope,
    /// Its name in grants and listings.
    pub name: &'static str,
    /// Default for `community` and `workspace`.
    pub community: u64,
    /// Default for `trusted` and `bundled`.
    pub trusted: u64,
    /// Largest value a grant can set.
    pub max: u64,
}

const fn quota(scope: Scope, name: &'static str, community: u64, trusted: u64, max: u64) -> Quota {
    Quota { scope, name, community, trusted, max }
}

/// Every quota; source: the table of scopes in `common.proto`.
pub const QUOTAS: &[Quota] = &[
    quota(Scope::ToolsServe, "staged-bytes", 64 * MIB, 256 * MIB, UNBOUNDED),
    quota(Scope::EventsEmit, "events-per-minute", 600, 6_000, UNBOUNDED),
    quota(Scope::EventsHostStreams, "events-per-minute", 600, 6_000, UNBOUNDED),
    quota(Scope::State, "state-bytes", MIB, MIB, UNBOUNDED),
    quota(Scope::State, "run-context-bytes", MIB, MIB, UNBOUNDED),
    quota(Scope::Inject, "injections", 32, 32, 32),
    quota(Scope::Approvals, "pending-approvals", 8, 64, UNBOUNDED),
    quota(Scope::Schedule, "pending-turns", 32, 256, UNBOUNDED),
    quota(Scope::Schedule, "min-interval-ms", 60_000, 2_000, UNBOUNDED),
    quota(Scope::Schedule, "horizon-ms", 30 * DAY_MS, 3_650 * DAY_MS, UNBOUNDED),
    quota(Scope::Lease, "continuations-per-chain", 16, 64, UNBOUNDED),
    quota(Scope::Lease, "continuations-per-day", 96, 960, UNBOUNDED),
    quota(Scope::Attach, "files", 10, 10, 10),
    quota(Scope::Attach, "delivery-bytes", 26_214_400, 26_214_400, 26_214_400),
    quota(Scope::Attach, "staged-bytes", 64 * MIB, 256 * MIB, UNBOUNDED),
];

impl Quota {
    /// The quotas of a scope.
    pub fn of(scope: Scope) -> impl Iterator<Item = &'static Self> {
        QUOTAS.iter().filter(move |quota| quota.scope == scope)
    }

    /// The quota of a scope by name.
    #[must_use]
    pub fn find(scope: Scope, name: &str) -> Option<&'static Self> {
        Self::of(scope).find(|quota| quota.name == name)
    }

    /// What holds for a plugin: what its grant sets, else its tier's default.
    #[must_use]
    pub fn in_force(&self, rights: &Rights) -> u64 {
        let granted = rights.effective().get(&self.scope).and_then(|grant| grant.quotas.get(self.name)).copied();
        granted.unwrap_or(match rights.tier() {
            Tier::Bundled | Tier::Trusted => self.trusted,
            Tier::Community | Tier::Workspace => self.community,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::domain::rights::Grant;

    #[test]
    fn a_grant_beats_the_default_of_the_tier() {
        let turns = Quota::find(Scope::Schedule, "pending-turns").expect("it is in the table");
        let rights = |tier, granted| Rights::new(tier, BTreeSet::from([Scope::Schedule]), &granted, BTreeSet::new());
        let sixteen = BTreeMap::from([("pending-turns".to_owned(), 16)]);
        let grant = BTreeMap::from([(Scope::Schedule, Grant { quotas: sixteen, ..Grant::default() })]);
        assert_eq!(turns.in_force(&rights(Tier::Community, BTreeMap::new())), 32);
        assert_eq!(turns.in_force(&rights(Tier::Bundled, BTreeMap::new())), 256);
        assert_eq!(turns.in_force(&rights(Tier::Trusted, grant)), 16);
    }

    #[test]
    fn names_are_unique_in_a_scope_and_defaults_allowed() {
        for quota in QUOTAS {
            assert_eq!(Quota::of(quota.scope).filter(|other| other.name == quota.name).count(), 1, "{}", quota.name);
            assert!(quota.community <= quota.max && quota.trusted <= quota.max, "{}", quota.name);
        }
        assert_eq!(Quota::find(Scope::Lease, "pending-turns"), None);
    }
}
