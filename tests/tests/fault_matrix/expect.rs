//! What a cell of the matrix must come to.

use outrigger_proto::types::v1::HandlerOutcome as Fared;
use outrigger_tests::Called;

/// How the call that meets the fault must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// It goes on, asked and allowed.
    GoesOn,
    /// It is stopped, and the handler fared so.
    Stopped(Fared),
    /// It is stopped; how the handler fared is a matter of microseconds.
    StoppedSomehow,
    /// Answer and end cross on their way: it goes on by the answer, or is stopped by the end.
    Either,
}

impl Call {
    /// The call came out so.
    pub(crate) fn is(self, called: &Called, plugin: &str) -> bool {
        let stopped = called.is_stopped_by(plugin);
        match self {
            Self::GoesOn => called.goes_on() && was_allowed(called, plugin),
            Self::Stopped(fared) => stopped && called.stopped_as() == Some(fared),
            Self::StoppedSomehow => stopped,
            Self::Either => stopped || (called.goes_on() && was_allowed(called, plugin)),
        }
    }
}

fn was_allowed(called: &Called, plugin: &str) -> bool {
    called.handlers.iter().any(|handler| handler.plugin_id == plugin && handler.outcome() == Fared::Allow)
}

/// What the plugin comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It serves on, as the same generation, and no failure is recorded. A call then comes out so.
    Serves(Call),
    /// The launch fails with this cause, by its name; from then on what it guards is denied.
    Fails(&'static str),
    /// A failure with this cause is recorded, but the same generation serves on, as no next one passes the canary. A call
    /// then comes out so.
    StaysAfter(&'static str, Call),
    /// It serves on, or fails with this cause.
    MayFail(&'static str),
    /// An operator stopped it, and the highest step of the ladder that was needed is among these.
    Stops(&'static [outrigger_proto::admin::v1::StopStep]),
}

/// What a cell must come to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expect {
    /// The call in flight when the fault strikes (hook, draining), or made as soon as it has (starting, idle).
    pub(crate) call: Call,
    /// The plugin.
    pub(crate) end: End,
}
