//! What each fault does when its moment has come.

use std::path::Path;

use outrigger_proto::plugin::v1::session_request::Control as ToHost;
use outrigger_proto::plugin::v1::{Invocation, SessionRequest};

use crate::arguments::Arguments;
use crate::link::{Failure, Link};
use crate::plugin::{self, Plugin};
use crate::report::report;
use crate::{answers, attacks, dial, identity, load, messages, processes, sys, wire};

/// How the plugin goes on after a strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// As if nothing had been.
    Continue,
    /// The same; the invocation needs no answer any more.
    Answered,
    /// It does nothing more, and lives.
    LiveOn,
    /// It exits.
    Exit(i32),
}

use After::{Answered, Continue, Exit, LiveOn};

/// Tells of the strike and bounds the life of what follows.
pub(crate) fn announce(arguments: &Arguments) {
    sys::die_after(arguments.number("life", sys::LIFE_SECS, sys::LIFE_SECS).max(1));
    if let Some(fault) = arguments.fault {
        report!("{} strikes ({})", fault.name, arguments.when);
    }
}

/// Faults that come before the connection of the session.
pub(crate) async fn before_connecting(arguments: &Arguments, socket: &Path) -> Result<(), Failure> {
    if arguments.is("no-hello") {
        announce(arguments);
        identity::say_nothing(socket).await?;
        std::process::exit(0);
    }
    if arguments.is("early-host-call") {
        announce(arguments);
        let link = Link::open(socket).await?;
        report!("early host call: {}", link.probe(None).await);
    }
    Ok(())
}

/// The first message of the session.
pub(crate) fn first_message(plugin: &Plugin) -> SessionRequest {
    let faulty = identity::first_message(plugin);
    if faulty.is_some() {
        announce(&plugin.arguments);
    }
    faulty.unwrap_or_else(|| plugin::hello(&plugin.token))
}

/// Strikes.
pub(crate) async fn strike(
    plugin: &mut Plugin,
    fault: &'static str,
    invocation: Option<&Invocation>,
) -> Result<After, Failure> {
    if identity::has_its_own_moment(fault, plugin.arguments.when) {
        return Ok(Continue);
    }
    announce(&plugin.arguments);
    Ok(match fault {
        "exit" | "exit-before-hello" | "exit-after-hello" => Exit(3),
        "exit-zero" => Exit(0),
        "final-exit" => Exit(78),
        "abort" => std::process::abort(),
        "hang" => LiveOn,
        "stop-self" => {
            processes::stop_self(&plugin.arguments)?;
            Continue
        }
        "close-socket" => {
            plugin.link.shut_down()?;
            report!("shut its connection down");
            LiveOn
        }
        "ignore-sigterm" => {
            sys::ignore_sigterm();
            plugin.stubborn = true;
            report!("ignores SIGTERM");
            Continue
        }
        "fatal-config" | "fatal-internal" => {
            plugin.control(ToHost::Fatal(messages::fatal(fault))).await;
            Continue
        }
        "register-twice" => {
            // When starting, the ordinary one follows.
            plugin.control(ToHost::Register(plugin::register(&plugin.arguments.tools))).await;
            Continue
        }
        "late-host-call" => {
            plugin.calls_late = true;
            plugin.out = None;
            Answered
        }
        "never-answer" | "answer-late" | "answer-twice" | "answer-wrong-id" | "answer-wrong-type" | "answer-unset" => {
            answers::strike(plugin, fault, invocation).await
        }
        "oversized-json" | "too-deep-json" | "duplicate-key-json" | "non-utf8-json" => {
            answers::bad_json(plugin, fault, invocation).await
        }
        "oversized-frame" | "flood-frames" | "fake-progress" | "ack-unsent-event" | "flood-host-calls" => {
            messages::strike(plugin, fault, invocation).await
        }
        "reused-token" | "second-connection" | "second-connection-secret" | "third-connection" | "second-session" => {
            identity::strike(plugin, fault).await?;
            Continue
        }
        "not-protobuf" | "never-read" | "random-bytes" | "settings-flood" | "ping-flood" | "reset-flood"
        | "header-flood" | "continuation-flood" | "window-zero" => {
            wire::strike(plugin, fault).await;
            Continue
        }
        "http1" => {
            wire::http1(&plugin.socket).await?;
            Continue
        }
        "flood-stdout" | "long-stderr-line" | "leak" | "burn-cpu" => load::strike(&plugin.arguments, fault),
        "detach-grandchild" | "fork-bomb" | "many-processes" | "wrapper-exits" | "worker-keeps-socket" => {
            processes::strike(plugin, fault)?
        }
        "dial-runtime" | "dial-admin" => {
            dial::dial(&plugin.arguments).await;
            Continue
        }
        "dial-runtime-detached" | "dial-admin-detached" => {
            processes::start_detached(&plugin.arguments, "dial")?;
            Continue
        }
        "kill-keeper" | "stop-keeper" | "kill-all" | "ptrace-keeper" | "signal-supervisor" => {
            attacks::strike(&plugin.arguments, fault);
            Continue
        }
        other => return Err(format!("fault `{other}` has no code").into()),
    })
}
