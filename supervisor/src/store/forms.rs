//! How guards and rights are written: JSON that a person can read, apart from the domain's own types.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::domain::guard::{Guard, Tools};
use crate::domain::hook::Hook;
use crate::domain::rights::{Grant, Rights, Scope, Tier};

/// A guard.
#[derive(Debug, Serialize, Deserialize)]
struct GuardForm {
    hook: String,
    /// Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<BTreeSet<String>>,
    policy: bool,
}

/// Rights. The effective ones are decided anew from these by the rules that hold when they are read.
#[derive(Debug, Serialize, Deserialize)]
struct RightsForm {
    tier: String,
    requested: Vec<String>,
    denied: Vec<String>,
    granted: BTreeMap<String, GrantForm>,
}

#[derive(Debug, Serialize, Deserialize)]
struct GrantForm {
    names: BTreeSet<String>,
    quotas: BTreeMap<String, u64>,
}

/// Writes guards.
pub(super) fn write_guards(guards: &[Guard]) -> Result<String, serde_json::Error> {
    let forms: Vec<_> = guards
        .iter()
        .map(|guard| GuardForm {
            hook: guard.hook.name().to_owned(),
            tools: match &guard.tools {
                Tools::All => None,
                Tools::Only(tools) => Some(tools.clone()),
            },
            policy: guard.policy,
        })
        .collect();
    serde_json::to_string(&forms)
}

/// Reads guards, or says what is wrong.
pub(super) fn read_guards(text: &str) -> Result<Vec<Guard>, String> {
    let forms: Vec<GuardForm> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    forms
        .into_iter()
        .map(|form| {
            Ok(Guard {
                hook: Hook::from_name(&form.hook).ok_or_else(|| format!("there is no hook `{}`", form.hook))?,
                tools: form.tools.map_or(Tools::All, Tools::Only),
                policy: form.policy,
            })
        })
        .collect()
}

/// Writes rights.
pub(super) fn write_rights(rights: &Rights) -> Result<String, serde_json::Error> {
    let names = |scopes: &BTreeSet<Scope>| scopes.iter().map(|scope| scope.name().to_owned()).collect();
    let grant = |grant: &Grant| GrantForm { names: grant.names.clone(), quotas: grant.quotas.clone() };
    serde_json::to_string(&RightsForm {
        tier: rights.tier().name().to_owned(),
        requested: names(rights.requested()),
        denied: names(rights.denied()),
        granted: rights.granted().iter().map(|(scope, of)| (scope.name().to_owned(), grant(of))).collect(),
    })
}

/// Reads rights, or says what is wrong.
pub(super) fn read_rights(text: &str) -> Result<Rights, String> {
    let scope = |name: &str| Scope::from_name(name).ok_or_else(|| format!("there is no scope `{name}`"));
    let form: RightsForm = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let tier = Tier::from_name(&form.tier).ok_or_else(|| format!("there is no tier `{}`", form.tier))?;
    let scopes = |names: &[String]| names.iter().map(|name| scope(name)).collect::<Result<BTreeSet<_>, _>>();
    let granted = form
        .granted
        .into_iter()
        .map(|(name, form)| Ok((scope(&name)?, Grant { names: form.names, quotas: form.quotas })))
        .collect::<Result<BTreeMap<_, _>, String>>()?;
    Ok(Rights::new(tier, scopes(&form.requested)?, &granted, scopes(&form.denied)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::hook::CATALOGUE;

    fn scopes() -> impl Strategy<Value = BTreeSet<Scope>> {
        proptest::sample::subsequence(Scope::all().collect::<Vec<_>>(), 0..=18)
            .prop_map(|some| some.into_iter().collect())
    }

    fn grant() -> impl Strategy<Value = Grant> {
        let names = proptest::collection::btree_set("\\PC{0,8}", 0..3);
        let quotas = proptest::collection::btree_map("[a-z-]{1,8}", any::<u64>(), 0..3);
        (names, quotas).prop_map(|(names, quotas)| Grant { names, quotas })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn rights_are_read_as_they_were(
            tier in proptest::sample::select(Tier::ALL.to_vec()),
            requested in scopes(),
            granted in scopes(),
            grant in grant(),
            denied in scopes(),
        ) {
            let granted = granted.into_iter().map(|scope| (scope, grant.clone())).collect();
            let rights = Rights::new(tier, requested, &granted, denied);
            let text = write_rights(&rights).expect("it can be written");
            prop_assert_eq!(read_rights(&text), Ok(rights));
        }

        #[test]
        fn guards_are_read_as_they_were(
            hook in proptest::sample::select(CATALOGUE.iter().map(|row| row.hook).collect::<Vec<_>>()),
            tools in proptest::collection::btree_set("\\PC{0,8}", 0..3),
            all: bool,
            policy: bool,
        ) {
            let tools = if all { Tools::All } else { Tools::Only(tools) };
            let guards = vec![Guard { hook, tools, policy }];
            let text = write_guards(&guards).expect("it can be written");
            prop_assert_eq!(read_guards(&text), Ok(guards));
        }

        #[test]
        fn nothing_read_panics(text in "\\PC{0,60}") {
            let _ = (read_guards(&text), read_rights(&text));
        }
    }

    #[test]
    fn what_is_not_known_is_named() {
        let wrong = read_guards(r#"[{"hook":"before_lunch","policy":false}]"#);
        assert_eq!(wrong, Err("there is no hook `before_lunch`".into()));
        let wrong = read_rights(r#"{"tier":"community","requested":["x.y"],"denied":[],"granted":{}}"#);
        assert_eq!(wrong, Err("there is no scope `x.y`".into()));
        assert!(read_guards("{").is_err());
    }
}
