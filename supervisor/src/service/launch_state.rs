//! What the connections, the conversation and the owner of one launch share.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::types::v1::ErrorReason;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::busy_poll::BusyPoll;
use super::conversation::{self, End, Pulse};
use super::events::Bus;
use super::log::LogRing;
use super::registry::Registry;
use super::runs::Runs;
use super::session::Session;
use super::status::Failure;
use crate::domain::ids::Generation;
use crate::domain::settings::Settings;
use crate::domain::spec::PluginSpec;

/// One connection of a launch.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    /// It carries the Session, or gave the session's secret: everything is served on it.
    pub(crate) admitted: AtomicBool,
    /// It carries the Session.
    pub(crate) carries_session: AtomicBool,
    /// Wakes the task that serves the connection when one of these changes.
    pub(crate) changed: Notify,
    /// Until then its Session must have been welcomed; it is closed a moment later.
    pub(crate) hello_by: Instant,
}

impl ConnectionState {
    pub(crate) fn new(hello_by: Instant) -> Self {
        Self {
            admitted: AtomicBool::new(false),
            carries_session: AtomicBool::new(false),
            changed: Notify::new(),
            hello_by,
        }
    }
}

/// How far a launch has come.
#[derive(Clone)]
pub(crate) enum Phase {
    /// Waiting for Hello.
    Dialing,
    /// Hello was accepted; waiting for Register.
    Welcomed,
    /// It serves, or could.
    Registered(Arc<Session>),
    /// The conversation has ended, in the phase of this name.
    Ended(End, &'static str),
}

impl Phase {
    /// Its name, for `why`; after the end that of the phase it ended in.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Dialing => "hello",
            Self::Welcomed => "register",
            Self::Registered(_) => "ready",
            Self::Ended(_, phase) => phase,
        }
    }
}

/// Shared by everything that serves one launch.
pub(crate) struct LaunchState {
    pub(crate) spec: Arc<PluginSpec>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) generation: Generation,
    pub(crate) reason: wire::LaunchReason,
    pub(crate) startup_deadline: Instant,
    pub(crate) pulse: Pulse,
    pub(crate) logs: Arc<LogRing>,
    pub(crate) bus: Arc<Bus>,
    pub(crate) busy_poll: Arc<BusyPoll>,
    pub(crate) runs: Arc<Runs>,
    pub(crate) registry: Arc<Registry>,
    /// Cancelled when every connection of the launch must end.
    pub(crate) closing: CancellationToken,
    /// Host calls in flight.
    pub(crate) host_calls: Arc<Semaphore>,
    /// Tokens of host calls a second.
    pub(crate) host_rate: super::rate::Rate,
    /// Log lines a second.
    pub(crate) log_rate: super::rate::Rate,
    /// Connections that are open and not admitted, and those admitted besides the Session's.
    pub(crate) strangers: AtomicU32,
    pub(crate) further: AtomicU32,
    token: Mutex<Option<String>>,
    session_secret: String,
    phase: watch::Sender<Phase>,
    /// Library and protocol version, told in Hello.
    peer: Mutex<(String, u32)>,
}

/// What a launch is made of.
pub(crate) struct Parts {
    pub(crate) spec: Arc<PluginSpec>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) generation: Generation,
    pub(crate) reason: wire::LaunchReason,
    pub(crate) startup_deadline: Instant,
    pub(crate) logs: Arc<LogRing>,
    pub(crate) bus: Arc<Bus>,
    pub(crate) busy_poll: Arc<BusyPoll>,
    pub(crate) runs: Arc<Runs>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) token: String,
    pub(crate) session_secret: String,
}

impl LaunchState {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            host_rate: super::rate::Rate::new(parts.settings.host_calls_per_second, 2),
            log_rate: super::rate::Rate::new(parts.settings.log_lines_per_second, 1),
            spec: parts.spec,
            settings: parts.settings,
            generation: parts.generation,
            reason: parts.reason,
            startup_deadline: parts.startup_deadline,
            pulse: Pulse::default(),
            logs: parts.logs,
            bus: parts.bus,
            busy_poll: parts.busy_poll,
            runs: parts.runs,
            registry: parts.registry,
            closing: CancellationToken::new(),
            host_calls: Arc::new(Semaphore::new(conversation::MAX_HOST_CALLS)),
            strangers: AtomicU32::new(0),
            further: AtomicU32::new(0),
            token: Mutex::new(Some(parts.token)),
            session_secret: parts.session_secret,
            phase: watch::channel(Phase::Dialing).0,
            peer: Mutex::new((String::new(), 0)),
        })
    }

    /// The phase now, and its changes.
    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// A Session may be opened: none is, or was.
    pub(crate) fn check_open(&self) -> Result<(), Status> {
        match &*self.phase.borrow() {
            Phase::Dialing => Ok(()),
            Phase::Welcomed | Phase::Registered(_) => {
                Err(Failure::new(ErrorReason::StateNotAllowed, "a Session is open already").into())
            }
            Phase::Ended(..) => {
                Err(Failure::new(ErrorReason::StateNotAllowed, "the launch's Session has ended").into())
            }
        }
    }

    /// Takes the token. It is good once, until the startup deadline.
    pub(crate) fn welcome(&self, token: &str, connection: &ConnectionState) -> Result<(), Status> {
        let refused = |why: &str| Status::from(Failure::new(ErrorReason::TokenInvalid, why));
        self.check_open()?;
        if Instant::now() >= self.startup_deadline {
            return Err(refused("the launch token has expired"));
        }
        {
            let mut held = self.token.lock().unwrap_or_else(PoisonError::into_inner);
            match &*held {
                Some(expected) if equal(expected.as_bytes(), token.as_bytes()) => *held = None,
                Some(_) => return Err(refused("the launch token is wrong")),
                None => return Err(refused("the launch token has been used")),
            }
        }
        if !self.advance(Phase::Welcomed) {
            return self.check_open();
        }
        connection.carries_session.store(true, Ordering::Relaxed);
        connection.admitted.store(true, Ordering::Relaxed);
        connection.changed.notify_one();
        Ok(())
    }

    /// Whether this is the secret that only Welcome contained.
    pub(crate) fn knows_secret(&self, secret: &[u8]) -> bool {
        equal(self.session_secret.as_bytes(), secret)
    }

    /// The conversation is open: host calls that only read are served.
    pub(crate) fn is_open(&self) -> bool {
        matches!(&*self.phase.borrow(), Phase::Welcomed | Phase::Registered(_))
    }

    /// Notes what Hello told of the peer.
    pub(crate) fn met(&self, sdk: &str, version: u32) {
        *self.peer.lock().unwrap_or_else(PoisonError::into_inner) = (sdk.to_owned(), version);
    }

    /// Library and protocol version; empty and 0 before Hello.
    pub(crate) fn peer(&self) -> (String, u32) {
        self.peer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The plugin is registered. False where the launch has ended meanwhile: what was read late undoes no end.
    pub(crate) fn registered(&self, session: Arc<Session>) -> bool {
        self.advance(Phase::Registered(session))
    }

    fn advance(&self, next: Phase) -> bool {
        self.phase.send_if_modified(|phase| {
            let goes_on = !matches!(phase, Phase::Ended(..));
            if goes_on {
                *phase = next;
            }
            goes_on
        })
    }

    /// The conversation has ended: every call in flight ends at once. The first end counts.
    pub(crate) fn session_ended(&self, end: End) {
        self.phase.send_if_modified(|phase| {
            if let Phase::Registered(session) = phase {
                session.end("its session ended while it had the call");
            }
            let first = !matches!(phase, Phase::Ended(..));
            if first {
                *phase = Phase::Ended(end, phase.name());
            }
            first
        });
    }

    /// The answer to Hello.
    pub(crate) fn welcome_message(&self, version: u32) -> wire::Welcome {
        let spec = &self.spec;
        wire::Welcome {
            protocol_version: version,
            features: Vec::new(),
            plugin_id: spec.id.to_string(),
            generation: self.generation.0,
            config_json: if spec.config_json.is_empty() { Bytes::from_static(b"{}") } else { spec.config_json.clone() },
            grants: super::wire::grants(&spec.rights),
            tier: super::wire::tier(spec.tier) as i32,
            limits: Some(conversation::limits(&self.settings)),
            supervisor_version: env!("CARGO_PKG_VERSION").to_owned(),
            launch_reason: self.reason as i32,
            startup_timeout: Some(super::wire::duration(
                self.startup_deadline.saturating_duration_since(Instant::now()),
            )),
            secrets: spec.secrets.iter().map(|(name, secret)| (name.clone(), secret.0.clone())).collect(),
            session_secret: self.session_secret.clone(),
            sessions: Vec::new(),
            sessions_page_token: String::new(),
            event_epoch: self.bus.epoch(),
        }
    }
}

/// Compares without telling by its time where the difference is.
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}
