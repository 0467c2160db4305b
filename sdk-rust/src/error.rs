//! What can go wrong: for the whole run, in a handler, while starting.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use outrigger_proto::plugin::v1::{Failed, FailureReason, Fatal, FatalReason, Verdict};
use outrigger_proto::types::v1::ErrorReason;

use crate::wire::cut;

/// What [`Plugin::run`](crate::Plugin::run) returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a plugin's run ended other than by the supervisor's Shutdown.
///
/// `Debug` prints one sentence with all causes, because that is what a `main` that returns the error shows; the
/// supervisor keeps the last lines of standard error for the operator.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The process was not started by a supervisor, or something took its environment.
    #[error("start: {variable} {problem}; a plugin is started by `outrigger`, not by hand")]
    Environment {
        /// The variable concerned.
        variable: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The supervisor's socket could not be reached.
    #[error("connect to the supervisor at `{address}`")]
    Connect {
        /// The address, as in the environment.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A step of the start took too long.
    #[error("{step} within {limit:?}")]
    TimedOut {
        /// The step, as a verb: `get a welcome`.
        step: &'static str,
        /// The time it had.
        limit: Duration,
    },
    /// The supervisor did not let the plugin in, or ended the session for a fault of the plugin.
    #[error("keep the session: the supervisor refused it ({reason}): {message}", reason = reason_name(*.reason))]
    Refused {
        /// Why; `Unspecified` where the supervisor gave no reason that is known here.
        reason: ErrorReason,
        /// One sentence, of the supervisor.
        message: String,
    },
    /// Supervisor and SDK have no protocol version in common.
    #[error("agree on a protocol: {message}")]
    ProtocolUnsupported {
        /// Both ranges, as the supervisor named them.
        message: String,
    },
    /// An item marked `must_accept` was refused.
    #[error("register `{}`, which must be accepted: {}", .0.id, verdict_text(.0))]
    RegistrationRefused(Box<Verdict>),
    /// The closure given to `on_start` failed; the supervisor was told.
    #[error("start: {0}")]
    Start(StartError),
    /// The session ended and nobody had asked for it: the supervisor is gone, or it gave up on this process.
    #[error("keep the session: it ended unexpectedly: {0}")]
    SessionEnded(String),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {}", chain(self))
    }
}

fn reason_name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

fn verdict_text(verdict: &Verdict) -> String {
    if verdict.remedy.is_empty() { verdict.message.clone() } else { format!("{}; {}", verdict.message, verdict.remedy) }
}

/// An error and all its causes as one line.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Why a handler could not answer. The call is answered `failed`, and the hook's failure policy decides; the text goes
/// to the log and the operator, never to a model or client.
///
/// Every error converts into it with `?`, an [`InputError`] as "the input made no sense". It is not itself an error of
/// the standard library, so that this works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerError {
    reason: FailureReason,
    message: String,
}

impl HandlerError {
    /// The handler failed.
    pub fn new(message: impl fmt::Display) -> Self {
        Self { reason: FailureReason::Error, message: message.to_string() }
    }

    /// What came in made no sense.
    pub fn input_invalid(message: impl fmt::Display) -> Self {
        Self { reason: FailureReason::InputInvalid, message: message.to_string() }
    }

    /// The plugin cannot take more now.
    pub fn overloaded(message: impl fmt::Display) -> Self {
        Self { reason: FailureReason::Overloaded, message: message.to_string() }
    }

    /// The plugin does not know this call, hook or handler.
    pub(crate) fn unsupported(message: impl fmt::Display) -> Self {
        Self { reason: FailureReason::Unsupported, message: message.to_string() }
    }

    /// Why, as the wire contract names it.
    #[must_use]
    pub fn reason(&self) -> FailureReason {
        self.reason
    }

    /// The text.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn into_wire(self) -> Failed {
        // The bound of `Failed.message`; the supervisor would cut it as well.
        Failed { reason: self.reason.into(), message: cut(self.message, 500) }
    }
}

impl<E: StdError + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        if (&error as &dyn Any).is::<InputError>() {
            Self::input_invalid(chain(&error))
        } else {
            Self::new(chain(&error))
        }
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A call's JSON is not of the type asked for.
#[derive(Debug, thiserror::Error)]
#[error("read {what} of the call")]
pub struct InputError {
    pub(crate) what: &'static str,
    #[source]
    pub(crate) source: serde_json::Error,
}

/// The configuration is wrong. From `on_start` it quarantines the plugin until its configuration or files change,
/// instead of starting it over and over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use the configuration: {}{message}", if path.is_empty() { String::new() } else { format!("`{path}`: ") })]
pub struct ConfigError {
    path: String,
    message: String,
}

impl ConfigError {
    /// The value at `path` (a key, or keys joined by dots) is wrong, and why.
    pub fn at(path: impl Into<String>, message: impl fmt::Display) -> Self {
        Self { path: path.into(), message: message.to_string() }
    }

    pub(crate) fn parse(error: &serde_json::Error) -> Self {
        Self { path: String::new(), message: error.to_string() }
    }

    /// The key concerned. Empty: none, or the message names it.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// Why a plugin cannot work; sent to the supervisor, which acts by the reason.
///
/// Every error converts into it with `?`: a [`ConfigError`] as a wrong configuration, any other as an internal one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError {
    reason: FatalReason,
    message: String,
    config_path: String,
}

impl StartError {
    /// A defect; the plugin is started again with backoff.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::with(FatalReason::Internal, message)
    }

    /// The host lacks a feature or right; quarantined until that changes.
    pub fn host_unsuitable(message: impl fmt::Display) -> Self {
        Self::with(FatalReason::HostUnsuitable, message)
    }

    /// Something the plugin depends on is not there; it is started again with backoff.
    pub fn dependency_missing(message: impl fmt::Display) -> Self {
        Self::with(FatalReason::DependencyMissing, message)
    }

    fn with(reason: FatalReason, message: impl fmt::Display) -> Self {
        Self { reason, message: message.to_string(), config_path: String::new() }
    }

    /// Why, as the wire contract names it.
    #[must_use]
    pub fn reason(&self) -> FatalReason {
        self.reason
    }

    pub(crate) fn to_wire(&self) -> Fatal {
        Fatal {
            reason: self.reason.into(),
            message: cut(self.message.clone(), 2_000),
            config_path: self.config_path.clone(),
        }
    }
}

impl<E: StdError + 'static> From<E> for StartError {
    fn from(error: E) -> Self {
        let message = chain(&error);
        match (&error as &dyn Any).downcast_ref::<ConfigError>() {
            Some(config) => Self { reason: FatalReason::ConfigInvalid, message, config_path: config.path.clone() },
            None => Self::internal(message),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_causes_in_one_line() {
        let source = std::io::Error::other("no such file");
        let error = Error::Connect { address: "/run/x".into(), source: Box::new(source) };
        assert_eq!(format!("{error:?}"), "failed to connect to the supervisor at `/run/x`: no such file");
    }

    #[test]
    fn conversions_keep_the_class_of_an_error() {
        let source = serde_json::from_str::<u8>("x").expect_err("not a number");
        let input = InputError { what: "params", source };
        assert_eq!(HandlerError::from(input).reason(), FailureReason::InputInvalid);
        assert_eq!(HandlerError::from(std::io::Error::other("x")).reason(), FailureReason::Error);

        let start = StartError::from(ConfigError::at("limits.n", "is below 1"));
        assert_eq!(start.reason(), FatalReason::ConfigInvalid);
        assert_eq!(start.to_wire().config_path, "limits.n");
        assert_eq!(start.to_string(), "use the configuration: `limits.n`: is below 1");
        assert_eq!(StartError::from(std::io::Error::other("x")).reason(), FatalReason::Internal);
    }

    #[test]
    fn failures_are_cut_to_what_the_wire_takes() {
        assert_eq!(HandlerError::new("é".repeat(600)).into_wire().message.encode_utf16().count(), 500);
    }
}
