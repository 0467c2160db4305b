//! What every fault must come to in every phase.

use outrigger_fixtures::faults::Phase;
use outrigger_proto::admin::v1::StopStep;
use outrigger_proto::types::v1::HandlerOutcome as Fared;

use crate::expect::{Call, End, Expect};
use Call::{Either, GoesOn, Stopped, StoppedSomehow};
use End::{Fails, MayFail, Serves, StaysAfter, Stops};
use Phase::{Draining, Hook, Idle, Starting};

/// It ends by itself or as it was asked.
const ORDERLY: End = Stops(&[StopStep::Drain, StopStep::Shutdown]);
/// It does not hear Shutdown: SIGTERM ends it, or pings find out before that it is deaf.
const BY_SIGNAL: End = Stops(&[StopStep::Sigterm, StopStep::Sigkill]);
/// Nothing but SIGKILL ends it.
const BY_SIGKILL: End = Stops(&[StopStep::Sigkill]);
/// It has much to take down, or ends by itself before it is asked.
const SOMEHOW: End = Stops(&[StopStep::Drain, StopStep::Shutdown, StopStep::Sigterm, StopStep::Sigkill]);

/// Causes of a launch that ends without being killed.
const BY_ITSELF: [&str; 3] = ["crashed", "exited-unasked", "final-exit"];

/// The launch fails when the fault strikes: who has the call then is told at once.
fn fails(phase: Phase, cause: &'static str) -> Expect {
    match phase {
        Starting => Expect { call: Stopped(Fared::Absent), end: Fails(cause) },
        Idle => Expect { call: StoppedSomehow, end: Fails(cause) },
        Hook => Expect { call: Stopped(Fared::Error), end: Fails(cause) },
        Draining if BY_ITSELF.contains(&cause) => Expect { call: Stopped(Fared::Error), end: ORDERLY },
        Draining => Expect { call: Stopped(Fared::Error), end: BY_SIGKILL },
    }
}

/// The fault is refused or borne, and the plugin serves.
fn serves(phase: Phase) -> Expect {
    Expect { call: GoesOn, end: if phase == Draining { ORDERLY } else { Serves(GoesOn) } }
}

/// It goes deaf after its answer, and is found out by pings.
fn deaf(phase: Phase, draining: End) -> Expect {
    match phase {
        Starting => fails(Starting, "unresponsive"),
        Idle => Expect { call: Stopped(Fared::Error), end: Fails("unresponsive") },
        Hook => Expect { call: GoesOn, end: Fails("unresponsive") },
        Draining => Expect { call: GoesOn, end: draining },
    }
}

/// It does nothing any more: never registers, or answers neither call nor ping.
fn dead(phase: Phase, draining: End) -> Expect {
    match phase {
        Starting => fails(Starting, "startup-timeout"),
        Idle | Hook => Expect { call: Stopped(Fared::Error), end: Fails("unresponsive") },
        Draining => Expect { call: Stopped(Fared::Error), end: draining },
    }
}

/// Answers of the handler are invalid: its failure each time, which ends nothing.
fn invalid(phase: Phase) -> Expect {
    let call = Stopped(Fared::Error);
    Expect { call, end: if phase == Draining { ORDERLY } else { Serves(call) } }
}

/// The cell of a fault and a phase.
pub(crate) fn of(fault: &str, phase: Phase) -> Expect {
    match (fault, phase) {
        ("exit" | "abort" | "exit-before-hello" | "exit-after-hello", _) => fails(phase, "crashed"),
        ("exit-zero" | "worker-keeps-socket" | "no-hello" | "late-host-call", _) => fails(phase, "exited-unasked"),
        ("final-exit", _) => fails(phase, "final-exit"),
        ("close-socket", Draining) => Expect { call: Stopped(Fared::Error), end: SOMEHOW },
        ("close-socket", _) => fails(phase, "session-closed"),
        ("fatal-config", _) => fails(phase, "fatal-config-invalid"),
        ("fatal-internal", _) => fails(phase, "fatal-internal"),
        // The spawned process ends a moment after the answer.
        ("wrapper-exits", Hook) => Expect { call: Either, end: Fails("exited-unasked") },
        ("wrapper-exits", Draining) => Expect { call: Either, end: ORDERLY },
        ("wrapper-exits", _) => fails(phase, "exited-unasked"),

        ("never-answer", Draining) => Expect { call: Stopped(Fared::Error), end: ORDERLY },
        // Its next generation does not answer the canary either, so the old one, which answers pings, goes on.
        ("never-answer", _) => {
            Expect { call: Stopped(Fared::Timeout), end: StaysAfter("recycled", Stopped(Fared::Timeout)) }
        }
        // Its late answer, at Shutdown, is a no.
        ("answer-late", Draining) => Expect { call: Stopped(Fared::Deny), end: ORDERLY },
        ("answer-late", _) => Expect { call: Stopped(Fared::Timeout), end: Serves(Stopped(Fared::Timeout)) },
        ("answer-wrong-type" | "answer-unset", _) => invalid(phase),
        ("answer-wrong-id" | "ack-unsent-event" | "register-twice", _) => fails(phase, "protocol-violation"),

        ("hang" | "burn-cpu" | "stop-self", _) => dead(phase, BY_SIGNAL),
        ("never-read" | "window-zero", _) => deaf(phase, BY_SIGNAL),
        ("ignore-sigterm", Starting) => fails(phase, "startup-timeout"),
        ("ignore-sigterm", Draining) => Expect { call: GoesOn, end: BY_SIGKILL },

        ("oversized-frame" | "not-protobuf", _) => fails(phase, "frame-invalid"),
        // The whole registration is too long, so its guard is not served.
        ("oversized-json", Starting) => Expect { call: Stopped(Fared::Absent), end: Serves(Stopped(Fared::Absent)) },
        // Its answer asks for an approval, which nobody can give yet: a no, whatever is in it.
        ("oversized-json" | "too-deep-json" | "duplicate-key-json" | "non-utf8-json", Hook | Draining) => {
            invalid(phase)
        }
        // Beside the answer, from a task of its own.
        ("flood-frames", Hook) => Expect { call: Either, end: Fails("protocol-violation") },
        ("flood-frames", Draining) => Expect { call: Either, end: SOMEHOW },
        ("flood-frames", _) => fails(phase, "protocol-violation"),
        ("fake-progress", Starting) => fails(phase, "protocol-violation"),

        // The plugin gives up where it is not welcome.
        ("wrong-token" | "foreign-token" | "register-before-hello", _) => fails(phase, "crashed"),
        ("bad-version", _) => fails(phase, "protocol-unsupported"),

        // HTTP/2 ends the connection, and the plugin itself with its session.
        ("random-bytes" | "reset-flood" | "header-flood" | "continuation-flood", _) => fails(phase, "crashed"),

        ("leak" | "many-processes" | "fork-bomb", Hook | Idle | Starting) => {
            Expect { call: Either, end: Fails("resource-limit") }
        }
        ("fork-bomb" | "many-processes" | "leak", Draining) => Expect { call: GoesOn, end: SOMEHOW },
        // Its next report waits behind the line, which on a slow machine takes longer than three pings.
        ("long-stderr-line", Starting) => Expect { call: Either, end: MayFail("unresponsive") },
        _ => serves(phase),
    }
}

/// The cell of a fault of the stock Python plugin.
pub(crate) fn of_python(fault: &str, phase: Phase) -> Expect {
    let same = of(fault, phase);
    match (fault, phase) {
        ("never-answer" | "answer-wrong-type", Draining) => same,
        // It holds calls for faults of an answer only, and has answered others before it drains. A late answer declines.
        (_, Draining) => Expect { call: GoesOn, end: same.end },
        _ => same,
    }
}
