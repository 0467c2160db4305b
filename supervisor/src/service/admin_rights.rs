//! Rights as operators see them: each with where it comes from, and those a plugin does not have with why.

use outrigger_proto::admin::v1 as wire;

use super::actor::Plugin;
use super::admin_views::page_size;
use super::core::Core;
use super::status::Failure;
use super::wire::{scope_grant, tier};
use crate::domain::rights::{Rights, Scope};
use crate::domain::spec::Entry;

/// One page of rights: of every plugin all there are, held or not.
///
/// A plugin whose manifest cannot be read has none here: what it asks for is not known.
pub(crate) fn list(core: &Core, request: &wire::ListGrantsRequest) -> Result<wire::ListGrantsResponse, Failure> {
    let plugins: Vec<&Plugin> = if request.plugin_id.is_empty() {
        core.plugins.values().collect()
    } else {
        vec![core.plugin(&request.plugin_id)?]
    };
    let (last_plugin, last_scope) = request.page_token.split_once('/').unwrap_or_default();
    let mut scopes: Vec<Scope> = Scope::all().collect();
    scopes.sort_by_key(|scope| scope.name());
    let size = page_size(request.page_size);
    let mut entries = Vec::new();
    'all: for plugin in plugins {
        let id = plugin.view.id.as_str();
        if id < last_plugin {
            continue;
        }
        let details = plugin.details();
        let Some(rights) = rights(&details.entry) else { continue };
        for scope in scopes.iter().filter(|scope| (id, scope.name()) > (last_plugin, last_scope)) {
            if entries.len() > size {
                break 'all;
            }
            entries.push(entry(id, *scope, rights));
        }
    }
    let more = entries.len() > size;
    entries.truncate(size);
    let token = |entry: &wire::list_grants_response::Entry| {
        let scope = entry.right.as_ref().and_then(|right| right.grant.as_ref()).map(|grant| grant.scope.as_str());
        format!("{}/{}", entry.plugin_id, scope.unwrap_or_default())
    };
    let next_page_token = entries.last().filter(|_| more).map(token).unwrap_or_default();
    Ok(wire::ListGrantsResponse { entries, next_page_token })
}

/// What is known of a plugin's rights.
fn rights(entry: &Entry) -> Option<&Rights> {
    match entry {
        Entry::Sound(spec) => Some(&spec.rights),
        Entry::Broken(broken) => broken.guards.as_ref().map(|(_, rights)| rights),
    }
}

fn entry(plugin: &str, scope: Scope, rights: &Rights) -> wire::list_grants_response::Entry {
    let granted = rights.granted().get(&scope);
    wire::list_grants_response::Entry {
        plugin_id: plugin.to_owned(),
        tier: tier(rights.tier()) as i32,
        right: Some(wire::Right {
            grant: Some(scope_grant(scope, granted, rights)),
            tier_default: scope.is_default(rights.tier()),
            granted: granted.is_some(),
            tier_allows: scope.is_allowed(rights.tier()),
            requested: rights.requested().contains(&scope),
            effective: rights.effective().contains_key(&scope),
            denied: rights.denied().contains(&scope),
        }),
    }
}
