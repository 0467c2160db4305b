//! What operators ask: each call, and what each says when it cannot do it.

use std::time::Duration;

use outrigger_proto::admin::v1 as wire;
use outrigger_proto::types::v1::{self as types, PluginState as State};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::domain::launch::ExitStatus;
use crate::domain::rights::{Grant, Rights, Scope, Tier};
use crate::domain::spec::{Entry, ReloadMode};
use crate::service::testing::{
    FakeLaunch, World, allow, block, broken, failed, guard, hook, of_another_kind, register, settings, settle, spec,
    within,
};

const SECOND: Duration = Duration::from_secs(1);

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

fn meta(status: &Status, key: &str) -> String {
    let details = status.get_error_details();
    details.error_info().and_then(|info| info.metadata.get(key).cloned()).unwrap_or_default()
}

fn p() -> String {
    "p".to_owned()
}

async fn serving() -> (World, FakeLaunch) {
    let world = World::with(vec![spec("p")]).await;
    let launch = world.launched().await;
    launch.serves(|_| Some(allow())).await;
    world.until_state("p", State::Ready).await;
    (world, launch)
}

fn stop() -> wire::StopPluginRequest {
    wire::StopPluginRequest { plugin_id: p(), confirm_unguarded: true, ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_nobody_knows_is_told_by_every_call() {
    within(async {
        let world = World::with(vec![spec("p")]).await;
        let mut client = world.admin().await;
        for (id, code, expected) in [
            ("q", Code::NotFound, "PLUGIN_UNKNOWN"),
            ("Q!", Code::InvalidArgument, "FIELD_INVALID"),
            ("", Code::InvalidArgument, "FIELD_INVALID"),
        ] {
            let plugin_id = id.to_owned();
            let failures = [
                client.get_plugin(wire::GetPluginRequest { plugin_id: plugin_id.clone() }).await.err(),
                client
                    .start_plugin(wire::StartPluginRequest { plugin_id: plugin_id.clone(), reset: false })
                    .await
                    .err(),
                client
                    .stop_plugin(wire::StopPluginRequest { plugin_id: plugin_id.clone(), ..Default::default() })
                    .await
                    .err(),
                client.restart_plugin(wire::RestartPluginRequest { plugin_id: plugin_id.clone() }).await.err(),
                client
                    .reload_plugin(wire::ReloadPluginRequest { plugin_id: plugin_id.clone(), ..Default::default() })
                    .await
                    .err(),
                client.explain_plugin(wire::ExplainPluginRequest { plugin_id: plugin_id.clone() }).await.err(),
                client
                    .invoke_plugin_hook(wire::InvokePluginHookRequest {
                        plugin_id: plugin_id.clone(),
                        ..Default::default()
                    })
                    .await
                    .err(),
                client
                    .watch_plugins(wire::WatchPluginsRequest {
                        plugin_ids: vec![plugin_id.clone()],
                        ..Default::default()
                    })
                    .await
                    .err(),
            ];
            for (index, status) in failures.into_iter().enumerate() {
                let status = status.expect("it is unknown");
                assert_eq!((status.code(), reason(&status).as_str()), (code, expected), "{id:?}, call {index}");
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn stopping_asks_where_guards_hold() {
    within(async {
        let (world, launch) = serving().await;
        let mut client = world.admin().await;
        let status = client
            .stop_plugin(wire::StopPluginRequest { plugin_id: p(), ..Default::default() })
            .await
            .expect_err("it guards");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "GUARDS_HOLD"));
        assert_eq!((meta(&status, "guards"), meta(&status, "plugin_id")), ("before_tool_call".to_owned(), p()));
        let dry = client
            .stop_plugin(wire::StopPluginRequest { plugin_id: p(), dry_run: true, ..Default::default() })
            .await
            .expect("it says")
            .into_inner();
        assert_eq!((dry.unguarded.len(), dry.report), (1, None));
        assert!(!launch.tree.dead.is_cancelled(), "nothing was done");
        let wrong = wire::StopPluginRequest {
            drain_timeout: Some(prost_types::Duration { seconds: 3601, nanos: 0 }),
            ..stop()
        };
        assert_eq!(reason(&client.stop_plugin(wrong).await.expect_err("too long")), "FIELD_INVALID");
        let done = client.stop_plugin(stop()).await.expect("it is stopped").into_inner();
        assert_eq!(done.unguarded.len(), 1);
        let report = done.report.expect("it ran");
        assert_eq!((report.step(), report.exit_status), (wire::StopStep::Shutdown, Some(0)));
        assert_eq!(done.plugin.expect("it is there").state(), State::Stopped);
        // Again: there was no process, and no guard to ask for.
        let again = client
            .stop_plugin(wire::StopPluginRequest { plugin_id: p(), ..Default::default() })
            .await
            .expect("it is stopped")
            .into_inner();
        assert_eq!(again.report.expect("it says").step(), wire::StopStep::Unspecified);
        assert!(again.unguarded.is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn start_waits_for_ready_or_tells_the_failure() {
    within(async {
        let (world, _launch) = serving().await;
        let mut client = world.admin().await;
        client
            .start_plugin(wire::StartPluginRequest { plugin_id: p(), reset: false })
            .await
            .expect("it serves already");
        client.stop_plugin(stop()).await.expect("it is stopped");
        let mut starter = client.clone();
        let started = tokio::spawn(async move {
            starter.start_plugin(wire::StartPluginRequest { plugin_id: p(), reset: false }).await
        });
        let launch = world.launched().await;
        settle().await;
        assert!(!started.is_finished());
        launch.tree.die(ExitStatus::Exited(3));
        let status = started.await.expect("no panic").expect_err("it failed");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "PLUGIN_ABSENT"));
        assert_eq!(
            (meta(&status, "exit"), meta(&status, "phase")),
            ("exited with status 3".to_owned(), "hello".to_owned())
        );
        assert!(status.get_error_details().retry_info().is_some(), "it is tried again");
        let mut starter = client.clone();
        let started = tokio::spawn(async move {
            starter.start_plugin(wire::StartPluginRequest { plugin_id: p(), reset: false }).await
        });
        world.launched().await.serves(|_| Some(allow())).await;
        let plugin = started.await.expect("no panic").expect("it serves").into_inner().plugin.expect("it is there");
        assert_eq!(plugin.state(), State::Ready);
    })
    .await;
}

/// A control that another one overtakes must not wait for what will not come.
#[tokio::test(start_paused = true)]
async fn a_start_that_is_stopped_says_so() {
    within(async {
        let (world, _launch) = serving().await;
        let mut client = world.admin().await;
        client.stop_plugin(stop()).await.expect("it is stopped");
        let mut starter = client.clone();
        let request = wire::StartPluginRequest { plugin_id: p(), reset: false };
        let started = tokio::spawn(async move { starter.start_plugin(request).await });
        world.launched().await;
        client.stop_plugin(stop()).await.expect("it is stopped");
        let answered = tokio::time::timeout(60 * SECOND, started).await.expect("it is answered").expect("no panic");
        assert_eq!(reason(&answered.expect_err("it does not serve")), "STATE_NOT_ALLOWED");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_is_overtaken_by_a_start_says_so() {
    within(async {
        let world = World::with(vec![spec("p")]).await;
        let launch = world.launched().await;
        let _talk = launch.registered(register(vec![hook("h", &[])])).await;
        world.until_state("p", State::Ready).await;
        let mut client = world.admin().await;
        let mut stopper = client.clone();
        let stopped = tokio::spawn(async move { stopper.stop_plugin(stop()).await });
        world.until_state("p", State::Draining).await;
        let started = tokio::spawn(async move {
            client.start_plugin(wire::StartPluginRequest { plugin_id: p(), reset: false }).await
        });
        world.launched().await.serves(|_| Some(allow())).await;
        started.await.expect("no panic").expect("it serves");
        let answered = tokio::time::timeout(60 * SECOND, stopped).await.expect("it is answered").expect("no panic");
        assert_eq!(reason(&answered.expect_err("it was started again")), "STATE_NOT_ALLOWED");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn quarantine_is_left_by_reset_alone() {
    within(async {
        let world = World::with(vec![spec("p")]).await;
        world.launched().await.tree.die(ExitStatus::Exited(78));
        world.until_state("p", State::Quarantined).await;
        let mut client = world.admin().await;
        let status = client
            .start_plugin(wire::StartPluginRequest { plugin_id: p(), reset: false })
            .await
            .expect_err("it is quarantined");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "STATE_NOT_ALLOWED"));
        assert_eq!(meta(&status, "state"), "quarantined");
        let explained = client
            .explain_plugin(wire::ExplainPluginRequest { plugin_id: p() })
            .await
            .expect("it is explained")
            .into_inner();
        assert!(explained.summary.contains("quarantined"), "{}", explained.summary);
        assert_eq!(explained.failures[0].cause(), wire::FailureCause::FinalExit);
        assert_eq!(
            (explained.failures[0].exit_status, explained.failures[0].phase()),
            (Some(78), wire::LaunchPhase::Hello)
        );
        let started =
            tokio::spawn(
                async move { client.start_plugin(wire::StartPluginRequest { plugin_id: p(), reset: true }).await },
            );
        world.launched().await.serves(|_| Some(allow())).await;
        started.await.expect("no panic").expect("it serves");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn restart_and_reload_answer_when_the_new_one_serves() {
    within(async {
        let (world, _launch) = serving().await;
        let mut client = world.admin().await;
        let mut other = client.clone();
        let restarted =
            tokio::spawn(async move { other.restart_plugin(wire::RestartPluginRequest { plugin_id: p() }).await });
        world.launched().await.serves(|_| Some(allow())).await;
        let answer = restarted.await.expect("no panic").expect("it serves").into_inner();
        assert_eq!(answer.plugin.expect("it is there").generation, 2);
        assert_eq!(answer.report.expect("it ran").step(), wire::StopStep::Shutdown);

        let mut other = client.clone();
        let reloaded = tokio::spawn(async move {
            other.reload_plugin(wire::ReloadPluginRequest { plugin_id: p(), drain_timeout: None }).await
        });
        world.launched().await.serves(|_| Some(allow())).await;
        let answer = reloaded.await.expect("no panic").expect("it serves").into_inner();
        assert_eq!((answer.previous_generation, answer.plugin.expect("it is there").generation), (2, 3));

        let mut other = client.clone();
        let reloaded = tokio::spawn(async move {
            other.reload_plugin(wire::ReloadPluginRequest { plugin_id: p(), drain_timeout: None }).await
        });
        world.launched().await.serves(|_| Some(of_another_kind())).await;
        let status = reloaded.await.expect("no panic").expect_err("the canary failed");
        assert_eq!(reason(&status), "PLUGIN_ABSENT");
        assert!(status.message().contains("canary"), "{status:?}");
        assert_eq!(world.until_state("p", State::Ready).await.generation.0, 3);

        // Files that are wrong change nothing.
        world.write(Entry::Broken(broken("p")));
        let status = client
            .reload_plugin(wire::ReloadPluginRequest { plugin_id: p(), drain_timeout: None })
            .await
            .expect_err("they are wrong");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "CONFIG_INVALID"));
        let status =
            client.restart_plugin(wire::RestartPluginRequest { plugin_id: p() }).await.expect_err("they are wrong");
        assert_eq!(reason(&status), "CONFIG_INVALID");
        assert_eq!(world.until_state("p", State::Ready).await.generation.0, 3);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn reload_after_the_old_one_answers_too() {
    within(async {
        let mut first = spec("p");
        first.reload = ReloadMode::StopFirst;
        let world = World::with(vec![first]).await;
        world.launched().await.serves(|_| Some(allow())).await;
        world.until_state("p", State::Ready).await;
        let mut client = world.admin().await;
        let reloaded = tokio::spawn(async move {
            client.reload_plugin(wire::ReloadPluginRequest { plugin_id: p(), drain_timeout: None }).await
        });
        world.launched().await.serves(|_| Some(allow())).await;
        assert_eq!(reloaded.await.expect("no panic").expect("it serves").into_inner().previous_generation, 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn lists_and_details_show_what_is() {
    within(async {
        let world = World::new(settings(), vec![Entry::Sound(Box::new(spec("b"))), Entry::Broken(broken("a"))]).await;
        world.launched().await.serves(|_| Some(allow())).await;
        world.until_state("b", State::Ready).await;
        world.until_state("a", State::Quarantined).await;
        let mut client = world.admin().await;
        let all = client.list_plugins(wire::ListPluginsRequest::default()).await.expect("a list").into_inner();
        let ids: Vec<_> = all.plugins.iter().map(|plugin| (plugin.plugin_id.as_str(), plugin.state())).collect();
        assert_eq!(ids, [("a", State::Quarantined), ("b", State::Ready)]);
        assert!(all.plugins[0].manifest_unreadable && all.plugins[0].guards == 3);
        let first = client
            .list_plugins(wire::ListPluginsRequest { page_size: 1, ..Default::default() })
            .await
            .expect("a page")
            .into_inner();
        assert_eq!((first.plugins.len(), first.next_page_token.as_str()), (1, "a"));
        let page_token = first.next_page_token;
        let rest = client
            .list_plugins(wire::ListPluginsRequest { page_size: 1, page_token, ..Default::default() })
            .await
            .expect("a page")
            .into_inner();
        assert_eq!((rest.plugins[0].plugin_id.as_str(), rest.next_page_token.as_str()), ("b", ""));
        let states = vec![State::Ready as i32];
        let ready = client
            .list_plugins(wire::ListPluginsRequest { states, ..Default::default() })
            .await
            .expect("a list")
            .into_inner();
        assert_eq!(ready.plugins.len(), 1);

        let full = client
            .get_plugin(wire::GetPluginRequest { plugin_id: "b".to_owned() })
            .await
            .expect("it is there")
            .into_inner();
        assert_eq!((full.items.len(), full.items[0].accepted, full.protocol_version), (1, true, 1));
        assert_eq!(full.guards[0].state(), wire::GuardState::Served);
        assert_eq!(full.sdk, "test");
        let supervisor = client.get_supervisor(wire::GetSupervisorRequest {}).await.expect("it is there").into_inner();
        assert_eq!(supervisor.plugins.iter().map(|count| count.count).sum::<u32>(), 2);
        let hooks = client.list_hooks(wire::ListHooksRequest::default()).await.expect("a list").into_inner().handlers;
        let rows: Vec<_> = hooks.iter().map(|row| (row.plugin_id.as_str(), row.guard())).collect();
        assert!(
            rows.contains(&("a", wire::GuardState::Denying)) && rows.contains(&("b", wire::GuardState::Served)),
            "{rows:?}"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn hooks_list_guards_that_are_declared_and_not_granted() {
    within(async {
        let mut bare = spec("bare");
        bare.rights = Rights::new(Tier::Community, [].into(), &[].into(), [].into());
        let world = World::with(vec![spec("p"), bare]).await;
        let mut client = world.admin().await;
        let ask = |plugin_id: &str| wire::ListHooksRequest { hook: 0, plugin_id: plugin_id.to_owned() };
        let all = client.list_hooks(ask("")).await.expect("a list").into_inner().handlers;
        let rows: Vec<_> = all.iter().map(|row| (row.plugin_id.as_str(), row.guard())).collect();
        assert_eq!(rows, [("p", wire::GuardState::Denying), ("bare", wire::GuardState::NotGranted)]);
        assert_eq!(all[1].hook(), types::Hook::BeforeToolCall);
        let of_one = client.list_hooks(ask("p")).await.expect("a list").into_inner().handlers;
        assert_eq!(of_one.len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn watching_sends_everybody_then_what_changes() {
    within(async {
        let world = World::with(vec![spec("p"), spec("q")]).await;
        let (first, _second) = (world.launched().await, world.launched().await);
        let mut client = world.admin().await;
        let short = wire::WatchPluginsRequest {
            resource_interval: Some(prost_types::Duration { seconds: 0, nanos: 499_000_000 }),
            ..Default::default()
        };
        assert_eq!(reason(&client.watch_plugins(short).await.expect_err("too short")), "FIELD_INVALID");
        let mut watching =
            client.watch_plugins(wire::WatchPluginsRequest::default()).await.expect("it opens").into_inner();
        let next = async |watching: &mut tonic::Streaming<wire::WatchPluginsResponse>| {
            watching.message().await.expect("it lives").expect("it lives").plugins
        };
        assert_eq!(next(&mut watching).await.len(), 2);
        let talk = first.registered(register(vec![hook("h", &[])])).await;
        let changed = next(&mut watching).await;
        assert_eq!(
            (changed.len(), changed[0].plugin_id.as_str(), changed[0].state()),
            (1, first.plan.plugin.as_str(), State::Ready)
        );
        drop(talk);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn logs_are_tailed_followed_and_counted() {
    within(async {
        let (world, launch) = serving().await;
        let mut client = world.admin().await;
        for line in 0..300 {
            launch.tree.print_error(&format!("line {line}\n")).await;
        }
        settle().await;
        let mut read = async |request: wire::TailLogsRequest| {
            let mut stream = client.tail_logs(request).await.expect("it opens").into_inner();
            let (mut lines, mut dropped) = (Vec::new(), 0);
            while let Some(message) = stream.message().await.expect("it lives") {
                lines.extend(message.lines.into_iter().map(|line| line.text));
                dropped += message.dropped;
            }
            (lines, dropped)
        };
        let (lines, _) = read(wire::TailLogsRequest { plugin_id: p(), ..Default::default() }).await;
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (100, Some("line 299")));
        let (lines, _) = read(wire::TailLogsRequest { plugin_id: p(), lines: 3, ..Default::default() }).await;
        assert_eq!(lines, ["line 297", "line 298", "line 299"]);
        let (lines, dropped) = read(wire::TailLogsRequest { lines: 10_000, ..Default::default() }).await;
        assert!(lines.len() >= 300, "{}", lines.len());
        assert_eq!(dropped, 0);
        let (lines, _) =
            read(wire::TailLogsRequest { plugin_id: p(), lines: 10, generation: 99, ..Default::default() }).await;
        assert!(lines.is_empty());

        let mut following = client
            .tail_logs(wire::TailLogsRequest { plugin_id: p(), lines: 1, follow: true, ..Default::default() })
            .await
            .expect("it opens")
            .into_inner();
        let first = following.message().await.expect("it lives").expect("it lives");
        assert_eq!(first.lines[0].text, "line 299");
        launch.tree.print_error("new\n").await;
        let next = following.message().await.expect("it lives").expect("it lives");
        assert_eq!((next.lines[0].text.as_str(), next.dropped), ("new", 0));
        // More lines than the rate allows are told as a count.
        world.plugin("p").view.logs.add_dropped(7);
        launch.tree.print_error("after\n").await;
        let next = following.message().await.expect("it lives").expect("it lives");
        assert_eq!((next.lines[0].text.as_str(), next.dropped), ("after", 7));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn invoking_a_hook_tells_what_is_wrong_and_how_it_fared() {
    within(async {
        use types::HandlerOutcome as Fared;
        let world = World::with(vec![spec("p")]).await;
        let mut client = world.admin().await;
        let request = || wire::InvokePluginHookRequest {
            plugin_id: p(),
            hook: types::Hook::BeforeToolCall as i32,
            event_json: r#"{"params":{}}"#.into(),
            ..Default::default()
        };
        let status = client.invoke_plugin_hook(request()).await.expect_err("it is starting");
        let told = (status.code(), reason(&status), meta(&status, "state"));
        assert_eq!(told, (Code::Unavailable, "PLUGIN_ABSENT".to_owned(), "starting".to_owned()));
        assert!(status.get_error_details().retry_info().is_some());
        let launch = world.launched().await;
        let mut answers = vec![Some(allow()), Some(block("no")), Some(failed("kaput")), None, None];
        let called = launch.serves(move |_| answers.remove(0)).await;
        world.until_state("p", State::Ready).await;
        let wrong = [
            (wire::InvokePluginHookRequest { hook: 0, ..request() }, Code::InvalidArgument, "FIELD_INVALID"),
            (
                wire::InvokePluginHookRequest { event_json: "[]".into(), ..request() },
                Code::InvalidArgument,
                "JSON_INVALID",
            ),
            (
                wire::InvokePluginHookRequest { event_json: "".into(), ..request() },
                Code::InvalidArgument,
                "JSON_INVALID",
            ),
            (
                wire::InvokePluginHookRequest { context_json: "1".into(), ..request() },
                Code::InvalidArgument,
                "JSON_INVALID",
            ),
            (
                wire::InvokePluginHookRequest { handler_id: "x".to_owned(), ..request() },
                Code::NotFound,
                "HANDLER_UNKNOWN",
            ),
        ];
        for (request, code, expected) in wrong {
            let status = client.invoke_plugin_hook(request).await.expect_err(expected);
            assert_eq!((status.code(), reason(&status).as_str()), (code, expected));
        }
        assert!(called.calls().is_empty());
        let mut fared = Vec::new();
        for _ in 0..4 {
            let answer = client.invoke_plugin_hook(request()).await.expect("it is told").into_inner();
            fared.push((answer.report.unwrap_or_default().outcome(), answer.result.is_some()));
        }
        assert_eq!(fared, [(Fared::Allow, false), (Fared::Deny, true), (Fared::Error, false), (Fared::Timeout, false)]);
        let mut other = client.clone();
        let pending = tokio::spawn(async move { other.invoke_plugin_hook(request()).await });
        settle().await;
        assert_eq!(called.calls().len(), 5);
        launch.tree.die(ExitStatus::Signalled(11));
        let answer = pending.await.expect("no panic").expect("it is told").into_inner();
        assert_eq!(answer.report.unwrap_or_default().outcome(), Fared::Error);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn checking_guards_tries_those_that_serve_and_names_the_rest() {
    within(async {
        let mut narrow = spec("narrow");
        narrow.guards = vec![guard(&["exec"])];
        let world = World::with(vec![spec("away"), narrow]).await;
        let launches = [world.launched().await, world.launched().await];
        let launch = launches.iter().find(|launch| launch.plan.plugin.as_str() == "narrow").expect("both begin");
        let talk = launch.registered(register(vec![hook("h", &["exec"])])).await;
        let called = talk.serve(&launch.tree, |_| Some(allow()));
        world.until_state("narrow", State::Ready).await;
        let answer = world
            .admin()
            .await
            .check_guards(wire::CheckGuardsRequest::default())
            .await
            .expect("it is told")
            .into_inner();
        let reports: Vec<_> =
            answer.reports.iter().map(|report| (report.plugin_id.as_str(), report.outcome())).collect();
        assert_eq!(reports, [("away", types::HandlerOutcome::Absent), ("narrow", types::HandlerOutcome::Allow)]);
        let states: Vec<_> = answer.guards.iter().map(wire::GuardStatus::state).collect();
        assert_eq!(states, [wire::GuardState::Denying, wire::GuardState::Served]);
        assert!(called.calls()[0].canary);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn rights_are_listed_with_their_origin_and_page_by_page() {
    within(async {
        let mut rich = spec("rich");
        let requested = [Scope::HooksTools, Scope::Schedule, Scope::Inject, Scope::Lease].into();
        let sixteen = Grant { quotas: [("pending-turns".to_owned(), 16)].into(), ..Grant::default() };
        let granted = [(Scope::Schedule, sixteen)].into();
        rich.rights = Rights::new(Tier::Community, requested, &granted, [Scope::Inject].into());
        let unreadable = Entry::Broken(broken("unreadable"));
        let entries = vec![Entry::Sound(Box::new(rich)), unreadable, Entry::Sound(Box::new(spec("poor")))];
        let world = World::new(settings(), entries).await;
        let mut client = world.admin().await;
        let ask = |plugin_id: &str, page_size, page_token| wire::ListGrantsRequest {
            plugin_id: plugin_id.to_owned(),
            page_size,
            page_token,
        };
        let scopes = Scope::all().count();
        let whole = client.list_grants(ask("", 1000, String::new())).await.expect("a list").into_inner();
        assert_eq!((whole.entries.len(), whole.next_page_token.as_str()), (2 * scopes, ""));
        let mut paged = Vec::new();
        let mut token = String::new();
        loop {
            let page = client.list_grants(ask("", 7, token)).await.expect("a page").into_inner();
            assert!(page.entries.len() <= 7 && paged.len() < 100);
            paged.extend(page.entries);
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(paged, whole.entries);
        let rich = client.list_grants(ask("rich", 0, String::new())).await.expect("a list").into_inner().entries;
        let right = |name: &str| {
            let of = |right: &wire::Right| right.grant.as_ref().is_some_and(|grant| grant.scope == name);
            rich.iter().filter_map(|entry| entry.right.clone()).find(of).expect("it is listed")
        };
        let flags = |name: &str| {
            let right = right(name);
            [right.tier_default, right.granted, right.tier_allows, right.requested, right.effective]
        };
        assert_eq!(flags("hooks.tools"), [true, false, true, true, true]);
        assert_eq!(flags("schedule"), [false, true, true, true, true]);
        assert_eq!(flags("inject"), [true, false, true, true, false], "denied");
        assert_eq!(flags("lease"), [false, false, true, true, false]);
        assert_eq!(flags("events.host-streams"), [false, false, false, false, false]);
        let quotas: Vec<_> =
            right("schedule").grant.expect("it is there").quotas.into_iter().map(|q| q.limit).collect();
        assert_eq!(quotas, [16, 60_000, 30 * 24 * 3600 * 1000]);
        let unreadable = client.list_grants(ask("unreadable", 0, String::new())).await.expect("a list").into_inner();
        assert!(unreadable.entries.is_empty());
        let status = client.list_grants(ask("nobody", 0, String::new())).await.expect_err("it is unknown");
        assert_eq!(reason(&status), "PLUGIN_UNKNOWN");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn keys_are_made_listed_and_removed() {
    within(async {
        let world = World::with(vec![]).await;
        let mut client = world.admin().await;
        let add = |id: &str| wire::AddRuntimeKeyRequest { runtime_id: id.to_owned(), group: String::new() };
        assert!(client.add_runtime_key(add("two")).await.expect("it is made").into_inner().created);
        assert!(!client.add_runtime_key(add("two")).await.expect("it is there").into_inner().created);
        let status = client.add_runtime_key(add("a/b")).await.expect_err("it is no id");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
        let keys = client.list_runtime_keys(wire::ListRuntimeKeysRequest {}).await.expect("a list").into_inner().keys;
        let ids: Vec<_> = keys.iter().map(|key| key.runtime_id.as_str()).collect();
        assert_eq!(ids, ["default", "two"]);
        let remove = |id: &str| wire::RemoveRuntimeKeyRequest { runtime_id: id.to_owned() };
        assert!(client.remove_runtime_key(remove("two")).await.expect("it is gone").into_inner().removed);
        assert!(!client.remove_runtime_key(remove("two")).await.expect("it is gone").into_inner().removed);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn asking_it_to_stop_is_passed_on() {
    within(async {
        let world = World::with(vec![]).await;
        world.admin().await.stop_supervisor(wire::StopSupervisorRequest::default()).await.expect("it is asked");
        world.service.stop_asked().await;
    })
    .await;
}
