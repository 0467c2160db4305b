//! What agent runtimes meet: attaching, directives, hook calls one by one and on a stream.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use outrigger_proto::admin::v1 as admin;
use outrigger_proto::plugin::v1 as plugin_wire;
use outrigger_proto::runtime::v1 as wire;
use outrigger_proto::runtime::v1::hook_stream_response::answer::Answer;
use outrigger_proto::types::v1::{self as types, ErrorReason};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::domain::launch::ExitStatus;
use crate::service::testing::{FakeLaunch, World, allow, block, hook, params, register, settle, spec, within};

const SECOND: Duration = Duration::from_secs(1);

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

fn attach_request() -> wire::AttachRequest {
    let protocol = Some(types::ProtocolRange { min: 1, max: 1 });
    wire::AttachRequest { incarnation: 1, protocol, software: "test".to_owned(), ..Default::default() }
}

fn live_runs(count: u32) -> Vec<wire::attach_request::LiveRun> {
    let run = |number: u32| types::RunRef { id: number.to_string(), ..Default::default() };
    (0..count).map(|number| wire::attach_request::LiveRun { run: Some(run(number)), ..Default::default() }).collect()
}

async fn attach(world: &World) -> Result<Streaming<wire::AttachResponse>, Status> {
    world.runtime().await.attach(attach_request()).await.map(tonic::Response::into_inner)
}

/// The next directives.
async fn directives(stream: &mut Streaming<wire::AttachResponse>) -> Result<Vec<wire::directive::Kind>, Status> {
    let message = stream.message().await?;
    Ok(message
        .map(|message| message.directives.into_iter().filter_map(|directive| directive.kind).collect())
        .unwrap_or_default())
}

/// The next Contributions.
async fn contributions(stream: &mut Streaming<wire::AttachResponse>) -> wire::Contributions {
    loop {
        let kinds = directives(stream).await.expect("news");
        let told = kinds.into_iter().find_map(|kind| match kind {
            wire::directive::Kind::Contributions(told) => Some(told),
            _ => None,
        });
        if let Some(told) = told {
            return told;
        }
    }
}

fn invocation(tool: &str, params: &str) -> wire::HookInvocation {
    wire::HookInvocation {
        hook: types::Hook::BeforeToolCall as i32,
        event_json: Bytes::from(format!(r#"{{"params":{params}}}"#)),
        tool_name: tool.to_owned(),
        tool_call_id: "1".to_owned(),
        ..Default::default()
    }
}

async fn invoke(world: &World, invocation: wire::HookInvocation) -> Result<wire::HookOutcome, Status> {
    let request = wire::InvokeHookRequest { invocation: Some(invocation) };
    world.runtime().await.invoke_hook(request).await.map(|response| response.into_inner().outcome.unwrap_or_default())
}

/// A runtime's stream of hook calls.
struct Hooks {
    out: Option<mpsc::Sender<wire::HookStreamRequest>>,
    inbound: Streaming<wire::HookStreamResponse>,
}

impl Hooks {
    async fn open(world: &World) -> Self {
        let (out, requests) = mpsc::channel(64);
        let inbound = world.runtime().await.hook_stream(ReceiverStream::new(requests)).await.expect("it opens");
        Self { out: Some(out), inbound: inbound.into_inner() }
    }

    async fn say(&self, request: wire::HookStreamRequest) {
        if let Some(out) = &self.out {
            let _ = out.send(request).await;
        }
    }

    async fn call(&self, ids: impl IntoIterator<Item = u64>, params: &str) {
        let calls = ids.into_iter().map(|call_id| wire::hook_stream_request::Call {
            call_id,
            invocation: Some(Box::new(invocation("exec", params))),
        });
        self.say(wire::HookStreamRequest { calls: calls.collect(), ..Default::default() }).await;
    }

    /// The next so many answers, by call.
    async fn answers(&mut self, count: usize) -> Result<Vec<(u64, Answer)>, Status> {
        let mut answers = Vec::new();
        while answers.len() < count {
            let Some(message) = self.inbound.message().await? else { break };
            answers.extend(message.answers.into_iter().filter_map(|answer| Some((answer.call_id, answer.answer?))));
        }
        answers.sort_by_key(|(id, _)| *id);
        Ok(answers)
    }
}

/// A world with one plugin that answers by a function, and a runtime that is attached.
async fn served(
    answer: impl FnMut(&plugin_wire::Invocation) -> Option<plugin_wire::invocation_result::Outcome> + Send + 'static,
) -> (World, FakeLaunch, crate::service::testing::Called, Streaming<wire::AttachResponse>) {
    let world = World::with(vec![spec("p")]).await;
    let launch = world.launched().await;
    let called = launch.serves(answer).await;
    world.until_state("p", types::PluginState::Ready).await;
    let stream = attach(&world).await.expect("it may attach");
    (world, launch, called, stream)
}

#[tokio::test(start_paused = true)]
async fn attaching_has_its_rules() {
    within(async {
        let world = World::with(vec![]).await;
        let range = |min, max| Some(types::ProtocolRange { min, max });
        let wrong = [
            (wire::AttachRequest { incarnation: 0, ..attach_request() }, Code::InvalidArgument, "FIELD_INVALID"),
            (wire::AttachRequest { protocol: None, ..attach_request() }, Code::InvalidArgument, "FIELD_INVALID"),
            (wire::AttachRequest { protocol: range(0, 1), ..attach_request() }, Code::InvalidArgument, "FIELD_INVALID"),
            (wire::AttachRequest { protocol: range(3, 2), ..attach_request() }, Code::InvalidArgument, "FIELD_INVALID"),
            (
                wire::AttachRequest { protocol: range(2, 3), ..attach_request() },
                Code::FailedPrecondition,
                "PROTOCOL_UNSUPPORTED",
            ),
            (
                wire::AttachRequest { live_runs: live_runs(4097), ..attach_request() },
                Code::InvalidArgument,
                "FIELD_INVALID",
            ),
        ];
        for (request, code, expected) in wrong {
            let status = world.runtime().await.attach(request).await.expect_err(expected);
            assert_eq!((status.code(), reason(&status).as_str()), (code, expected));
        }
        let status = invoke(&world, invocation("exec", "{}")).await.expect_err("it is not attached");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "NOT_ATTACHED"));
        let live_runs = live_runs(4096);
        let mut stream = world
            .runtime()
            .await
            .attach(wire::AttachRequest { live_runs, ..attach_request() })
            .await
            .expect("it may")
            .into_inner();
        let first = directives(&mut stream).await.expect("two come at once");
        assert!(
            matches!(&first[..], [wire::directive::Kind::Welcome(welcome), wire::directive::Kind::Contributions(_)]
            if welcome.runtime_id == "default"),
            "{first:?}"
        );
        assert_eq!(
            invoke(&world, invocation("exec", "{}")).await.expect("it is attached").verdict(),
            wire::HookVerdict::GoOn
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_wants_a_free_place_takes_nobodys() {
    within(async {
        let (world, _launch, _, mut stream) = served(|_| Some(allow())).await;
        directives(&mut stream).await.expect("welcome");
        let polite = |incarnation| wire::AttachRequest { incarnation, only_if_free: true, ..attach_request() };
        let attach = async |request| world.runtime().await.attach(request).await.map(tonic::Response::into_inner);
        let status = attach(polite(2)).await.expect_err("another start is attached");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "RUNTIME_ATTACHED"));
        let info = status.get_error_details().error_info().expect("every failure has one").clone();
        assert_eq!((info.metadata["runtime_id"].as_str(), info.metadata["software"].as_str()), ("default", "test"));
        settle().await;
        assert!(directives(&mut stream).now_or_never().is_none(), "nobody lost the place");
        // The same start may come back before its old stream is known to be gone.
        let mut again = attach(polite(1)).await.expect("it is the same runtime");
        directives(&mut again).await.expect("welcome");
        drop((stream, again));
        settle().await;
        assert!(attach(polite(2)).await.is_ok(), "the place is free");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn contributions_tell_whether_more_may_come_and_who_guards() {
    within(async {
        let world = World::with(vec![spec("q"), spec("p"), spec("r")]).await;
        let mut stream = attach(&world).await.expect("it may");
        let mut known = contributions(&mut stream).await;
        assert!(known.starting && !known.prepare_turns);
        assert_eq!(known.hooks[0].guard_plugin_ids, ["q", "p", "r"]);
        // One serves, one fails until it is given up, one is stopped: then nobody is waited for.
        let mut launches = Vec::new();
        for _ in 0..3 {
            launches.push(world.launched().await);
        }
        for launch in &launches {
            if launch.plan.plugin.as_str() == "p" {
                launch.serves(|_| Some(allow())).await;
            }
        }
        world.until_state("p", types::PluginState::Ready).await;
        while known.hooks[0].guard_plugin_ids != ["p", "q", "r"] {
            known = contributions(&mut stream).await;
        }
        assert!(known.starting, "two are still to come");
        let stop = |id: &str| admin::StopPluginRequest {
            plugin_id: id.to_owned(),
            confirm_unguarded: true,
            ..Default::default()
        };
        world.admin().await.stop_plugin(stop("q")).await.expect("it stops");
        world.admin().await.stop_plugin(stop("r")).await.expect("it stops");
        while known.starting {
            known = contributions(&mut stream).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_stream_ends_the_older_though_nobody_reads_it() {
    within(async {
        let (world, launch, _, mut idle) = served(|_| Some(allow())).await;
        directives(&mut idle).await.expect("welcome");
        // Nobody reads what comes now; it is more than the queue holds.
        let mut launch = launch;
        for _ in 0..40 {
            launch.tree.die(ExitStatus::Exited(1));
            launch = world.launched().await;
            launch.serves(|_| Some(allow())).await;
            world.until_state("p", types::PluginState::Ready).await;
            tokio::time::sleep(61 * SECOND).await;
        }
        let mut newer = attach(&world).await.expect("it may");
        directives(&mut newer).await.expect("welcome");
        settle().await;
        let status = loop {
            match directives(&mut idle).await {
                Ok(kinds) => assert!(!kinds.is_empty(), "the stream ended with OK"),
                Err(status) => break status,
            }
        };
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Aborted, "STREAM_REPLACED"));
        assert!(invoke(&world, invocation("exec", "{}")).await.is_ok());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_is_gone_is_remembered_for_30_s() {
    within(async {
        let (world, _launch, _, stream) = served(|_| Some(allow())).await;
        drop(stream);
        settle().await;
        tokio::time::sleep(29 * SECOND).await;
        assert!(invoke(&world, invocation("exec", "{}")).await.is_ok());
        tokio::time::sleep(2 * SECOND).await;
        let status = invoke(&world, invocation("exec", "{}")).await.expect_err("it is gone");
        assert_eq!(reason(&status), "NOT_ATTACHED");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn contributions_come_with_their_epoch_and_every_answer_repeats_it() {
    within(async {
        let world = World::with(vec![spec("p")]).await;
        let mut stream = attach(&world).await.expect("it may");
        let first = directives(&mut stream).await.expect("welcome");
        let wire::directive::Kind::Contributions(known) = &first[1] else { unreachable!("{first:?}") };
        assert!(known.hooks[0].fail_closed, "it guards before it ever started");
        assert!(known.hooks[0].tool_names.is_empty());
        let mut client = world.runtime().await;
        let mut invoke = async |world: &World| {
            let _ = world;
            let request = wire::InvokeHookRequest { invocation: Some(invocation("exec", "{}")) };
            client.invoke_hook(request).await.expect("it is attached").into_inner()
        };
        assert_eq!(invoke(&world).await.contribution_epoch, known.contribution_epoch);
        world.launched().await.serves(|_| Some(allow())).await;
        world.until_state("p", types::PluginState::Ready).await;
        let next = loop {
            let kinds = directives(&mut stream).await.expect("news");
            if let Some(wire::directive::Kind::Contributions(next)) = kinds.into_iter().next() {
                break next;
            }
        };
        assert!(next.contribution_epoch > known.contribution_epoch);
        assert_eq!(invoke(&world).await.contribution_epoch, next.contribution_epoch);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_runtime_asks_is_checked_before_any_plugin_sees_it() {
    within(async {
        let (world, _launch, called, _stream) = served(|_| Some(allow())).await;
        let with = |change: fn(&mut wire::HookInvocation)| {
            let mut invocation = invocation("exec", "{}");
            change(&mut invocation);
            invocation
        };
        let wrong: Vec<(wire::HookInvocation, &str)> = vec![
            (with(|call| call.hook = 0), "FIELD_INVALID"),
            (with(|call| call.hook = 999), "FIELD_INVALID"),
            (with(|call| call.hook = types::Hook::BeforeAgentFinalize as i32), "HOOK_NOT_INVOCABLE"),
            (with(|call| call.timeout = Some(prost_types::Duration::default())), "FIELD_INVALID"),
            (with(|call| call.timeout = Some(prost_types::Duration { seconds: -1, nanos: 0 })), "FIELD_INVALID"),
            (with(|call| call.tool_name.clear()), "FIELD_INVALID"),
            (with(|call| call.tool_name = "Bash".to_owned()), "FIELD_INVALID"),
            (with(|call| call.tool_call_id.clear()), "FIELD_INVALID"),
            (with(|call| call.tool_call_id = "x".repeat(257)), "FIELD_INVALID"),
            (with(|call| call.tool_authority = "x".repeat(513)), "FIELD_INVALID"),
            (with(|call| call.event_json = Bytes::new()), "FIELD_INVALID"),
            (with(|call| call.event_json = Bytes::from_static(b"{}")), "FIELD_INVALID"),
            (with(|call| call.event_json = Bytes::from_static(br#"{"params":[]}"#)), "FIELD_INVALID"),
            (with(|call| call.event_json = Bytes::from_static(br#"{"params":{},"params":{}}"#)), "JSON_INVALID"),
            (with(|call| call.event_json = Bytes::from_static(b"[]")), "JSON_INVALID"),
            (with(|call| call.event_json = Bytes::from_static(b"{")), "JSON_INVALID"),
            (with(|call| call.context_json = Bytes::from_static(b"1")), "JSON_INVALID"),
            (with(|call| call.messages_json = Bytes::from_static(b"{}")), "FIELD_INVALID"),
            (with(|call| call.context_json = Bytes::from(vec![b' '; 3 * 1024 * 1024])), "FIELD_INVALID"),
            (with(|call| call.run = Some(types::RunRef::default())), "FIELD_INVALID"),
            (
                with(|call| call.run = Some(types::RunRef { id: "r".to_owned(), handle: "h".to_owned() })),
                "FIELD_INVALID",
            ),
            (with(|call| call.session = Some(types::SessionRef::default())), "SESSION_KEY_INVALID"),
            (
                with(|call| {
                    call.session =
                        Some(types::SessionRef { key: "k".to_owned(), handle: "h".to_owned(), ..Default::default() });
                }),
                "FIELD_INVALID",
            ),
        ];
        for (index, (invocation, expected)) in wrong.into_iter().enumerate() {
            let status = invoke(&world, invocation).await.expect_err(expected);
            assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, expected), "{index}");
        }
        let mut client = world.runtime().await;
        let status =
            client.invoke_hook(wire::InvokeHookRequest { invocation: None }).await.expect_err("nothing is asked");
        assert_eq!(reason(&status), "FIELD_INVALID");
        assert!(called.calls().is_empty());
        // At their bounds they are right.
        let right = with(|call| {
            call.tool_call_id = "x".repeat(256);
            call.tool_authority = "x".repeat(512);
            call.session = Some(types::SessionRef { key: "k".repeat(4096), ..Default::default() });
            call.run = Some(types::RunRef { id: "r".repeat(256), ..Default::default() });
        });
        invoke(&world, right).await.expect("it is right");
        let asked = called.calls().pop().expect("it was asked");
        assert_eq!(
            asked.session.map(|session| (session.runtime_id, session.handle.len())),
            Some(("default".to_owned(), 32))
        );
        assert_eq!(asked.run.map(|run| run.handle.len()), Some(32));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn answers_come_on_the_stream_in_any_order() {
    within(async {
        let (world, _launch, _, _stream) = served(|call| Some(if call.invocation_id == 2 { block("two") } else { allow() })).await;
        let mut hooks = Hooks::open(&world).await;
        hooks.call([7, 8, 9], "{}").await;
        let answers = hooks.answers(3).await.expect("they come");
        let verdicts: Vec<_> = answers
            .iter()
            .map(|(id, answer)| match answer {
                Answer::Outcome(outcome) => (*id, outcome.verdict(), outcome.reason.as_str()),
                Answer::Error(error) => unreachable!("{error:?}"),
            })
            .collect();
        let (go_on, stop) = (wire::HookVerdict::GoOn, wire::HookVerdict::Stop);
        assert_eq!(verdicts, [(7, go_on, ""), (8, stop, "p: two"), (9, go_on, "")]);
        // An id is free again once it is answered.
        hooks.call([7], "{}").await;
        assert_eq!(hooks.answers(1).await.expect("it comes").len(), 1);
        // What is wrong with one call is told of this call.
        hooks.call([10], "[]").await;
        let answers = hooks.answers(1).await.expect("it comes");
        assert!(matches!(&answers[..], [(10, Answer::Error(error))]
            if error.code == Code::InvalidArgument as i32 && error.reason() == ErrorReason::FieldInvalid), "{answers:?}");
        // With all that the same call by itself is told.
        hooks.call([11], "{,}").await;
        let answers = hooks.answers(1).await.expect("it comes");
        let [(11, Answer::Error(error))] = &answers[..] else { unreachable!("{answers:?}") };
        let status = invoke(&world, invocation("exec", "{,}")).await.expect_err("no JSON");
        let info = status.get_error_details().error_info().expect("every failure has one").clone();
        assert_eq!(info.metadata["field"], "invocation.event_json");
        assert_eq!(error.metadata, info.metadata.into_iter().collect());
        // So is a decision that was never given.
        let redemptions = vec![wire::RedeemDecisionRequest { decision_id: "x".to_owned(), ..Default::default() }];
        hooks.say(wire::HookStreamRequest { redemptions, ..Default::default() }).await;
        let message = hooks.inbound.message().await.expect("it lives").expect("it lives");
        assert!(matches!(&message.redemptions[0].answer,
            Some(wire::hook_stream_response::redemption::Answer::Error(error)) if error.reason() == ErrorReason::RecordUnknown));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_id_in_use_breaks_the_stream() {
    within(async {
        for ids in [vec![0], vec![1, 1]] {
            let (world, _launch, called, _stream) = served(|_| None).await;
            let mut hooks = Hooks::open(&world).await;
            hooks.call(ids, "{}").await;
            let status = hooks.answers(1).await.expect_err("it is in use");
            assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
            settle().await;
            assert_eq!(called.cancels().len(), called.calls().len(), "what was in flight is cancelled");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_stream_has_its_bounds() {
    within(async {
        let (world, _launch, _, _stream) = served(|_| None).await;
        let mut hooks = Hooks::open(&world).await;
        hooks.call(1..=1024, "{}").await;
        hooks.call([2000, 2001], "{}").await;
        // 16 are in flight and 256 wait; the rest is denied, and the two beyond 1,024 were not even dispatched.
        let answers = hooks.answers(1024 - 16 - 256 + 2).await.expect("they come");
        let beyond: Vec<_> = answers.iter().filter(|(id, _)| *id >= 2000).collect();
        assert!(
            beyond.iter().all(|(_, answer)| matches!(answer, Answer::Error(error)
            if error.reason() == ErrorReason::PluginOverloaded && error.retry_after.is_some())),
            "{beyond:?}"
        );
        assert_eq!(beyond.len(), 2);
        let mut hooks = Hooks::open(&world).await;
        hooks.call(1..=1025, "{}").await;
        assert_eq!(hooks.answers(1).await.expect_err("too many").code(), Code::InvalidArgument);
        let mut hooks = Hooks::open(&world).await;
        let redemptions = vec![wire::RedeemDecisionRequest::default(); 1025];
        hooks.say(wire::HookStreamRequest { redemptions, ..Default::default() }).await;
        assert_eq!(hooks.answers(1).await.expect_err("too many").code(), Code::InvalidArgument);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_is_answered_and_the_plugin_is_told() {
    within(async {
        let (world, _launch, called, _stream) = served(|_| None).await;
        let mut hooks = Hooks::open(&world).await;
        hooks.call([1, 2], "{}").await;
        settle().await;
        hooks.say(wire::HookStreamRequest { cancelled_call_ids: vec![1, 99], ..Default::default() }).await;
        let answers = hooks.answers(1).await.expect("it comes");
        assert!(
            matches!(&answers[..], [(1, Answer::Error(error))] if error.code == Code::Cancelled as i32),
            "{answers:?}"
        );
        settle().await;
        let cancels = called.cancels();
        assert!(
            matches!(&cancels[..], [cancel] if cancel.reason() == plugin_wire::CancelReason::CallerGone),
            "{cancels:?}"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn closing_the_sending_side_lets_calls_finish_and_dropping_the_stream_cancels() {
    within(async {
        let world = World::with(vec![spec("p")]).await;
        let launch = world.launched().await;
        let mut talk = launch.registered(register(vec![hook("h", &[])])).await;
        world.until_state("p", types::PluginState::Ready).await;
        let _stream = attach(&world).await.expect("it may");
        let mut hooks = Hooks::open(&world).await;
        hooks.call([1], "{}").await;
        let asked = talk.call().await;
        hooks.out = None;
        settle().await;
        talk.answer(asked.invocation_id, allow()).await;
        assert_eq!(hooks.answers(1).await.expect("it comes").len(), 1);
        assert!(hooks.inbound.message().await.expect("it ends with OK").is_none());

        let hooks = Hooks::open(&world).await;
        hooks.call([1], "{}").await;
        talk.call().await;
        drop(hooks);
        let heard = talk.next().await.expect("it lives");
        assert!(matches!(heard, Some(crate::service::testing::Heard::Cancel(_))), "{heard:?}");
    })
    .await;
}

/// Plugins decide how long answers are; many long ones must not break the runtime's stream.
#[tokio::test(start_paused = true)]
async fn long_answers_do_not_break_the_stream() {
    within(async {
        let long = format!(r#"{{"x":"{}"}}"#, "y".repeat(900_000));
        let (world, _launch, _, _stream) = served(move |_| Some(params(&long))).await;
        let mut hooks = Hooks::open(&world).await;
        hooks.call(1..=12, "{}").await;
        // It reads late, so that all are there at once.
        tokio::time::sleep(SECOND).await;
        let answers = hooks.answers(12).await.expect("the stream lives");
        assert_eq!(answers.len(), 12);
        assert!(answers.iter().all(|(_, answer)| matches!(answer, Answer::Outcome(_))));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn removing_a_key_ends_the_runtimes_streams() {
    within(async {
        let (world, _launch, called, mut stream) = served(|_| None).await;
        directives(&mut stream).await.expect("welcome");
        let mut hooks = Hooks::open(&world).await;
        hooks.call([1], "{}").await;
        settle().await;
        assert_eq!(called.calls().len(), 1);
        let request = outrigger_proto::admin::v1::RemoveRuntimeKeyRequest { runtime_id: "default".to_owned() };
        let answer = world.admin().await.remove_runtime_key(request).await.expect("it is removed").into_inner();
        assert!(answer.removed && answer.was_attached);
        let status = hooks.answers(1).await.expect_err("its streams end");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "KEY_INVALID"));
        let status = loop {
            match directives(&mut stream).await {
                Ok(kinds) => assert!(!kinds.is_empty(), "the stream ended with OK"),
                Err(status) => break status,
            }
        };
        assert_eq!(reason(&status), "KEY_INVALID");
        settle().await;
        assert_eq!(called.cancels().len(), 1);
        let status = invoke(&world, invocation("exec", "{}")).await.expect_err("its calls fail at once");
        assert_eq!(reason(&status), "KEY_INVALID");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stale_revision_changes_nothing() {
    within(async {
        let (world, _launch, _, _stream) = served(|_| Some(allow())).await;
        let mut client = world.runtime().await;
        let session =
            |key: &str| Some(types::SessionRef { key: key.to_owned(), id: "1".to_owned(), ..Default::default() });
        let known = wire::UpsertSessionRequest { session: session("old"), revision: 5, previous_key: String::new() };
        assert!(client.upsert_session(known.clone()).await.expect("it is new").into_inner().created);
        let stale = wire::UpsertSessionRequest { session: session("new"), revision: 4, previous_key: "old".to_owned() };
        let status = client.upsert_session(stale).await.expect_err("it is stale");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Aborted, "VERSION_CONFLICT"));
        assert!(!client.upsert_session(known).await.expect("it is known still").into_inner().created);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_runtimes_deadline_is_the_calls() {
    within(async {
        let (world, _launch, called, _stream) = served(|_| None).await;
        let started = Instant::now();
        let timeout = Some(prost_types::Duration { seconds: 2, nanos: 0 });
        let outcome =
            invoke(&world, wire::HookInvocation { timeout, ..invocation("exec", "{}") }).await.expect("it is answered");
        assert_eq!(outcome.verdict(), wire::HookVerdict::Stop);
        assert_eq!(outcome.decided_by.map(|report| report.outcome()), Some(types::HandlerOutcome::Timeout));
        assert_eq!(started.elapsed().as_secs(), 2);
        assert_eq!(called.calls()[0].timeout.map(|timeout| timeout.seconds <= 2), Some(true));
        assert_eq!(called.cancels().len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn when_the_supervisor_stops_the_stream_says_so() {
    within(async {
        let (world, _launch, _, mut stream) = served(|_| Some(allow())).await;
        directives(&mut stream).await.expect("welcome");
        world.stopping.cancel();
        let status = loop {
            match directives(&mut stream).await {
                Ok(kinds) => assert!(!kinds.is_empty(), "the stream ended with OK"),
                Err(status) => break status,
            }
        };
        assert_eq!(status.code(), Code::Unavailable);
        drop(Arc::new(world));
    })
    .await;
}
