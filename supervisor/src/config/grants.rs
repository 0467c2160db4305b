//! `grants`, `deny` and `attach_roots` of an entry: what the operator decided on a plugin's rights.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use toml::de::DeValue;

use super::keys::{self, MOST_ARGUMENT_BYTES, MOST_CLAIMS};
use super::problem::perhaps;
use super::reader::{Node, Table};
use crate::domain::names::{self, NameError};
use crate::domain::quota::Quota;
use crate::domain::rights::{Grant, Scope, Tier};

/// What the operator granted and denied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Granted, with names and quotas.
    pub granted: BTreeMap<Scope, Grant>,
    /// Denied.
    pub denied: BTreeSet<Scope>,
}

/// Reads the decision. Without a tier (it is wrong) the ceiling is not checked.
pub(super) fn read(entry: &Table<'_>, tier: Option<Tier>) -> Decision {
    let mut decision = Decision::default();
    if let Some(denied) = entry.get("deny") {
        decision.denied = denied.set(64, |node| scope(node));
    }
    for node in entry.get("grants").and_then(|grants| grants.list(64)).unwrap_or_default() {
        let Some((scope, grant)) = read_grant(&node) else { continue };
        if let Some(tier) = tier.filter(|tier| !scope.is_allowed(*tier)) {
            node.fail(
                &format!("grants `{scope}`, which tier `{tier}` can never have"),
                "leave it out, or another tier",
            );
        } else if decision.denied.contains(&scope) {
            node.fail(&format!("grants `{scope}`, which `deny` takes away"), "one of the two");
        } else if decision.granted.insert(scope, grant).is_some() {
            node.fail(&format!("grants `{scope}` a second time"), "one grant with all names and quotas");
        }
    }
    if let Some(node) = entry.get("attach_roots") {
        let roots = node.set(MOST_CLAIMS, root);
        let has =
            tier.is_none_or(|tier| Scope::Attach.is_default(tier)) || decision.granted.contains_key(&Scope::Attach);
        if has && !decision.denied.contains(&Scope::Attach) {
            decision.granted.entry(Scope::Attach).or_default().names.extend(roots);
        } else {
            node.fail("names roots, but the plugin may not attach", "\"attach\" in `grants`, or no roots");
        }
    }
    decision
}

/// A scope by name.
pub(super) fn scope(node: &Node<'_>) -> Option<Scope> {
    let name = node.string()?;
    let scope = Scope::from_name(name);
    if scope.is_none() {
        node.fail("is not a scope", &perhaps(name, &keys::scopes()));
    }
    scope
}

/// `"state"` or `{ scope = "schedule", pending-turns = 16 }`.
fn read_grant(node: &Node<'_>) -> Option<(Scope, Grant)> {
    if !matches!(node.value, DeValue::Table(_)) {
        if !matches!(node.value, DeValue::String(_)) {
            node.fail("is not a grant", "a scope, or a table with `scope`, `names` and quotas");
            return None;
        }
        let scope = scope(node)?;
        if scope == Scope::Transition {
            node.fail("names no entry fields", "{ scope = \"transition\", names = [\"…\"] }");
            return None;
        }
        return Some((scope, Grant::default()));
    }
    let table = node.any_table()?;
    let Some(scope_node) = table.get("scope") else {
        table.missing("scope", "the scope that is granted");
        return None;
    };
    let scope = scope(&scope_node)?;
    let mut grant = Grant::default();
    for (key, value) in table.iter() {
        match key {
            "scope" => {}
            "names" if scope.is_by_name() => grant.names = value.set(MOST_CLAIMS, |name| granted_name(scope, name)),
            "names" => value.fail(&format!("is not for `{scope}`, which is granted as a whole"), "leave it out"),
            _ => match Quota::find(scope, key) {
                Some(quota) => {
                    let number = value.integer(0..=quota.max);
                    grant.quotas.extend(number.map(|number| (key.to_owned(), number)));
                }
                None => unknown_quota(scope, key, &value),
            },
        }
    }
    if scope == Scope::Transition && grant.names.is_empty() {
        table.missing("names", "the entry fields that are granted");
        return None;
    }
    Some((scope, grant))
}

fn unknown_quota(scope: Scope, key: &str, value: &Node<'_>) {
    let quotas: Vec<_> = Quota::of(scope).map(|quota| quota.name).collect();
    value.fail(&format!("is set for a quota that `{scope}` does not have"), &perhaps(key, &quotas));
}

/// A name for which a right by name is granted.
fn granted_name(scope: Scope, node: &Node<'_>) -> Option<String> {
    match scope {
        Scope::Attach => root(node),
        Scope::Transition => name(node, names::field),
        _ => name(node, names::command),
    }
}

/// A directory from which files may be attached.
fn root(node: &Node<'_>) -> Option<String> {
    let text = node.plain_bytes(MOST_ARGUMENT_BYTES)?;
    let path = Path::new(&text);
    if !path.is_absolute() || path.components().any(|component| component == Component::ParentDir) {
        node.fail("is not an absolute path", "a path that begins with `/`, without `..`");
        return None;
    }
    Some(text)
}

/// A name that a check of the domain accepts.
pub(super) fn name(node: &Node<'_>, check: impl Fn(&str) -> Result<(), NameError>) -> Option<String> {
    let name = node.string()?;
    match check(name) {
        Ok(()) => Some(name.to_owned()),
        Err(error) => {
            node.fail(error.wrong(), error.right());
            None
        }
    }
}
