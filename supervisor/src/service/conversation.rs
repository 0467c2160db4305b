//! The conversation of one launch, from Hello to its end, seen from where its stream is read.
//!
//! One task reads the stream: it must stay cheap, as every answer passes through it. What needs a clock (heartbeat, grace
//! of cancelled invocations) is the watchdog's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::types::v1::{self as types, ErrorReason};
use tokio::sync::mpsc;
use tokio::time::timeout_at;
use tonic::{Status, Streaming};

use super::launch_state::{ConnectionState, LaunchState};
use super::registration;
use super::session::{Answered, OUTBOX, Session};
use super::status::Failure;
use crate::domain::text;

/// Versions of the plugin protocol this supervisor speaks.
pub(crate) const PROTOCOL: std::ops::RangeInclusive<u32> = 1..=1;
/// What stock gRPC stubs can receive.
const DEFAULT_RECEIVE_BYTES: u64 = 4 * 1024 * 1024;
const RECEIVE_BYTES: std::ops::RangeInclusive<u64> = 65_536..=DEFAULT_RECEIVE_BYTES;
/// Answers, and news of progress, in one message.
const MAX_PER_MESSAGE: usize = 64;
/// Answers after which others have their turn, so that what those answers set off is on its way before the next are
/// read: the plugin works while the supervisor does. With 64 calls in flight half a message made 1.4 times the calls of a
/// whole one, a quarter 1.3 times, an eighth 1.2 times.
const ANSWERS_AT_ONCE: usize = 32;

/// How the conversation ended, from the stream's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The stream ended: the plugin closed it, or its process is gone.
    Closed,
    /// The process that dialled is gone, whoever else holds its connection.
    DialerGone,
    /// The plugin broke the protocol.
    Violation(String),
    /// A message was over its bound or no protobuf.
    Frame(String),
    /// An item that had to be accepted was refused.
    Refused(Box<wire::Verdict>),
    /// No common protocol version: those the plugin speaks, first and last.
    Version(u32, u32),
    /// The plugin gave up.
    Fatal {
        /// Why.
        reason: wire::FatalReason,
        /// In its words.
        message: String,
    },
}

/// Proof of life: the number of the last Ping that was answered.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    pub(crate) answered: AtomicU64,
    pub(crate) sent: AtomicU64,
}

pub(crate) type Outbox = mpsc::Sender<Result<wire::SessionResponse, Status>>;

/// Reads the stream until it ends. Whatever ends it is told to the plugin (as the stream's status) and to the launch.
pub(crate) async fn converse(
    launch: Arc<LaunchState>,
    connection: Arc<ConnectionState>,
    mut inbound: Streaming<wire::SessionRequest>,
    out: Outbox,
) {
    let end = match open(&launch, &connection, &mut inbound, &out).await {
        Ok(session) => {
            let end = read(&launch, &session, &mut inbound).await;
            // The session holds the stream open, so that its end is told, also that of one that closed as it was asked:
            // a plugin of stock stubs waits for it before it exits.
            let _ = out.try_send(Err(end.status().unwrap_or_else(|| Status::ok(""))));
            end
        }
        Err(Opening::NotWelcome(status)) => {
            let _ = out.try_send(Err(status));
            return;
        }
        Err(Opening::Ended(end)) => {
            if let Some(status) = end.status() {
                let _ = out.try_send(Err(status));
            }
            end
        }
    };
    drop(out);
    launch.session_ended(end);
}

enum Opening {
    /// Nothing was opened: the launch goes on without this stream.
    NotWelcome(Status),
    /// The session was opened and has ended.
    Ended(End),
}

/// Hello to Registered.
async fn open(
    launch: &Arc<LaunchState>,
    connection: &Arc<ConnectionState>,
    inbound: &mut Streaming<wire::SessionRequest>,
    out: &Outbox,
) -> Result<Arc<Session>, Opening> {
    let first = match timeout_at(connection.hello_by, inbound.message()).await {
        Err(_) => {
            let status = Status::deadline_exceeded(format!("no hello within {:?}", launch.settings.hello));
            return Err(Opening::NotWelcome(status));
        }
        Ok(Ok(Some(message))) => message,
        Ok(Ok(None)) => return Err(Opening::NotWelcome(Status::invalid_argument("the stream ended before hello"))),
        Ok(Err(status)) => return Err(Opening::NotWelcome(status)),
    };
    let hello = match first.control {
        Some(wire::session_request::Control::Hello(hello)) if first.results.is_empty() && first.progress.is_empty() => {
            hello
        }
        _ => {
            let failure = Failure::new(ErrorReason::ProtocolViolation, "the first message must be hello");
            return Err(Opening::NotWelcome(failure.meta("rule", "hello-first").into()));
        }
    };
    launch.welcome(&hello.token, connection).map_err(Opening::NotWelcome)?;
    let (version, max_receive_bytes) = check_hello(launch, &hello).map_err(Opening::Ended)?;
    let sdk = text::clean(&hello.sdk, 128);
    launch.met(&sdk, version);
    let welcome = launch.welcome_message(version);
    let control = Some(wire::session_response::Control::Welcome(Box::new(welcome)));
    if out.try_send(Ok(wire::SessionResponse { control, ..Default::default() })).is_err() {
        return Err(Opening::Ended(End::Closed));
    }

    // The startup deadline is the launch's; it ends the stream from outside.
    let second = next(inbound).await.map_err(Opening::Ended)?;
    let register = match second.control {
        Some(wire::session_request::Control::Register(register)) => register,
        Some(wire::session_request::Control::Fatal(fatal)) => return Err(Opening::Ended(fatal_end(&fatal))),
        _ => return Err(Opening::Ended(End::Violation("sent something else than register after welcome".to_owned()))),
    };
    let reserved = launch.registry.reserved();
    let checked = if register.tools.is_empty() {
        registration::check_beside(&register, &launch.spec, &reserved)
    } else {
        // Compiling schemas takes milliseconds, which every other plugin would have to wait.
        let spec = Arc::clone(&launch.spec);
        let check = tokio::task::spawn_blocking(move || registration::check_beside(&register, &spec, &reserved));
        check.await.map_err(|_| Opening::Ended(End::Closed))?
    };
    let registration = checked.map_err(|registration::Refused(verdict)| Opening::Ended(End::Refused(verdict)))?;
    let registered = wire::Registered {
        verdicts: registration.verdicts.clone(),
        unserved_guards: registration.unserved.iter().map(super::wire::guard).collect(),
    };
    let session = Session::new(
        launch.generation,
        registration,
        usize::try_from(max_receive_bytes).unwrap_or(usize::MAX),
        out.clone(),
        Arc::clone(&launch.busy_poll),
    );
    let control = Some(wire::session_response::Control::Registered(registered));
    if !session.push(wire::SessionResponse { control, ..Default::default() }) {
        return Err(Opening::Ended(End::Closed));
    }
    if !launch.registered(Arc::clone(&session)) {
        session.end("its launch has ended");
        return Err(Opening::Ended(End::Closed));
    }
    Ok(session)
}

fn check_hello(launch: &LaunchState, hello: &wire::Hello) -> Result<(u32, u64), End> {
    let Some(range) = &hello.protocol else {
        return Err(End::Violation("hello names no protocol versions".to_owned()));
    };
    if range.min == 0 || range.max < range.min {
        return Err(End::Violation(format!("hello names the protocol versions {} to {}", range.min, range.max)));
    }
    if range.max < *PROTOCOL.start() || range.min > *PROTOCOL.end() {
        return Err(End::Version(range.min, range.max));
    }
    if hello.features.len() > 64 {
        return Err(End::Violation(format!("hello names {} features, at most 64", hello.features.len())));
    }
    if !hello.version.is_empty() && hello.version != launch.spec.version {
        let version = text::clean(&hello.version, 64);
        return Err(End::Violation(format!(
            "the plugin is version {version}, its manifest says {}",
            launch.spec.version
        )));
    }
    let receive = if hello.max_receive_bytes == 0 { DEFAULT_RECEIVE_BYTES } else { hello.max_receive_bytes };
    if !RECEIVE_BYTES.contains(&receive) {
        return Err(End::Violation(format!("hello's max_receive_bytes is {receive}, wants 65536 to 4194304")));
    }
    Ok((range.max.min(*PROTOCOL.end()), receive))
}

/// Registered to the end.
async fn read(launch: &LaunchState, session: &Session, inbound: &mut Streaming<wire::SessionRequest>) -> End {
    loop {
        let message = match next(inbound).await {
            Ok(message) => message,
            Err(end) => return end,
        };
        if let Err(end) = handle(launch, session, message).await {
            return end;
        }
    }
}

async fn next(inbound: &mut Streaming<wire::SessionRequest>) -> Result<wire::SessionRequest, End> {
    match inbound.message().await {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err(End::Closed),
        Err(status) => Err(match status.code() {
            // What tonic answers where a message is over the bound, or does not decode.
            tonic::Code::OutOfRange | tonic::Code::ResourceExhausted => {
                End::Frame(format!("sent a message over its bound: {}", text::clean(status.message(), 200)))
            }
            tonic::Code::Internal | tonic::Code::Unimplemented if is_decoding(&status) => End::Frame(format!(
                "sent a message that is not of the protocol: {}",
                text::clean(status.message(), 200)
            )),
            _ => End::Closed,
        }),
    }
}

/// A fault of the bytes and not of the connection.
fn is_decoding(status: &Status) -> bool {
    let message = status.message();
    message.contains("decode Protobuf") || message.contains("compress")
}

async fn handle(launch: &LaunchState, session: &Session, message: wire::SessionRequest) -> Result<(), End> {
    if message.progress.len() > MAX_PER_MESSAGE || message.results.len() > MAX_PER_MESSAGE {
        return Err(End::Violation(format!(
            "sent {} answers and {} news of progress in one message, at most {MAX_PER_MESSAGE} of each",
            message.results.len(),
            message.progress.len()
        )));
    }
    for progress in message.progress {
        let id = progress.invocation_id;
        if let Err(why) = session.progress(progress) {
            session.notice(wire::NoticeKind::FieldIgnored, id, "", why.to_owned());
        }
    }
    for (index, result) in message.results.into_iter().enumerate() {
        if index > 0 && index % ANSWERS_AT_ONCE == 0 {
            tokio::task::yield_now().await;
        }
        let id = result.invocation_id;
        match session.answer(result) {
            Answered::InTime => {}
            Answered::Late => {
                let why = "the answer came after the invocation had its outcome".to_owned();
                session.notice(wire::NoticeKind::LateResult, id, "", why);
            }
            Answered::Duplicate => {
                let why = "the invocation was answered before; the tenth violation ends the session".to_owned();
                session.notice(wire::NoticeKind::DuplicateResult, id, "", why);
            }
            Answered::Fatal(why) => return Err(End::Violation(why)),
        }
    }
    let done = message.acknowledged_event_seq;
    if done != 0 && !launch.bus.acknowledge(&launch.spec.id, launch.generation, done) {
        return Err(End::Violation(format!("acknowledged event {done}, which was not sent")));
    }
    match message.control {
        None => Ok(()),
        Some(wire::session_request::Control::Pong(pong)) => {
            if pong.ping_id > launch.pulse.sent.load(Ordering::Relaxed) {
                return Err(End::Violation(format!("answered ping {}, which was not sent", pong.ping_id)));
            }
            launch.pulse.answered.fetch_max(pong.ping_id, Ordering::Relaxed);
            Ok(())
        }
        Some(wire::session_request::Control::Fatal(fatal)) => Err(fatal_end(&fatal)),
        Some(wire::session_request::Control::Hello(_)) => Err(End::Violation("sent a second hello".to_owned())),
        Some(wire::session_request::Control::Register(_)) => Err(End::Violation("sent a second register".to_owned())),
    }
}

fn fatal_end(fatal: &wire::Fatal) -> End {
    let mut message = text::clean(&fatal.message, 2000);
    if !fatal.config_path.is_empty() {
        message = format!("{}: {message}", text::clean(&fatal.config_path, 200));
    }
    End::Fatal { reason: wire::FatalReason::try_from(fatal.reason).unwrap_or(wire::FatalReason::Internal), message }
}

impl End {
    /// What was wrong. `None`: the peer ended it.
    pub(crate) fn why(&self) -> Option<String> {
        match self {
            Self::Closed | Self::DialerGone => None,
            Self::Violation(why) | Self::Frame(why) => Some(why.clone()),
            Self::Refused(verdict) => {
                Some(format!("`{}` must be accepted and is refused: {}", verdict.id, verdict.message))
            }
            Self::Version(min, max) => Some(format!(
                "the plugin speaks protocol versions {min} to {max}, this supervisor {} to {}",
                PROTOCOL.start(),
                PROTOCOL.end()
            )),
            Self::Fatal { message, .. } => Some(format!("fatal: {message}")),
        }
    }

    /// The status the stream ends with. `None`: the peer ended it.
    fn status(&self) -> Option<Status> {
        let why = self.why().unwrap_or_default();
        let failure = match self {
            Self::Closed | Self::DialerGone | Self::Fatal { .. } => return None,
            Self::Violation(_) => Failure::new(ErrorReason::ProtocolViolation, why),
            Self::Frame(_) => Failure::new(ErrorReason::ProtocolViolation, why).meta("rule", "message"),
            Self::Refused(verdict) => Failure::new(ErrorReason::RegistrationRefused, why)
                .meta("kind", verdict.kind().as_str_name().trim_start_matches("ITEM_KIND_"))
                .meta("id", &verdict.id)
                .meta("reason", verdict.reason().as_str_name().trim_start_matches("VERDICT_REASON_")),
            Self::Version(min, max) => Failure::new(ErrorReason::ProtocolUnsupported, why)
                .meta("peer_min", min.to_string())
                .meta("peer_max", max.to_string())
                .meta("supervisor_min", PROTOCOL.start().to_string())
                .meta("supervisor_max", PROTOCOL.end().to_string()),
        };
        Some(failure.into())
    }
}

/// Bounds told to a plugin in Welcome.
pub(crate) fn limits(settings: &crate::domain::settings::Settings) -> types::Limits {
    types::Limits {
        max_stream_message_bytes: MAX_SESSION_MESSAGE as u64,
        max_call_message_bytes: MAX_HOST_MESSAGE as u64,
        max_chunk_bytes: 64 * 1024,
        max_value_bytes: 256 * 1024,
        max_payload_bytes: 3 * 1024 * 1024,
        max_value_depth: 32,
        max_value_nodes: 4096,
        max_object_keys: 512,
        max_string_characters: 65_536,
        max_calls_in_flight: MAX_HOST_CALLS as u32,
        max_calls_per_second: settings.host_calls_per_second,
        max_unacknowledged_event_bytes: super::events::CREDIT_BYTES as u64,
        cancel_grace: Some(super::wire::duration(settings.cancel_grace)),
        ping_interval: Some(super::wire::duration(settings.ping)),
        idle_ping_interval: Some(super::wire::duration(settings.idle_ping)),
    }
}

/// Longest message of a plugin on Session (architecture §14).
pub(crate) const MAX_SESSION_MESSAGE: usize = 1024 * 1024;
/// Longest message of a host call (architecture §14).
pub(crate) const MAX_HOST_MESSAGE: usize = 512 * 1024;
/// Host calls of a plugin in flight (architecture §14).
pub(crate) const MAX_HOST_CALLS: usize = 16;

/// A new outbox.
pub(crate) fn outbox() -> (Outbox, mpsc::Receiver<Result<wire::SessionResponse, Status>>) {
    mpsc::channel(OUTBOX)
}

/// How long a connection may linger so that the stream's last status reaches the plugin.
pub(crate) const LINGER: Duration = Duration::from_millis(100);
