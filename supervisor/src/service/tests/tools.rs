//! Tools that plugins serve: registered, listed, and called through the gate.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use outrigger_proto::plugin::v1 as plugin;
use outrigger_proto::plugin::v1::VerdictReason as Reason;
use outrigger_proto::plugin::v1::invocation_result::Outcome;
use outrigger_proto::runtime::v1 as wire;
use outrigger_proto::runtime::v1::invoke_tool_response::Event;
use outrigger_proto::types::v1 as types;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::domain::launch::ExitStatus;
use crate::domain::rights::{Rights, Scope, Tier};
use crate::domain::spec::{Claim, PluginSpec};
use crate::service::registration::check;
use crate::service::testing::{FakeLaunch, Heard, Talk, World, allow, failed, hook, settle, spec, within};

const SCHEMA: &str = r#"{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}"#;

/// A trusted plugin that may serve the tools `count` and `other`.
fn server(guards: bool) -> PluginSpec {
    let scopes = BTreeSet::from([Scope::HooksTools, Scope::ToolsServe]);
    let mut spec = spec("p");
    spec.rights = Rights::new(Tier::Trusted, scopes, &BTreeMap::new(), BTreeSet::new());
    spec.claims.names = ["count", "other"].map(|name| Claim::Tool(name.to_owned())).into();
    if !guards {
        spec.guards.clear();
    }
    spec
}

fn tool(name: &str) -> plugin::ToolRegistration {
    let spec = types::ToolSpec {
        name: name.to_owned(),
        description: "Counts.".to_owned(),
        input_schema_json: Bytes::from_static(SCHEMA.as_bytes()),
        ..Default::default()
    };
    plugin::ToolRegistration { spec: Some(spec), ..Default::default() }
}

fn tools(tools: Vec<plugin::ToolRegistration>) -> plugin::Register {
    plugin::Register { tools, ..Default::default() }
}

fn request(arguments: &str) -> wire::InvokeToolRequest {
    wire::InvokeToolRequest {
        tool_name: "count".to_owned(),
        arguments_json: Bytes::copy_from_slice(arguments.as_bytes()),
        tool_call_id: "1".to_owned(),
        ..Default::default()
    }
}

fn said(text: &str) -> types::ToolResult {
    let part = types::tool_content::Part::Text(text.to_owned());
    types::ToolResult { content: vec![types::ToolContent { part: Some(part) }], ..Default::default() }
}

fn reason(status: &Status) -> (Code, String) {
    let reason = status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default();
    (status.code(), reason)
}

fn is(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

async fn attach(world: &World) -> Streaming<wire::AttachResponse> {
    let protocol = Some(types::ProtocolRange { min: 1, max: 1 });
    let request = wire::AttachRequest { incarnation: 1, protocol, ..Default::default() };
    world.runtime().await.attach(request).await.expect("it may attach").into_inner()
}

/// A plugin that serves `count`, an attached runtime, and the plugin's side.
async fn served(guards: bool) -> (World, FakeLaunch, Talk, Streaming<wire::AttachResponse>) {
    let world = World::with(vec![server(guards)]).await;
    let launch = world.launched().await;
    let hooks = if guards { vec![hook("h", &[])] } else { Vec::new() };
    let talk = launch.registered(plugin::Register { hooks, ..tools(vec![tool("count")]) }).await;
    world.until_state("p", types::PluginState::Ready).await;
    let attached = attach(&world).await;
    (world, launch, talk, attached)
}

/// All messages of a call, and how it ended.
async fn collect(
    stream: Result<tonic::Response<Streaming<wire::InvokeToolResponse>>, Status>,
) -> (Vec<Event>, Result<(), Status>) {
    let mut events = Vec::new();
    let mut stream = match stream {
        Ok(stream) => stream.into_inner(),
        Err(status) => return (events, Err(status)),
    };
    loop {
        match stream.message().await {
            Ok(Some(message)) => events.extend(message.event),
            Ok(None) => return (events, Ok(())),
            Err(status) => return (events, Err(status)),
        }
    }
}

async fn invoke(world: &World, request: wire::InvokeToolRequest) -> (Vec<Event>, Result<(), Status>) {
    collect(world.runtime().await.invoke_tool(request).await).await
}

/// The status of a call that nobody answered.
async fn refused(world: &World, request: wire::InvokeToolRequest) -> (Code, String) {
    let (events, end) = invoke(world, request).await;
    assert_eq!(events, []);
    reason(&end.expect_err("it is refused"))
}

async fn list(world: &World) -> Vec<wire::list_tools_response::Entry> {
    let request = wire::ListToolsRequest::default();
    world.runtime().await.list_tools(request).await.expect("it lists").into_inner().entries
}

/// The gate lets a call pass: the id of its decision.
async fn decided(world: &World, talk: &mut Talk, params: &str) -> String {
    let call = crate::service::testing::before_tool_call("count", params);
    let dispatcher = std::sync::Arc::clone(world.dispatcher());
    let outcome = tokio::spawn(async move { dispatcher.dispatch(call).await });
    let asked = talk.call().await;
    talk.answer(asked.invocation_id, allow()).await;
    outcome.await.expect("it ends").decision.expect("it may run").decision_id
}

#[tokio::test(start_paused = true)]
async fn a_tool_is_called_with_progress_and_a_result() {
    within(async {
        let (world, _launch, mut talk, _attached) = served(false).await;
        let listed = list(&world).await;
        assert_eq!(listed.len(), 1);
        let spec = listed[0].spec.clone().expect("it is served");
        assert_eq!((spec.name.as_str(), listed[0].available, listed[0].plugin_id.as_str()), ("count", true, "p"));
        assert_eq!(listed[0].timeout, Some(prost_types::Duration { seconds: 120, nanos: 0 }));

        let mut runtime = world.runtime().await;
        let call = tokio::spawn(async move { collect(runtime.invoke_tool(request(r#"{"n":1}"#)).await).await });
        let asked = talk.call().await;
        let id = asked.invocation_id;
        let Some(plugin::invocation::Call::Tool(asked)) = asked.call else { unreachable!("a tool was called") };
        assert_eq!(
            (asked.name.as_str(), &asked.arguments_json[..], asked.tool_call_id.as_str()),
            ("count", &br#"{"n":1}"#[..], "1")
        );
        let news = |done: f64| plugin::InvocationProgress {
            invocation_id: id,
            progress: Some(types::ToolProgress { done, total: 60.0, message: String::new() }),
        };
        // A burst of 60, one that goes back, one that is no number, and the answer in the same message as the last.
        talk.say(plugin::SessionRequest {
            progress: (0..60).map(|done| news(f64::from(done))).collect(),
            ..Default::default()
        })
        .await;
        talk.say(plugin::SessionRequest { progress: vec![news(3.0), news(f64::NAN)], ..Default::default() }).await;
        settle().await;
        let result = plugin::InvocationResult { invocation_id: id, outcome: Some(Outcome::Tool(said("done"))) };
        talk.say(plugin::SessionRequest { progress: vec![news(60.0)], results: vec![result], ..Default::default() })
            .await;
        let (events, end) = call.await.expect("it ends");
        end.expect("it was answered");
        let done: Vec<f64> = events
            .iter()
            .filter_map(|event| match event {
                Event::Progress(progress) => Some(progress.done),
                Event::Result(_) => None,
            })
            .collect();
        assert!(done.len() <= 3 && done.is_sorted() && done.last() == Some(&60.0), "{done:?}");
        let Some(Event::Result(result)) = events.last() else { unreachable!("the result is last") };
        assert_eq!(
            (result.result.clone(), result.plugin_id.as_str(), result.arguments_invalid),
            (Some(said("done")), "p", false)
        );
        for _ in 0..2 {
            match talk.next().await {
                Ok(Some(Heard::Control(plugin::session_response::Control::Notice(notice)))) => {
                    assert_eq!(notice.kind(), plugin::NoticeKind::FieldIgnored);
                }
                other => unreachable!("a notice was due: {other:?}"),
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_served_tool_cannot_run_past_the_gate() {
    within(async {
        let (world, _launch, mut talk, _attached) = served(true).await;
        let with = |decision: &str, arguments: &str| wire::InvokeToolRequest {
            decision_id: decision.to_owned(),
            ..request(arguments)
        };
        assert_eq!(refused(&world, request(r#"{"n":1}"#)).await, is(Code::FailedPrecondition, "DECISION_REQUIRED"));
        assert_eq!(refused(&world, with("x-1", r#"{"n":1}"#)).await, is(Code::NotFound, "RECORD_UNKNOWN"));
        let decision = decided(&world, &mut talk, r#"{"n":1}"#).await;
        assert_eq!(refused(&world, with(&decision, r#"{"n":2}"#)).await, is(Code::NotFound, "RECORD_UNKNOWN"));
        let other_call = wire::InvokeToolRequest { tool_call_id: "2".to_owned(), ..with(&decision, r#"{"n":1}"#) };
        assert_eq!(refused(&world, other_call).await, is(Code::NotFound, "RECORD_UNKNOWN"));
        // Arguments that break the schema use up nothing.
        let (events, _) = invoke(&world, with(&decision, r#"{"n":"x"}"#)).await;
        assert!(matches!(&events[..], [Event::Result(result)] if result.arguments_invalid), "{events:?}");

        let (runtime, sound) = (world.runtime().await, with(&decision, r#"{ "n" : 1 }"#));
        let call = tokio::spawn(async move {
            let mut runtime = runtime;
            collect(runtime.invoke_tool(sound).await).await
        });
        // Nothing of what was refused has reached the plugin: this is the first it hears.
        let asked = talk.call().await;
        assert!(matches!(asked.call, Some(plugin::invocation::Call::Tool(_))), "{asked:?}");
        talk.answer(asked.invocation_id, Outcome::Tool(said("ran"))).await;
        let (events, end) = call.await.expect("it ends");
        assert!(end.is_ok() && matches!(&events[..], [Event::Result(_)]), "{events:?} {end:?}");
        assert_eq!(refused(&world, with(&decision, r#"{"n":1}"#)).await, is(Code::NotFound, "RECORD_UNKNOWN"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_told_in_the_contracts_order() {
    within(async {
        let (world, _launch, _talk, _attached) = served(false).await;
        let session = Some(types::SessionRef::default());
        let wrong = [
            (
                wire::InvokeToolRequest { tool_name: "other".to_owned(), ..request("[]") },
                Code::NotFound,
                "HANDLER_UNKNOWN",
            ),
            (
                wire::InvokeToolRequest { tool_call_id: String::new(), ..request("[]") },
                Code::InvalidArgument,
                "FIELD_INVALID",
            ),
            (wire::InvokeToolRequest { session, ..request("[]") }, Code::InvalidArgument, "SESSION_KEY_INVALID"),
            (request("[]"), Code::InvalidArgument, "JSON_INVALID"),
            (request(r#"{"n":1,"n":2}"#), Code::InvalidArgument, "JSON_INVALID"),
            (
                wire::InvokeToolRequest { context_json: Bytes::from_static(b"1"), ..request(r#"{"n":1}"#) },
                Code::InvalidArgument,
                "JSON_INVALID",
            ),
        ];
        for (request, code, expected) in wrong {
            assert_eq!(refused(&world, request).await, is(code, expected));
        }
        let (events, end) = invoke(&world, request("")).await;
        end.expect("it is an answer");
        let [Event::Result(result)] = &events[..] else { unreachable!("one result: {events:?}") };
        let told = result.result.clone().unwrap_or_default();
        let Some(types::tool_content::Part::Text(text)) = &told.content[0].part else { unreachable!("a text") };
        assert!(result.arguments_invalid && told.is_error && text.contains("the key \"n\""), "{text}");
    })
    .await;
}

/// A runtime need not have told of a session before: a tool call announces its own, as a hook call does.
#[tokio::test(start_paused = true)]
async fn a_call_announces_its_session() {
    within(async {
        let (world, _launch, mut talk, _attached) = served(false).await;
        let session = types::SessionRef { key: "k".to_owned(), id: "1".to_owned(), ..Default::default() };
        let mut runtime = world.runtime().await;
        let asked = wire::InvokeToolRequest { session: Some(session.clone()), ..request(r#"{"n":1}"#) };
        let call = tokio::spawn(async move { collect(runtime.invoke_tool(asked).await).await });
        let invocation = talk.call().await;
        assert_eq!(invocation.session.map(|session| (session.key, session.id)), Some(("k".into(), "1".into())));
        talk.answer(invocation.invocation_id, Outcome::Tool(said("done"))).await;
        call.await.expect("no panic").1.expect("it is an answer");
        let upsert = wire::UpsertSessionRequest { session: Some(session), ..Default::default() };
        let known = world.runtime().await.upsert_session(upsert).await.expect("it is taken").into_inner();
        assert!(!known.created, "it was announced before");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_plugin_killed_in_the_middle_is_one_failure_at_once() {
    within(async {
        let (world, launch, mut talk, mut attached) = served(false).await;
        attached.message().await.expect("the first directives");
        let mut runtime = world.runtime().await;
        let call = tokio::spawn(async move { collect(runtime.invoke_tool(request(r#"{"n":1}"#)).await).await });
        talk.call().await;
        let before = tokio::time::Instant::now();
        launch.tree.die(ExitStatus::Signalled(9));
        let (events, end) = call.await.expect("it ends");
        assert_eq!((events, reason(&end.expect_err("it failed"))), (Vec::new(), is(Code::Unavailable, "PLUGIN_ENDED")));
        assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
        world.until("p", |status| status.state != types::PluginState::Ready).await;
        let listed = list(&world).await;
        assert!(listed.len() == 1 && !listed[0].available && listed[0].spec.is_some(), "{listed:?}");
        // The runtime is told that the tool cannot be called.
        loop {
            let message = attached.message().await.expect("it is attached").expect("there is more");
            let told = message.directives.into_iter().filter_map(|directive| directive.kind).any(|kind| {
                matches!(kind, wire::directive::Kind::Contributions(told) if told.catalogue_epoch >= listed_epoch(&world))
            });
            if told {
                break;
            }
        }
    })
    .await;
}

fn listed_epoch(world: &World) -> u64 {
    world.service.runtime_api.registry.snapshot().catalogue
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_with_its_run_its_caller_and_its_time() {
    within(async {
        let (world, _launch, mut talk, _attached) = served(false).await;
        let cancelled = async |talk: &mut Talk, id: u64| {
            loop {
                match talk.next().await {
                    Ok(Some(Heard::Cancel(cancel))) => {
                        assert_eq!(cancel.invocation_id, id);
                        return cancel.reason();
                    }
                    Ok(Some(_)) => {}
                    other => unreachable!("a cancel was due: {other:?}"),
                }
            }
        };
        // The call is a task of its own, as it outlives the awaiting.
        #[allow(clippy::async_yields_async)]
        let start = async |request: wire::InvokeToolRequest| {
            let mut runtime = world.runtime().await;
            tokio::spawn(async move { collect(runtime.invoke_tool(request).await).await })
        };
        let run = || Some(types::RunRef { id: "r".to_owned(), ..Default::default() });
        let call = start(wire::InvokeToolRequest { run: run(), ..request(r#"{"n":1}"#) }).await;
        let id = talk.call().await.invocation_id;
        world.service.runtime_api.runs.end("default", "r", wire::RunEnd::Cancelled);
        assert_eq!(cancelled(&mut talk, id).await, plugin::CancelReason::RunEnded);
        let (_, end) = call.await.expect("it ends");
        assert_eq!(reason(&end.expect_err("its run ended")), is(Code::FailedPrecondition, "RUN_ENDED"));
        assert_eq!(
            refused(&world, wire::InvokeToolRequest { run: run(), ..request(r#"{"n":1}"#) }).await,
            is(Code::FailedPrecondition, "RUN_ENDED")
        );

        let call = start(request(r#"{"n":1}"#)).await;
        let id = talk.call().await.invocation_id;
        call.abort();
        assert_eq!(cancelled(&mut talk, id).await, plugin::CancelReason::CallerGone);

        let timeout = Some(prost_types::Duration { seconds: 2, nanos: 0 });
        let call = start(wire::InvokeToolRequest { timeout, ..request(r#"{"n":1}"#) }).await;
        let id = talk.call().await.invocation_id;
        assert_eq!(cancelled(&mut talk, id).await, plugin::CancelReason::TimedOut);
        let (_, end) = call.await.expect("it ends");
        assert_eq!(reason(&end.expect_err("its time is up")), is(Code::DeadlineExceeded, "PLUGIN_TIMED_OUT"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn five_failures_open_the_breaker_of_the_tool() {
    within(async {
        let (world, launch, talk, _attached) = served(false).await;
        let mut answers = vec![
            failed("no"),
            allow(),
            Outcome::Tool(types::ToolResult { content: vec![Default::default()], ..Default::default() }),
        ];
        answers.extend([failed("secret"), failed("no")]);
        let called = talk.serve(&launch.tree, move |_| answers.pop());
        for _ in 0..5 {
            let (_, end) = invoke(&world, request(r#"{"n":1}"#)).await;
            let status = end.expect_err("it failed");
            assert_eq!(reason(&status), is(Code::Unavailable, "PLUGIN_FAILED"));
            assert!(!status.message().contains("secret"), "{status:?}");
        }
        assert_eq!(refused(&world, request(r#"{"n":1}"#)).await, is(Code::Unavailable, "PLUGIN_ABSENT"));
        assert_eq!(called.calls().len(), 5);
        assert!(!list(&world).await[0].available);
    })
    .await;
}

#[test]
fn a_tool_has_its_verdict() {
    let verdict = |change: &dyn Fn(&mut plugin::ToolRegistration)| {
        let mut item = tool("count");
        change(&mut item);
        let registration = check(&tools(vec![item]), &server(false)).expect("none must be accepted");
        let verdict = registration.verdicts[0].clone();
        (verdict.reason(), verdict.field)
    };
    let with = |change: &dyn Fn(&mut types::ToolSpec)| verdict(&|item| change(item.spec.as_mut().expect("it has one")));
    let wish = |seconds| {
        verdict(&|item| {
            let timeout = Some(prost_types::Duration { seconds, nanos: 0 });
            item.options = Some(plugin::HandlerOptions { timeout, ..Default::default() });
        })
    };
    let schema = |length: usize| {
        let padding = " ".repeat(length - r#"{"type":"object"}"#.len());
        with(&|spec| spec.input_schema_json = format!(r#"{{"type":"object"{padding}}}"#).into())
    };
    let accepted = (Reason::Accepted, String::new());
    let field = |reason, field: &str| (reason, field.to_owned());
    assert_eq!(verdict(&|_| {}), accepted);
    assert_eq!(wish(3600), accepted);
    assert_eq!(wish(3601), field(Reason::FieldInvalid, "options.timeout"));
    assert_eq!(schema(65_536), accepted);
    assert_eq!(schema(65_537), field(Reason::FieldInvalid, "spec.input_schema_json"));
    assert_eq!(with(&|spec| spec.description = "a".repeat(4096)), accepted);
    assert_eq!(with(&|spec| spec.description = "a".repeat(4097)), field(Reason::FieldInvalid, "spec.description"));
    assert_eq!(with(&|spec| spec.description = " ".to_owned()), field(Reason::FieldInvalid, "spec.description"));
    assert_eq!(with(&|spec| spec.name = "Count".to_owned()), field(Reason::FieldInvalid, "spec.name"));
    assert_eq!(with(&|spec| spec.name = "a.b".to_owned()), field(Reason::FieldInvalid, "spec.name"));
    assert_eq!(with(&|spec| spec.name = "third".to_owned()), field(Reason::NotInManifest, ""));
    for bad in
        ["true", "{}", "{", r#"{"type":"objekt"}"#, r#"{"type":"array"}"#, r#"{"type":"object","$ref":"http://x/"}"#]
    {
        let (reason, at) = with(&|spec| spec.input_schema_json = Bytes::copy_from_slice(bad.as_bytes()));
        assert_eq!((reason, at.as_str()), (Reason::SchemaInvalid, "spec.input_schema_json"), "{bad}");
    }
    assert_eq!(
        with(&|spec| spec.output_schema_json = Bytes::from_static(b"1")),
        field(Reason::SchemaInvalid, "spec.output_schema_json")
    );
    assert_eq!(verdict(&|item| *item = plugin::ToolRegistration::default()), field(Reason::FieldInvalid, "spec"));
    let metadata = |name: &str| Some(types::ToolMetadata { tool_name: name.to_owned(), ..Default::default() });
    assert_eq!(verdict(&|item| item.metadata = metadata("")), accepted);
    assert_eq!(verdict(&|item| item.metadata = metadata("other")), field(Reason::FieldInvalid, "metadata.tool_name"));

    let mut unprivileged = server(false);
    unprivileged.rights = spec("p").rights;
    let described = plugin::ToolRegistration { metadata: metadata("other"), ..Default::default() };
    let offered = || tools(vec![tool("count"), described.clone(), described.clone()]);
    let of = |spec: &PluginSpec| -> Vec<Reason> {
        let registration = check(&offered(), spec).expect("none must be accepted");
        registration.verdicts.iter().map(plugin::Verdict::reason).collect()
    };
    assert_eq!(of(&unprivileged), [Reason::NotGranted, Reason::Accepted, Reason::Taken]);
    let mut second = server(false);
    second.claims.taken.insert(Claim::Tool("count".to_owned()), "first".parse().expect("an id"));
    assert_eq!(of(&second), [Reason::Taken, Reason::Accepted, Reason::Taken]);
}

/// There is no way to upload a file yet, so an answer with one is invalid, and says what is not possible.
#[tokio::test(start_paused = true)]
async fn a_file_in_an_answer_is_refused_and_named() {
    within(async {
        let (world, _launch, mut talk, _attached) = served(false).await;
        let mut runtime = world.runtime().await;
        let call = tokio::spawn(async move { collect(runtime.invoke_tool(request(r#"{"n":1}"#)).await).await });
        let asked = talk.call().await;
        for path in ["", "/etc/passwd"] {
            // Whatever it says of the file: nothing of it is opened.
            let file = types::tool_content::File {
                upload_id: "u".to_owned(),
                staged_path: path.to_owned(),
                ..Default::default()
            };
            let part = Some(types::tool_content::Part::File(file));
            let answer = types::ToolResult { content: vec![types::ToolContent { part }], ..Default::default() };
            if path.is_empty() {
                talk.answer(asked.invocation_id, Outcome::Tool(answer)).await;
            } else {
                let mut runtime = world.runtime().await;
                let again =
                    tokio::spawn(async move { collect(runtime.invoke_tool(request(r#"{"n":1}"#)).await).await });
                let asked = talk.call().await;
                talk.answer(asked.invocation_id, Outcome::Tool(answer)).await;
                let (events, end) = again.await.expect("it ends");
                assert_eq!(
                    (events.len(), reason(&end.expect_err("it is no answer"))),
                    (0, is(Code::Unavailable, "PLUGIN_FAILED"))
                );
            }
            match talk.next().await {
                Ok(Some(Heard::Control(plugin::session_response::Control::Notice(notice)))) => {
                    assert_eq!(notice.kind(), plugin::NoticeKind::ResultInvalid);
                    assert!(
                        notice.message.contains("is a file, and this supervisor takes no uploads yet"),
                        "{notice:?}"
                    );
                }
                other => unreachable!("a notice was due: {other:?}"),
            }
        }
        let (events, end) = call.await.expect("it ends");
        assert_eq!(
            (events.len(), reason(&end.expect_err("it is no answer"))),
            (0, is(Code::Unavailable, "PLUGIN_FAILED"))
        );
    })
    .await;
}
