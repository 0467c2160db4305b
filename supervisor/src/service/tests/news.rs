//! What plugins are told of items that come to nothing: hooks nobody calls, names that a runtime has for itself.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use outrigger_proto::admin::v1 as admin;
use outrigger_proto::plugin::v1 as plugin;
use outrigger_proto::runtime::v1 as wire;
use outrigger_proto::types::v1 as types;
use plugin::NoticeKind;
use tonic::{Code, Streaming};

use crate::domain::rights::{Rights, Scope, Tier};
use crate::domain::spec::{Claim, PluginSpec};
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

/// A trusted plugin that may serve these tools.
fn server(id: &str, tools: &[&str]) -> PluginSpec {
    let rights = Rights::new(Tier::Trusted, BTreeSet::from([Scope::ToolsServe]), &BTreeMap::new(), BTreeSet::new());
    let mut spec = PluginSpec { rights, guards: Vec::new(), ..spec(id) };
    spec.claims.names = tools.iter().map(|name| Claim::Tool((*name).to_owned())).collect();
    spec
}

fn offers(tools: &[&str]) -> plugin::Register {
    let tool = |name: &&str| plugin::ToolRegistration {
        spec: Some(types::ToolSpec {
            name: (*name).to_owned(),
            description: "Does it.".to_owned(),
            input_schema_json: Bytes::from_static(br#"{"type":"object"}"#),
            ..Default::default()
        }),
        ..Default::default()
    };
    plugin::Register { tools: tools.iter().map(tool).collect(), ..Default::default() }
}

async fn listed(world: &World) -> Vec<String> {
    let listed = world.runtime().await.list_tools(wire::ListToolsRequest::default()).await.expect("it lists");
    listed.into_inner().entries.into_iter().filter_map(|entry| Some(entry.spec?.name)).collect()
}

async fn call_fails_with(world: &World, tool: &str) -> Code {
    let request =
        wire::InvokeToolRequest { tool_name: tool.to_owned(), tool_call_id: "1".to_owned(), ..Default::default() };
    world.runtime().await.invoke_tool(request).await.expect_err("it is not served").code()
}

#[tokio::test(start_paused = true)]
async fn a_runtimes_own_tools_are_no_plugins_whoever_comes_first() {
    within(async {
        // `early` registers before the runtime tells its names, `late` after it.
        let world = World::with(vec![server("early", &["read", "count"]), server("late", &["write", "sum"])]).await;
        let mut launches = [world.launched().await, world.launched().await];
        launches.sort_by(|a, b| a.plan.plugin.cmp(&b.plan.plugin));
        let [early, late] = launches;
        let called = early.registered(offers(&["read", "count"])).await.serve(&early.tree, |_| Some(allow()));
        world.until_state("early", types::PluginState::Ready).await;
        assert_eq!(listed(&world).await, ["count", "read"]);
        let epoch = world.dispatcher().epoch();

        let attached = attach(&world, 1, &[], &["read", "write", "bash"]).await;
        assert_eq!(told(&called, NoticeKind::ItemWithdrawn).await, ["read"]);
        assert_eq!(listed(&world).await, ["count"]);
        assert!(world.dispatcher().epoch() > epoch, "runtimes list again");
        assert_eq!(call_fails_with(&world, "read").await, Code::NotFound);
        let operator = admin::InvokePluginToolRequest {
            plugin_id: "early".to_owned(),
            tool_name: "read".to_owned(),
            ..Default::default()
        };
        let refused = world.admin().await.invoke_plugin_tool(operator).await.expect_err("not for an operator either");
        assert_eq!(refused.code(), Code::NotFound);

        let (mut talk, _) = late.welcomed().await;
        let registered = talk.register(offers(&["write", "sum"])).await.expect("nothing must be accepted");
        let reasons: Vec<_> = registered.verdicts.iter().map(plugin::Verdict::reason).collect();
        assert_eq!(reasons, [plugin::VerdictReason::Reserved, plugin::VerdictReason::Accepted]);
        world.until_state("late", types::PluginState::Ready).await;
        assert_eq!(listed(&world).await, ["count", "sum"]);
        let items = async |id: &str| {
            let request = admin::GetPluginRequest { plugin_id: id.to_owned() };
            let plugin = world.admin().await.get_plugin(request).await.expect("it is known").into_inner();
            plugin.items.into_iter().map(|item| (item.id, item.accepted)).collect::<Vec<_>>()
        };
        assert_eq!(items("early").await, [("read".to_owned(), false), ("count".to_owned(), true)]);
        assert_eq!(items("late").await, [("write".to_owned(), false), ("sum".to_owned(), true)]);

        // The names hold while it is away. Without them neither comes back before its next generation; that is free.
        drop(attached);
        tokio::time::advance(std::time::Duration::from_secs(3600)).await;
        assert_eq!(listed(&world).await, ["count", "sum"]);
        let _attached = attach(&world, 2, &[], &[]).await;
        settle().await;
        assert_eq!(listed(&world).await, ["count", "sum"]);
        early.tree.die(crate::domain::launch::ExitStatus::Exited(1));
        let early = world.launched().await;
        let _called = early.registered(offers(&["read", "count"])).await.serve(&early.tree, |_| Some(allow()));
        world.until("early", |status| status.state == types::PluginState::Ready && status.generation.0 == 2).await;
        assert_eq!(listed(&world).await, ["count", "read", "sum"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn names_that_are_no_tools_are_refused() {
    within(async {
        let world = World::with(vec![]).await;
        let attach = async |names: Vec<String>| {
            let request = wire::AttachRequest {
                incarnation: 1,
                protocol: Some(types::ProtocolRange { min: 1, max: 1 }),
                reserved_tool_names: names,
                ..Default::default()
            };
            world.runtime().await.attach(request).await.map(drop).map_err(|status| status.code())
        };
        let many = |count: usize| (0..count).map(|number| format!("t{number}")).collect::<Vec<_>>();
        assert_eq!(attach(vec!["Read".to_owned()]).await, Err(Code::InvalidArgument));
        assert_eq!(attach(vec!["re*".to_owned()]).await, Err(Code::InvalidArgument));
        assert_eq!(attach(many(4097)).await, Err(Code::InvalidArgument));
        assert_eq!(attach(many(4096)).await, Ok(()));
    })
    .await;
}
