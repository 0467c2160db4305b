//! Hello, Register and connections that are not as they must be.

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use outrigger_fixtures::faults::Phase;
use outrigger_proto::plugin::v1::session_request::Control as ToHost;
use outrigger_proto::plugin::v1::session_response::Control as FromHost;
use outrigger_proto::plugin::v1::{HookRegistration, Register, SessionRequest, StateRegistration, ToolRegistration};
use outrigger_proto::types::v1::{Hook, ProtocolRange, ToolSpec};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::arguments::Arguments;
use crate::link::{Failure, Link, describe};
use crate::plugin::{self, Plugin};
use crate::report::report;
use crate::{answers, strike};

/// Items of `too-many-items`; a registration has at most 256.
const TOO_MANY: usize = 300;
/// The namespace of bad JSON.
pub(crate) const NAMESPACE: &str = "misbehave";
/// A hook that does not exist.
const UNKNOWN_HOOK: i32 = 9999;

/// The fault has struck already, or is in a message that is sent anyway.
pub(crate) fn has_its_own_moment(fault: &str, when: Phase) -> bool {
    let in_registration = when == Phase::Starting && fault.ends_with("-json");
    in_registration
        || matches!(
            fault,
            "early-host-call"
                | "wrong-token"
                | "foreign-token"
                | "bad-version"
                | "register-before-hello"
                | "undeclared-guard"
                | "too-many-items"
                | "unknown-hook"
        )
}

/// The first message, if the fault is in it.
pub(crate) fn first_message(plugin: &Plugin) -> Option<SessionRequest> {
    let arguments = &plugin.arguments;
    match arguments.fault?.name {
        "wrong-token" => Some(plugin::hello(&plugin.token.chars().rev().chain(['x']).collect::<String>())),
        "foreign-token" => arguments.options.get("token").map(|token| plugin::hello(token)),
        "bad-version" => {
            let mut message = plugin::hello(&plugin.token);
            if let Some(ToHost::Hello(hello)) = &mut message.control {
                hello.protocol = Some(ProtocolRange { min: 99, max: 99 });
            }
            Some(message)
        }
        "register-before-hello" => {
            let control = Some(ToHost::Register(plugin::register(&arguments.tools)));
            Some(SessionRequest { control, ..SessionRequest::default() })
        }
        _ => None,
    }
}

/// What is registered: the guard, and what a fault that strikes when starting adds to it.
pub(crate) fn registration(arguments: &Arguments) -> Register {
    let mut register = offered(arguments).unwrap_or_else(|| plugin::register(&arguments.tools));
    let Some(fault) = arguments.fault.map(|fault| fault.name) else { return register };
    let starting = arguments.when == Phase::Starting;
    match fault {
        "undeclared-guard" => register.hooks.push(HookRegistration {
            handler_id: "undeclared".to_owned(),
            tool_names: vec!["misbehave-undeclared".to_owned()],
            ..register.hooks[0].clone()
        }),
        "unknown-hook" => register.hooks.push(HookRegistration {
            handler_id: "unknown".to_owned(),
            hook: UNKNOWN_HOOK,
            ..HookRegistration::default()
        }),
        "too-many-items" => register.hooks.extend((1..TOO_MANY).map(|number| HookRegistration {
            handler_id: format!("observer-{number}"),
            hook: Hook::SessionStart as i32,
            ..HookRegistration::default()
        })),
        // In later phases it is the namespace of the bad value.
        _ if fault.ends_with("-json") => register.states.push(StateRegistration {
            namespace: NAMESPACE.to_owned(),
            slot_key: if starting { NAMESPACE.to_owned() } else { String::new() },
            slot_schema_json: if starting { answers::text(fault) } else { Bytes::new() },
            ..StateRegistration::default()
        }),
        _ => return register,
    }
    if starting {
        strike::announce(arguments);
        report!("registers {} items", register.hooks.len() + register.states.len());
    }
    register
}

/// What the options name in place of the guard: `hooks=19,24` by number, `policy=yes`, `serves=TOOL`. With `only=TOOL`
/// those around tool calls are for that tool alone.
fn offered(arguments: &Arguments) -> Option<Register> {
    let numbers = arguments.options.get("hooks").map(|numbers| numbers.split(',').filter_map(|one| one.parse().ok()));
    let serves = arguments.options.get("serves");
    let only = arguments.options.get("only");
    let policy = arguments.flag("policy");
    if numbers.is_none() && serves.is_none() && !policy {
        return None;
    }
    let hook = |hook: i32| HookRegistration {
        handler_id: format!("hook-{hook}"),
        hook,
        tool_names: only.iter().filter(|_| hook == Hook::BeforeToolCall as i32).map(|tool| (*tool).clone()).collect(),
        description: "for tests".to_owned(),
        ..HookRegistration::default()
    };
    let tool = |name: &String| ToolRegistration {
        spec: Some(ToolSpec {
            name: name.clone(),
            description: "For tests.".to_owned(),
            input_schema_json: Bytes::from_static(br#"{"type":"object"}"#),
            ..ToolSpec::default()
        }),
        ..ToolRegistration::default()
    };
    Some(Register {
        hooks: numbers.into_iter().flatten().map(hook).collect(),
        tool_policies: policy.then(|| hook(Hook::BeforeToolCall as i32)).into_iter().collect(),
        tools: serves.map(tool).into_iter().collect(),
        ..Register::default()
    })
}

/// Makes the connections and sessions that only one of is allowed.
pub(crate) async fn strike(plugin: &Plugin, fault: &str) -> Result<(), Failure> {
    let secret = plugin.welcome.session_secret.as_str();
    match fault {
        "second-session" => report!("second session: {}", open_session(&plugin.link, &plugin.token).await),
        "reused-token" => {
            let link = Link::open(&plugin.socket).await?;
            report!("reused token: {}", open_session(&link, &plugin.token).await);
        }
        "second-connection" => {
            let second = Link::open(&plugin.socket).await?;
            report!("second connection without secret: {}", second.probe(None).await);
        }
        _ => {
            let second = Link::open(&plugin.socket).await?;
            report!("second connection with secret: {}", second.probe(Some(secret)).await);
            report!("second connection again: {}", second.probe(None).await);
            if fault == "third-connection" {
                let told = match Link::open(&plugin.socket).await {
                    Ok(third) => third.probe(Some(secret)).await,
                    Err(error) => error.to_string(),
                };
                report!("third connection with secret: {told}");
            }
        }
    }
    Ok(())
}

/// Opens a session and says what came first.
async fn open_session(link: &Link, token: &str) -> String {
    let (out, requests) = mpsc::channel(1);
    // There is room for one, and the receiver is here.
    let _ = out.send(plugin::hello(token)).await;
    let first = match link.session(requests).await {
        Ok(mut session) => session.message().await,
        Err(status) => Err(status),
    };
    match first {
        Ok(Some(message)) if matches!(message.control, Some(FromHost::Welcome(_))) => "welcomed".to_owned(),
        Ok(Some(_)) => "answered".to_owned(),
        Ok(None) => "ended".to_owned(),
        Err(status) => describe(&status),
    }
}

/// Connects and waits until the host has had enough.
pub(crate) async fn say_nothing(socket: &Path) -> Result<(), Failure> {
    let mut stream = UnixStream::connect(socket).await?;
    report!("connected and says nothing");
    let begin = Instant::now();
    let mut read = 0;
    let mut buffer = [0; 1024];
    // What a host says first (its settings, a farewell) is no matter.
    while let Ok(len) = stream.read(&mut buffer).await {
        if len == 0 {
            break;
        }
        read += len;
    }
    report!("the host closed after {} ms and {read} bytes", begin.elapsed().as_millis());
    Ok(())
}
