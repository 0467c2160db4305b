//! The faults of the `misbehave` plugin: what each does, and in which phases of a launch it can strike.
//!
//! The binary acts by this table, and tests go through it, so that no fault and no phase is forgotten.

use std::fmt;

/// When a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Between the start and Registered: after Welcome and before Register where the fault's text does not say otherwise.
    Starting,
    /// On its own, at once after Registered.
    Idle,
    /// When an invocation comes.
    Hook,
    /// When Drain comes. Faults of an answer hold all invocations until then.
    Draining,
}

impl Phase {
    /// All of them, in the order of a launch.
    pub const ALL: [Self; 4] = [Self::Starting, Self::Idle, Self::Hook, Self::Draining];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Hook => "hook",
            Self::Draining => "draining",
        }
    }

    /// The phase of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a fault can strike in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applicability {
    /// It can.
    Applies,
    /// It cannot, and why.
    NotApplicable(&'static str),
}

use Applicability::{Applies, NotApplicable};

/// One way to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The name on the command line.
    pub name: &'static str,
    /// What it does, one line.
    pub about: &'static str,
    /// Options (`KEY=VALUE`) without which it does not start.
    pub required: &'static [&'static str],
    /// Whether it strikes in each phase, in the order of [`Phase::ALL`].
    pub phases: [Applicability; 4],
}

impl Fault {
    /// The fault of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        FAULTS.iter().find(|fault| fault.name == name)
    }

    /// Whether it can strike in `phase`.
    #[must_use]
    pub fn at(&self, phase: Phase) -> Applicability {
        self.phases[phase as usize]
    }

    /// It concerns the answer to an invocation; while it waits for Drain, invocations are held.
    #[must_use]
    pub fn is_about_an_answer(&self) -> bool {
        self.phases[Phase::Hook as usize] == Applies && self.phases[Phase::Starting as usize] == NO_INVOCATION_YET
    }

    const fn needs(mut self, required: &'static [&'static str]) -> Self {
        self.required = required;
        self
    }
}

const NO_INVOCATION_YET: Applicability = NotApplicable("no invocation comes before Registered");
const NOTHING_TO_ANSWER: Applicability = NotApplicable("no invocation is in flight while idle");

/// It strikes whenever asked to.
const fn always(name: &'static str, about: &'static str) -> Fault {
    Fault { name, about, required: &[], phases: [Applies; 4] }
}

/// It belongs to the start; `over` says why it cannot come later.
const fn at_start(name: &'static str, about: &'static str, over: &'static str) -> Fault {
    let over = NotApplicable(over);
    Fault { name, about, required: &[], phases: [Applies, over, over, over] }
}

/// It concerns the answer to an invocation.
const fn answer(name: &'static str, about: &'static str) -> Fault {
    Fault { name, about, required: &[], phases: [NO_INVOCATION_YET, NOTHING_TO_ANSWER, Applies, Applies] }
}

const HELLO_OVER: &str = "hello is over by then";
const REGISTER_OVER: &str = "registration is over by then";

/// Every fault.
pub const FAULTS: &[Fault] = &[
    // Ends.
    always("exit", "exits with status 3"),
    always("exit-zero", "exits with status 0, unasked"),
    always("final-exit", "exits with status 78, which says not to start it again"),
    always("abort", "ends by SIGABRT"),
    at_start("exit-before-hello", "connects and exits with status 3 before it sends Hello", HELLO_OVER),
    at_start("exit-after-hello", "sends Hello and exits with status 3 before it reads Welcome", HELLO_OVER),
    always("close-socket", "shuts its connection down and lives on"),
    always("fatal-config", "sends Fatal with CONFIG_INVALID"),
    always("fatal-internal", "sends Fatal with INTERNAL"),
    // Answers.
    answer("never-answer", "answers no invocation, not even after Cancel, and answers pings"),
    answer("answer-late", "answers an invocation only after its Cancel, or after Shutdown"),
    answer("answer-twice", "answers each invocation twice: declined, then blocked"),
    always("answer-wrong-id", "answers an invocation that was never given"),
    answer("answer-wrong-type", "answers a tool call's hook with a contribution to a prompt"),
    answer("answer-unset", "answers with a result whose outcome is not set"),
    // Silence.
    always("hang", "reads nothing and answers nothing, not even pings"),
    always("stop-self", "stops itself by SIGSTOP"),
    always("never-read", "does not read from its socket, which stays open"),
    always("ignore-sigterm", "ignores SIGTERM, Drain and Shutdown; when starting it does not register either"),
    // Messages of the session.
    always("oversized-frame", "sends a session message of more than 1 MiB"),
    always("oversized-json", "gives a JSON value of 300 KiB: in an answer, a registration or a host call"),
    always("too-deep-json", "gives JSON 200 levels deep, likewise"),
    always("duplicate-key-json", "gives JSON with a key that comes twice, likewise"),
    always("non-utf8-json", "gives JSON that is not UTF-8, likewise"),
    always("not-protobuf", "sends a session message that is no protobuf"),
    always("flood-frames", "sends session messages without pause (count=5000)"),
    always("fake-progress", "sends progress of invocations it does not have, and with impossible numbers"),
    always("ack-unsent-event", "acknowledges an event that was never sent"),
    // Registration and identity.
    at_start("wrong-token", "says Hello with a token that is not its own", HELLO_OVER),
    at_start("foreign-token", "says Hello with another launch's token (token=)", HELLO_OVER).needs(&["token"]),
    always("reused-token", "opens a second connection and says Hello there with the same token"),
    at_start("early-host-call", "makes a host call before Hello, then starts well on a new connection", HELLO_OVER),
    always("late-host-call", "ends its side of the session and makes a host call when it has ended"),
    always("second-connection", "makes a host call on a second connection, without the session secret"),
    always("second-connection-secret", "makes a host call on a second connection with the secret, which is allowed"),
    always("third-connection", "makes a host call on a second and a third connection with the secret"),
    always("second-session", "opens a second Session on the same connection"),
    always("register-twice", "sends Register twice"),
    at_start("register-before-hello", "sends Register as its first message", HELLO_OVER),
    at_start("no-hello", "connects and says nothing", HELLO_OVER),
    at_start("bad-version", "speaks protocol version 99 only", HELLO_OVER),
    at_start("undeclared-guard", "registers a guard for a tool that its manifest does not declare", REGISTER_OVER),
    at_start("too-many-items", "registers 300 hooks", REGISTER_OVER),
    at_start("unknown-hook", "registers a hook of a number that does not exist", REGISTER_OVER),
    // Floods.
    always("flood-host-calls", "makes host calls without pause, 64 at once (count=5000)"),
    always("flood-stdout", "writes lines to standard output without pause (mib=64)"),
    always("long-stderr-line", "writes one line of 100 MB to standard error"),
    // HTTP/2 and below, on the session's connection where not said otherwise.
    always("http1", "sends an HTTP/1.1 request on a connection of its own"),
    always("random-bytes", "sends 64 KiB of random bytes in place of a frame; the seed is fixed"),
    always("settings-flood", "sends SETTINGS frames (count=10000)"),
    always("ping-flood", "sends PING frames (count=10000)"),
    always("reset-flood", "opens streams and resets each at once (count=5000)"),
    always("header-flood", "opens a stream with a header list of 1 MiB"),
    always("continuation-flood", "opens a stream with CONTINUATION frames that never end its headers (count=5000)"),
    always("window-zero", "sets its receive window to 0 and never opens it again"),
    // Processes.
    always("detach-grandchild", "leaves a grandchild in a session of its own that ignores SIGTERM"),
    always("fork-bomb", "fills the tree with processes that replace their dead (max=40 of them, life=10 seconds)"),
    always("many-processes", "starts sleeping children (count=32)"),
    always("wrapper-exits", "a worker speaks the protocol; the spawned process exits and the worker lives on"),
    always("worker-keeps-socket", "a forked worker keeps the socket; the process that connected exits"),
    always("burn-cpu", "spins on all processors; with speak=yes it still speaks"),
    always("leak", "takes memory and touches it, up to mib=256"),
    // Attacks.
    always("dial-runtime", "calls the runtime's socket (socket=) without key and with one of state=")
        .needs(&["socket", "state"]),
    always("dial-admin", "calls the admin socket (socket=) without key and with the one of state=")
        .needs(&["socket", "state"]),
    always("dial-runtime-detached", "dial-runtime from a detached grandchild").needs(&["socket", "state"]),
    always("dial-admin-detached", "dial-admin from a detached grandchild").needs(&["socket", "state"]),
    always("kill-keeper", "sends SIGKILL to its parent"),
    always("stop-keeper", "sends SIGSTOP to its parent; SIGCONT follows after 15 s"),
    always("kill-all", "sends SIGKILL to every process it may, where that is no process outside its launch"),
    always("ptrace-keeper", "tries to trace its parent, to read its memory and to take its descriptors"),
    always("signal-supervisor", "sends a signal to the process pid= (signal=9)").needs(&["pid"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_fault_strikes_somewhere() {
        for (index, fault) in FAULTS.iter().enumerate() {
            assert!(FAULTS[..index].iter().all(|other| other.name != fault.name), "{} comes twice", fault.name);
            assert!(fault.phases.contains(&Applies), "{} never strikes", fault.name);
            assert_eq!(Fault::named(fault.name), Some(fault));
        }
    }

    #[test]
    fn phases_have_names_in_order() {
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, index);
            assert_eq!(Phase::named(phase.name()), Some(phase));
        }
        assert_eq!(Phase::named("later"), None);
    }
}
