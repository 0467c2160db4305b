//! Every call of the host's service, through the SDK and over the real protocol.

use bytes::Bytes;
use outrigger_sdk::host::HostCall;
use outrigger_sdk::proto::plugin::v1 as plugin;
use outrigger_sdk::proto::plugin::v1::session_target::Target;
use outrigger_sdk::proto::plugin::v1::state_change::Change;
use outrigger_sdk::proto::plugin::v1::{SessionTarget, StateChange, invocation_result};
use outrigger_sdk::proto::types::v1::RefusalReason;
use outrigger_sdk::testkit::TestHost;
use outrigger_sdk::{Context, Decision, Host, HostError, Launch, Plugin, ToolCall};
use serde_json::json;
use tokio::sync::oneshot;

/// A running plugin, and the host as its background work sees it.
async fn start() -> (TestHost, Host) {
    let (give, given) = oneshot::channel();
    let plugin = Plugin::on_start(|launch: Launch| async move {
        let _ = give.send(launch.host().clone());
        Ok(())
    });
    let test = TestHost::start(plugin).await.expect("ready");
    (test, given.await.expect("the plugin has started"))
}

/// Answers by default, is refused when told so, and is recorded both times.
async fn check<R: HostCall + Default + Clone + Sync>(test: &TestHost, host: &Host) {
    host.call(R::default()).await.unwrap_or_else(|error| unreachable!("{}: {error}", R::NAME));
    test.refuse::<R>(RefusalReason::QuotaExceeded);
    let refusal = host.call(R::default()).await.err().and_then(|error| error.refusal());
    assert_eq!(refusal, Some(RefusalReason::QuotaExceeded), "{}", R::NAME);
    assert_eq!(test.requests::<R>().len(), 2, "{}", R::NAME);
}

#[tokio::test]
async fn every_call_has_an_answer_and_can_be_refused() {
    let (test, host) = start().await;
    macro_rules! check_all {
        ($($request:ident)*) => {
            $(check::<plugin::$request>(&test, &host).await;)*
            const CALLS: usize = [$(stringify!($request)),*].len();
        };
    }
    check_all! {
        GetSessionStateRequest PatchSessionStateRequest ListSessionsRequest EnqueueInjectionRequest
        ListInjectionsRequest WithdrawInjectionRequest RequestApprovalRequest WithdrawApprovalRequest
        GetRunContextRequest SetRunContextRequest ClearRunContextRequest EmitEventRequest ScheduleTurnRequest
        UnscheduleTurnsRequest ListScheduledTurnsRequest RequestLeaseRequest ClearLeaseRequest
        SendAttachmentsRequest GetAttachmentDeliveryRequest PutJobRequest DeleteJobRequest ListJobsRequest
    }
    host.call(plugin::WriteLogsRequest::default()).await.expect("logs are never refused");
    host.upload("a.bin", Bytes::new()).await.expect("an empty file is one");
    // The service has 24 calls: these, the logs and the upload.
    assert_eq!(CALLS + 2, 24);
    assert_eq!(test.host_calls().len(), 2 * CALLS + 2);
}

#[tokio::test]
async fn what_is_written_is_read_back() {
    let (_test, host) = start().await;
    let session = || Some(SessionTarget { target: Some(Target::Handle("s1".into())) });
    let change = |value: &'static str, expected| StateChange {
        namespace: "plan".into(),
        change: Some(Change::ValueJson(value.into())),
        expected_version: expected,
        ..Default::default()
    };
    let patch =
        |change| plugin::PatchSessionStateRequest { session: session(), change: Some(change), ..Default::default() };
    use plugin::patch_session_state_response::Result::{Conflict, State};
    let first = host.call(patch(change("1", Some(0)))).await.expect("yes").result;
    assert!(matches!(first, Some(State(state)) if state.version == 1));
    let conflict = host.call(patch(change("2", Some(0)))).await.expect("an answer").result;
    assert!(matches!(conflict, Some(Conflict(state)) if state.value_json == "1"));
    let get = plugin::GetSessionStateRequest { session: session(), namespace: "plan".into(), ..Default::default() };
    let got = host.call(get).await.expect("yes").result;
    use plugin::get_session_state_response::Result::State as Got;
    assert!(matches!(got, Some(Got(state)) if state.value_json == "1" && state.version == 1));
}

#[tokio::test]
async fn a_call_names_the_invocation_it_is_made_for() {
    let plugin = Plugin::new().before_tool_call("guard", |_: ToolCall, cx: Context| async move {
        cx.host().call(plugin::ListJobsRequest::default()).await?;
        cx.host().call(plugin::ListJobsRequest { invocation_id: 99, ..Default::default() }).await?;
        cx.host().background().call(plugin::ListJobsRequest::default()).await?;
        cx.host().upload("a.txt", "hello".into()).await?;
        let raw = plugin::ListSessionsRequest { invocation_id: cx.invocation_id(), ..Default::default() };
        cx.host().raw().list_sessions(raw).await?;
        Ok(Decision::proceed())
    });
    let test = TestHost::start(plugin).await.expect("ready");
    test.call("guard").send().decision().await.expect("a first call");
    let second = test.call("guard").send();
    let id = second.id();
    assert_eq!(second.decision().await, Ok(Decision::proceed()));
    let named: Vec<_> = test.requests::<plugin::ListJobsRequest>().iter().map(|r| r.invocation_id).collect();
    assert_eq!(named, [1, 99, 0, id, 99, 0]);
    assert_eq!(test.requests::<plugin::ListSessionsRequest>()[1].invocation_id, id);
    assert_eq!(test.uploads()[1].invocation_id, id);
}

#[tokio::test]
async fn a_refusal_in_a_handler_is_its_failure() {
    let plugin = Plugin::new().before_tool_call("guard", |_: ToolCall, cx: Context| async move {
        cx.host().call(plugin::PutJobRequest::default()).await?;
        Ok(Decision::proceed())
    });
    let test = TestHost::start(plugin).await.expect("ready");
    test.refuse::<plugin::PutJobRequest>(RefusalReason::NotGranted);
    let outcome = test.call("guard").send().outcome().await.expect("an answer");
    let invocation_result::Outcome::Failed(failed) = outcome else { unreachable!("{outcome:?}") };
    assert!(failed.message.contains("NOT_GRANTED"), "{}", failed.message);
}

#[tokio::test]
async fn a_test_can_give_its_own_answer() {
    let (test, host) = start().await;
    test.answer::<plugin::ListJobsRequest>(|request| {
        let job = plugin::Job { job_id: request.page_token.clone(), ..Default::default() };
        plugin::ListJobsResponse { jobs: vec![job], ..Default::default() }
    });
    let request = plugin::ListJobsRequest { page_token: "p".into(), ..Default::default() };
    assert_eq!(host.call(request).await.expect("yes").jobs[0].job_id, "p");
}

#[tokio::test]
async fn a_long_file_travels_in_chunks() {
    let (test, host) = start().await;
    let content: Bytes = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let id = host.upload("long.bin", content.clone()).await.expect("staged");
    assert_eq!(id, "upload-1");
    assert_eq!(test.uploads()[0].content, content);
    test.refuse_uploads(RefusalReason::FileRefused);
    let refused = host.upload("x", Bytes::new()).await;
    assert!(matches!(refused, Err(HostError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn more_calls_than_the_host_takes_wait_here() {
    let (test, host) = start().await;
    let calls: Vec<_> = (0..100)
        .map(|number: u32| {
            let host = host.clone();
            let request = plugin::ListJobsRequest { page_token: json!(number).to_string(), ..Default::default() };
            tokio::spawn(async move { host.call(request).await })
        })
        .collect();
    for call in calls {
        call.await.expect("no panic").expect("yes");
    }
    assert_eq!(test.requests::<plugin::ListJobsRequest>().len(), 100);
}
