//! Bounds on what comes over a connection: at each nothing happens, beyond it what the contract says.

use std::time::Duration;

use bytes::Bytes;
use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::plugin::v1::host_service_client::HostServiceClient;
use outrigger_proto::runtime::v1 as runtime_wire;
use outrigger_proto::types::v1 as types;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::launch::Bench;
use crate::domain::failure::FailureCause;
use crate::service::testing::{Raw, Talk, World, settle, within};

const SECOND: Duration = Duration::from_secs(1);
const SESSION: &str = "/outrigger.plugin.v1.PluginService/Session";
const WRITE_LOGS: &str = "/outrigger.plugin.v1.HostService/WriteLogs";

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// A message of exactly so many bytes in a field that nobody knows.
fn padding(bytes: usize) -> Bytes {
    let mut message = vec![0xa2, 0x06];
    // Two bytes for the key, three for a length from 16 KiB to 2 MiB.
    prost::encode_length_delimiter(bytes - 5, &mut message).expect("there is room");
    assert_eq!(message.len(), 5);
    message.resize(bytes, 0);
    Bytes::from(message)
}

/// Sends messages as they are and keeps the sending side open; the status of the end.
async fn raw(channel: &Channel, path: &'static str, messages: Vec<Bytes>) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let (sender, requests) = mpsc::channel(4);
    for message in messages {
        sender.send(message).await.expect("there is room");
    }
    let sender = (path == SESSION).then_some(sender);
    let path = http::uri::PathAndQuery::from_static(path);
    let mut inbound = client.streaming(Request::new(ReceiverStream::new(requests)), path, Raw).await?.into_inner();
    while inbound.message().await?.is_some() {}
    drop(sender);
    Ok(())
}

fn hello() -> Bytes {
    let protocol = Some(types::ProtocolRange { min: 1, max: 1 });
    let hello = wire::Hello { token: "token".to_owned(), protocol, ..Default::default() };
    let control = Some(wire::session_request::Control::Hello(hello));
    prost::Message::encode_to_vec(&wire::SessionRequest { control, ..Default::default() }).into()
}

#[tokio::test(start_paused = true)]
async fn a_session_message_has_1_mib() {
    within(async {
        for (bytes, fits) in [(1024 * 1024, true), (1024 * 1024 + 1, false)] {
            let mut bench = Bench::new();
            let (channel, _) = bench.plugin.dial().await;
            raw(&channel, SESSION, vec![hello(), padding(bytes)]).await.expect_err("it is no registration");
            let ended = bench.ended().await;
            assert_eq!(matches!(ended.cause, FailureCause::ProtocolViolation(_)), fits, "{:?}", ended.cause);
            assert_eq!(matches!(ended.cause, FailureCause::FrameInvalid(_)), !fits, "{:?}", ended.cause);
            bench.over().await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_host_call_has_512_kib() {
    within(async {
        let bench = Bench::new();
        let (talk, _) = bench.plugin.welcomed().await;
        raw(&talk.channel, WRITE_LOGS, vec![padding(512 * 1024)]).await.expect("it fits");
        let status = raw(&talk.channel, WRITE_LOGS, vec![padding(512 * 1024 + 1)]).await.expect_err("it is too long");
        assert!(matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted), "{status:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn at_most_16_host_calls_are_in_flight() {
    within(async {
        let bench = Bench::new();
        let (talk, _) = bench.plugin.welcomed().await;
        let mut open = Vec::new();
        for _ in 0..16 {
            let mut client = tonic::client::Grpc::new(talk.channel.clone());
            client.ready().await.expect("the connection lives");
            // A message that never comes.
            let (sender, requests) = mpsc::channel::<Bytes>(1);
            let path = http::uri::PathAndQuery::from_static(WRITE_LOGS);
            let call = tokio::spawn(async move {
                let requests = Request::new(ReceiverStream::new(requests));
                client.client_streaming(requests, path, Raw).await.map(|_| ())
            });
            open.push((sender, call));
        }
        settle().await;
        let mut client = HostServiceClient::new(talk.channel.clone());
        let status = client.write_logs(wire::WriteLogsRequest::default()).await.expect_err("16 are open");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "PLUGIN_OVERLOADED"));
        assert!(status.get_error_details().retry_info().is_some());
        let (sender, call) = open.pop().expect("there are 16");
        call.abort();
        drop(sender);
        settle().await;
        client.write_logs(wire::WriteLogsRequest::default()).await.expect("a place is free");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_header_list_has_8_kib() {
    within(async {
        let bench = Bench::new();
        let (talk, _) = bench.plugin.welcomed().await;
        let call = async |bytes: usize| {
            let mut request = Request::new(wire::WriteLogsRequest::default());
            request.metadata_mut().insert("x-long", "x".repeat(bytes).parse().expect("it is ASCII"));
            HostServiceClient::new(talk.channel.clone()).write_logs(request).await
        };
        call(7_000).await.expect("it fits");
        call(8_192).await.expect_err("it is too long");
        call(7_000).await.expect("the connection lives");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn fields_of_a_record_have_16_kib() {
    within(async {
        let bench = Bench::new();
        let (talk, _) = bench.plugin.welcomed().await;
        let record = |bytes: usize| wire::write_logs_request::Record {
            fields_json: format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8)).into(),
            ..Default::default()
        };
        let records = vec![record(16_384), record(16_385)];
        HostServiceClient::new(talk.channel.clone())
            .write_logs(wire::WriteLogsRequest { records })
            .await
            .expect("taken");
        let kept: Vec<_> = bench.state.logs.read(0, 10).lines.iter().map(|line| line.fields_json.len()).collect();
        assert_eq!(kept, [16_384, 0]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_payload_has_3_mib_and_a_sessions_key_4096_characters() {
    within(async {
        let world = World::with(vec![]).await;
        let protocol = Some(types::ProtocolRange { min: 1, max: 1 });
        let attach = runtime_wire::AttachRequest { incarnation: 1, protocol, ..Default::default() };
        let _stream = world.runtime().await.attach(attach).await.expect("it may");
        let invoke = async |payload: usize, key: usize| {
            let head = br#"{"params":{"x":""}}"#.len();
            let invocation = runtime_wire::HookInvocation {
                hook: types::Hook::BeforeToolCall as i32,
                event_json: format!(r#"{{"params":{{"x":"{}"}}}}"#, "y".repeat(payload - head)).into(),
                tool_name: "exec".to_owned(),
                tool_call_id: "1".to_owned(),
                session: Some(types::SessionRef { key: "k".repeat(key), ..Default::default() }),
                ..Default::default()
            };
            let request = runtime_wire::InvokeHookRequest { invocation: Some(invocation) };
            world.runtime().await.invoke_hook(request).await.map(|_| ())
        };
        invoke(3 * 1024 * 1024, 4096).await.expect("both fit");
        let status = invoke(3 * 1024 * 1024 + 1, 1).await.expect_err("it is too long");
        assert_eq!(reason(&status), "FIELD_INVALID");
        let status = invoke(100, 4097).await.expect_err("it is too long");
        assert_eq!(reason(&status), "SESSION_KEY_INVALID");
    })
    .await;
}

/// Streams that are opened and given up at once cost no more than their connection.
#[tokio::test(start_paused = true)]
async fn a_flood_of_streams_given_up_leaves_nothing() {
    within(async {
        let mut bench = Bench::new();
        let (channel, _) = bench.plugin.dial().await;
        for _ in 0..500 {
            let opening = tokio::spawn(Talk::open(channel.clone()));
            tokio::task::yield_now().await;
            opening.abort();
        }
        tokio::time::sleep(SECOND).await;
        // The launch goes on, on another connection if need be.
        let (talk, _) = bench.plugin.welcomed().await;
        drop((talk, channel));
        bench.plugin.tree.die(crate::domain::launch::ExitStatus::Exited(0));
        bench.ended().await;
        bench.over().await;
    })
    .await;
}

/// A redactor that cannot be shown a message as long as this: the call says so, it is counted, and the log has it. The
/// message that fits is redacted all the same.
#[tokio::test(start_paused = true)]
async fn what_is_too_long_for_a_redactor_is_counted_and_shown() {
    within(async {
        use std::collections::{BTreeMap, BTreeSet};

        use outrigger_proto::plugin::v1::invocation_result::Outcome;

        use crate::domain::hook::Hook;
        use crate::domain::rights::{Grant, Rights, Scope, Tier};
        use crate::domain::spec::PluginSpec;
        let scopes = BTreeSet::from([Scope::HooksMessages]);
        let grants = BTreeMap::from([(Scope::HooksMessages, Grant::default())]);
        let rights = Rights::new(Tier::Community, scopes, &grants, BTreeSet::new());
        let spec = PluginSpec { rights, guards: Vec::new(), ..crate::service::testing::spec("p") };
        let world = World::with(vec![spec]).await;
        let launch = world.launched().await;
        let (channel, _) = launch.dial().await;
        let mut talk = Talk::open(channel).await.expect("a Session can be opened");
        let hello = wire::Hello {
            token: launch.plan.token.clone(),
            protocol: Some(types::ProtocolRange { min: 1, max: 1 }),
            max_receive_bytes: 65_536,
            ..Default::default()
        };
        talk.hello_with(hello).await.expect("it is welcome");
        let register = wire::Register {
            hooks: vec![wire::HookRegistration {
                handler_id: "redact".to_owned(),
                hook: types::Hook::ToolResultPersist as i32,
                ..Default::default()
            }],
            ..Default::default()
        };
        talk.register(register).await.expect("it may register");
        let called = talk.serve(&launch.tree, |_| {
            let replacement =
                types::message_rewrite::Replacement::MessageJson(Bytes::from_static(br#"{"content":"-"}"#));
            let rewrite = types::MessageRewrite { replacement: Some(replacement), ..Default::default() };
            Some(Outcome::Hook(types::HookResult { result: Some(types::hook_result::Result::Message(rewrite)) }))
        });
        world.until_state("p", types::PluginState::Ready).await;
        let protocol = Some(types::ProtocolRange { min: 1, max: 1 });
        let attach = runtime_wire::AttachRequest { incarnation: 1, protocol, ..Default::default() };
        let _directives = world.runtime().await.attach(attach).await.expect("it may attach").into_inner();
        let persist = async |length: usize| {
            let event = serde_json::json!({ "message": { "content": "x".repeat(length) } });
            let invocation = runtime_wire::HookInvocation {
                hook: types::Hook::ToolResultPersist as i32,
                event_json: event.to_string().into(),
                report_handlers: true,
                ..Default::default()
            };
            let request = runtime_wire::InvokeHookRequest { invocation: Some(invocation) };
            let answer = world.runtime().await.invoke_hook(request).await.expect("it is carried out");
            answer.into_inner().outcome.expect("an outcome")
        };
        let short = persist(10_000).await;
        assert!(short.result.is_some(), "{short:?}");
        let long = persist(200 * 1024).await;
        assert_eq!(long.result, None);
        let report = &long.handlers[0];
        assert_eq!((report.plugin_id.as_str(), report.outcome()), ("p", types::HandlerOutcome::Error), "{report:?}");
        assert!(report.message.contains("it can receive 65536"), "{report:?}");
        let counts = world.plugin("p").view.handler(Hook::ToolResultPersist, false, "redact").snapshot();
        assert_eq!(counts.outcomes.get(&(types::HandlerOutcome::Error as i32)), Some(&1));
        let lines = world.plugin("p").view.logs.read(0, 100).lines;
        assert!(lines.iter().any(|line| line.text.contains("cannot be asked: the call has")), "{lines:?}");
        assert_eq!(called.calls().len(), 1, "the long one never reached it");
    })
    .await;
}
