//! Connections and the conversation on them: who is let in, what is refused, and how each breach ends.

use std::time::Duration;

use bytes::Bytes;
use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::plugin::v1::host_service_client::HostServiceClient;
use outrigger_proto::types::v1 as types;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::launch::Bench;
use crate::domain::failure::FailureCause;
use crate::domain::launch::ExitStatus;
use crate::domain::settings::Settings;
use crate::service::testing::{Raw, Talk, allow, hook, register, settings, settle, spec, within};

const SECOND: Duration = Duration::from_secs(1);

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

fn meta(status: &Status, key: &str) -> String {
    let details = status.get_error_details();
    details.error_info().and_then(|info| info.metadata.get(key).cloned()).unwrap_or_default()
}

async fn write_logs(channel: &Channel, secret: Option<&str>, records: usize) -> Result<u32, Status> {
    let record = wire::write_logs_request::Record { message: "hi".to_owned(), ..Default::default() };
    let mut request = Request::new(wire::WriteLogsRequest { records: vec![record; records] });
    if let Some(secret) = secret {
        request.metadata_mut().insert("outrigger-session", secret.parse().expect("it is ASCII"));
    }
    HostServiceClient::new(channel.clone()).write_logs(request).await.map(|response| response.into_inner().dropped)
}

async fn opened(bench: &Bench) -> Talk {
    let (channel, _) = bench.plugin.dial().await;
    Talk::open(channel).await.expect("a Session can be opened")
}

#[tokio::test(start_paused = true)]
async fn without_hello_the_connection_ends_after_5_s_and_says_so() {
    within(async {
        let bench = Bench::with(spec("p"), Settings { startup: 60 * SECOND, ..settings() });
        let started = Instant::now();
        let mut early = opened(&bench).await;
        let status = early.end().await.expect_err("nobody said hello");
        assert_eq!((status.code(), started.elapsed().as_secs()), (Code::DeadlineExceeded, 5), "{status:?}");
        // The time is the connection's, whenever the Session was opened.
        let (channel, _) = bench.plugin.dial().await;
        tokio::time::sleep(4 * SECOND).await;
        let mut late = Talk::open(channel.clone()).await.expect("it opens");
        let started = Instant::now();
        let status = late.end().await.expect_err("nobody said hello");
        assert_eq!((status.code(), started.elapsed().as_secs()), (Code::DeadlineExceeded, 1), "{status:?}");
        tokio::time::sleep(SECOND).await;
        assert!(Talk::open(channel).await.is_err(), "the connection is closed");
        // And the launch goes on.
        let (_talk, welcome) = bench.plugin.welcomed().await;
        assert_eq!(welcome.plugin_id, "p");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_token_is_good_once_and_not_for_ever() {
    within(async {
        let bench = Bench::new();
        let mut wrong = opened(&bench).await;
        let status = wrong.hello("Token").await.expect_err("it is wrong");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "TOKEN_INVALID"));
        let (mut talk, welcome) = bench.plugin.welcomed().await;
        assert_eq!((welcome.generation, welcome.protocol_version), (7, 1));
        assert_eq!(welcome.config_json.as_ref(), b"{}");
        let (channel, _) = bench.plugin.dial().await;
        let status = Talk::open(channel).await.err().expect("a Session is open");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "STATE_NOT_ALLOWED"));
        talk.register(register(vec![])).await.expect("it lives");

        let bench = Bench::new();
        tokio::time::sleep(10 * SECOND).await;
        let mut late = opened(&bench).await;
        let status = late.hello("token").await.expect_err("it has expired");
        assert_eq!(reason(&status), "TOKEN_INVALID");
        assert!(status.message().contains("expired"), "{status:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn two_that_race_for_the_session_are_told_apart() {
    within(async {
        let bench = Bench::new();
        let mut first = opened(&bench).await;
        let mut second = opened(&bench).await;
        first.hello("token").await.expect("it is the first");
        let status = second.hello("token").await.expect_err("it is the second");
        assert_eq!(reason(&status), "STATE_NOT_ALLOWED");
        first.register(register(vec![])).await.expect("the first is not disturbed");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_order_is_hello_register_once_each() {
    within(async {
        let mut bench = Bench::new();
        let mut early = opened(&bench).await;
        early.control(wire::session_request::Control::Register(register(vec![]))).await;
        let status = early.end().await.expect_err("hello comes first");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "PROTOCOL_VIOLATION"));
        assert_eq!(meta(&status, "rule"), "hello-first");

        // The launch goes on; after Welcome only Register may follow.
        let (mut talk, _) = bench.plugin.welcomed().await;
        talk.answer(1, allow()).await;
        let status = talk.end().await.expect_err("register comes second");
        assert_eq!(reason(&status), "PROTOCOL_VIOLATION");
        assert!(matches!(bench.ended().await.cause, FailureCause::ProtocolViolation(_)));
        bench.over().await;

        let again: [fn() -> wire::session_request::Control; 2] = [
            || wire::session_request::Control::Register(wire::Register::default()),
            || wire::session_request::Control::Hello(wire::Hello::default()),
        ];
        for control in again {
            let mut bench = Bench::new();
            let mut talk = bench.plugin.registered(register(vec![])).await;
            bench.registered().await;
            talk.control(control()).await;
            let status = talk.end().await.expect_err("once is enough");
            assert_eq!(reason(&status), "PROTOCOL_VIOLATION");
            assert!(matches!(bench.ended().await.cause, FailureCause::ProtocolViolation(_)));
            bench.over().await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_version_nobody_speaks_is_answered_with_both_ranges() {
    within(async {
        let mut bench = Bench::new();
        let mut talk = opened(&bench).await;
        let protocol = Some(types::ProtocolRange { min: 7, max: 9 });
        let status = talk
            .hello_with(wire::Hello { token: "token".to_owned(), protocol, ..Default::default() })
            .await
            .expect_err("there is no common version");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "PROTOCOL_UNSUPPORTED"));
        let told = ["peer_min", "peer_max", "supervisor_min", "supervisor_max"].map(|key| meta(&status, key));
        assert_eq!(told, ["7", "9", "1", "1"]);
        assert!(matches!(bench.ended().await.cause, FailureCause::ProtocolUnsupported(_)));
        bench.over().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_hello_says_has_bounds() {
    within(async {
        let hello = || wire::Hello {
            token: "token".to_owned(),
            protocol: Some(types::ProtocolRange { min: 1, max: 3 }),
            ..Default::default()
        };
        let wrong = [
            wire::Hello { protocol: None, ..hello() },
            wire::Hello { protocol: Some(types::ProtocolRange { min: 0, max: 1 }), ..hello() },
            wire::Hello { protocol: Some(types::ProtocolRange { min: 2, max: 1 }), ..hello() },
            wire::Hello { features: vec![String::new(); 65], ..hello() },
            wire::Hello { version: "2.0.0".to_owned(), ..hello() },
            wire::Hello { max_receive_bytes: 65_535, ..hello() },
            wire::Hello { max_receive_bytes: 4_194_305, ..hello() },
        ];
        for hello in wrong {
            let mut bench = Bench::new();
            let said = format!("{hello:?}");
            let status = opened(&bench).await.hello_with(hello).await.expect_err(&said);
            assert_eq!(
                (status.code(), reason(&status).as_str()),
                (Code::InvalidArgument, "PROTOCOL_VIOLATION"),
                "{said}"
            );
            assert!(matches!(bench.ended().await.cause, FailureCause::ProtocolViolation(_)), "{said}");
            bench.over().await;
        }
        let right = [
            wire::Hello { features: vec![String::new(); 64], sdk: "x".repeat(5000), ..hello() },
            wire::Hello { version: "1.0.0".to_owned(), max_receive_bytes: 65_536, ..hello() },
            wire::Hello { max_receive_bytes: 4_194_304, ..hello() },
        ];
        for hello in right {
            let bench = Bench::new();
            opened(&bench).await.hello_with(hello).await.expect("it is within the bounds");
            assert!(bench.state.peer().0.len() <= 128);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_second_connection_needs_the_secret_and_a_third_is_refused() {
    within(async {
        let bench = Bench::new();
        let (talk, welcome) = bench.plugin.welcomed().await;
        assert_eq!(write_logs(&talk.channel, None, 1).await.ok(), Some(0), "the Session's own needs none");
        for secret in [None, Some("wrong"), Some("")] {
            let (stranger, _) = bench.plugin.dial().await;
            let status = write_logs(&stranger, secret, 1).await.expect_err("it is a stranger");
            assert_eq!(
                (status.code(), reason(&status).as_str()),
                (Code::Unauthenticated, "SESSION_SECRET_INVALID"),
                "{secret:?}"
            );
            tokio::time::sleep(SECOND).await;
            assert!(write_logs(&stranger, Some(&welcome.session_secret), 1).await.is_err(), "it is closed");
        }
        let (second, _) = bench.plugin.dial().await;
        assert_eq!(write_logs(&second, Some(&welcome.session_secret), 1).await.ok(), Some(0));
        assert_eq!(write_logs(&second, None, 1).await.ok(), Some(0), "later calls need none");
        let (third, _) = bench.plugin.dial().await;
        let status = write_logs(&third, Some(&welcome.session_secret), 1).await.expect_err("two are enough");
        assert_eq!(reason(&status), "SESSION_SECRET_INVALID");
        // The place is free again when the second ends.
        drop(second);
        settle().await;
        tokio::time::sleep(SECOND).await;
        let (next, _) = bench.plugin.dial().await;
        assert_eq!(write_logs(&next, Some(&welcome.session_secret), 1).await.ok(), Some(0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn four_strangers_may_wait_and_a_fifth_may_not() {
    within(async {
        let bench = Bench::new();
        let mut strangers = Vec::new();
        for _ in 0..4 {
            strangers.push(opened(&bench).await);
        }
        let (fifth, _) = bench.plugin.dial().await;
        assert!(Talk::open(fifth).await.is_err(), "a fifth is refused");
        let mut one = strangers.pop().expect("there are four");
        one.hello("token").await.expect("the others do not keep it out");
        // One of the four is no stranger any more.
        settle().await;
        let (another, _) = bench.plugin.dial().await;
        let status = Talk::open(another).await.err().expect("a Session is open");
        assert_eq!(reason(&status), "STATE_NOT_ALLOWED");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_else_is_served_before_welcome_nor_after_the_end() {
    within(async {
        let mut bench = Bench::new();
        let early = opened(&bench).await;
        let status = write_logs(&early.channel, None, 1).await.expect_err("it is not welcome");
        assert_eq!(reason(&status), "SESSION_SECRET_INVALID");
        let (mut talk, welcome) = bench.plugin.welcomed().await;
        let (second, _) = bench.plugin.dial().await;
        assert_eq!(write_logs(&second, Some(&welcome.session_secret), 1).await.ok(), Some(0));
        bench.plugin.tree.immortal.store(true, std::sync::atomic::Ordering::Relaxed);
        talk.answer(1, allow()).await;
        assert!(talk.end().await.is_err());
        bench.ended().await;
        assert!(write_logs(&second, None, 1).await.is_err(), "every connection of the launch has ended");
        bench.plugin.tree.die(ExitStatus::Signalled(9));
        bench.over().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_refused_item_that_must_be_accepted_ends_the_launch() {
    within(async {
        let mut bench = Bench::new();
        let (mut talk, _) = bench.plugin.welcomed().await;
        let mut must = hook("strict", &["write"]);
        must.options = Some(wire::HandlerOptions { must_accept: true, ..Default::default() });
        must.hook = 999;
        let status = talk.register(register(vec![hook("fine", &[]), must])).await.expect_err("it is refused");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "REGISTRATION_REFUSED"));
        let told = ["kind", "id", "reason"].map(|key| meta(&status, key));
        assert_eq!(told, ["HOOK", "strict", "HOOK_UNKNOWN"]);
        assert!(matches!(bench.ended().await.cause, FailureCause::RegistrationRefused(_)));
        bench.over().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn more_items_than_anybody_has_a_use_for_are_refused_as_a_whole() {
    within(async {
        // So many that they have no verdicts, and so many that they are not even read.
        for (items, wanted) in [(60_000, "REGISTRATION_REFUSED"), (100_000, "PROTOCOL_VIOLATION")] {
            let mut bench = Bench::new();
            let (mut talk, _) = bench.plugin.welcomed().await;
            let subscriptions = vec![wire::SubscriptionRegistration::default(); items];
            let status =
                talk.register(wire::Register { subscriptions, ..Default::default() }).await.expect_err("it is refused");
            assert_eq!(reason(&status), wanted);
            bench.ended().await;
            bench.over().await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn each_breach_of_the_protocol_ends_the_session() {
    within(async {
        let results = |count| wire::SessionRequest {
            results: vec![wire::InvocationResult { invocation_id: 1, outcome: None }; count],
            ..Default::default()
        };
        let progress = |count| wire::SessionRequest {
            progress: vec![wire::InvocationProgress::default(); count],
            ..Default::default()
        };
        let pong = |ping_id| wire::SessionRequest {
            control: Some(wire::session_request::Control::Pong(wire::Pong { ping_id })),
            ..Default::default()
        };
        let breaches = [
            results(1),
            results(65),
            progress(65),
            pong(1),
            pong(u64::MAX),
            wire::SessionRequest { acknowledged_event_seq: 1, ..Default::default() },
        ];
        for breach in breaches {
            let mut bench = Bench::new();
            let mut talk = bench.plugin.registered(register(vec![])).await;
            bench.registered().await;
            talk.say(breach).await;
            let status = talk.end().await.expect_err("it broke the protocol");
            assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "PROTOCOL_VIOLATION"));
            assert!(matches!(bench.ended().await.cause, FailureCause::ProtocolViolation(_)));
            bench.over().await;
        }
        // At the bound nothing is broken.
        let mut bench = Bench::new();
        let talk = bench.plugin.registered(register(vec![])).await;
        let session = bench.registered().await;
        talk.say(progress(64)).await;
        talk.say(pong(0)).await;
        settle().await;
        assert!(session.is_accepting());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_message_are_told_from_a_lost_connection() {
    within(async {
        let too_long = {
            let mut bytes = vec![0x12]; // results… of a field that takes any bytes
            prost::encode_length_delimiter(1024 * 1024, &mut bytes).expect("there is room");
            bytes.resize(bytes.len() + 1024 * 1024, 0);
            bytes
        };
        for bytes in [vec![0xff; 16], too_long] {
            let mut bench = Bench::new();
            let (channel, _) = bench.plugin.dial().await;
            let status = raw_session(channel, "token", Bytes::from(bytes)).await.expect_err("it is no message");
            assert_eq!(reason(&status), "PROTOCOL_VIOLATION", "{status:?}");
            let ended = bench.ended().await;
            assert!(matches!(ended.cause, FailureCause::FrameInvalid(_)), "{:?}", ended.cause);
            bench.over().await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn host_calls_have_a_rate_and_log_lines_have_one() {
    within(async {
        let settings = Settings { host_calls_per_second: 10, log_lines_per_second: 50, ..settings() };
        let bench = Bench::with(spec("p"), settings);
        let (talk, _) = bench.plugin.welcomed().await;
        let mut dropped = 0;
        for call in 0..20 {
            dropped +=
                write_logs(&talk.channel, None, 10).await.unwrap_or_else(|status| unreachable!("{call}: {status}"));
        }
        let status = write_logs(&talk.channel, None, 1).await.expect_err("the burst is used up");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "PLUGIN_OVERLOADED"));
        assert!(status.get_error_details().retry_info().is_some());
        assert_eq!(dropped, 150, "of 200 lines in no time 50 are taken");
        assert_eq!(bench.state.logs.dropped(), 150);
        tokio::time::sleep(SECOND).await;
        assert_eq!(write_logs(&talk.channel, None, 50).await.ok(), Some(0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn of_one_call_at_most_256_records_are_taken() {
    within(async {
        let bench = Bench::new();
        let (talk, _) = bench.plugin.welcomed().await;
        assert_eq!(write_logs(&talk.channel, None, 256).await.ok(), Some(0));
        assert_eq!(write_logs(&talk.channel, None, 257).await.ok(), Some(1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_plugin_logs_is_cleaned() {
    within(async {
        let bench = Bench::new();
        let (talk, _) = bench.plugin.welcomed().await;
        let record = |message: &str, fields: &[u8]| wire::write_logs_request::Record {
            level: 99,
            message: message.to_owned(),
            fields_json: Bytes::copy_from_slice(fields),
            ..Default::default()
        };
        let over = format!(r#"{{"a":"{}"}}"#, "x".repeat(16_384));
        let records = vec![
            record("a\u{1b}[2J\u{202e}b", br#"{"a":1}"#),
            record("no object", b"[1]"),
            record("no json", b"{"),
            record("too long", over.as_bytes()),
            record(&"y".repeat(5000), b""),
        ];
        let mut client = HostServiceClient::new(talk.channel.clone());
        client.write_logs(wire::WriteLogsRequest { records }).await.expect("they are taken");
        let lines = bench.state.logs.read(0, 10).lines;
        let told: Vec<_> = lines.iter().map(|line| (line.text.as_str(), line.fields_json.as_str())).collect();
        assert_eq!(told[..4], [("a [2J b", r#"{"a":1}"#), ("no object", ""), ("no json", ""), ("too long", "")]);
        assert_eq!((lines[4].text.len(), lines[4].truncated), (4096, true));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_sessions_on_one_connection_has_a_bound() {
    within(async {
        let bench = Bench::new();
        let (channel, _) = bench.plugin.dial().await;
        let mut talks = Vec::new();
        for _ in 0..32 {
            talks.push(Talk::open(channel.clone()).await.expect("32 streams fit"));
        }
        let more = tokio::time::timeout(SECOND, Talk::open(channel)).await;
        assert!(more.is_err(), "the 33rd waits for a stream");
        let mut one = talks.pop().expect("there are 32");
        one.hello("token").await.expect("one of them is welcome");
    })
    .await;
}

/// Opens a Session, says hello properly, then sends bytes as they are; the status the stream ends with.
async fn raw_session(channel: Channel, token: &str, bytes: Bytes) -> Result<(), Status> {
    let protocol = Some(types::ProtocolRange { min: 1, max: 1 });
    let hello = wire::Hello { token: token.to_owned(), protocol, ..Default::default() };
    let control = Some(wire::session_request::Control::Hello(hello));
    let hello = prost::Message::encode_to_vec(&wire::SessionRequest { control, ..Default::default() });
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let path = http::uri::PathAndQuery::from_static("/outrigger.plugin.v1.PluginService/Session");
    // The stream stays open after what was sent, so that it ends for what was sent.
    let (sender, requests) = tokio::sync::mpsc::channel(4);
    for message in [Bytes::from(hello), bytes] {
        sender.send(message).await.expect("there is room");
    }
    let requests = Request::new(tokio_stream::wrappers::ReceiverStream::new(requests));
    let mut inbound = client.streaming(requests, path, Raw).await?.into_inner();
    while inbound.message().await?.is_some() {}
    Ok(())
}
