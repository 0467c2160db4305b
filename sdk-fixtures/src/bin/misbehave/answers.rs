//! Answers that are not what was asked for, and JSON that is none.

use bytes::Bytes;
use outrigger_proto::plugin::v1::invocation_result::Outcome;
use outrigger_proto::plugin::v1::session_target::Target;
use outrigger_proto::plugin::v1::state_change::Change;
use outrigger_proto::plugin::v1::{Declined, Invocation, PatchSessionStateRequest, SessionTarget, StateChange};
use outrigger_proto::types::v1::hook_result::Result as Shape;
use outrigger_proto::types::v1::tool_call_decision::Decision;
use outrigger_proto::types::v1::{ApprovalRequest, Proceed, PromptContribution, ToolCallDecision};

use crate::identity::NAMESPACE;
use crate::link::describe;
use crate::plugin::{self, Plugin, hook_answer};
use crate::report::report;
use crate::strike::After;

/// An id far above those a host gives.
const NEVER_GIVEN: u64 = 1 << 40;

/// Answers as the fault has it.
pub(crate) async fn strike(plugin: &mut Plugin, fault: &str, invocation: Option<&Invocation>) -> After {
    let declined = || Some(Outcome::Declined(Declined {}));
    if fault == "answer-wrong-id" {
        plugin.answer(NEVER_GIVEN, declined()).await;
        report!("answered invocation {NEVER_GIVEN}, which was never given");
        return After::Continue;
    }
    let Some(invocation) = invocation else {
        report!("nothing is in flight");
        return After::Continue;
    };
    let id = invocation.invocation_id;
    match fault {
        "never-answer" => report!("does not answer invocation {id}"),
        "answer-late" => {
            report!("waits for the cancel of invocation {id}");
            plugin.held.push(invocation.clone());
        }
        "answer-twice" => {
            plugin.answer(id, declined()).await;
            plugin.answer(id, Some(plugin::block("misbehave: the second answer"))).await;
            report!("answered invocation {id} twice");
        }
        "answer-wrong-type" => {
            let prompt = PromptContribution { prepend_context: "misbehave".to_owned(), ..Default::default() };
            plugin.answer(id, Some(hook_answer(Shape::Prompt(prompt)))).await;
            report!("answered invocation {id} with a contribution to a prompt");
        }
        _ => {
            plugin.answer(id, None).await;
            report!("answered invocation {id} without an outcome");
        }
    }
    After::Answered
}

/// Gives bad JSON: in the answer to an invocation, else in a host call.
pub(crate) async fn bad_json(plugin: &Plugin, fault: &str, invocation: Option<&Invocation>) -> After {
    let json = text(fault);
    let len = json.len();
    if let Some(invocation) = invocation {
        let proceed = if fault == "oversized-json" {
            // Parameters may be as long as a message; what a plugin keeps with an approval may not.
            let approval = ApprovalRequest { title: "misbehave".to_owned(), context_json: json, ..Default::default() };
            Proceed { approval: Some(approval), ..Proceed::default() }
        } else {
            Proceed { params_json: json, approval: None }
        };
        let decision = ToolCallDecision { decision: Some(Decision::Proceed(proceed)) };
        plugin.answer(invocation.invocation_id, Some(hook_answer(Shape::ToolCall(decision)))).await;
        report!("answered invocation {} with {len} bytes of bad JSON", invocation.invocation_id);
        return After::Answered;
    }
    let handle = plugin.welcome.sessions.iter().find_map(|owned| owned.session.as_ref());
    let handle = handle.map_or_else(|| "none".to_owned(), |session| session.handle.clone());
    let request = PatchSessionStateRequest {
        invocation_id: 0,
        session: Some(SessionTarget { target: Some(Target::Handle(handle)) }),
        change: Some(StateChange {
            namespace: NAMESPACE.to_owned(),
            change: Some(Change::ValueJson(json)),
            ..StateChange::default()
        }),
    };
    let mut host = plugin.link.host();
    // The session goes on meanwhile: the answer is told when it comes.
    tokio::spawn(async move {
        let told = match host.patch_session_state(request).await {
            Ok(response) => format!("{:?}", response.into_inner().result),
            Err(status) => describe(&status),
        };
        report!("called the host with {len} bytes of bad JSON: {told}");
    });
    After::Continue
}

/// The bad JSON of a fault.
pub(crate) fn text(fault: &str) -> Bytes {
    match fault {
        "oversized-json" => {
            format!("{{\"text\":\"{}\"}}", ["x".repeat(60_000).as_str(); 5].join("\",\"more\":\"")).into()
        }
        "too-deep-json" => format!("{{\"deep\":{}{}}}", "[".repeat(200), "]".repeat(200)).into(),
        "duplicate-key-json" => Bytes::from_static(b"{\"twice\":1,\"twice\":2}"),
        _ => Bytes::from_static(b"{\"text\":\"\xff\xfe\"}"),
    }
}
