//! What plugins are told of items that come to nothing: hooks nobody calls, names that a runtime has for itself.

use outrigger_proto::admin::v1 as admin;
use outrigger_proto::plugin::v1 as plugin;
use outrigger_proto::runtime::v1 as wire;
use outrigger_proto::types::v1 as types;
use plugin::NoticeKind;
use tonic::Streaming;

use crate::service::testing::{Called, World, allow, hook, register, settle, spec, within};

/// Attaches as a runtime that calls these hooks; none: it does not tell.
pub(super) async fn attach(
    world: &World,
    incarnation: u64,
    served: &[types::Hook],
    tools: &[&str],
) -> Streaming<wire::AttachResponse> {
    let request = wire::AttachRequest {
        incarnation,
        protocol: Some(types::ProtocolRange { min: 1, max: 1 }),
        served_hooks: served.iter().map(|hook| *hook as i32).collect(),
        reserved_tool_names: tools.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    };
    world.runtime().await.attach(request).await.expect("it may attach").into_inner()
}

/// What a plugin was told of this kind: handlers, in order.
async fn told(called: &Called, kind: NoticeKind) -> Vec<String> {
    settle().await;
    let notices = called.controls().into_iter().filter_map(|control| match control {
        plugin::session_response::Control::Notice(notice) if notice.kind() == kind => Some(notice.handler_id),
        _ => None,
    });
    notices.collect()
}

fn observer(id: &str, hook: types::Hook) -> plugin::HookRegistration {
    plugin::HookRegistration { handler_id: id.to_owned(), hook: hook as i32, ..Default::default() }
}

async fn summary(world: &World) -> (u32, String) {
    let request = admin::ExplainPluginRequest { plugin_id: "p".to_owned() };
    let told = world.admin().await.explain_plugin(request).await.expect("it is known").into_inner();
    (told.plugin.expect("its status").uncalled_hooks, told.summary)
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_nobody_calls_is_told_once_each_time_it_begins() {
    within(async {
        let world = World::with(vec![spec("p")]).await;
        let launch = world.launched().await;
        let hooks = vec![hook("gate", &[]), observer("start", types::Hook::SessionStart)];
        let called = launch.registered(register(hooks)).await.serve(&launch.tree, |_| Some(allow()));
        world.until_state("p", types::PluginState::Ready).await;
        assert_eq!(told(&called, NoticeKind::HookNotCalled).await, Vec::<String>::new(), "nobody has said anything");
        assert_eq!(summary(&world).await.0, 0);

        let first = attach(&world, 1, &[types::Hook::BeforeToolCall], &[]).await;
        assert_eq!(told(&called, NoticeKind::HookNotCalled).await, ["start"]);
        let (count, words) = summary(&world).await;
        assert!(count == 1 && words.contains("No attached runtime calls session_start"), "{words}");

        // The same again says nothing new; neither does a change of another plugin's.
        let again = attach(&world, 1, &[types::Hook::BeforeToolCall], &[]).await;
        assert_eq!(told(&called, NoticeKind::HookNotCalled).await, ["start"]);
        // Another runtime calls everything: it is over, and begins again when that one is gone for good.
        drop(again);
        let all = attach(&world, 2, &[], &[]).await;
        assert_eq!(told(&called, NoticeKind::HookNotCalled).await, ["start"]);
        assert_eq!(summary(&world).await.0, 0);
        drop((first, all));
        let _last = attach(&world, 3, &[types::Hook::SessionStart], &[]).await;
        assert_eq!(told(&called, NoticeKind::HookNotCalled).await, ["start", "gate"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_new_generation_is_told_anew_and_a_burst_arrives_in_full() {
    within(async {
        let world = World::with(vec![spec("p")]).await;
        let _attached = attach(&world, 1, &[types::Hook::SessionEnd], &[]).await;
        for _ in 0..2 {
            let launch = world.launched().await;
            let ids: Vec<String> = (0..25).map(|number| format!("h{number:02}")).collect();
            let hooks = ids.iter().map(|id| observer(id, types::Hook::SessionStart)).collect();
            let called = launch.registered(register(hooks)).await.serve(&launch.tree, |_| Some(allow()));
            world.until_state("p", types::PluginState::Ready).await;
            // No more than ten a second, so it takes three.
            assert!(told(&called, NoticeKind::HookNotCalled).await.len() <= 10);
            while told(&called, NoticeKind::HookNotCalled).await.len() < ids.len() {
                tokio::time::advance(std::time::Duration::from_millis(100)).await;
            }
            tokio::time::advance(std::time::Duration::from_secs(5)).await;
            assert_eq!(told(&called, NoticeKind::HookNotCalled).await, ids);
            launch.tree.die(crate::domain::launch::ExitStatus::Exited(1));
        }
    })
    .await;
}
