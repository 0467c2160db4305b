//! The archetypes of plugins, as real processes behind a real supervisor: what is stored, prompted and sent back.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use outrigger_proto::runtime::v1::{
    EndRunRequest, FinalizeTurnRequest, HookInvocation, HookOutcome, HookVerdict, InvokeHookRequest, PrepareTurnRequest,
};
use outrigger_proto::types::v1 as types;
use outrigger_tests::{Package, Setup, World, programs, within};
use serde_json::{Value, json};
use types::hook_result::Result as Kind;
use types::message_rewrite::Replacement;

const LIMIT: Duration = Duration::from_secs(120);
const SECRET: &str = "sk-a1B2c3D4e5F6g7H8i9J0a1B2c3D4e5F6g7H8i9J0";

/// An archetype of the fixtures, granted what its manifest asks for.
fn archetype(id: &str, scopes: &[&str], entry: &str) -> Package {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk-fixtures/plugins").join(id);
    let mut package = Package::written(id, &directory);
    package.command = vec![programs::program(id).to_str().expect("the path is text").to_owned()];
    package.entry(&format!("grants = {}", json!(scopes))).entry(entry)
}

async fn invoke(world: &World, hook: types::Hook, event: &Value) -> HookOutcome {
    let invocation = HookInvocation {
        hook: hook as i32,
        event_json: event.to_string().into(),
        report_handlers: true,
        ..HookInvocation::default()
    };
    let request = InvokeHookRequest { invocation: Some(invocation) };
    let response = world.runtime().invoke_hook(request).await.expect("the supervisor carries the call out");
    response.into_inner().outcome.expect("an outcome")
}

fn session() -> Option<types::SessionRef> {
    Some(types::SessionRef { key: "agent:main:main".to_owned(), ..Default::default() })
}

fn run(id: &str) -> Option<types::RunRef> {
    Some(types::RunRef { id: id.to_owned(), ..Default::default() })
}

/// The message that an answer puts in the place of the event's.
fn rewritten(outcome: &HookOutcome) -> Option<Value> {
    match &outcome.result.as_ref()?.result {
        Some(Kind::Message(types::MessageRewrite { replacement: Some(Replacement::MessageJson(message)), .. })) => {
            serde_json::from_slice(message).ok()
        }
        _ => None,
    }
}

#[tokio::test]
async fn the_redactor_keeps_secrets_out_of_a_long_result() {
    within(LIMIT, async {
        let world = Setup::new().await.plugin(archetype("redactor", &["hooks.messages"], "")).start().await;
        world.ready("redactor").await;
        let filler = "a line of a log that says nothing of interest\n".repeat(200 * 1024 / 46);
        let text = format!("{filler}export KEY={SECRET}\n{filler}");
        let event = json!({ "toolName": "exec", "message": { "role": "toolResult", "content": [{ "type": "text", "text": text }] } });
        assert!(event.to_string().len() > 400 * 1024);
        for hook in [types::Hook::ToolResultPersist, types::Hook::BeforeMessageWrite] {
            let outcome = invoke(&world, hook, &event).await;
            assert_eq!(outcome.verdict(), HookVerdict::GoOn, "{outcome:?}");
            let message = rewritten(&outcome).expect("it was changed");
            let stored = message["content"][0]["text"].as_str().expect("the text is there");
            assert!(!stored.contains(SECRET) && stored.contains("export KEY=[redacted]\n"));
            assert_eq!(stored.len(), text.len() - SECRET.len() + "[redacted]".len(), "nothing else changed");
        }
        // What has no secret is not touched.
        let plain = json!({ "toolName": "exec", "message": { "role": "toolResult", "content": "fine" } });
        assert_eq!(invoke(&world, types::Hook::ToolResultPersist, &plain).await.result, None);
        let outgoing = json!({ "to": "someone", "content": format!("here: {SECRET}") });
        let outcome = invoke(&world, types::Hook::MessageSending, &outgoing).await;
        let sent = match outcome.result.and_then(|result| result.result) {
            Some(Kind::Message(types::MessageRewrite { replacement: Some(Replacement::Content(text)), .. })) => text,
            other => unreachable!("the text was not changed: {other:?}"),
        };
        assert_eq!(sent, "here: [redacted]");
    })
    .await;
}

/// What is too long to be shown to the redactor is not passed for redacted: the call is refused, and says why.
#[tokio::test]
async fn a_result_over_the_bound_is_never_passed_in_silence() {
    within(LIMIT, async {
        let world = Setup::new().await.plugin(archetype("redactor", &["hooks.messages"], "")).start().await;
        world.ready("redactor").await;
        let long = "x".repeat(3 * 1024 * 1024);
        let event = json!({ "toolName": "exec", "message": { "content": format!("{SECRET} {long}") } });
        let invocation = HookInvocation {
            hook: types::Hook::ToolResultPersist as i32,
            event_json: event.to_string().into(),
            report_handlers: true,
            ..HookInvocation::default()
        };
        let request = InvokeHookRequest { invocation: Some(invocation) };
        let refused = world.runtime().invoke_hook(request).await.expect_err("it is over the bound");
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused:?}");
        assert!(refused.message().contains("at most 3145728"), "{refused:?}");
        // It serves on.
        let plain = json!({ "toolName": "exec", "message": { "content": SECRET } });
        let outcome = invoke(&world, types::Hook::ToolResultPersist, &plain).await;
        assert_eq!(rewritten(&outcome), Some(json!({ "content": "[redacted]" })));
    })
    .await;
}

#[tokio::test]
async fn the_prompt_contributor_adds_what_fits_the_prompt() {
    let config =
        "config = { rules = \"Be brief.\", notes = [{ word = \"deploy\", text = \"Ask before you deploy.\" }] }";
    within(LIMIT, async {
        let scopes = ["hooks.prompt", "hooks.conversation"];
        let world = Setup::new().await.plugin(archetype("prompt-contributor", &scopes, config)).start().await;
        world.ready("prompt-contributor").await;
        for (prompt, expected) in [("please DEPLOY it", "Ask before you deploy."), ("please redeploy it", "")] {
            let request = PrepareTurnRequest {
                session: session(),
                run: run("r"),
                trigger: types::Trigger::User as i32,
                event_json: json!({ "prompt": prompt }).to_string().into(),
                ..PrepareTurnRequest::default()
            };
            let turn = world.runtime().prepare_turn(request).await.expect("it is prepared").into_inner();
            assert_eq!((turn.prepend_context.as_str(), turn.append_context.as_str()), (expected, ""), "{prompt}");
        }
        let outcome = invoke(&world, types::Hook::BeforePromptBuild, &json!({ "prompt": "hello" })).await;
        match outcome.result.and_then(|result| result.result) {
            Some(Kind::Prompt(added)) => assert_eq!(added.append_system_context, "Be brief."),
            other => unreachable!("nothing was added: {other:?}"),
        }
    })
    .await;
}

#[tokio::test]
async fn the_review_assistant_sends_an_answer_back_once_a_run() {
    within(LIMIT, async {
        let world = Setup::new().await.plugin(archetype("review-assistant", &["hooks.conversation"], "")).start().await;
        world.ready("review-assistant").await;
        let finalize = |run_id: &str, attempt, says: &str| FinalizeTurnRequest {
            session: session(),
            run: run(run_id),
            attempt,
            event_json: json!({ "runId": run_id, "lastAssistantMessage": says }).to_string().into(),
            ..FinalizeTurnRequest::default()
        };
        let runtime = world.runtime();
        let asks = |request| {
            let mut runtime = runtime.clone();
            async move { runtime.finalize_turn(request).await.expect("an answer").into_inner() }
        };
        let done = asks(finalize("done", 1, "All of it works.")).await;
        assert_eq!(done.decision.map(|it| it.action()), Some(types::FinalizeAction::Continue));
        let first = asks(finalize("r", 1, "There is a TODO left.")).await;
        let decision = first.decision.clone().expect("a decision");
        assert_eq!(
            (decision.action(), first.plugin_id.as_str(), first.budget_used),
            (types::FinalizeAction::Revise, "review-assistant", 1)
        );
        assert!(decision.retries[0].instruction.contains("`TODO`"), "{decision:?}");
        assert_eq!(asks(finalize("r", 1, "There is a TODO left.")).await, first, "the same attempt, the same answer");
        let second = asks(finalize("r", 2, "There is still a TODO left.")).await;
        assert_eq!(second.decision.map(|it| it.action()), Some(types::FinalizeAction::Continue));
        assert!(second.retry_withheld);
        let other = asks(finalize("other", 1, "There is a TODO left.")).await;
        assert_eq!(other.plugin_id, "review-assistant");
        let end = EndRunRequest { run: run("r"), ..EndRunRequest::default() };
        world.runtime().end_run(end).await.expect("it ends");
    })
    .await;
}

/// Counts of each hook in the recorded traces.
fn recorded() -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for file in programs::traces() {
        let text = std::fs::read_to_string(file).expect("the trace can be read");
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).expect("JSON");
            if let Some(hook) = line["hook"].as_str() {
                *counts.entry(hook.to_owned()).or_default() += 1;
            }
        }
    }
    counts
}

#[tokio::test]
async fn a_replay_plays_every_recorded_hook_that_is_wanted() {
    within(LIMIT, async {
        let config = "config = { rules = \"Be brief.\", notes = [{ word = \"run\", text = \"Mind the gap.\" }] }";
        let world = Setup::new()
            .await
            .plugin(archetype("redactor", &["hooks.messages"], ""))
            .plugin(archetype("prompt-contributor", &["hooks.prompt", "hooks.conversation"], config))
            .plugin(archetype("review-assistant", &["hooks.conversation"], ""))
            .plugin(archetype("audit-observer", &["hooks.tools"], ""))
            .start()
            .await;
        for id in ["redactor", "prompt-contributor", "review-assistant", "audit-observer"] {
            world.ready(id).await;
        }
        let report = world.replay().await;
        let tallies = report["hooks"].as_array().expect("it has counts of each hook");
        let number = |tally: &Value, member: &str| tally[member].as_u64().unwrap_or(0);
        let played: BTreeMap<String, u64> = tallies
            .iter()
            .map(|tally| {
                let hook = tally["hook"].as_str().expect("a name").to_owned();
                (hook, number(tally, "calls") + number(tally, "not_wanted"))
            })
            .collect();
        assert_eq!(played, recorded(), "{report}");
        for wanted in [
            "agent_turn_prepare",
            "before_prompt_build",
            "before_agent_finalize",
            "tool_result_persist",
            "before_message_write",
        ] {
            let tally = tallies.iter().find(|tally| tally["hook"] == wanted).expect("it was recorded");
            assert_eq!((number(tally, "calls"), number(tally, "not_wanted")), (recorded()[wanted], 0), "{tally}");
            assert_eq!((number(tally, "go_on"), number(tally, "failed")), (recorded()[wanted], 0), "{tally}");
        }
    })
    .await;
}
