//! What a plugin may do for a call it has in its hands, and what it hears when the call is over.

use bytes::Bytes;
use outrigger_proto::plugin::v1 as plugin;
use outrigger_proto::plugin::v1::host_service_client::HostServiceClient;
use outrigger_proto::runtime::v1 as wire;
use outrigger_proto::types::v1::{self as types, ErrorReason, PluginState, RefusalReason};
use tonic_types::StatusExt as _;

use crate::domain::ids::Generation;
use crate::domain::rights::{Grant, Rights, Scope, Tier};
use crate::domain::spec::PluginSpec;
use crate::service::actor::Request;
use crate::service::testing::{Heard, Talk, World, allow, hook, register, spec, within};

/// A plugin that guards every tool and may emit events.
fn guard() -> PluginSpec {
    let scopes = [Scope::HooksTools, Scope::EventsEmit];
    let granted = scopes.iter().map(|scope| (*scope, Grant::default())).collect();
    let rights = Rights::new(Tier::Community, scopes.into_iter().collect(), &granted, Default::default());
    PluginSpec { rights, tier: Tier::Community, ..spec("p") }
}

/// Asks about a tool call in the run `r`, or in none, beside the test.
async fn ask(
    world: &World,
    run: Option<&str>,
) -> tokio::task::JoinHandle<Result<wire::InvokeHookResponse, tonic::Status>> {
    let invocation = wire::HookInvocation {
        hook: types::Hook::BeforeToolCall as i32,
        tool_name: "exec".to_owned(),
        tool_call_id: "1".to_owned(),
        event_json: Bytes::from_static(br#"{"params":{}}"#),
        run: run.map(|id| types::RunRef { id: id.to_owned(), ..Default::default() }),
        ..Default::default()
    };
    let mut runtime = world.runtime().await;
    let request = wire::InvokeHookRequest { invocation: Some(invocation) };
    tokio::spawn(async move { runtime.invoke_hook(request).await.map(tonic::Response::into_inner) })
}

async fn emit(talk: &Talk, invocation_id: u64, run_handle: &str) -> Result<u64, RefusalReason> {
    use plugin::emit_event_response::Result::{EventSeq, Refused};
    let request = plugin::EmitEventRequest {
        invocation_id,
        run_handle: run_handle.to_owned(),
        stream: "p".to_owned(),
        data_json: Bytes::from_static(b"{}"),
        ..Default::default()
    };
    let answer = HostServiceClient::new(talk.channel.clone()).emit_event(request).await.expect("it is carried out");
    match answer.into_inner().result.expect("an answer") {
        EventSeq(seq) => Ok(seq),
        Refused(refusal) => Err(refusal.reason()),
    }
}

async fn ready(world: &World) -> Talk {
    let launch = world.launched().await;
    let talk = launch.registered(register(vec![hook("h", &[])])).await;
    world.until("p", |seen| seen.state == PluginState::Ready && seen.generation == launch.plan.generation).await;
    talk
}

async fn attach(world: &World) -> tonic::Streaming<wire::AttachResponse> {
    let protocol = Some(types::ProtocolRange { min: 1, max: 1 });
    let request = wire::AttachRequest { incarnation: 1, protocol, ..Default::default() };
    world.runtime().await.attach(request).await.expect("it may attach").into_inner()
}

#[tokio::test(start_paused = true)]
async fn an_event_can_be_emitted_for_a_call_until_that_has_its_outcome() {
    within(async {
        let world = World::with(vec![guard()]).await;
        let mut talk = ready(&world).await;
        let _attached = attach(&world).await;
        let call = ask(&world, Some("r")).await;
        let invocation = talk.call().await;
        let (id, run) = (invocation.invocation_id, invocation.run.expect("it has a run").handle);
        assert_eq!(emit(&talk, id, "").await, Ok(1), "the run is that of the call");
        assert_eq!(emit(&talk, id, &run).await, Ok(2));
        assert_eq!(emit(&talk, id + 1, "").await, Err(RefusalReason::InvocationEnded), "it was never given");
        assert_eq!(emit(&talk, 0, "").await, Err(RefusalReason::FieldInvalid));
        talk.answer(id, allow()).await;
        call.await.expect("no panic").expect("it goes on");
        assert_eq!(emit(&talk, id, "").await, Err(RefusalReason::InvocationEnded));
        assert_eq!(emit(&talk, id, &run).await, Err(RefusalReason::InvocationEnded));
        assert_eq!(emit(&talk, 0, &run).await, Ok(3), "what is no work for the call goes on");

        let call = ask(&world, None).await;
        let id = talk.call().await.invocation_id;
        assert_eq!(emit(&talk, id, "").await, Err(RefusalReason::FieldInvalid), "a call without a run");
        talk.answer(id, allow()).await;
        call.await.expect("no panic").expect("it goes on");
    })
    .await;
}

/// Q: a generation that was replaced writes for the calls it still has, and for nothing else.
#[tokio::test(start_paused = true)]
async fn a_draining_generation_writes_for_the_calls_it_has() {
    within(async {
        let world = World::with(vec![guard()]).await;
        let mut old = ready(&world).await;
        let _attached = attach(&world).await;
        let call = ask(&world, Some("r")).await;
        let invocation = old.call().await;
        let (id, run) = (invocation.invocation_id, invocation.run.expect("it has a run").handle);
        world.plugin("p").request(Request::Reload { entry: None, drain: None }).await.expect("it is not refused");
        let launch = world.launched().await;
        let _called = launch.serves(|_| Some(allow())).await;
        world.until("p", |seen| seen.generation == Generation(2)).await;
        assert_eq!(emit(&old, 0, &run).await, Err(RefusalReason::GenerationStale));
        assert_eq!(emit(&old, id, "").await, Ok(1));
        old.answer(id, allow()).await;
        call.await.expect("no panic").expect("the old generation answered");
        assert_eq!(emit(&old, id, "").await, Err(RefusalReason::InvocationEnded));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_run_ends_is_cancelled_for_that_reason() {
    within(async {
        let world = World::with(vec![guard()]).await;
        let mut talk = ready(&world).await;
        let _attached = attach(&world).await;
        let call = ask(&world, Some("r")).await;
        let id = talk.call().await.invocation_id;
        world.service.runtime_api.runs.end("default", "r", wire::RunEnd::Cancelled);
        let cancel = loop {
            if let Heard::Cancel(cancel) = talk.next().await.expect("the session goes on").expect("it goes on") {
                break cancel;
            }
        };
        assert_eq!((cancel.invocation_id, cancel.reason()), (id, plugin::CancelReason::RunEnded));
        let status = call.await.expect("no panic").expect_err("its run ended");
        let reason = status.get_error_details().error_info().map(|info| info.reason.clone());
        assert_eq!(reason.as_deref(), ErrorReason::RunEnded.as_str_name().strip_prefix("ERROR_REASON_"));
        assert_eq!(emit(&talk, id, "").await, Err(RefusalReason::InvocationEnded));
    })
    .await;
}
