//! Between the wire contract's types and ours.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use outrigger_proto::types::v1 as types;

use crate::domain::guard::Guard;
use crate::domain::hook::Hook;
use crate::domain::quota::Quota;
use crate::domain::rights::{Grant, Rights, Scope, Tier};

/// A length of time; longer than 10,000 years is cut.
pub(crate) fn duration(value: Duration) -> prost_types::Duration {
    const MAX_SECONDS: u64 = 315_576_000_000;
    let seconds = value.as_secs().min(MAX_SECONDS);
    prost_types::Duration { seconds: seconds.cast_signed(), nanos: value.subsec_nanos().cast_signed() }
}

/// A length of time; `None` for a negative or malformed one.
pub(crate) fn to_duration(value: &prost_types::Duration) -> Option<Duration> {
    let seconds = u64::try_from(value.seconds).ok()?;
    let nanos = u32::try_from(value.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(seconds, nanos))
}

/// A point in time.
pub(crate) fn timestamp(value: SystemTime) -> prost_types::Timestamp {
    let since = value.duration_since(UNIX_EPOCH).unwrap_or_default();
    prost_types::Timestamp { seconds: since.as_secs().cast_signed(), nanos: since.subsec_nanos().cast_signed() }
}

/// The hook's value on the wire: numbers are the same.
pub(crate) fn hook(hook: Hook) -> types::Hook {
    types::Hook::try_from(hook as i32).unwrap_or(types::Hook::Unspecified)
}

/// The tier's value on the wire.
pub(crate) fn tier(tier: Tier) -> types::Tier {
    match tier {
        Tier::Bundled => types::Tier::Bundled,
        Tier::Trusted => types::Tier::Trusted,
        Tier::Community => types::Tier::Community,
        Tier::Workspace => types::Tier::Workspace,
    }
}

/// A declared guard.
pub(crate) fn guard(guard: &Guard) -> types::Guard {
    types::Guard { hook: hook(guard.hook) as i32, tool_names: guard.tools.to_list(), tool_policy: guard.policy }
}

/// Effective rights with the quotas in force.
pub(crate) fn grants(rights: &Rights) -> Vec<types::ScopeGrant> {
    rights.effective().iter().map(|(scope, grant)| scope_grant(*scope, Some(grant), rights)).collect()
}

/// A right with the quotas that are in force, or would be, and the names it is for.
pub(crate) fn scope_grant(scope: Scope, grant: Option<&Grant>, rights: &Rights) -> types::ScopeGrant {
    let quota = |quota: &Quota| types::Quota { name: quota.name.to_owned(), limit: quota.in_force(rights), used: 0 };
    types::ScopeGrant {
        scope: scope.name().to_owned(),
        quotas: Quota::of(scope).map(quota).collect(),
        names: grant.map(|grant| grant.names.iter().cloned().collect()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::hook::CATALOGUE;

    #[test]
    fn the_catalogue_has_the_wire_contracts_names_and_numbers() {
        for row in CATALOGUE {
            assert_eq!(hook(row.hook).as_str_name(), format!("HOOK_{}", row.name.to_uppercase()));
        }
        assert!(types::Hook::try_from(CATALOGUE.len() as i32 + 1).is_err());
    }

    #[test]
    fn durations_survive_the_wire() {
        let value = Duration::new(3, 7);
        assert_eq!(to_duration(&duration(value)), Some(value));
        assert_eq!(to_duration(&prost_types::Duration { seconds: -1, nanos: 0 }), None);
        assert_eq!(to_duration(&prost_types::Duration { seconds: 0, nanos: 1_000_000_000 }), None);
    }
}
