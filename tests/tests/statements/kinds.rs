//! X1 and X2 over every kind of hook, trusted policies and served tools: a plugin that ends, is killed or hangs while it is
//! asked. Beside it a neighbour serves the same, and is asked all the same.

use std::time::{Duration, Instant};

use outrigger_proto::admin::v1::FailureCause;
use outrigger_proto::runtime::v1::{
    FinalizeTurnRequest, HookInvocation, HookOutcome, HookVerdict, InvokeHookRequest, InvokeToolRequest,
    PrepareTurnRequest,
};
use outrigger_proto::types::v1::{HandlerOutcome as Fared, Hook, PluginState, RunRef, SessionRef};
use outrigger_tests::hooks::tool_call;
use outrigger_tests::programs::program;
use outrigger_tests::{Package, Setup, World, processes, within};
use rustix::process::Signal;
use serde_json::json;
use tonic::Code;

use crate::look;

const LIMIT: Duration = Duration::from_secs(120);
/// The other plugin that serves everything.
const BESIDE: &str = "beside";
const SCOPES: &[&str] =
    &["hooks.conversation", "hooks.prompt", "hooks.tools", "hooks.messages", "policy.trusted", "tools.serve"];

/// One way in which a plugin is asked.
#[derive(Clone, Copy, PartialEq)]
enum Asked {
    /// By a hook that fails open.
    Open(Hook),
    /// By one that fails closed.
    Closed(Hook),
    /// By a hook with a call of its own.
    Turn(Hook),
    Policy,
    Tool,
}

/// One of each kind of the catalogue at least; every hook that fails closed.
const KINDS: &[(&str, Asked)] = &[
    ("modify", Asked::Open(Hook::MessageSending)),
    ("modify-prompt", Asked::Turn(Hook::AgentTurnPrepare)),
    ("modify-finalize", Asked::Turn(Hook::BeforeAgentFinalize)),
    ("chained", Asked::Open(Hook::ReplyPayloadSending)),
    ("persist", Asked::Open(Hook::BeforeMessageWrite)),
    ("claim", Asked::Open(Hook::BeforeDispatch)),
    ("observe", Asked::Open(Hook::AgentEnd)),
    ("evaluate", Asked::Open(Hook::SkillProposalEvaluate)),
    ("gate-run", Asked::Closed(Hook::BeforeAgentRun)),
    ("gate-install", Asked::Closed(Hook::BeforeInstall)),
    ("gate-tool", Asked::Closed(Hook::BeforeToolCall)),
    ("policy", Asked::Policy),
    ("served-tool", Asked::Tool),
];

impl Asked {
    fn hook(self) -> Option<Hook> {
        match self {
            Self::Open(hook) | Self::Closed(hook) | Self::Turn(hook) => Some(hook),
            Self::Policy => Some(Hook::BeforeToolCall),
            Self::Tool => None,
        }
    }
}

/// The plugin that is asked in one way, and misbehaves then. Of tools it guards and serves the one of its own name.
fn victim(kind: &str, asked: Asked, fault: &str) -> Package {
    // Only in its first launch: the next one passes the canary.
    let script = format!(
        "cd \"$OUTRIGGER_DATA_DIR\"; [ -e launched ] && exec \"$0\" \"$@\"; : > launched; \
         exec \"$0\" \"$@\" --fault {fault} --when hook"
    );
    let program = program("misbehave");
    let program = program.to_str().expect("the build directory's path is text");
    let package = Package::of_program(kind, &["/bin/sh", "-c", &script, program, "--tool", kind]).scopes(SCOPES);
    let package = package.entry("tier = \"trusted\"").manifest(&format!("tools = [{}]", json!(kind)));
    match asked {
        Asked::Policy => {
            let guard = format!("[[guard]]\nhook = \"before_tool_call\"\ntools = [{}]\npolicy = true", json!(kind));
            package.arguments(&["policy=yes", &format!("only={kind}")]).manifest(&guard)
        }
        Asked::Tool => package.arguments(&[&format!("serves={kind}")]),
        Asked::Open(hook) | Asked::Closed(hook) | Asked::Turn(hook) => {
            let package = package.arguments(&[&format!("hooks={}", hook as i32)]);
            let name = hook.as_str_name().trim_start_matches("HOOK_").to_ascii_lowercase();
            match asked {
                Asked::Closed(Hook::BeforeToolCall) => package.arguments(&[&format!("only={kind}")]).guard(&[kind]),
                Asked::Closed(_) => package.manifest(&format!("[[guard]]\nhook = \"{name}\"")),
                _ => package,
            }
        }
    }
}

/// Behaves well, and has a handler of every hook that is asked here.
fn beside() -> Package {
    let mut hooks: Vec<i32> = KINDS.iter().filter_map(|(_, asked)| Some(asked.hook()? as i32)).collect();
    hooks.sort_unstable();
    hooks.dedup();
    let hooks = hooks.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let program = program("misbehave");
    let program = program.to_str().expect("the build directory's path is text");
    let package = Package::of_program(BESIDE, &[program]).scopes(SCOPES).guard(&[]);
    let gates = "[[guard]]\nhook = \"before_agent_run\"\n[[guard]]\nhook = \"before_install\"";
    package.arguments(&[&format!("hooks={hooks}")]).entry("tier = \"trusted\"").manifest(gates)
}

/// What came of one asking.
#[derive(Debug)]
enum Told {
    Outcome(Box<HookOutcome>),
    /// A turn's call was answered.
    Turn,
    Failed(tonic::Status),
}

async fn ask(world: &World, kind: &str, asked: Asked) -> Told {
    let mut runtime = world.runtime();
    let session = Some(SessionRef { key: "s".to_owned(), ..SessionRef::default() });
    let run = Some(RunRef { id: format!("run-{kind}"), ..RunRef::default() });
    let told = match asked {
        Asked::Tool => {
            let arguments = json!({});
            let asking = tool_call(kind, &arguments);
            let call = asking.tool_call_id.clone();
            // The neighbour guards every tool.
            let request = InvokeHookRequest { invocation: Some(asking) };
            let outcome = runtime.invoke_hook(request).await.expect("the gate answers").into_inner().outcome;
            let request = InvokeToolRequest {
                tool_name: kind.to_owned(),
                arguments_json: arguments.to_string().into(),
                tool_call_id: call,
                decision_id: outcome.and_then(|outcome| outcome.decision).expect("it may run").decision_id,
                ..InvokeToolRequest::default()
            };
            let answer = async {
                let mut stream = runtime.invoke_tool(request).await?.into_inner();
                while stream.message().await?.is_some() {}
                Ok(())
            };
            answer.await.map(|()| Told::Turn)
        }
        Asked::Turn(Hook::AgentTurnPrepare) => {
            let request = PrepareTurnRequest { session, run, event_json: "{}".into(), ..PrepareTurnRequest::default() };
            runtime.prepare_turn(request).await.map(|_| Told::Turn)
        }
        Asked::Turn(_) => {
            let event_json = "{}".into();
            let request =
                FinalizeTurnRequest { session, run, attempt: 1, event_json, ..FinalizeTurnRequest::default() };
            runtime.finalize_turn(request).await.map(|_| Told::Turn)
        }
        Asked::Policy | Asked::Closed(Hook::BeforeToolCall) => invoke(world, tool_call(kind, &json!({}))).await,
        Asked::Open(hook) | Asked::Closed(hook) => {
            let event = json!({ "content": "x", "message": { "n": 1 }, "payload": { "n": 1 } });
            let invocation = HookInvocation {
                hook: hook as i32,
                event_json: event.to_string().into(),
                report_handlers: true,
                wait_for_observers: true,
                ..HookInvocation::default()
            };
            invoke(world, invocation).await
        }
    };
    told.unwrap_or_else(Told::Failed)
}

async fn invoke(world: &World, invocation: HookInvocation) -> Result<Told, tonic::Status> {
    let request = InvokeHookRequest { invocation: Some(invocation) };
    let answer = world.runtime().invoke_hook(request).await?.into_inner();
    Ok(Told::Outcome(Box::new(answer.outcome.expect("an outcome"))))
}

/// The call came out as the kind's failure policy says, for a plugin that fared so.
fn assert_policy(kind: &str, asked: Asked, told: &Told, fared: Fared) {
    match (asked, told) {
        (Asked::Tool, Told::Failed(status)) => {
            let code = if fared == Fared::Timeout { Code::DeadlineExceeded } else { Code::Unavailable };
            assert_eq!(status.code(), code, "{kind}: {status:?}");
            assert!(status.message().contains(kind), "{kind}: {status:?}");
        }
        (Asked::Turn(_), Told::Turn) => {}
        (Asked::Open(_), Told::Outcome(outcome)) => {
            assert_eq!(outcome.verdict(), HookVerdict::GoOn, "{kind}: {outcome:?}");
            let told: Vec<_> =
                outcome.handlers.iter().map(|handler| (handler.plugin_id.as_str(), handler.outcome())).collect();
            assert!(told.contains(&(kind, fared)), "{kind}: {told:?}");
            assert!(told.contains(&(BESIDE, Fared::Allow)), "{kind}: the others go on: {told:?}");
        }
        (Asked::Closed(_) | Asked::Policy, Told::Outcome(outcome)) => {
            assert_eq!(outcome.verdict(), HookVerdict::Stop, "{kind}: {outcome:?}");
            assert!(outcome.reason.starts_with(&format!("{kind}: ")), "{kind}: {outcome:?}");
            let by = outcome.decided_by.as_ref().map(|by| (by.plugin_id.as_str(), by.outcome()));
            assert_eq!(by, Some((kind, fared)), "{outcome:?}");
        }
        (_, told) => unreachable!("{kind}: {told:?}"),
    }
}

async fn world(fault: &str, entry: &str) -> World {
    let mut setup =
        Setup::new().await.set("backoff_first", "10m").set("backoff_max", "10m").set("cancel_grace", "400ms");
    for (kind, asked) in KINDS {
        setup = setup.plugin(victim(kind, *asked, fault).entry(entry));
    }
    let world = setup.plugin(beside()).start().await;
    for (kind, _) in KINDS {
        world.ready(kind).await;
    }
    world.ready(BESIDE).await;
    world
}

/// X1: exits with 0, with another status, and by a signal, during each kind of hook.
#[tokio::test]
async fn x01_a_plugin_that_ends_in_any_kind_of_hook() {
    for (fault, cause) in
        [("exit-zero", FailureCause::Exit), ("exit", FailureCause::Exit), ("abort", FailureCause::Signal)]
    {
        within(LIMIT, async {
            let world = world(fault, "timeout = \"30s\"").await;
            let then = world.status(BESIDE).await;
            for (kind, asked) in KINDS {
                let begin = Instant::now();
                let told = ask(&world, kind, *asked).await;
                assert_policy(kind, *asked, &told, Fared::Error);
                assert!(begin.elapsed() < Duration::from_secs(15), "{kind}: at once, not by the deadline");
                assert_eq!(world.failed(kind, 1).await.failures[0].cause(), cause, "{kind}");
                world.wait_for(kind, PluginState::Waiting).await;
                // From then on it is absent: a guard still denies, the others pass it over and say so.
                if let Asked::Closed(_) | Asked::Policy | Asked::Tool = asked {
                    assert_policy(kind, *asked, &ask(&world, kind, *asked).await, Fared::Absent);
                    // A gate that stops everything would stop the next ones here, too.
                    world.stop(kind).await.expect("an operator lifts its guard");
                }
            }
            look::assert_untouched(&world, BESIDE, &then).await;
        })
        .await;
    }
}

/// X1: killed by SIGKILL while it has the call.
#[tokio::test]
async fn x01_a_plugin_that_is_killed_in_any_kind_of_hook() {
    within(LIMIT, async {
        let world = world("never-answer", "timeout = \"60s\"").await;
        let then = world.status(BESIDE).await;
        for (kind, asked) in KINDS {
            let pid = world.status(kind).await.pid;
            let killing = async {
                while world.status(kind).await.resources.is_none_or(|used| used.invocations_in_flight == 0) {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                processes::signal(pid, Signal::KILL);
            };
            let (told, ()) = tokio::join!(ask(&world, kind, *asked), killing);
            assert_policy(kind, *asked, &told, Fared::Error);
            let failure = world.failed(kind, 1).await.failures.remove(0);
            assert_eq!((failure.cause(), failure.signal), (FailureCause::Signal, 9), "{kind}");
            world.stop(kind).await.expect("an operator lifts its guard");
        }
        look::assert_untouched(&world, BESIDE, &then).await;
    })
    .await;
}

/// X2: hangs: the deadline, the cancel, and as it never answers, the next generation.
#[tokio::test]
async fn x02_a_plugin_that_hangs_in_any_kind_of_hook() {
    within(LIMIT, async {
        let world = world("never-answer", "timeout = \"300ms\"").await;
        let then = world.status(BESIDE).await;
        for (kind, asked) in KINDS {
            let begin = Instant::now();
            let told = ask(&world, kind, *asked).await;
            assert_policy(kind, *asked, &told, Fared::Timeout);
            assert!(begin.elapsed() >= Duration::from_millis(300), "{kind}: its time is its own");
            let recycled = |statuses: &std::collections::BTreeMap<String, outrigger_proto::admin::v1::PluginStatus>| {
                statuses
                    .get(*kind)
                    .filter(|status| status.generation == 2 && status.state() == PluginState::Ready)
                    .map(drop)
            };
            world.wait_until(&format!("{kind} is recycled"), recycled).await;
            assert_eq!(world.explain(kind).await.failures[0].cause(), FailureCause::Recycled, "{kind}");
            world.stop(kind).await.expect("an operator lifts its guard");
        }
        look::assert_untouched(&world, BESIDE, &then).await;
    })
    .await;
}
