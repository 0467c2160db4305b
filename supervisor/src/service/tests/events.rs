//! Agent events over the services: a runtime publishes, plugins read, acknowledge, die, are reloaded, emit.

use std::sync::Arc;
use std::time::Duration;

use outrigger_proto::admin::v1 as admin;
use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::plugin::v1::host_service_client::HostServiceClient;
use outrigger_proto::plugin::v1::plugin_service_client::PluginServiceClient;
use outrigger_proto::plugin::v1::session_response::Control;
use outrigger_proto::runtime::v1 as runtime;
use outrigger_proto::types::v1::{self as types, ErrorReason, PluginState as State, RefusalReason};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::domain::ids::Generation;
use crate::domain::launch::ExitStatus;
use crate::domain::rights::{Grant, Rights, Scope, Tier};
use crate::domain::spec::PluginSpec;
use crate::service::actor::Request;
use crate::service::runs::{MAX_ENDED, MAX_LIVE, NoRun, SETTLE};
use crate::service::testing::{FakeLaunch, Heard, Talk, World, settle, spec, within};

const SECOND: Duration = Duration::from_secs(1);
const READER: &[Scope] = &[Scope::EventsRead, Scope::EventsEmit];
const CONFIDANT: &[Scope] = &[Scope::EventsRead, Scope::EventsEmit, Scope::HooksConversation];

/// A plugin with these rights and no guards.
fn plugin(id: &str, scopes: &[Scope]) -> PluginSpec {
    with_quota(id, Tier::Community, scopes, None)
}

fn with_quota(id: &str, tier: Tier, scopes: &[Scope], per_minute: Option<u64>) -> PluginSpec {
    let quotas = per_minute.map(|limit| ("events-per-minute".to_owned(), limit)).into_iter().collect();
    let grant = Grant { quotas, ..Grant::default() };
    let granted = scopes.iter().map(|scope| (*scope, grant.clone())).collect();
    let rights = Rights::new(tier, scopes.iter().copied().collect(), &granted, Default::default());
    PluginSpec { rights, tier, guards: Vec::new(), ..spec(id) }
}

fn subscriptions(streams: &[&str]) -> wire::Register {
    let subscription = wire::SubscriptionRegistration {
        subscription_id: "all".to_owned(),
        streams: streams.iter().map(|stream| (*stream).to_owned()).collect(),
        ..Default::default()
    };
    wire::Register { subscriptions: vec![subscription], ..Default::default() }
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

fn event(run: &str, seq: u64, stream: &str, data: &str) -> types::AgentEvent {
    types::AgentEvent {
        run_id: run.to_owned(),
        seq,
        stream: stream.to_owned(),
        data_json: data.to_owned().into(),
        ..Default::default()
    }
}

fn end_of(run: &str, seq: u64) -> types::AgentEvent {
    types::AgentEvent { terminal: true, ..event(run, seq, "lifecycle", r#"{"phase":"end"}"#) }
}

/// Publishes on a stream of its own.
async fn publish(world: &World, events: Vec<types::AgentEvent>) -> Result<runtime::PublishEventsResponse, Status> {
    let request = tokio_stream::once(runtime::PublishEventsRequest { events });
    let mut answers = world.runtime().await.publish_events(request).await?.into_inner();
    let mut told = runtime::PublishEventsResponse::default();
    while let Some(so_far) = answers.message().await? {
        told = so_far;
    }
    Ok(told)
}

/// Numbers of an answer: read, accepted, duplicate, rejected.
fn counts(told: &runtime::PublishEventsResponse) -> [u64; 4] {
    [told.read, told.accepted, told.duplicate, told.rejected]
}

#[tokio::test(start_paused = true)]
async fn published_events_are_confirmed_while_the_stream_is_open() {
    within(async {
        let world = World::with(vec![]).await;
        let _directives = attach(&world, attach_request()).await;
        let (out, requests) = mpsc::channel(300);
        let say = async |events| out.send(runtime::PublishEventsRequest { events }).await.expect("it is read");
        let published = world.runtime().await.publish_events(ReceiverStream::new(requests)).await;
        let mut answers = published.expect("it opens").into_inner();
        let next = async |answers: &mut Streaming<runtime::PublishEventsResponse>| {
            answers.message().await.expect("it goes on").expect("it goes on")
        };
        say(vec![event("r", 1, "tool", "1"), event("r", 2, "tool", "2")]).await;
        assert_eq!(counts(&next(&mut answers).await), [2, 2, 0, 0]);
        // A further end of a run is known, as any event that comes again.
        let ends = vec![end_of("r", 3), end_of("r", 3), end_of("r", 4), event("r", 5, "tool", "5")];
        say([vec![event("r", 2, "tool", "2")], ends].concat()).await;
        let told = next(&mut answers).await;
        assert_eq!(counts(&told), [7, 3, 3, 1]);
        assert!(told.problems[0].contains("has ended"), "{told:?}");
        // Who reads nothing is read on, and hears the newest.
        for _ in 0..300 {
            say(vec![event("s", 0, "tool", "1"); 100]).await;
        }
        let runs = &world.service.runtime_api.bus;
        while runs.last_seq() < 3 + 30_000 {
            settle().await;
        }
        drop(out);
        let mut last = (0, told);
        while let Some(told) = answers.message().await.expect("it ends well") {
            assert!(told.read >= last.1.read, "{told:?} after {last:?}");
            last = (last.0 + 1, told);
        }
        assert_eq!(counts(&last.1), [30_007, 30_003, 3, 1]);
        assert!(last.0 < 300, "answers are joined: {}", last.0);
    })
    .await;
}

fn attach_request() -> runtime::AttachRequest {
    let protocol = Some(types::ProtocolRange { min: 1, max: 1 });
    runtime::AttachRequest { incarnation: 1, protocol, ..Default::default() }
}

async fn attach(world: &World, request: runtime::AttachRequest) -> Streaming<runtime::AttachResponse> {
    world.runtime().await.attach(request).await.expect("it may attach").into_inner()
}

/// The next directives.
async fn directives(stream: &mut Streaming<runtime::AttachResponse>) -> Vec<runtime::directive::Kind> {
    let message = stream.message().await.expect("the stream goes on").expect("the stream goes on");
    message.directives.into_iter().filter_map(|directive| directive.kind).collect()
}

async fn end_run(world: &World, run: &str, end: runtime::RunEnd) -> Result<bool, Status> {
    let run = Some(types::RunRef { id: run.to_owned(), ..Default::default() });
    let request = runtime::EndRunRequest { run, end: end as i32, ..Default::default() };
    world.runtime().await.end_run(request).await.map(|response| response.into_inner().settled)
}

/// A plugin that is ready, from its own side.
struct Reader {
    launch: FakeLaunch,
    talk: Talk,
    stream: Streaming<wire::EventsResponse>,
    begins_after: u64,
    /// What came with the first message.
    ahead: Vec<wire::EventDelivery>,
}

impl Reader {
    /// Registers and opens a stream of events.
    async fn open(launch: FakeLaunch, register: wire::Register, request: wire::EventsRequest) -> Self {
        let talk = launch.registered(register).await;
        let mut stream = open(&talk, request).await.expect("it opens");
        let first = stream.message().await.expect("it goes on").expect("the first message comes at once");
        Self { launch, talk, stream, begins_after: first.begins_after_seq, ahead: first.events }
    }

    async fn acknowledge(&self, seq: u64) {
        self.talk.say(wire::SessionRequest { acknowledged_event_seq: seq, ..Default::default() }).await;
    }

    /// The next so many events; a gap is none.
    async fn events(&mut self, count: usize) -> Vec<wire::EventDelivery> {
        let mut events = std::mem::take(&mut self.ahead);
        while events.len() < count {
            let message = self.stream.message().await.expect("it goes on").expect("it goes on");
            events.extend(message.events);
        }
        events
    }

    async fn numbers(&mut self, count: usize) -> Vec<u64> {
        self.events(count).await.iter().map(|event| event.seq).collect()
    }
}

async fn open(talk: &Talk, request: wire::EventsRequest) -> Result<Streaming<wire::EventsResponse>, Status> {
    PluginServiceClient::new(talk.channel.clone()).events(request).await.map(tonic::Response::into_inner)
}

fn credits(credits: u32) -> wire::EventsRequest {
    wire::EventsRequest { credits, ..Default::default() }
}

async fn emit(talk: &Talk, request: wire::EmitEventRequest) -> Result<u64, RefusalReason> {
    use wire::emit_event_response::Result::{EventSeq, Refused};
    let answer = HostServiceClient::new(talk.channel.clone()).emit_event(request).await.expect("it is carried out");
    match answer.into_inner().result.expect("an answer") {
        EventSeq(seq) => Ok(seq),
        Refused(refusal) => Err(refusal.reason()),
    }
}

fn emission(run_handle: &str, stream: &str, data: &str) -> wire::EmitEventRequest {
    wire::EmitEventRequest {
        run_handle: run_handle.to_owned(),
        stream: stream.to_owned(),
        data_json: data.to_owned().into(),
        ..Default::default()
    }
}

/// A world with one plugin that reads, and an attached runtime.
async fn reading(spec: PluginSpec, credits: u32) -> (World, Reader, Streaming<runtime::AttachResponse>) {
    let world = World::with(vec![spec]).await;
    let launch = world.launched().await;
    let directives = attach(&world, attach_request()).await;
    let request = wire::EventsRequest { credits, ..Default::default() };
    let reader = Reader::open(launch, subscriptions(&[]), request).await;
    (world, reader, directives)
}

#[tokio::test(start_paused = true)]
async fn an_event_reaches_who_subscribed_with_handles_and_in_order() {
    within(async {
        let (world, mut reader, _directives) = reading(plugin("p", CONFIDANT), 32).await;
        assert_eq!(reader.begins_after, 0);
        let mut first = event("r", 1, "assistant", r#"{"text":"hello"}"#);
        (first.session_key, first.session_id, first.agent_id) = ("k".into(), "s".into(), "main".into());
        let told = publish(&world, vec![first, event("r", 2, "tool", "[1]"), event("q", 1, "usage", "{}")]).await;
        let told = told.expect("it is taken in");
        assert_eq!((told.accepted, told.duplicate, told.rejected), (3, 0, 0), "{told:?}");
        let events = reader.events(3).await;
        assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2, 3]);
        let agent = |index: usize| events[index].event.clone().expect("each has one");
        assert_eq!(agent(0).data_json, r#"{"text":"hello"}"#);
        assert_eq!((agent(0).runtime_id.as_str(), agent(0).plugin_id.as_str()), ("default", ""));
        assert!(agent(0).time.is_some(), "the supervisor says when it came");
        // The run's session is the event's, also where it does not say so.
        assert_eq!((agent(1).session_key.as_str(), agent(1).agent_id.as_str()), ("k", "main"));
        assert_eq!(events[0].session_handle, events[1].session_handle);
        assert_eq!(events[0].run_handle, events[1].run_handle);
        assert_ne!(events[0].run_handle, events[2].run_handle);
        assert_eq!((events[0].session_handle.len(), events[2].session_handle.as_str()), (32, ""));
        assert!(events.iter().all(|event| event.subscription_ids.is_empty() && !event.redelivered));
    })
    .await;
}

/// A marked text in every member of every event, in every stream: one without the right reads it nowhere.
#[tokio::test(start_paused = true)]
async fn no_answers_text_leaks_to_who_may_not_read_the_conversation() {
    within(async {
        let (world, mut reader, _directives) = reading(plugin("p", READER), 0).await;
        let marked = |phase: &str| {
            let long = "MARK".repeat(40);
            format!(
                r#"{{"phase":"{phase}","stopReason":"{long}","text":"MARK","terminalReply":{{"text":"MARK"}},"model":{{"x":"MARK"}},"usage":{{"input":1,"note":"MARK"}}}}"#
            )
        };
        let mut events: Vec<_> = crate::domain::ids::RESERVED_STREAMS
            .iter()
            .map(|stream| types::AgentEvent { session_key: "k".into(), ..event("r", 0, stream, &marked("model")) })
            .collect();
        events.push(types::AgentEvent { terminal: true, ..event("r", 0, "lifecycle", &marked("end")) });
        let told = publish(&world, events).await.expect("it is taken in");
        assert_eq!(told.rejected, 0, "{told:?}");
        let read = reader.events(6).await;
        let streams: Vec<_> = read.iter().filter_map(|event| Some(event.event.as_ref()?.stream.as_str())).collect();
        assert_eq!(streams, ["lifecycle", "approval", "compaction", "usage", "model", "lifecycle"]);
        for delivery in &read {
            assert!(!format!("{delivery:?}").contains("MARK"), "{delivery:?}");
        }
        let last = read[5].event.as_ref().expect("each has one");
        assert_eq!(last.data_json, r#"{"phase":"end","usage":{"input":1}}"#);
        assert!(last.terminal);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_counted_and_the_rest_goes_on() {
    within(async {
        let world = World::with(vec![plugin("p", READER)]).await;
        let status = publish(&world, vec![event("r", 1, "tool", "{}")]).await.expect_err("it is not attached");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "NOT_ATTACHED"));
        let _directives = attach(&world, attach_request()).await;
        let good = event("r", 1, "tool", "{}");
        let wrong = vec![
            types::AgentEvent { run_id: String::new(), ..good.clone() },
            types::AgentEvent { run_id: "x".repeat(257), ..good.clone() },
            types::AgentEvent { stream: "y".repeat(129), ..good.clone() },
            event("r", 1, "p.x", "{}"),
            event("r", 1, "tool", ""),
            event("r", 1, "tool", r#"{"a":1,"a":2}"#),
            types::AgentEvent { plugin_id: "p".into(), ..good.clone() },
            types::AgentEvent { runtime_id: "x".into(), ..good.clone() },
            types::AgentEvent { terminal: true, ..good.clone() },
            types::AgentEvent { session_key: "a\nb".into(), ..good.clone() },
            types::AgentEvent { time: Some(prost_types::Timestamp { seconds: 1, nanos: -1 }), ..good.clone() },
        ];
        let count = wrong.len() as u64;
        let told = publish(&world, [wrong, vec![good.clone(), good, event("r", 0, "tool", "{}")]].concat()).await;
        let told = told.expect("the stream goes on");
        assert_eq!((told.accepted, told.duplicate, told.rejected), (2, 1, count), "{told:?}");
        assert_eq!(told.problems.len(), 10);
        assert!(told.problems.iter().all(|problem| problem.chars().count() <= 200), "{told:?}");
        assert_eq!(world.service.runtime_api.bus.last_seq(), 2);
        let status = publish(&world, vec![event("r", 3, "tool", "{}"); 1025]).await.expect_err("it is too many");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
        let told = publish(&world, (0..1024).map(|n| event("r", n + 3, "tool", "{}")).collect()).await;
        assert_eq!(told.map(|told| told.accepted).unwrap_or_default(), 1024);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_position_that_came_before_is_ignored_also_out_of_order() {
    within(async {
        let world = World::with(vec![]).await;
        let _directives = attach(&world, attach_request()).await;
        for (position, accepted) in
            [(5, 1), (3, 1), (3, 0), (4, 1), (5, 0), (200, 1), (6, 0), (73, 1), (72, 0), (0, 1), (0, 1)]
        {
            let told = publish(&world, vec![event("r", position, "tool", "{}")]).await.expect("it is looked at");
            assert_eq!((told.accepted, told.duplicate), (accepted, 1 - accepted), "{position}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn events_are_served_when_the_session_has_a_subscription() {
    within(async {
        let world = World::with(vec![plugin("p", READER)]).await;
        let launch = world.launched().await;
        let (mut talk, _) = launch.welcomed().await;
        let failed = |status: Status| (status.code(), reason(&status));
        let status = open(&talk, credits(1)).await.expect_err("it is not registered");
        assert_eq!(failed(status), (Code::FailedPrecondition, "SESSION_NOT_OPEN".to_owned()));
        talk.register(wire::Register::default()).await.expect("it may register");
        let status = open(&talk, credits(1)).await.expect_err("nothing was subscribed to");
        assert_eq!(failed(status), (Code::FailedPrecondition, "HANDLER_UNKNOWN".to_owned()));
        drop((talk, launch));

        let (_world, reader, _directives) = reading(plugin("p", READER), 1024).await;
        let place = |epoch, seq| wire::EventsRequest {
            resume_after: Some(wire::EventCursor { epoch, seq }),
            ..Default::default()
        };
        let foreign = || vec!["x".repeat(32)];
        for wrong in [
            credits(1025),
            place(1, 1),
            wire::EventsRequest { run_handles: foreign(), ..Default::default() },
            wire::EventsRequest { session_handles: foreign(), ..Default::default() },
            wire::EventsRequest { run_handles: vec![String::new(); 65], ..Default::default() },
        ] {
            let status = open(&reader.talk, wrong.clone()).await.expect_err("it is wrong");
            assert_eq!(failed(status), (Code::InvalidArgument, "FIELD_INVALID".to_owned()), "{wrong:?}");
        }
        let mut other = open(&reader.talk, place(2, 9)).await.expect("another epoch is answered with a gap");
        let first = other.message().await.expect("it goes on").expect("it goes on");
        assert_eq!(first.gap.map(|gap| gap.reason()), Some(wire::GapReason::EpochChanged));
        let mut replaced = reader.stream;
        let status = replaced.message().await.expect_err("a newer stream took its place");
        assert_eq!(failed(status), (Code::Aborted, "STREAM_REPLACED".to_owned()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_can_be_narrowed_by_the_handles_that_came_with_events() {
    within(async {
        let (world, mut reader, _directives) = reading(plugin("p", READER), 0).await;
        let of = |run: &str, key: &str| types::AgentEvent {
            session_key: key.to_owned(),
            ..event(run, 0, "lifecycle", "{}")
        };
        let all = || vec![of("r", "k"), of("s", "k"), of("t", "l")];
        publish(&world, all()).await.expect("it is taken in");
        let events = reader.events(3).await;
        let (run, session) = (events[1].run_handle.clone(), events[0].session_handle.clone());
        for (request, expected) in [
            (wire::EventsRequest { run_handles: vec![run], ..Default::default() }, vec!["s"]),
            (wire::EventsRequest { session_handles: vec![session], ..Default::default() }, vec!["r", "s"]),
        ] {
            let mut stream = open(&reader.talk, request).await.expect("it opens");
            stream.message().await.expect("it goes on").expect("the first message");
            publish(&world, all()).await.expect("it is taken in");
            let message = stream.message().await.expect("it goes on").expect("events");
            let runs: Vec<_> = message.events.iter().filter_map(|event| Some(&*event.event.as_ref()?.run_id)).collect();
            assert_eq!(runs, expected);
        }
    })
    .await;
}

/// One that stops reading: the publisher never waits, and what it missed is told exactly.
#[tokio::test(start_paused = true)]
async fn a_subscriber_that_stops_reading_holds_nobody_up() {
    within(async {
        let world = World::with(vec![plugin("deaf", READER), plugin("well", READER)]).await;
        let mut readers = Vec::new();
        for _ in 0..2 {
            let launch = world.launched().await;
            readers.push((launch.plan.plugin.clone(), launch));
        }
        readers.sort_by(|(a, _), (b, _)| a.cmp(b));
        let (well, deaf) = (readers.remove(1).1, readers.remove(0).1);
        let _directives = attach(&world, attach_request()).await;
        let mut deaf = Reader::open(deaf, subscriptions(&[]), credits(32)).await;
        let mut well = Reader::open(well, subscriptions(&[]), credits(0)).await;
        let started = tokio::time::Instant::now();
        for message in 0..20 {
            let events = (0..100).map(|n| event("r", message * 100 + n + 1, "lifecycle", r#"{"phase":"model"}"#));
            let told = publish(&world, events.collect()).await.expect("it is taken in");
            assert_eq!(told.accepted, 100);
            assert_eq!(well.numbers(100).await, (message * 100 + 1..=message * 100 + 100).collect::<Vec<_>>());
        }
        assert_eq!(started.elapsed(), Duration::ZERO, "nobody waited for anything");
        let status = |id| crate::service::admin_views::status(&world.service.core, world.plugin(id));
        assert_eq!((status("deaf").event_lag, status("deaf").events_dropped), (2000, 2000 - 32 - 1024));
        assert_eq!((status("well").event_lag, status("well").events_dropped), (0, 0));
        assert_eq!(deaf.numbers(32).await, (1..=32).collect::<Vec<_>>());
        deaf.acknowledge(32).await;
        let message = deaf.stream.message().await.expect("it goes on").expect("it goes on");
        let gap = message.gap.expect("it missed some");
        assert_eq!((gap.from_seq, gap.to_seq, gap.count), (33, 976, 944));
        assert_eq!(gap.reason(), wire::GapReason::SlowSubscriber);
        assert_eq!(message.events[0].seq, 977);
        let told = deaf.talk.next().await.expect("it goes on");
        assert!(
            matches!(&told, Some(Heard::Control(Control::Notice(notice))) if notice.kind() == wire::NoticeKind::LimitNear),
            "{told:?}"
        );
    })
    .await;
}

/// Killed: what was not acknowledged comes again, marked, to the next generation, in order.
#[tokio::test(start_paused = true)]
async fn a_subscriber_that_is_killed_gets_again_what_it_had_in_its_hands() {
    within(async {
        let (world, mut reader, _directives) = reading(plugin("p", READER), 4).await;
        let events = |from: u64, to: u64| (from..=to).map(|n| event("r", n, "lifecycle", "{}")).collect();
        publish(&world, events(1, 6)).await.expect("it is taken in");
        assert_eq!(reader.numbers(4).await, [1, 2, 3, 4]);
        reader.acknowledge(2).await;
        assert_eq!(reader.numbers(2).await, [5, 6]);
        reader.launch.tree.die(ExitStatus::Signalled(9));
        world.until("p", |status| status.state != State::Ready).await;
        publish(&world, events(7, 8)).await.expect("nobody is waited for");
        let launch = world.launched().await;
        let mut next = Reader::open(launch, subscriptions(&[]), credits(32)).await;
        let delivered: Vec<_> = next.events(6).await.iter().map(|event| (event.seq, event.redelivered)).collect();
        assert_eq!(delivered, [(3, true), (4, true), (5, true), (6, true), (7, false), (8, false)]);
        assert_eq!(next.begins_after, 2);
    })
    .await;
}

/// A planned reload: exactly once, the earlier to the old, the later to the new, and Drain says where.
#[tokio::test(start_paused = true)]
async fn a_subscriber_that_is_reloaded_gets_each_event_once() {
    within(async {
        let (world, mut old, _directives) = reading(plugin("p", READER), 2).await;
        let events = |from: u64, to: u64| (from..=to).map(|n| event("r", n, "lifecycle", "{}")).collect();
        publish(&world, events(1, 3)).await.expect("it is taken in");
        assert_eq!(old.numbers(2).await, [1, 2]);
        world.plugin("p").request(Request::Reload { entry: None, drain: None }).await.expect("it is not refused");
        let launch = world.launched().await;
        let next = tokio::spawn(Reader::open(launch, subscriptions(&[]), credits(32)));
        world.until("p", |status| status.generation == Generation(2)).await;
        let drain = match old.talk.next().await.expect("it goes on") {
            Some(Heard::Control(Control::Drain(drain))) => drain,
            other => unreachable!("Drain was due: {other:?}"),
        };
        assert_eq!((drain.reason(), drain.last_event_seq), (wire::StopReason::Reload, 3));
        publish(&world, events(4, 5)).await.expect("it is taken in");
        settle().await;
        assert!(!next.is_finished(), "what the old one has in its hands comes first");
        old.acknowledge(2).await;
        assert_eq!(old.numbers(1).await, [3]);
        assert_eq!(old.stream.message().await.expect("it ends with OK"), None);
        old.acknowledge(3).await;
        let mut next = next.await.expect("no panic");
        assert_eq!(next.begins_after, 3);
        let delivered: Vec<_> = next.events(2).await.iter().map(|event| (event.seq, event.redelivered)).collect();
        assert_eq!(delivered, [(4, false), (5, false)]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_terminal_event_and_end_run_lead_to_the_same_end() {
    within(async {
        let (world, mut reader, _directives) = reading(plugin("p", READER), 8).await;
        let runs = Arc::clone(&world.service.runtime_api.runs);
        publish(&world, vec![event("r", 1, "lifecycle", "{}")]).await.expect("it is taken in");
        let run = runs.find("default", "r").expect("the event began it");
        let told = publish(&world, vec![end_of("r", 2), event("r", 3, "tool", "{}"), end_of("r", 4)]).await;
        let told = told.expect("it is looked at");
        assert_eq!((told.accepted, told.duplicate, told.rejected), (1, 1, 1), "{told:?}");
        assert!(run.ended.is_cancelled() && !run.gone.is_cancelled(), "it settles");
        assert_eq!(run.end(), Some(runtime::RunEnd::Completed));
        assert!(matches!(runs.begin("default", "r"), Err(NoRun::Ended)));
        assert!(runs.find("default", "r").is_some(), "plugins may still write for it");
        // It waits for the same settling.
        let waiting = async { end_run(&world, "r", runtime::RunEnd::Failed).await };
        let acknowledging = async {
            assert_eq!(reader.numbers(2).await, [1, 2]);
            settle().await;
            assert!(!run.gone.is_cancelled());
            reader.acknowledge(2).await;
        };
        let (settled, ()) = tokio::join!(waiting, acknowledging);
        assert!(settled.expect("it is answered"));
        assert!(run.gone.is_cancelled());
        assert_eq!(run.end(), Some(runtime::RunEnd::Completed), "what came first counts");
        assert_eq!((runs.find("default", "r").is_none(), runs.live("default")), (true, 0));
        // Again, and of a run nobody knows; then the other way round.
        for run in ["r", "unknown", "unknown"] {
            assert!(end_run(&world, run, runtime::RunEnd::Completed).await.expect("it is answered"), "{run}");
        }
        let told = publish(&world, vec![event("unknown", 1, "tool", "{}"), end_of("unknown", 2)]).await;
        assert_eq!(told.map(|told| counts(&told)).expect("it is looked at"), [2, 0, 1, 1]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn settling_ends_after_five_seconds() {
    within(async {
        let (world, _reader, _directives) = reading(plugin("p", READER), 8).await;
        publish(&world, vec![event("r", 1, "lifecycle", "{}")]).await.expect("it is taken in");
        let run = world.service.runtime_api.runs.find("default", "r").expect("the event began it");
        let started = tokio::time::Instant::now();
        assert!(!end_run(&world, "r", runtime::RunEnd::Cancelled).await.expect("it is answered"));
        assert_eq!(started.elapsed(), SETTLE);
        assert!(run.gone.is_cancelled());
        // One that is gone for good is not waited for.
        publish(&world, vec![event("s", 1, "lifecycle", "{}")]).await.expect("it is taken in");
        let stop = Request::Stop { how: crate::domain::lifecycle::StopHow::Kill };
        world.plugin("p").request(stop).await.expect("it is stopped");
        world.until_state("p", State::Stopped).await;
        let started = tokio::time::Instant::now();
        end_run(&world, "s", runtime::RunEnd::Completed).await.expect("it is answered");
        assert_eq!(started.elapsed(), Duration::ZERO);
        let status = end_run(&world, "", runtime::RunEnd::Completed).await.expect_err("a run has an id");
        assert_eq!(reason(&status), "FIELD_INVALID");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn runs_are_lost_with_their_runtime() {
    within(async {
        let world = World::with(vec![]).await;
        let runs = Arc::clone(&world.service.runtime_api.runs);
        let live = |ids: &[&str]| {
            let run = |id: &&str| types::RunRef { id: (*id).to_owned(), ..Default::default() };
            let of = |id| runtime::attach_request::LiveRun { run: Some(run(id)), ..Default::default() };
            ids.iter().map(of).collect::<Vec<_>>()
        };
        let lost = |directives: Vec<runtime::directive::Kind>| match directives.into_iter().next() {
            Some(runtime::directive::Kind::Welcome(welcome)) => welcome.lost_run_ids,
            other => unreachable!("Welcome comes first: {other:?}"),
        };
        let first = attach(&world, runtime::AttachRequest { live_runs: live(&["a", "b"]), ..attach_request() }).await;
        let names = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let (a, b) = (runs.find("default", "a").expect("it goes on"), runs.find("default", "b").expect("it goes on"));
        // The same incarnation again, naming one.
        let request = runtime::AttachRequest { live_runs: live(&["a"]), ..attach_request() };
        let mut second = attach(&world, request).await;
        drop(first);
        assert_eq!(lost(directives(&mut second).await), names(&[]));
        assert!(b.ended.is_cancelled() && b.gone.is_cancelled() && !a.ended.is_cancelled());
        assert_eq!(b.end(), Some(runtime::RunEnd::Lost));
        // All go on, whatever is named.
        let (d, all_runs_live) = (runs.begin("default", "d").expect("it begins"), true);
        let request = runtime::AttachRequest { live_runs: live(&["a"]), all_runs_live, ..attach_request() };
        let mut kept = attach(&world, request).await;
        drop(second);
        assert_eq!(lost(directives(&mut kept).await), names(&[]));
        assert!(!d.ended.is_cancelled() && !a.ended.is_cancelled());
        // Another incarnation: what it names that was lost stays lost.
        let live_runs = live(&["a", "c"]);
        let request = runtime::AttachRequest { incarnation: 2, live_runs, all_runs_live, ..attach_request() };
        let mut third = attach(&world, request).await;
        drop(kept);
        assert_eq!(lost(directives(&mut third).await), names(&["a"]));
        assert!(a.gone.is_cancelled() && d.gone.is_cancelled(), "those of another start do not");
        let c = runs.find("default", "c").expect("it goes on");
        // Gone for a moment, then for good.
        drop(third);
        tokio::time::sleep(29 * SECOND).await;
        let request = runtime::AttachRequest { incarnation: 2, live_runs: live(&["c"]), ..attach_request() };
        let fourth = attach(&world, request).await;
        settle().await;
        tokio::time::sleep(60 * SECOND).await;
        assert!(!c.ended.is_cancelled());
        drop(fourth);
        tokio::time::sleep(29 * SECOND).await;
        assert!(!c.ended.is_cancelled());
        tokio::time::sleep(2 * SECOND).await;
        assert!(c.gone.is_cancelled(), "it was gone for 30 s");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn runs_have_their_bounds() {
    within(async {
        let world = World::with(vec![]).await;
        let runs = Arc::clone(&world.service.runtime_api.runs);
        for number in 0..MAX_LIVE {
            assert!(runs.begin("default", &number.to_string()).is_ok());
        }
        assert!(matches!(runs.begin("default", "one more"), Err(NoRun::TooMany)));
        assert!(runs.begin("default", "0").is_ok() && runs.begin("another", "one more").is_ok());
        assert!(runs.end("default", "0", runtime::RunEnd::Completed).is_some());
        assert!(runs.begin("default", "one more").is_ok());
        for number in 0..MAX_ENDED - 1 {
            runs.end("default", &format!("x{number}"), runtime::RunEnd::Completed);
        }
        assert!(matches!(runs.begin("default", "0"), Err(NoRun::Ended)));
        runs.end("default", "y", runtime::RunEnd::Completed);
        assert!(matches!(runs.begin("default", "0"), Err(NoRun::TooMany)), "that it ended is forgotten");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_emitted_event_has_its_plugins_name_and_reaches_subscribers_and_the_runtime() {
    within(async {
        let spec = PluginSpec { name: "The Planner".to_owned(), ..plugin("p", READER) };
        let world = World::with(vec![spec]).await;
        let launch = world.launched().await;
        let request = runtime::AttachRequest { want_emitted_events: true, ..attach_request() };
        let mut attached = attach(&world, request).await;
        directives(&mut attached).await;
        let mut reader = Reader::open(launch, subscriptions(&[]), credits(0)).await;
        let mut first = event("r", 1, "lifecycle", "{}");
        first.session_key = "k".to_owned();
        publish(&world, vec![first]).await.expect("it is taken in");
        let run = reader.events(1).await.remove(0).run_handle;
        let forged = r#"{"a":1,"pluginId":"q","pluginName":"Q"}"#;
        let emitted = emit(&reader.talk, emission(&run, "p.plan", forged)).await;
        assert_eq!(emitted, Ok(2));
        assert_eq!(emit(&reader.talk, emission(&run, "p", "[1]")).await, Ok(3));
        let events: Vec<_> = reader.events(2).await.into_iter().filter_map(|event| event.event).collect();
        assert_eq!(events[0].data_json, r#"{"a":1,"pluginId":"p","pluginName":"The Planner"}"#);
        assert_eq!(events[1].data_json, r#"{"value":[1],"pluginId":"p","pluginName":"The Planner"}"#);
        let facts = |event: &types::AgentEvent| {
            (event.plugin_id.clone(), event.run_id.clone(), event.session_key.clone(), event.seq, event.terminal)
        };
        for event in &events {
            assert_eq!(facts(event), ("p".into(), "r".into(), "k".into(), 0, false));
            assert_eq!((event.provenance(), event.runtime_id.as_str()), (types::Provenance::Plugin, "default"));
        }
        let mut told = Vec::new();
        while told.len() < 2 {
            told.extend(directives(&mut attached).await.into_iter().filter_map(|kind| match kind {
                runtime::directive::Kind::EventEmitted(emitted) => emitted.event,
                _ => None,
            }));
        }
        assert_eq!(told, events, "and the runtime's own event does not come back");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_emitted_is_refused() {
    use RefusalReason as Why;
    within(async {
        let specs = vec![
            plugin("p", READER),
            plugin("q", &[Scope::EventsRead]),
            with_quota("b", Tier::Bundled, &[Scope::EventsRead, Scope::EventsEmit, Scope::EventsHostStreams], None),
        ];
        let world = World::with(specs).await;
        let _directives = attach(&world, attach_request()).await;
        let mut readers = std::collections::BTreeMap::new();
        for _ in 0..3 {
            let launch = world.launched().await;
            let id = launch.plan.plugin.to_string();
            readers.insert(id, Reader::open(launch, subscriptions(&[]), credits(0)).await);
        }
        publish(&world, vec![event("r", 1, "lifecycle", "{}")]).await.expect("it is taken in");
        let mut handles = std::collections::BTreeMap::new();
        for (id, reader) in &mut readers {
            handles.insert(id.clone(), reader.events(1).await.remove(0).run_handle);
        }
        let refused = async |id: &str, request: wire::EmitEventRequest| {
            emit(&readers[id].talk, request).await.expect_err("it is refused")
        };
        let of = |id: &str, stream: &str, data: &str| emission(&handles[id], stream, data);
        assert_eq!(refused("q", of("q", "q", "{}")).await, Why::NotGranted);
        for foreign in ["lifecycle", "q", "q.x", "pp", "anything"] {
            assert_eq!(refused("p", of("p", foreign, "{}")).await, Why::StreamNotAllowed, "{foreign}");
        }
        for wrong in ["", " p", "p.\n", &format!("p.{}", "x".repeat(127))] {
            assert_eq!(refused("p", of("p", wrong, "{}")).await, Why::FieldInvalid, "{wrong:?}");
        }
        // One that may emit on the host's streams may not on a plugin's, nor end a run.
        assert_eq!(emit(&readers["b"].talk, of("b", "item", "{}")).await, Ok(2));
        assert_eq!(refused("b", of("b", "q.x", "{}")).await, Why::StreamNotAllowed);
        for phase in ["end", "error"] {
            let data = format!(r#"{{"phase":"{phase}"}}"#);
            assert_eq!(refused("b", of("b", "lifecycle", &data)).await, Why::StreamNotAllowed, "{phase}");
        }
        assert_eq!(refused("b", of("b", "lifecycle", r#"{"phase":"start"}"#)).await, Why::FieldInvalid);
        for bad in ["", "{", r#"{"a":1,"a":1}"#, &"[".repeat(40), &format!("\"{}\"", "x".repeat(70_000))] {
            assert_eq!(refused("p", of("p", "p", bad)).await, Why::JsonInvalid, "{:.20}", bad);
        }
        // A handle is the capability of one plugin.
        assert_eq!(refused("p", of("b", "p", "{}")).await, Why::HandleInvalid);
        assert_eq!(refused("p", emission("", "p", "{}")).await, Why::FieldInvalid);
        let provenance = types::Provenance::Owner as i32;
        let owner = wire::EmitEventRequest { provenance, ..of("p", "p", "{}") };
        assert_eq!(refused("p", owner).await, Why::FieldInvalid);
        end_run(&world, "r", runtime::RunEnd::Completed).await.expect("it ends");
        assert_eq!(refused("p", of("p", "p", "{}")).await, Why::RunEnded);
        assert_eq!(world.service.runtime_api.bus.last_seq(), 2, "nothing of it was published");
    })
    .await;
}

/// X7: plugin floods events: bounded, others unaffected, visible.
#[tokio::test(start_paused = true)]
async fn x07_emission_has_its_rate_also_over_restarts() {
    within(async {
        let world = World::with(vec![with_quota("p", Tier::Community, READER, Some(30))]).await;
        let launch = world.launched().await;
        let _directives = attach(&world, attach_request()).await;
        let mut reader = Reader::open(launch, subscriptions(&["lifecycle"]), credits(0)).await;
        publish(&world, vec![event("r", 1, "lifecycle", "{}")]).await.expect("it is taken in");
        let run = reader.events(1).await.remove(0).run_handle;
        let request = || emission(&run, "p", "{}");
        for _ in 0..30 {
            assert!(emit(&reader.talk, request()).await.is_ok());
        }
        let refused = Err(RefusalReason::QuotaExceeded);
        assert_eq!(emit(&reader.talk, request()).await, refused);
        tokio::time::advance(2 * SECOND).await;
        assert!(emit(&reader.talk, request()).await.is_ok());
        assert_eq!(emit(&reader.talk, request()).await, refused);
        let status = crate::service::admin_views::status(&world.service.core, world.plugin("p"));
        assert_eq!(status.events_refused, 2);
        reader.launch.tree.die(ExitStatus::Exited(1));
        let launch = world.launched().await;
        let mut reader = Reader::open(launch, subscriptions(&["lifecycle"]), credits(0)).await;
        publish(&world, vec![event("r", 2, "lifecycle", "{}")]).await.expect("it is taken in");
        let run = reader.events(1).await.remove(0).run_handle;
        assert_eq!(emit(&reader.talk, emission(&run, "p", "{}")).await, refused);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_emission_with_a_key_is_made_once() {
    within(async {
        let (world, mut reader, _directives) = reading(plugin("p", READER), 0).await;
        publish(&world, vec![event("r", 1, "lifecycle", "{}")]).await.expect("it is taken in");
        let run = reader.events(1).await.remove(0).run_handle;
        let keyed =
            |data: &str| wire::EmitEventRequest { idempotency_key: "key".to_owned(), ..emission(&run, "p", data) };
        assert_eq!(emit(&reader.talk, keyed("1")).await, Ok(2));
        assert_eq!(emit(&reader.talk, keyed("1")).await, Ok(2));
        assert_eq!(emit(&reader.talk, keyed("2")).await, Err(RefusalReason::IdempotencyMismatch));
        assert_eq!(world.service.runtime_api.bus.last_seq(), 2);
    })
    .await;
}

/// X4: an event of an old generation is refused, and so is one of a generation that does not serve yet.
#[tokio::test(start_paused = true)]
async fn x04_only_the_serving_generation_emits() {
    within(async {
        let (world, mut old, _directives) = reading(plugin("p", READER), 0).await;
        publish(&world, vec![event("r", 1, "lifecycle", "{}")]).await.expect("it is taken in");
        let run = old.events(1).await.remove(0).run_handle;
        assert_eq!(emit(&old.talk, emission(&run, "p", "{}")).await, Ok(2));
        world.plugin("p").request(Request::Reload { entry: None, drain: None }).await.expect("it is not refused");
        let launch = world.launched().await;
        let mut new = Reader::open(launch, subscriptions(&[]), credits(0)).await;
        world.until("p", |status| status.generation == Generation(2)).await;
        assert_eq!(emit(&old.talk, emission(&run, "p", "{}")).await, Err(RefusalReason::GenerationStale));
        assert_eq!(emit(&new.talk, emission(&run, "p", "{}")).await, Err(RefusalReason::HandleInvalid));
        publish(&world, vec![event("r", 2, "lifecycle", "{}")]).await.expect("it is taken in");
        let run = new.events(1).await.remove(0).run_handle;
        assert_eq!(emit(&new.talk, emission(&run, "p", "{}")).await, Ok(4));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_runtime_is_told_which_streams_are_wanted() {
    within(async {
        let world = World::with(vec![plugin("p", READER)]).await;
        let launch = world.launched().await;
        let mut attached = attach(&world, attach_request()).await;
        let contributions = async |attached: &mut Streaming<runtime::AttachResponse>| loop {
            let kinds = directives(attached).await;
            let found = kinds.into_iter().find_map(|kind| match kind {
                runtime::directive::Kind::Contributions(contributions) => Some(contributions),
                _ => None,
            });
            if let Some(found) = found {
                return found;
            }
        };
        let first = contributions(&mut attached).await;
        assert_eq!((first.all_streams, first.event_streams), (false, Vec::new()));
        let reader = Reader::open(launch, subscriptions(&["usage", "lifecycle"]), credits(0)).await;
        let second = contributions(&mut attached).await;
        let streams = vec!["lifecycle".to_owned(), "usage".to_owned()];
        assert_eq!((second.all_streams, second.event_streams), (false, streams.clone()));
        assert!(second.contribution_epoch > first.contribution_epoch, "the epoch rises with every change");
        assert_eq!(second.catalogue_epoch, first.catalogue_epoch, "no answer of a List call changed");
        // Somebody who watches wants all, and wants them no more.
        let watch = admin::WatchEventsRequest::default();
        let watching = world.admin().await.watch_events(watch).await.expect("it may");
        let all = contributions(&mut attached).await;
        assert!(all.all_streams && all.contribution_epoch > second.contribution_epoch, "{all:?}");
        drop(watching);
        let again = contributions(&mut attached).await;
        assert_eq!((again.all_streams, again.event_streams), (false, streams));
        assert!(again.contribution_epoch > all.contribution_epoch);
        // A plugin that is stopped wants nothing.
        let stop = admin::StopPluginRequest { plugin_id: "p".to_owned(), ..Default::default() };
        let mut operator = world.admin().await;
        let stopping = tokio::spawn(async move { operator.stop_plugin(stop).await });
        let none = contributions(&mut attached).await;
        assert_eq!((none.all_streams, none.event_streams), (false, Vec::new()));
        assert!(none.contribution_epoch > again.contribution_epoch);
        assert_eq!(world.dispatcher().epoch(), none.contribution_epoch, "replies repeat it");
        drop(reader);
        stopping.abort();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_watches_what_is_published() {
    within(async {
        let world = World::with(vec![]).await;
        let _directives = attach(&world, attach_request()).await;
        publish(&world, vec![event("r", 1, "tool", "{}")]).await.expect("it is taken in");
        let watch = async |request: admin::WatchEventsRequest| {
            world.admin().await.watch_events(request).await.expect("it may").into_inner()
        };
        let mut all = watch(admin::WatchEventsRequest::default()).await;
        let only = admin::WatchEventsRequest {
            streams: vec!["usage".to_owned()],
            run_id: "s".to_owned(),
            ..Default::default()
        };
        let mut some = watch(only).await;
        let events = vec![event("r", 2, "assistant", r#"{"text":"x"}"#), event("s", 1, "usage", "{}")];
        publish(&world, events).await.expect("it is taken in");
        let mut seen = Vec::new();
        while seen.len() < 2 {
            let message = all.message().await.expect("it goes on").expect("it goes on");
            seen.extend(message.events.iter().map(|event| (event.run_id.clone(), event.stream.clone())));
        }
        assert_eq!(seen, [("r".into(), "assistant".into()), ("s".into(), "usage".into())]);
        let message = some.message().await.expect("it goes on").expect("it goes on");
        assert_eq!((message.events.len(), message.last_event_seq, message.dropped), (1, 3, 0));
        // One that does not read loses the oldest, and is told how many when it reads again.
        let mut slow = watch(admin::WatchEventsRequest::default()).await;
        for message in 0..40 {
            let data = format!("\"{}\"", "x".repeat(1000));
            let events = (0..500).map(|n| event("t", message * 500 + n + 1, "tool", &data)).collect();
            publish(&world, events).await.expect("nobody waits for it");
        }
        let (mut count, mut dropped) = (0, 0);
        while count + dropped < 20_000 {
            let message = slow.message().await.expect("it goes on").expect("it goes on");
            count += message.events.len() as u64;
            dropped += message.dropped;
        }
        assert!(dropped > 10_000, "the ring has 4 MiB: {dropped}");
        assert_eq!(count + dropped, 20_000);
    })
    .await;
}

/// The stream of a connection that only opened it is told apart from its Session.
#[tokio::test(start_paused = true)]
async fn a_number_that_was_not_sent_ends_the_session() {
    within(async {
        let (world, mut reader, _directives) = reading(plugin("p", READER), 8).await;
        publish(&world, vec![event("r", 1, "lifecycle", "{}")]).await.expect("it is taken in");
        assert_eq!(reader.numbers(1).await, [1]);
        reader.acknowledge(1).await;
        reader.acknowledge(1).await;
        reader.acknowledge(2).await;
        let status = reader.talk.end().await.expect_err("it is a violation");
        assert_eq!(reason(&status), ErrorReason::ProtocolViolation.as_str_name().trim_start_matches("ERROR_REASON_"));
    })
    .await;
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Trace context goes from the runtime to plugins with hooks, tools and events: only where the operator wants it.
#[tokio::test(start_paused = true)]
async fn traces_go_on_only_where_the_operator_wants_it() {
    within(async {
        use crate::domain::spec::{Claim, Entry};
        for wanted in [false, true] {
            let mut spec = plugin("p", &[READER, &[Scope::ToolsServe, Scope::HooksTools]].concat());
            spec.claims.names = [Claim::Tool("count".to_owned())].into();
            let settings =
                crate::domain::settings::Settings { trace_context: wanted, ..crate::service::testing::settings() };
            let world = World::new(settings, vec![Entry::Sound(Box::new(spec))]).await;
            let launch = world.launched().await;
            let _directives = attach(&world, attach_request()).await;
            let tool = types::ToolSpec {
                name: "count".to_owned(),
                description: "Counts.".to_owned(),
                input_schema_json: r#"{"type":"object"}"#.into(),
                ..Default::default()
            };
            let register = wire::Register {
                hooks: vec![wire::HookRegistration {
                    handler_id: "h".to_owned(),
                    hook: types::Hook::SessionStart as i32,
                    ..Default::default()
                }],
                tools: vec![wire::ToolRegistration { spec: Some(tool), ..Default::default() }],
                ..subscriptions(&[])
            };
            let mut reader = Reader::open(launch, register, credits(0)).await;
            let trace = |state: &str| types::TraceContext { traceparent: TRACE.into(), tracestate: state.into() };
            let expected = |state: &str| wanted.then(|| trace(state));
            let mut client = world.runtime().await;

            let invocation = runtime::HookInvocation {
                hook: types::Hook::SessionStart as i32,
                event_json: "{}".into(),
                trace: Some(trace("v=1")),
                ..Default::default()
            };
            let request = runtime::InvokeHookRequest { invocation: Some(invocation) };
            client.invoke_hook(request).await.expect("it is taken");
            assert_eq!(reader.talk.call().await.trace, expected("v=1"));

            let request = runtime::InvokeToolRequest {
                tool_name: "count".to_owned(),
                tool_call_id: "1".to_owned(),
                trace: Some(trace("v=1")),
                ..Default::default()
            };
            let _messages = client.invoke_tool(request).await.expect("nobody guards it");
            assert_eq!(reader.talk.call().await.trace, expected("v=1"));

            // What a vendor writes is not among what everybody may read of a meta stream.
            let traced = types::AgentEvent { trace: Some(trace("v=1")), ..event("r", 1, "usage", "{}") };
            let broken = types::TraceContext { traceparent: "nonsense".to_owned(), ..trace("v=1") };
            let wrong = types::AgentEvent { trace: Some(broken), ..event("r", 2, "usage", "{}") };
            publish(&world, vec![traced, wrong]).await.expect("it is taken in");
            let events = reader.events(2).await;
            let traces: Vec<_> = events.into_iter().map(|event| event.event.expect("each has one").trace).collect();
            assert_eq!(traces, [expected(""), None]);
        }
    })
    .await;
}

/// Architecture §14: so many idempotency keys of one plugin are remembered; further keyed calls are refused, and what has
/// no key, or a known one, goes on. With the run the keys go.
#[tokio::test(start_paused = true)]
async fn keyed_emissions_have_a_bound_of_ten_thousand() {
    within(async {
        const MOST: usize = 10_000;
        let (world, mut reader, _directives) = reading(plugin("p", READER), 0).await;
        publish(&world, vec![event("r", 1, "usage", "{}"), event("s", 1, "usage", "{}")]).await.expect("taken in");
        let handles: Vec<String> = reader.events(2).await.into_iter().map(|event| event.run_handle).collect();
        let keyed = |run: usize, key: &str| wire::EmitEventRequest {
            idempotency_key: key.to_owned(),
            ..emission(&handles[run], "p", "{}")
        };
        // All but one are there: spread over two runs, as the bound is the plugin's.
        let runs = &world.service.runtime_api.runs;
        let id = "p".parse().expect("an id");
        for number in 0..MOST - 1 {
            let run = runs.find("default", ["r", "s"][number % 2]).expect("it lives");
            runs.remember(&run, &id, number as u128, 0, 1);
        }
        let last = emit(&reader.talk, keyed(0, "last")).await.expect("the bound is not reached");
        assert_eq!(emit(&reader.talk, keyed(0, "over")).await, Err(RefusalReason::IdempotencyFull));
        assert_eq!(emit(&reader.talk, keyed(1, "over")).await, Err(RefusalReason::IdempotencyFull), "in any run");
        assert_eq!(emit(&reader.talk, keyed(0, "last")).await, Ok(last), "a known one is answered again");
        assert!(emit(&reader.talk, keyed(0, "")).await.is_ok(), "without a key");
        end_run(&world, "s", runtime::RunEnd::Lost).await.expect("it ends");
        assert!(emit(&reader.talk, keyed(0, "over")).await.is_ok(), "its keys went with the run");
    })
    .await;
}

/// Q28: events have a versioned schema, a sequence per run and a gap marker.
#[tokio::test(start_paused = true)]
async fn q28_events_have_a_version_a_sequence_for_each_run_and_a_gap_marker() {
    within(async {
        let (world, mut reader, _directives) = reading(plugin("p", READER), 8).await;
        let versioned = |run: &str, seq, version| types::AgentEvent {
            schema_version: version,
            ..event(run, seq, "lifecycle", r#"{"phase":"model"}"#)
        };
        let first = vec![versioned("r", 1, 3), versioned("s", 1, 0), versioned("r", 2, 4), versioned("s", 2, 1)];
        publish(&world, first).await.expect("it is taken in");
        let read = reader.events(4).await;
        let told: Vec<_> = read
            .iter()
            .map(|delivery| {
                let event = delivery.event.as_ref().expect("each has one");
                (delivery.seq, event.run_id.as_str(), event.seq, event.schema_version)
            })
            .collect();
        // One sequence over all, which rises, and one of each run; the version is its owner's, as it came.
        assert_eq!(told, [(1, "r", 1, 3), (2, "s", 1, 0), (3, "r", 2, 4), (4, "s", 2, 1)]);
        // What it does not read in time is marked, to the number: the oldest of those that wait give way.
        let many: Vec<_> = (3..=1050).map(|seq| versioned("r", seq, 4)).collect();
        for part in many.chunks(500) {
            publish(&world, part.to_vec()).await.expect("nobody waits for it");
        }
        let in_hand = reader.numbers(4).await;
        assert_eq!(in_hand, [5, 6, 7, 8]);
        reader.acknowledge(8).await;
        let message = reader.stream.message().await.expect("it goes on").expect("it goes on");
        let gap = message.gap.expect("it missed some");
        assert_eq!(gap.reason(), wire::GapReason::SlowSubscriber);
        assert_eq!(gap.from_seq, 9, "{gap:?}");
        assert_eq!(gap.count, gap.to_seq - gap.from_seq + 1, "every number in between was for it");
        let next = &message.events[0];
        let position = next.event.as_ref().map(|event| event.seq);
        assert_eq!((next.seq, position), (gap.to_seq + 1, Some(gap.to_seq - 1)), "{next:?}");
    })
    .await;
}
