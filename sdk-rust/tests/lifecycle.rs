//! From hello to the end, in this process.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outrigger_sdk::proto::plugin::v1::{FailureReason, FatalReason, Notice, StopReason, VerdictReason};
use outrigger_sdk::proto::types::v1::{ErrorReason, ScopeGrant, Tier};
use outrigger_sdk::testkit::{CallError, LIMIT, TestHost};
use outrigger_sdk::{ConfigError, Context, Decision, Error, HandlerError, Launch, Plugin, StartError, ToolCall};
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

async fn decline(_: ToolCall, _: Context) -> Result<Decision, HandlerError> {
    Ok(Decision::declined())
}

fn plugin() -> Plugin {
    Plugin::new().before_tool_call("guard", decline).tools(["exec"]).build()
}

/// The error that ended a start.
async fn refused<S: Send + Sync + 'static>(builder: outrigger_sdk::testkit::Builder, plugin: Plugin<S>) -> Error {
    builder.start(plugin).await.err().expect("the plugin does not start")
}

#[tokio::test]
async fn every_option_of_an_item_is_registered() {
    let plugin = Plugin::new()
        .max_in_flight(8)
        .before_tool_call("first", decline)
        .tools(["exec", "write"])
        .priority(-3)
        .timeout(Duration::from_millis(1_500))
        .max_concurrency(4)
        .side_effect_free()
        .must_accept()
        .with_states(["plan"])
        .description("looks at commands")
        .before_tool_call("second", decline);
    let host = TestHost::start(plugin).await.expect("ready");
    let register = host.registered();
    assert_eq!((register.max_in_flight, register.hooks.len()), (8, 2));
    let first = &register.hooks[0];
    assert_eq!((first.handler_id.as_str(), first.priority), ("first", -3));
    assert_eq!(first.tool_names, ["exec", "write"]);
    assert_eq!(first.description, "looks at commands");
    assert!(first.side_effect_free);
    let options = first.options.as_ref().expect("options");
    assert!(options.must_accept);
    assert_eq!(options.max_concurrency, 4);
    assert_eq!(options.state_namespaces, ["plan"]);
    assert_eq!(options.timeout.map(|t| (t.seconds, t.nanos)), Some((1, 500_000_000)));
    let second = &register.hooks[1];
    assert!(second.tool_names.is_empty() && !second.side_effect_free);
    assert_eq!(host.call("second").send().decision().await, Ok(Decision::Declined));
}

#[tokio::test]
async fn the_start_sees_what_the_supervisor_said() {
    let plugin = Plugin::on_start(|launch: Launch| async move {
        assert_eq!(launch.plugin_id(), "gate");
        assert_eq!(launch.generation(), 7);
        assert_eq!(launch.tier(), Tier::Community);
        assert_eq!(launch.secret("api_key"), Some("s3cret"));
        assert_eq!(launch.secret("other"), None);
        assert!(launch.has_right("state") && !launch.has_right("schedule"));
        assert_eq!(launch.data_dir(), Path::new("/data"));
        assert_eq!(launch.package_dir(), Path::new("/package"));
        assert!(launch.registered().is_none());
        assert_eq!(launch.limits().max_stream_message_bytes, 1_048_576);
        assert!(!format!("{launch:?}").contains("s3cret"));
        Ok(())
    })
    .before_tool_call("guard", |_, cx: Context| async move {
        assert_eq!(cx.registered().map(|registered| registered.verdicts.len()), Some(1));
        assert!(cx.has_right("schedule") && !cx.has_right("state"));
        Ok(Decision::proceed())
    });
    let builder = TestHost::builder().plugin_id("gate").generation(7).secret("api_key", "s3cret").grant("state");
    let host = builder.data_dir("/data").package_dir("/package").start(plugin).await.expect("ready");
    host.change_grants(vec![ScopeGrant { scope: "schedule".into(), ..Default::default() }]);
    host.notice(Notice { message: "hear this".into(), ..Default::default() });
    assert_eq!(host.before_tool_call("exec", json!({})).await, Ok(Decision::proceed()));
}

#[tokio::test]
async fn a_wrong_configuration_is_told_to_the_supervisor() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[serde(default)]
        limit: u32,
    }
    let plugin = || {
        Plugin::on_start(|launch: Launch| async move {
            let config: Config = launch.config()?;
            if config.limit == 0 {
                Err(ConfigError::at("limit", "is zero"))?;
            }
            Ok(config)
        })
    };
    let zero = refused(TestHost::builder(), plugin()).await;
    assert!(matches!(&zero, Error::Start(error) if error.reason() == FatalReason::ConfigInvalid), "{zero:?}");
    assert!(format!("{zero:?}").contains("`limit`: is zero"), "{zero:?}");
    let unknown = refused(TestHost::builder().config(json!({"limits": 1})), plugin()).await;
    assert!(matches!(&unknown, Error::Start(error) if error.reason() == FatalReason::ConfigInvalid), "{unknown:?}");
    assert!(format!("{unknown:?}").contains("unknown field `limits`"), "{unknown:?}");
    TestHost::builder().config(json!({"limit": 1})).start(plugin()).await.expect("ready");
}

#[tokio::test]
async fn a_start_fails_by_class() {
    let missing = Plugin::<()>::on_start(|_| async { Err(StartError::dependency_missing("no database")) });
    let error = refused(TestHost::builder(), missing).await;
    assert!(matches!(&error, Error::Start(error) if error.reason() == FatalReason::DependencyMissing), "{error:?}");

    #[expect(clippy::panic, reason = "what a plugin's author may write")]
    let panics = Plugin::<()>::on_start(|_| async { panic!("a defect") });
    let error = refused(TestHost::builder(), panics).await;
    assert!(matches!(&error, Error::Start(error) if error.reason() == FatalReason::Internal), "{error:?}");
    assert!(format!("{error:?}").contains("a defect"), "{error:?}");
}

#[tokio::test]
async fn a_start_that_hangs_ends_with_the_startup_deadline() {
    let hangs = Plugin::<()>::on_start(|_| std::future::pending());
    let builder = TestHost::builder().welcome(|welcome| {
        welcome.startup_timeout = Some(Duration::from_millis(30).try_into().expect("short"));
    });
    let error = refused(builder, hangs).await;
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn a_supervisor_of_another_protocol_is_named() {
    let error = refused(TestHost::builder().protocol(2, 3), plugin()).await;
    assert!(matches!(error, Error::ProtocolUnsupported { .. }), "{error:?}");
    assert!(format!("{error:?}").contains("2 to 3"), "{error:?}");
    TestHost::builder().protocol(1, 9).start(plugin()).await.expect("version 1 is common");
}

#[tokio::test]
async fn a_refused_item_costs_the_launch_only_if_it_must_be_accepted() {
    let builder = || TestHost::builder().refuse_item("guard", VerdictReason::GuardNotDeclared);
    let host = builder().start(plugin()).await.expect("the plugin works without it");
    drop(host);
    let must = Plugin::new().before_tool_call("guard", decline).must_accept().build();
    let error = refused(builder(), must).await;
    assert!(matches!(error, Error::Refused { reason: ErrorReason::RegistrationRefused, .. }), "{error:?}");
}

#[tokio::test]
async fn tools_can_come_from_the_configuration() {
    async fn block(_: ToolCall, _: Context<Vec<String>>) -> Result<Decision, HandlerError> {
        Ok(Decision::block("forbidden"))
    }
    let plugin = || {
        Plugin::on_start(|launch: Launch| async move { Ok(launch.config::<Vec<String>>()?) })
            .before_tool_call("always", block)
            .tools(["exec"])
            .before_tool_call("configured", block)
            .tools_from(|tools: &Vec<String>| tools.clone())
    };
    let host = TestHost::builder().config(json!(["browser"])).start(plugin()).await.expect("ready");
    assert_eq!(host.registered().hooks[1].tool_names, ["browser"]);
    assert_eq!(host.before_tool_call("browser", json!({})).await, Ok(Decision::block("forbidden")));
    let host = TestHost::builder().config(json!([])).start(plugin()).await.expect("ready");
    assert_eq!(host.registered().hooks.len(), 1);
    assert_eq!(host.before_tool_call("browser", json!({})).await, Err(CallError::NoHandler));
}

/// A plugin that holds its calls until it is told, and notes its shutdown.
fn holding(open: Arc<Notify>, arrived: mpsc::UnboundedSender<()>, closed: Arc<AtomicBool>) -> Plugin {
    Plugin::new()
        .on_shutdown(move |_| async move { closed.store(true, Ordering::SeqCst) })
        .before_tool_call("guard", move |_, _| {
            let (open, arrived) = (open.clone(), arrived.clone());
            async move {
                arrived.send(()).expect("the test listens");
                open.notified().await;
                Ok(Decision::block("done"))
            }
        })
        .build()
}

#[tokio::test]
async fn a_drain_lets_calls_finish_and_shutdown_runs_the_plugins_own() {
    let (open, closed) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let (arrive, mut arrived) = mpsc::unbounded_channel();
    let host = TestHost::start(holding(open.clone(), arrive, closed.clone())).await.expect("ready");
    let pending = host.call("guard").send();
    timeout(LIMIT, arrived.recv()).await.expect("in time").expect("a call");
    host.drain(StopReason::Stop);
    host.ping().await;
    assert!(!pending.is_answered(), "a drain ends no call");
    open.notify_one();
    assert_eq!(pending.decision().await, Ok(Decision::block("done")));
    assert!(!closed.load(Ordering::SeqCst));
    host.shutdown().await.expect("in order");
    assert!(closed.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_shutdown_cancels_what_still_runs() {
    let (open, closed) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let (arrive, mut arrived) = mpsc::unbounded_channel();
    let host = TestHost::start(holding(open, arrive, closed.clone())).await.expect("ready");
    let pending = host.call("guard").send();
    timeout(LIMIT, arrived.recv()).await.expect("in time").expect("a call");
    host.shutdown().await.expect("in order");
    assert_eq!(pending.decision().await, Ok(Decision::Declined));
    assert!(closed.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_stubborn_handler_and_a_stubborn_shutdown_do_not_keep_the_plugin() {
    let (arrive, mut arrived) = mpsc::unbounded_channel();
    let plugin = Plugin::new()
        .on_shutdown(|_| std::future::pending())
        .before_tool_call("guard", move |_, _| {
            arrive.send(()).expect("the test listens");
            std::future::pending()
        })
        .keep_running_on_cancel();
    let host = TestHost::start(plugin).await.expect("ready");
    let pending = host.call("guard").send();
    timeout(LIMIT, arrived.recv()).await.expect("in time").expect("a call");
    host.shutdown_within(Duration::from_millis(200)).await.expect("in order");
    assert_eq!(pending.decision().await, Err(CallError::SessionEnded));
}

#[tokio::test]
async fn calls_that_come_while_it_shuts_down_are_refused() {
    let (begin, mut began) = mpsc::unbounded_channel();
    let open = Arc::new(Notify::new());
    let held = open.clone();
    let plugin = Plugin::new()
        .on_shutdown(move |_| async move {
            begin.send(()).expect("the test listens");
            held.notified().await;
        })
        .before_tool_call("guard", decline);
    let host = TestHost::start(plugin).await.expect("ready");
    let late = host.call("guard");
    let ending = tokio::spawn(host.shutdown());
    timeout(LIMIT, began.recv()).await.expect("in time").expect("it shuts down");
    let refused = late.send().decision().await;
    assert!(matches!(refused, Err(CallError::Failed { reason: FailureReason::Overloaded, .. })), "{refused:?}");
    open.notify_one();
    ending.await.expect("no panic").expect("in order");
}

#[tokio::test]
async fn background_work_runs_while_the_plugin_is_ready() {
    struct Told(mpsc::UnboundedSender<&'static str>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send("ended");
        }
    }
    let (tell, mut hears) = mpsc::unbounded_channel();
    let plugin = plugin().on_ready(move |launch| async move {
        let told = Told(tell);
        assert!(launch.registered().is_some());
        told.0.send("ready").expect("the test listens");
        std::future::pending::<()>().await;
    });
    let host = TestHost::start(plugin).await.expect("ready");
    assert_eq!(timeout(LIMIT, hears.recv()).await.expect("in time"), Some("ready"));
    host.shutdown().await.expect("in order");
    assert_eq!(hears.recv().await, Some("ended"));
}

#[tokio::test]
async fn a_session_that_ends_unasked_is_an_error() {
    let mut host = TestHost::start(plugin()).await.expect("ready");
    host.end_session(None);
    let error = host.ended().await.expect_err("nobody asked");
    assert!(matches!(error, Error::SessionEnded(_)), "{error:?}");

    let mut host = TestHost::start(plugin()).await.expect("ready");
    host.end_session(Some(tonic::Status::unavailable("the supervisor stops")));
    let error = host.ended().await.expect_err("nobody asked");
    assert!(format!("{error:?}").contains("the supervisor stops"), "{error:?}");

    let mut host = TestHost::start(plugin()).await.expect("ready");
    host.vanish();
    let error = host.ended().await.expect_err("nobody asked");
    assert!(matches!(error, Error::SessionEnded(_)), "{error:?}");
}
