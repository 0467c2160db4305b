//! A right of a plugin: whether it has it, where that comes from, and what would change it.

use outrigger_proto::admin::v1 as admin;
use serde::Serialize;

use super::plugin::Grant;
use crate::domain::rights::Scope;

/// Where a right comes from, or why the plugin does not have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    /// Held: the tier has it without a grant.
    TierDefault,
    /// Held: the operator granted it.
    Granted,
    /// Not held: the operator denied it.
    Denied,
    /// Not held: the tier can never have it.
    AboveCeiling,
    /// Not held: the manifest does not ask for it.
    NotRequested,
    /// Not held: the tier does not have it by default, and nobody granted it.
    NotGranted,
}

/// One right of one plugin.
#[derive(Debug, Serialize)]
pub(crate) struct Right {
    /// The plugin.
    pub(crate) plugin_id: String,
    /// Its tier.
    pub(crate) tier: String,
    /// The right, with the quotas in force, or that would be.
    #[serde(flatten)]
    pub(crate) grant: Grant,
    /// The plugin has it.
    pub(crate) effective: bool,
    /// Where it comes from, or why the plugin does not have it.
    pub(crate) origin: Origin,
    /// The tier has it without a grant.
    pub(crate) tier_default: bool,
    /// The operator granted it.
    pub(crate) granted: bool,
    /// The tier's ceiling allows it.
    pub(crate) tier_allows: bool,
    /// The manifest asks for it.
    pub(crate) requested: bool,
    /// What it allows. `null`: this program does not know the right.
    pub(crate) allows: Option<&'static str>,
    /// What would give it to the plugin. `null`: the plugin has it, or nothing would.
    pub(crate) remedy: Option<String>,
}

impl From<admin::list_grants_response::Entry> for Right {
    fn from(wire: admin::list_grants_response::Entry) -> Self {
        let right = wire.right.unwrap_or_default();
        let grant = Grant::from(right.grant.unwrap_or_default());
        let origin = match (right.effective, right.granted, right.tier_allows, right.requested) {
            (true, true, ..) => Origin::Granted,
            (true, false, ..) => Origin::TierDefault,
            (false, _, false, _) => Origin::AboveCeiling,
            (false, _, true, false) => Origin::NotRequested,
            (false, _, true, true) if right.denied => Origin::Denied,
            (false, ..) => Origin::NotGranted,
        };
        Self {
            plugin_id: wire.plugin_id,
            tier: super::tier(wire.tier),
            effective: right.effective,
            origin,
            tier_default: right.tier_default,
            granted: right.granted,
            tier_allows: right.tier_allows,
            requested: right.requested,
            allows: Scope::from_name(&grant.scope).map(Scope::about),
            remedy: remedy(origin, &grant.scope, right.granted || right.tier_default),
            grant,
        }
    }
}

/// What would give a right, in the words of the two files. `given`: the tier or the operator gives it already.
fn remedy(origin: Origin, scope: &str, given: bool) -> Option<String> {
    let grant = if scope == Scope::Transition.name() {
        format!("{{ scope = \"{scope}\", names = [\"FIELD\"] }}")
    } else {
        format!("\"{scope}\"")
    };
    let grant = format!("{grant} in `grants` of its entry in outrigger.toml");
    let request = format!("\"{scope}\" in `scopes` of its plugin.toml");
    match origin {
        Origin::TierDefault | Origin::Granted | Origin::AboveCeiling => None,
        Origin::Denied if given => Some(format!("take \"{scope}\" out of `deny` of its entry in outrigger.toml")),
        Origin::Denied => Some(format!("take \"{scope}\" out of `deny` of its entry in outrigger.toml, and {grant}")),
        Origin::NotRequested if given => Some(request),
        Origin::NotRequested => Some(format!("{request}, and {grant}")),
        Origin::NotGranted => Some(grant),
    }
}

impl Right {
    /// Where it comes from, or why the plugin does not have it, in words.
    pub(crate) fn origin_words(&self) -> &'static str {
        match self.origin {
            Origin::Granted if self.tier_default => "tier default, granted",
            Origin::Granted => "granted",
            Origin::TierDefault => "tier default",
            Origin::Denied => "denied",
            Origin::AboveCeiling => "above the ceiling",
            Origin::NotRequested => "not requested",
            Origin::NotGranted => "not granted",
        }
    }

    /// The plugin has it, or its author or operator meant it to.
    pub(crate) fn concerns_somebody(&self) -> bool {
        self.effective || self.requested || self.granted
    }
}

#[cfg(test)]
mod tests {
    use outrigger_proto::types::v1::ScopeGrant;

    use super::*;

    #[test]
    fn an_origin_is_what_the_deciding_function_says() {
        use std::collections::{BTreeMap, BTreeSet};

        use crate::domain::rights::{Grant as Granted, Rights, Tier};
        // Every way in which tier, request, grant and denial can meet, without those that the configuration refuses.
        for tier in Tier::ALL {
            for scope in Scope::all() {
                for bits in 0..8u8 {
                    let [requested, granted, denied] = [1, 2, 4].map(|bit| bits & bit != 0);
                    if granted && (denied || !scope.is_allowed(tier)) {
                        continue;
                    }
                    let one = |given: bool| if given { BTreeSet::from([scope]) } else { BTreeSet::new() };
                    let grants: BTreeMap<_, _> = one(granted).into_iter().map(|s| (s, Granted::default())).collect();
                    let rights = Rights::new(tier, one(requested), &grants, one(denied));
                    let right = Right::from(admin::list_grants_response::Entry {
                        right: Some(admin::Right {
                            grant: Some(ScopeGrant { scope: scope.name().to_owned(), ..Default::default() }),
                            tier_default: scope.is_default(tier),
                            granted,
                            tier_allows: scope.is_allowed(tier),
                            requested,
                            effective: rights.effective().contains_key(&scope),
                            denied,
                        }),
                        ..Default::default()
                    });
                    let decided = rights.decide(scope);
                    assert_eq!(right.effective, decided.is_ok());
                    let said = decided.err().map(|denial| denial.remedy).unwrap_or_default();
                    let expected = match right.origin {
                        Origin::TierDefault | Origin::Granted => "",
                        Origin::AboveCeiling => "can never have",
                        Origin::NotRequested => "plugin.toml",
                        Origin::Denied => "`deny`",
                        Origin::NotGranted => "`grants`",
                    };
                    assert!(said.contains(expected), "{tier} {scope} {bits:03b}: {:?}, {said}", right.origin);
                    let can_be_had = !right.effective && right.origin != Origin::AboveCeiling;
                    assert_eq!(right.remedy.is_some(), can_be_had, "{tier} {scope} {bits:03b}");
                    if denied && requested && scope.is_allowed(tier) {
                        assert_eq!(right.origin, Origin::Denied, "{tier} {scope} {bits:03b}");
                        let remedy = right.remedy.unwrap_or_default();
                        assert_eq!(remedy.contains("`grants`"), !scope.is_default(tier), "{remedy}");
                    }
                }
            }
        }
    }
}
