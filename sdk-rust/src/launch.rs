//! What a plugin knows about this launch of it: what Welcome said, its state, its host.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use outrigger_proto::plugin::v1 as plugin;
use outrigger_proto::plugin::v1::{LaunchReason, OwnedSession, Registered};
use outrigger_proto::types::v1::{Limits, ScopeGrant, Tier};
use serde::de::DeserializeOwned;

use crate::environment::Environment;
use crate::error::ConfigError;
use crate::host::Host;

/// One launch of the plugin. Cloning is cheap; all clones see the same.
///
/// `S` is the plugin's state, made by [`Plugin::on_start`](crate::Plugin::on_start); before that there is none.
pub struct Launch<S = ()>(Arc<Inner<S>>);

struct Inner<S> {
    facts: Arc<Facts>,
    host: Host,
    state: S,
}

/// What does not depend on the state.
pub(crate) struct Facts {
    welcome: plugin::Welcome,
    limits: Limits,
    grants: RwLock<Arc<[ScopeGrant]>>,
    registered: OnceLock<Registered>,
    draining: AtomicBool,
    package_dir: PathBuf,
    data_dir: PathBuf,
}

impl Facts {
    pub(crate) fn new(mut welcome: plugin::Welcome, environment: &Environment) -> Self {
        Self {
            limits: welcome.limits.unwrap_or_default(),
            grants: RwLock::new(std::mem::take(&mut welcome.grants).into()),
            registered: OnceLock::new(),
            draining: AtomicBool::new(false),
            package_dir: environment.package_dir.clone(),
            data_dir: environment.data_dir.clone(),
            welcome,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn set_grants(&self, grants: Vec<ScopeGrant>) {
        *self.grants.write().unwrap_or_else(PoisonError::into_inner) = grants.into();
    }

    /// The first answer stays; the contract has only one.
    pub(crate) fn set_registered(&self, registered: Registered) {
        let _ = self.registered.set(registered);
    }

    pub(crate) fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }
}

impl Launch<()> {
    pub(crate) fn new(facts: Arc<Facts>, host: Host) -> Self {
        Self(Arc::new(Inner { facts, host, state: () }))
    }

    /// The same launch, with its state.
    pub(crate) fn with_state<S>(&self, state: S) -> Launch<S> {
        Launch(Arc::new(Inner { facts: self.0.facts.clone(), host: self.0.host.clone(), state }))
    }
}

impl<S> Launch<S> {
    /// The plugin's configuration. The supervisor has checked it against the manifest's schema already.
    ///
    /// It is parsed at each call: do it once, in [`Plugin::on_start`](crate::Plugin::on_start), and keep the result as
    /// the state.
    ///
    /// # Errors
    /// It is not a `T`. Returned from `on_start` with `?`, the error quarantines the plugin until its configuration
    /// changes.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let json: &[u8] = &self.0.facts.welcome.config_json;
        serde_json::from_slice(if json.is_empty() { b"{}" } else { json }).map_err(|error| ConfigError::parse(&error))
    }

    /// A secret of the name the manifest asks for. Never print it.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<&str> {
        self.secrets().get(name).map(String::as_str)
    }

    /// All secrets, by name. Never print them.
    #[must_use]
    pub fn secrets(&self) -> &BTreeMap<String, String> {
        &self.0.facts.welcome.secrets
    }

    /// The plugin's id, from the configuration.
    #[must_use]
    pub fn plugin_id(&self) -> &str {
        &self.0.facts.welcome.plugin_id
    }

    /// The launch's number: durable and rising.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.facts.welcome.generation
    }

    /// Why the plugin was launched.
    #[must_use]
    pub fn launch_reason(&self) -> LaunchReason {
        self.0.facts.welcome.launch_reason()
    }

    /// The plugin's tier.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.0.facts.welcome.tier()
    }

    /// The effective rights, as they are now.
    #[must_use]
    pub fn grants(&self) -> Arc<[ScopeGrant]> {
        self.0.facts.grants.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the plugin has a right now, for instance `state`.
    #[must_use]
    pub fn has_right(&self, scope: &str) -> bool {
        self.grants().iter().any(|grant| grant.scope == scope)
    }

    /// Bounds on what the plugin sends.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        self.0.facts.limits()
    }

    /// Sessions in which the plugin owned something durable when it was launched, the first 256.
    #[must_use]
    pub fn sessions(&self) -> &[OwnedSession] {
        &self.0.facts.welcome.sessions
    }

    /// Epoch of all event numbers of this launch: the supervisor's start.
    #[must_use]
    pub fn event_epoch(&self) -> u64 {
        self.0.facts.welcome.event_epoch
    }

    /// The supervisor's verdicts. `None` until the plugin is registered.
    #[must_use]
    pub fn registered(&self) -> Option<&Registered> {
        self.0.facts.registered.get()
    }

    /// The supervisor has announced that no more calls follow.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.facts.draining.load(Ordering::Acquire)
    }

    /// Directory of the plugin's package, absolute. Empty: the supervisor named none.
    #[must_use]
    pub fn package_dir(&self) -> &Path {
        &self.0.facts.package_dir
    }

    /// Directory for the plugin's own files, absolute; kept over launches. Empty: the supervisor named none.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.0.facts.data_dir
    }

    /// All of the supervisor's welcome but the grants, for what has no method here. Never print it: it has the secrets.
    #[must_use]
    pub fn welcome(&self) -> &plugin::Welcome {
        &self.0.facts.welcome
    }

    /// The host's services, for background work.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.0.host
    }

    /// The state made by `on_start`.
    #[must_use]
    pub fn state(&self) -> &S {
        &self.0.state
    }
}

impl<S> Clone for Launch<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> fmt::Debug for Launch<S> {
    /// Without configuration and secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launch")
            .field("plugin_id", &self.plugin_id())
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}
