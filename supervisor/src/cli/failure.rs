//! Why a command did not do what it was asked: what happened, what to do about it, and the exit code.

use std::io;

use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::exit::Exit;
use super::terminal::Terminal;
use super::text::safe;

/// Why a command ends without being done.
#[derive(Debug)]
pub enum Failure {
    /// Nobody reads what is printed any more (`outrigger logs | head`). Not an error.
    ReaderGone,
    /// Something went wrong and a person is told.
    Told(Box<Told>),
}

/// What a person, or with `--json` a program, is told.
#[derive(Debug, Serialize)]
pub struct Told {
    /// What happened, one sentence without a full stop.
    pub message: String,
    /// The supervisor's reason, as `ErrorReason` of the contract without its prefix.
    pub reason: Option<String>,
    /// Particulars, one each.
    pub details: Vec<String>,
    /// What to do.
    pub remedy: Option<String>,
    /// The exit code.
    #[serde(serialize_with = "as_code")]
    pub exit: Exit,
}

fn as_code<S: serde::Serializer>(exit: &Exit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(exit.code())
}

impl Failure {
    /// A failure with this exit code and message.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self::Told(Box::new(Told { message: message.into(), reason: None, details: Vec::new(), remedy: None, exit }))
    }

    /// The same, and what to do.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        if let Self::Told(told) = &mut self {
            told.remedy = Some(remedy.into());
        }
        self
    }

    /// The same, with particulars.
    pub(crate) fn details(mut self, details: impl IntoIterator<Item = String>) -> Self {
        if let Self::Told(told) = &mut self {
            told.details.extend(details);
        }
        self
    }

    /// What a status of the supervisor means to the person who typed the command.
    pub(crate) fn from_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let reason = info.map(|info| info.reason.clone()).filter(|reason| !reason.is_empty());
        let plugin = info.and_then(|info| info.metadata.get("plugin_id")).cloned();
        let (exit, fallback) = judge(status, reason.as_deref(), plugin.as_deref());

        let mut particulars = Vec::new();
        if let Some(bad) = details.bad_request() {
            particulars.extend(bad.field_violations.iter().map(|wrong| match wrong.field.as_str() {
                "" => wrong.description.clone(),
                field => format!("{field}: {}", wrong.description),
            }));
        }
        if let Some(info) = info {
            let mut metadata: Vec<_> = info.metadata.iter().filter(|(key, _)| key.as_str() != "plugin_id").collect();
            metadata.sort();
            particulars.extend(metadata.into_iter().map(|(key, value)| format!("{key}: {value}")));
        }
        if let Some(wait) = details.retry_info().and_then(|retry| retry.retry_delay) {
            particulars.push(format!("trying again can help in {}", super::text::duration(wait)));
        }
        let told_by_supervisor = details.help().and_then(|help| {
            let words: Vec<_> =
                help.links.iter().map(|link| link.description.trim()).filter(|d| !d.is_empty()).collect();
            (!words.is_empty()).then(|| words.join("; "))
        });
        let message = match status.message().trim() {
            _ if status.code() == Code::Unimplemented => {
                "this supervisor does not know what was asked of it".to_owned()
            }
            "" => format!("the supervisor answered {:?}", status.code()),
            text => text.to_owned(),
        };
        Self::Told(Box::new(Told {
            message,
            reason,
            details: particulars,
            remedy: told_by_supervisor.or(fallback),
            exit,
        }))
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::ReaderGone => Exit::Done,
            Self::Told(told) => told.exit,
        }
    }

    /// The supervisor's reason, where it gave one.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::ReaderGone => None,
            Self::Told(told) => told.reason.as_deref(),
        }
    }

    /// Tells it, on stderr. That nobody reads stderr changes nothing.
    pub(crate) fn tell(&self, terminal: &mut Terminal, json: bool) {
        let Self::Told(told) = self else { return };
        if json {
            #[derive(Serialize)]
            struct Document<'a> {
                error: &'a Told,
            }
            let _ = writeln!(terminal.err, "{}", super::json::line(&Document { error: told }));
            return;
        }
        let head = terminal.paint_error("error:");
        let _ = writeln!(terminal.err, "{head} {}", safe(&told.message));
        for detail in &told.details {
            let _ = writeln!(terminal.err, "  {}", safe(detail));
        }
        if let Some(remedy) = &told.remedy {
            let _ = writeln!(terminal.err, "  -> {}", safe(remedy));
        }
    }
}

/// Exit code and what to do, by the status alone. Reasons are those of `error.proto`.
fn judge(status: &Status, reason: Option<&str>, plugin: Option<&str>) -> (Exit, Option<String>) {
    let named = plugin.unwrap_or("PLUGIN");
    match reason {
        Some("KEY_INVALID") => {
            (Exit::Key, Some("the key is not this supervisor's: give its state directory with --state-dir".to_owned()))
        }
        Some("PEER_NOT_ALLOWED") => {
            (Exit::Key, Some("run this as the supervisor's user, and not from inside a plugin".to_owned()))
        }
        Some("PLUGIN_UNKNOWN") => (Exit::Plugin, Some("`outrigger status` lists the plugins".to_owned())),
        Some("HANDLER_UNKNOWN") => {
            (Exit::Failed, Some(format!("`outrigger inspect {named}` lists what it registered")))
        }
        Some("PLUGIN_ABSENT" | "PLUGIN_ENDED" | "PLUGIN_FAILED" | "PLUGIN_TIMED_OUT") => {
            (Exit::Plugin, Some(format!("`outrigger why {named}` tells what happened")))
        }
        Some("RUNTIME_ATTACHED") => {
            let other = "use another key: `outrigger key add ID` makes one, `--runtime ID` takes it";
            (Exit::Failed, Some(format!("{other}; or stop the runtime that is attached")))
        }
        Some("GUARDS_HOLD") => (Exit::GuardsHold, Some("repeat with --yes to let them go".to_owned())),
        Some("CONFIG_INVALID") => {
            (Exit::Failed, Some("`outrigger check` lists every problem with its line".to_owned()))
        }
        Some("STATE_NOT_ALLOWED") => (Exit::Failed, Some(format!("`outrigger why {named}` tells its state"))),
        _ => match status.code() {
            Code::Unauthenticated => (Exit::Key, None),
            Code::Unavailable => (
                Exit::NoSupervisor,
                Some("it is stopping, or the connection broke: see whether `outrigger status` answers".to_owned()),
            ),
            Code::DeadlineExceeded => (Exit::TimedOut, Some("give it longer with --timeout".to_owned())),
            Code::Unimplemented => (
                Exit::Failed,
                Some(
                    "supervisor and command are of different versions: `outrigger status` tells the supervisor's"
                        .to_owned(),
                ),
            ),
            _ => (Exit::Failed, None),
        },
    }
}

/// Only for writing answers: anything else that fails with an `io::Error` names what it was.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::new(Exit::Failed, format!("the answer could not be written: {error}")),
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::from_status(&status)
    }
}
