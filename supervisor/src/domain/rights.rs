//! Who may do what: tiers, scopes, and the one function that decides.
//!
//! Effective rights = ((tier's default ∪ operator's grant) less what the operator denied) ∩ tier's ceiling ∩ manifest's
//! request (architecture §10). Nothing a plugin says can widen them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How far a plugin is trusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Ships with the host.
    Bundled,
    /// Verified by the operator.
    Trusted,
    /// Installed by a user; the default.
    #[default]
    Community,
    /// Found in a project; for development only.
    Workspace,
}

impl Tier {
    /// All tiers, most trusted first.
    pub const ALL: [Self; 4] = [Self::Bundled, Self::Trusted, Self::Community, Self::Workspace];

    /// Its name in files and listings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bundled => "bundled",
            Self::Trusted => "trusted",
            Self::Community => "community",
            Self::Workspace => "workspace",
        }
    }

    /// The tier of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.name() == name)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which tiers a scope is for: a letter of the table in `common.proto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ScopeRow {
    scope: Scope,
    name: &'static str,
    /// `community` and `workspace` have it without a grant.
    community_default: bool,
    /// Only `bundled` can have it.
    bundled_only: bool,
    /// `trusted` needs a grant, too.
    granted_only: bool,
    /// `workspace` cannot have it.
    not_workspace: bool,
    /// Granted name by name.
    by_name: bool,
    /// What it allows, for people.
    about: &'static str,
}

macro_rules! scopes {
    ($($scope:ident = $name:literal $($flag:ident)*, $about:literal;)*) => {
        /// A right a plugin can be granted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Scope {
            $(#[doc = concat!("`", $name, "`.")] $scope,)*
        }

        const SCOPES: &[ScopeRow] = &[
            $({
                #[allow(unused_mut)]
                let mut row = ScopeRow {
                    scope: Scope::$scope,
                    name: $name,
                    community_default: false,
                    bundled_only: false,
                    granted_only: false,
                    not_workspace: false,
                    by_name: false,
                    about: $about,
                };
                $(row.$flag = true;)*
                row
            },)*
        ];
    };
}

scopes! {
    HooksConversation = "hooks.conversation", "hooks, messages and content streams that show the conversation";
    HooksPrompt = "hooks.prompt" community_default, "hooks that add to the prompt";
    HooksTools = "hooks.tools" community_default, "hooks around tool calls";
    HooksMessages = "hooks.messages", "hooks that see or change messages on their way";
    PolicyTrusted = "policy.trusted" not_workspace, "tool policies asked before every ordinary hook, and before_install";
    ToolsServe = "tools.serve", "tools for the model";
    EventsRead = "events.read" community_default, "agent events; without hooks.conversation only their outlines";
    EventsEmit = "events.emit" community_default, "events on streams of the plugin's own";
    EventsHostStreams = "events.host-streams" bundled_only, "events on the host's streams";
    State = "state" community_default, "state in sessions and runs";
    Inject = "inject" community_default, "context for the next turn";
    Approvals = "approvals", "questions to a person outside a tool call";
    Transition = "transition" granted_only not_workspace by_name, "changes of a session's entry, in the fields named";
    Schedule = "schedule", "turns at a time or at intervals";
    Lease = "lease", "continuations of a run";
    Attach = "attach" not_workspace by_name, "files in a conversation, from the roots named";
    CommandsReserved = "commands.reserved" bundled_only by_name, "reserved commands: those named, else the one that is its id";
    SessionsAddress = "sessions.address" not_workspace, "sessions named by their key";
}

impl Scope {
    fn row(self) -> &'static ScopeRow {
        // The table is made from the same list as the enum, in the same order.
        &SCOPES[self as usize]
    }

    /// Every scope.
    pub fn all() -> impl Iterator<Item = Self> {
        SCOPES.iter().map(|row| row.scope)
    }

    /// Its name in manifests, grants and denials.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The scope of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        SCOPES.iter().find(|row| row.name == name).map(|row| row.scope)
    }

    /// It is granted name by name (entry fields, roots, commands).
    #[must_use]
    pub fn is_by_name(self) -> bool {
        self.row().by_name
    }

    /// What it allows, in words to follow a colon.
    #[must_use]
    pub fn about(self) -> &'static str {
        self.row().about
    }

    /// The tier has it without a grant.
    #[must_use]
    pub fn is_default(self, tier: Tier) -> bool {
        let row = self.row();
        match tier {
            Tier::Bundled => true,
            Tier::Trusted => !row.bundled_only && !row.granted_only,
            Tier::Community | Tier::Workspace => row.community_default,
        }
    }

    /// The tier can have it.
    #[must_use]
    pub fn is_allowed(self, tier: Tier) -> bool {
        let row = self.row();
        match tier {
            Tier::Bundled => true,
            Tier::Trusted | Tier::Community => !row.bundled_only,
            Tier::Workspace => !row.bundled_only && !row.not_workspace,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the operator granted of one scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// What a right by name is for.
    pub names: BTreeSet<String>,
    /// Quotas set, by name.
    pub quotas: BTreeMap<String, u64>,
}

/// The effective rights of a plugin, and what it takes to explain a denial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    tier: Tier,
    effective: BTreeMap<Scope, Grant>,
    requested: BTreeSet<Scope>,
    granted: BTreeMap<Scope, Grant>,
    denied: BTreeSet<Scope>,
}

impl Rights {
    /// Decides the effective rights.
    #[must_use]
    pub fn new(
        tier: Tier,
        requested: BTreeSet<Scope>,
        granted: &BTreeMap<Scope, Grant>,
        denied: BTreeSet<Scope>,
    ) -> Self {
        let effective = requested
            .iter()
            .copied()
            .filter(|scope| scope.is_default(tier) || granted.contains_key(scope))
            .filter(|scope| !denied.contains(scope) && scope.is_allowed(tier))
            .map(|scope| (scope, granted.get(&scope).cloned().unwrap_or_default()))
            .collect();
        Self { tier, effective, requested, granted: granted.clone(), denied }
    }

    /// The tier.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// The effective rights with what was granted of each.
    #[must_use]
    pub fn effective(&self) -> &BTreeMap<Scope, Grant> {
        &self.effective
    }

    /// What the manifest asks for.
    #[must_use]
    pub fn requested(&self) -> &BTreeSet<Scope> {
        &self.requested
    }

    /// What the operator granted, whether or not it takes effect.
    #[must_use]
    pub fn granted(&self) -> &BTreeMap<Scope, Grant> {
        &self.granted
    }

    /// What the operator denied.
    #[must_use]
    pub fn denied(&self) -> &BTreeSet<Scope> {
        &self.denied
    }

    /// The one decision: every registration and host call asks it.
    ///
    /// # Errors
    /// The denial, with what would allow it.
    pub fn decide(&self, scope: Scope) -> Result<(), Denial> {
        if self.effective.contains_key(&scope) {
            return Ok(());
        }
        let remedy = if !scope.is_allowed(self.tier) {
            format!("tier `{}` can never have `{scope}`", self.tier)
        } else if !self.requested.contains(&scope) {
            format!("add \"{scope}\" to `scopes` in plugin.toml")
        } else if self.denied.contains(&scope) {
            format!("take \"{scope}\" out of `deny` in the plugin's entry of outrigger.toml")
        } else {
            format!("add \"{scope}\" to `grants` in the plugin's entry of outrigger.toml")
        };
        Err(Denial { scope, tier: self.tier, remedy })
    }
}

/// Why a right is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("scope `{scope}` is not among the rights of this plugin (tier `{tier}`): {remedy}")]
pub struct Denial {
    /// The scope.
    pub scope: Scope,
    /// The plugin's tier.
    pub tier: Tier,
    /// What would allow it.
    pub remedy: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(tier: Tier, requested: &[Scope], granted: &[Scope], denied: &[Scope]) -> Rights {
        let granted = granted.iter().map(|scope| (*scope, Grant::default())).collect();
        Rights::new(tier, requested.iter().copied().collect(), &granted, denied.iter().copied().collect())
    }

    #[test]
    fn scopes_are_found_by_name() {
        for scope in Scope::all() {
            assert_eq!(Scope::from_name(scope.name()), Some(scope));
        }
        assert_eq!(Scope::from_name("hooks.everything"), None);
    }

    #[test]
    fn a_default_must_be_requested() {
        assert!(rights(Tier::Community, &[Scope::HooksTools], &[], &[]).decide(Scope::HooksTools).is_ok());
        let denial = rights(Tier::Community, &[], &[], &[]).decide(Scope::HooksTools).expect_err("not requested");
        assert!(denial.remedy.contains("plugin.toml"), "{denial}");
    }

    #[test]
    fn a_denial_beats_default_and_grant() {
        let rights = rights(Tier::Community, &[Scope::State], &[Scope::State], &[Scope::State]);
        assert!(rights.decide(Scope::State).expect_err("denied").remedy.contains("`deny`"));
    }

    #[test]
    fn a_grant_stays_below_the_ceiling() {
        let above = rights(Tier::Community, &[Scope::EventsHostStreams], &[Scope::EventsHostStreams], &[]);
        assert!(above.decide(Scope::EventsHostStreams).expect_err("above").remedy.contains("can never"));
        let workspace = rights(Tier::Workspace, &[Scope::PolicyTrusted], &[Scope::PolicyTrusted], &[]);
        assert!(workspace.decide(Scope::PolicyTrusted).is_err());
        let granted = rights(Tier::Community, &[Scope::PolicyTrusted], &[Scope::PolicyTrusted], &[]);
        assert!(granted.decide(Scope::PolicyTrusted).is_ok());
    }

    #[test]
    fn trusted_has_all_but_three() {
        let missing: Vec<_> = Scope::all().filter(|scope| !scope.is_default(Tier::Trusted)).map(Scope::name).collect();
        assert_eq!(missing, ["events.host-streams", "transition", "commands.reserved"]);
        assert!(Scope::all().all(|scope| scope.is_default(Tier::Bundled)));
    }
}
