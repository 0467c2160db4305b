//! Why a launch failed, and what that means for the next one.

use std::fmt;
use std::time::Duration;

use super::launch::ExitStatus;

/// Longest text of a plugin that a sentence repeats, characters.
const QUOTED: usize = 2_000;

/// Why a launch failed. `Display` is one sentence for people; texts that come from a plugin are cut at 2,000 characters
/// there, and their control characters are escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureCause {
    /// Its program could not be executed.
    SpawnFailed(String),
    /// The supervisor or the machine could not do its part. Not the plugin's fault: it is tried again and not counted.
    HostFault(String),
    /// What the operator or the manifest says does not allow a launch. Found before any process.
    ConfigInvalid(String),
    /// It was not registered in time.
    StartupTimeout(Duration),
    /// It speaks no version of the protocol that the supervisor speaks.
    ProtocolUnsupported(String),
    /// What it registered was refused as a whole.
    RegistrationRefused(String),
    /// It did not answer the canary of a reload as it should.
    CanaryFailed(String),
    /// It broke the rules of the conversation.
    ProtocolViolation(String),
    /// It sent bytes that are no message of the protocol, or too many.
    FrameInvalid(String),
    /// It exited with a status that is not 0, or a signal ended it.
    Crashed(ExitStatus),
    /// It exited with status 0 though nobody asked it to.
    ExitedUnasked,
    /// It exited with one of its final exit codes.
    FinalExit(i32),
    /// It closed its Session and lived on.
    SessionClosed,
    /// The process that had dialled ended, and the spawned one lived on.
    DialerGone,
    /// It answered no Ping.
    Unresponsive,
    /// Its process tree used more than it may.
    ResourceLimit {
        /// Of what.
        resource: Resource,
        /// How much.
        used: u64,
        /// How much it may.
        limit: u64,
    },
    /// A cancelled invocation did not end in its grace time.
    Recycled,
    /// It said Fatal.
    Fatal {
        /// Which.
        reason: FatalReason,
        /// Its own words.
        message: String,
    },
    /// Processes of it were left some time after they were killed.
    TreeNotEmpty,
}

/// What a process tree can use too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Resident memory, bytes.
    Memory,
    /// Processes.
    Processes,
}

/// Why a plugin says it cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FatalReason {
    /// Its configuration is wrong.
    ConfigInvalid,
    /// The host lacks a version, feature or right.
    HostUnsuitable,
    /// Something it depends on is not there.
    DependencyMissing,
    /// A defect, or anything else.
    Internal,
}

impl FailureCause {
    /// The cause of an exit that nobody asked for.
    #[must_use]
    pub fn of_exit(status: ExitStatus, final_exit_codes: &[i32]) -> Self {
        match status {
            ExitStatus::Exited(code) if final_exit_codes.contains(&code) => Self::FinalExit(code),
            ExitStatus::Exited(0) => Self::ExitedUnasked,
            ExitStatus::Exited(_) | ExitStatus::Signalled(_) | ExitStatus::Unknown => Self::Crashed(status),
        }
    }

    /// The plugin's process ended by itself or by a signal; for any other cause the supervisor killed it.
    #[must_use]
    pub fn is_exit(&self) -> bool {
        matches!(self, Self::Crashed(_) | Self::ExitedUnasked | Self::FinalExit(_))
    }

    /// Stable name for records and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::SpawnFailed(_) => "spawn-failed",
            Self::HostFault(_) => "host-fault",
            Self::ConfigInvalid(_) => "config-invalid",
            Self::StartupTimeout(_) => "startup-timeout",
            Self::ProtocolUnsupported(_) => "protocol-unsupported",
            Self::RegistrationRefused(_) => "registration-refused",
            Self::CanaryFailed(_) => "canary-failed",
            Self::ProtocolViolation(_) => "protocol-violation",
            Self::FrameInvalid(_) => "frame-invalid",
            Self::Crashed(_) => "crashed",
            Self::ExitedUnasked => "exited-unasked",
            Self::FinalExit(_) => "final-exit",
            Self::SessionClosed => "session-closed",
            Self::DialerGone => "dialer-gone",
            Self::Unresponsive => "unresponsive",
            Self::ResourceLimit { .. } => "resource-limit",
            Self::Recycled => "recycled",
            Self::Fatal { reason: FatalReason::ConfigInvalid, .. } => "fatal-config-invalid",
            Self::Fatal { reason: FatalReason::HostUnsuitable, .. } => "fatal-host-unsuitable",
            Self::Fatal { reason: FatalReason::DependencyMissing, .. } => "fatal-dependency-missing",
            Self::Fatal { reason: FatalReason::Internal, .. } => "fatal-internal",
            Self::TreeNotEmpty => "tree-not-empty",
        }
    }

    /// Another launch cannot end better before an operator or a file changes something: the plugin is quarantined at
    /// once, and not probed.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::ConfigInvalid(_)
            | Self::ProtocolUnsupported(_)
            | Self::FinalExit(_)
            | Self::Fatal { reason: FatalReason::ConfigInvalid | FatalReason::HostUnsuitable, .. } => true,
            Self::SpawnFailed(_)
            | Self::HostFault(_)
            | Self::StartupTimeout(_)
            | Self::RegistrationRefused(_)
            | Self::CanaryFailed(_)
            | Self::ProtocolViolation(_)
            | Self::FrameInvalid(_)
            | Self::Crashed(_)
            | Self::ExitedUnasked
            | Self::SessionClosed
            | Self::DialerGone
            | Self::Unresponsive
            | Self::ResourceLimit { .. }
            | Self::Recycled
            | Self::Fatal { reason: FatalReason::DependencyMissing | FatalReason::Internal, .. }
            | Self::TreeNotEmpty => false,
        }
    }

    /// It is the plugin's failure, and so counts toward quarantine.
    #[must_use]
    pub fn counts(&self) -> bool {
        !matches!(self, Self::HostFault(_) | Self::TreeNotEmpty)
    }
}

impl fmt::Display for FailureCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SpawnFailed(why) => write!(f, "Its program could not be executed: {}.", Quoted(why)),
            Self::HostFault(why) => write!(f, "The supervisor could not start it: {}.", Quoted(why)),
            Self::ConfigInvalid(why) => write!(f, "Its configuration does not allow a launch: {}.", Quoted(why)),
            Self::StartupTimeout(limit) => write!(f, "It was not registered within {limit:?}."),
            Self::ProtocolUnsupported(why) => {
                write!(f, "It speaks no common version of the protocol: {}.", Quoted(why))
            }
            Self::RegistrationRefused(why) => write!(f, "Its registration was refused: {}.", Quoted(why)),
            Self::CanaryFailed(why) => write!(f, "It did not pass the canary: {}.", Quoted(why)),
            Self::ProtocolViolation(what) => write!(f, "It broke the protocol: {}.", Quoted(what)),
            Self::FrameInvalid(what) => write!(f, "It sent what is no message of the protocol: {}.", Quoted(what)),
            Self::Crashed(status) => write!(f, "It {status}."),
            Self::ExitedUnasked => f.write_str("It exited with status 0 though nobody asked it to."),
            Self::FinalExit(code) => write!(f, "It exited with status {code}, one of its final exit codes."),
            Self::SessionClosed => f.write_str("It closed its Session and lived on."),
            Self::DialerGone => f.write_str("The process that held its Session ended."),
            Self::Unresponsive => f.write_str("It answered no Ping."),
            // Where the kernel keeps the limit it lets nothing be used above it.
            Self::ResourceLimit { resource: Resource::Memory, used, limit } if used <= limit => {
                write!(f, "Its processes wanted more than the {limit} bytes of memory they may have ({used} used).")
            }
            Self::ResourceLimit { resource: Resource::Memory, used, limit } => {
                write!(f, "Its processes used {used} bytes of memory, more than the {limit} they may.")
            }
            Self::ResourceLimit { resource: Resource::Processes, used, limit } => {
                write!(f, "It had {used} processes, more than the {limit} it may.")
            }
            Self::Recycled => f.write_str("A cancelled invocation did not end in its grace time."),
            Self::Fatal { reason, message } => {
                let what = match reason {
                    FatalReason::ConfigInvalid => "that its configuration is wrong",
                    FatalReason::HostUnsuitable => "that the host lacks what it needs",
                    FatalReason::DependencyMissing => "that something it depends on is missing",
                    FatalReason::Internal => "that it cannot go on",
                };
                write!(f, "It said {what}: {}.", Quoted(message))
            }
            Self::TreeNotEmpty => f.write_str("Processes of it were left after they had been killed."),
        }
    }
}

/// A foreign text inside a sentence.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.trim().trim_end_matches('.');
        if text.is_empty() {
            return f.write_str("no reason given");
        }
        for char in text.chars().take(QUOTED) {
            if super::text::is_unsafe(char) {
                write!(f, "{}", char.escape_unicode())?;
            } else {
                write!(f, "{char}")?;
            }
        }
        if text.chars().nth(QUOTED).is_some() { f.write_str("…") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_has_one_cause() {
        for (status, cause) in [
            (ExitStatus::Exited(0), FailureCause::ExitedUnasked),
            (ExitStatus::Exited(1), FailureCause::Crashed(ExitStatus::Exited(1))),
            (ExitStatus::Exited(78), FailureCause::FinalExit(78)),
            (ExitStatus::Signalled(9), FailureCause::Crashed(ExitStatus::Signalled(9))),
            (ExitStatus::Unknown, FailureCause::Crashed(ExitStatus::Unknown)),
        ] {
            assert_eq!(FailureCause::of_exit(status, &[78]), cause);
        }
        assert_eq!(FailureCause::of_exit(ExitStatus::Exited(0), &[0]), FailureCause::FinalExit(0));
    }

    #[test]
    fn what_a_plugin_says_is_cut_and_escaped() {
        let message = format!("\u{1b}[2J\u{202e}{}", "x".repeat(5_000));
        let sentence = FailureCause::Fatal { reason: FatalReason::Internal, message }.to_string();
        assert!(sentence.starts_with("It said that it cannot go on: \\u{1b}[2J\\u{202e}xxx"), "{sentence}");
        assert!(sentence.ends_with("x…."), "{sentence}");
        assert!(sentence.chars().count() < QUOTED + 100);
        assert_eq!(
            FailureCause::SpawnFailed(" . ".into()).to_string(),
            "Its program could not be executed: no reason given."
        );
    }

    #[test]
    fn only_what_cannot_heal_is_final() {
        let fatal = |reason| FailureCause::Fatal { reason, message: String::new() };
        assert!(fatal(FatalReason::ConfigInvalid).is_final());
        assert!(fatal(FatalReason::HostUnsuitable).is_final());
        assert!(FailureCause::FinalExit(78).is_final());
        assert!(FailureCause::ConfigInvalid(String::new()).is_final());
        assert!(!fatal(FatalReason::DependencyMissing).is_final());
        assert!(!fatal(FatalReason::Internal).is_final());
        assert!(!FailureCause::Crashed(ExitStatus::Unknown).is_final());
        assert!(!FailureCause::HostFault(String::new()).counts());
        assert!(FailureCause::Recycled.counts());
    }
}
