//! Messages of the session and host calls: too large, too many, or about what does not exist.

use std::collections::BTreeMap;

use outrigger_proto::plugin::v1::invocation_result::Outcome;
use outrigger_proto::plugin::v1::session_request::Control as ToHost;
use outrigger_proto::plugin::v1::{
    Failed, Fatal, FatalReason, Invocation, InvocationProgress, InvocationResult, ListSessionsRequest, Pong,
    SessionRequest,
};
use outrigger_proto::types::v1::ToolProgress;
use tokio::task::JoinSet;

use crate::plugin::Plugin;
use crate::report::report;
use crate::strike::After;

/// Longer than the bound on a session message from a plugin, 1 MiB.
const OVERSIZED: usize = 5 << 18;
/// Most messages or calls of a flood.
const MAX_COUNT: u32 = 100_000;
/// Host calls at once.
const AT_ONCE: usize = 64;

/// Sends as the fault has it.
pub(crate) async fn strike(plugin: &Plugin, fault: &str, invocation: Option<&Invocation>) -> After {
    match fault {
        "oversized-frame" => {
            let failed = Failed { message: "x".repeat(OVERSIZED), ..Failed::default() };
            let invocation_id = invocation.map_or(0, |invocation| invocation.invocation_id);
            let results = vec![InvocationResult { invocation_id, outcome: Some(Outcome::Failed(failed)) }];
            plugin.send(SessionRequest { results, ..SessionRequest::default() }).await;
            report!("sent a message of {OVERSIZED} bytes");
            return if invocation.is_some() { After::Answered } else { After::Continue };
        }
        "fake-progress" => {
            let given = invocation.map_or(1, |invocation| invocation.invocation_id);
            let numbers = [(given, f64::NAN, 1.0), (given, -1.0, 0.0), (given, 2.0, 1.0), (u64::MAX, 1.0, 2.0)];
            let progress = numbers.map(|(invocation_id, done, total)| InvocationProgress {
                invocation_id,
                progress: Some(ToolProgress { done, total, message: "misbehave".to_owned() }),
            });
            plugin.send(SessionRequest { progress: progress.into(), ..SessionRequest::default() }).await;
            report!("sent progress of invocations {given} and {}", u64::MAX);
        }
        "ack-unsent-event" => {
            let acknowledged_event_seq = 1 << 40;
            plugin.send(SessionRequest { acknowledged_event_seq, ..SessionRequest::default() }).await;
            report!("acknowledged event {acknowledged_event_seq}");
        }
        "flood-frames" => flood(plugin),
        _ => flood_host_calls(plugin),
    }
    After::Continue
}

/// Pongs to pings nobody sent, as fast as the connection takes them, beside the session.
fn flood(plugin: &Plugin) {
    let count = plugin.arguments.number("count", 5000, MAX_COUNT);
    let Some(out) = plugin.out.clone() else { return };
    tokio::spawn(async move {
        for sent in 0..count {
            let control = Some(ToHost::Pong(Pong { ping_id: u64::MAX }));
            if out.send(SessionRequest { control, ..SessionRequest::default() }).await.is_err() {
                report!("sent {sent} frames, then the session ended");
                return;
            }
        }
        report!("sent {count} frames");
    });
}

/// Host calls as fast as they are answered, beside the session.
fn flood_host_calls(plugin: &Plugin) {
    let count = plugin.arguments.number("count", 5000, MAX_COUNT);
    let host = plugin.link.host();
    tokio::spawn(async move {
        let mut calls = JoinSet::new();
        let mut outcomes = BTreeMap::<String, u32>::new();
        for _ in 0..count {
            if calls.len() >= AT_ONCE {
                note(&mut outcomes, calls.join_next().await);
            }
            let mut host = host.clone();
            calls.spawn(async move {
                match host.list_sessions(ListSessionsRequest::default()).await {
                    Ok(response) if response.get_ref().refused.is_none() => "answered".to_owned(),
                    Ok(_) => "refused".to_owned(),
                    Err(status) => format!("{:?}", status.code()),
                }
            });
        }
        while let Some(outcome) = calls.join_next().await {
            note(&mut outcomes, Some(outcome));
        }
        let told: Vec<_> = outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        report!("made {count} host calls: {}", told.join(", "));
    });
}

fn note(outcomes: &mut BTreeMap<String, u32>, outcome: Option<Result<String, tokio::task::JoinError>>) {
    if let Some(Ok(outcome)) = outcome {
        *outcomes.entry(outcome).or_default() += 1;
    }
}

/// The Fatal of a fault.
pub(crate) fn fatal(fault: &str) -> Fatal {
    let (reason, config_path) = match fault {
        "fatal-config" => (FatalReason::ConfigInvalid, "misbehave.key"),
        _ => (FatalReason::Internal, ""),
    };
    let message = "misbehave: this was asked for".to_owned();
    Fatal { reason: reason as i32, message, config_path: config_path.to_owned() }
}
