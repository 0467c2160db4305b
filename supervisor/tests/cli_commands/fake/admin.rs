//! The operator's side of the fake. Its texts hold what a plugin could write to steer a terminal.

use std::process::Child;
use std::sync::Mutex;
use std::time::Duration;

use outrigger_proto::admin::v1 as a;
use outrigger_proto::types::v1 as t;
use prost_types::Timestamp;
use tokio_stream::iter;
use tonic::codegen::BoxStream;
use tonic::{Code, Request, Response, Status, async_trait};

use super::{Asked, refusal};
use crate::run::NOW;

type Answer<T> = Result<Response<T>, Status>;

pub(crate) struct Admin {
    asked: Asked,
    process: Mutex<Option<Child>>,
}

impl Admin {
    pub(crate) fn new(asked: Asked, process: Option<Child>) -> Self {
        Self { asked, process: Mutex::new(process) }
    }

    fn pid(&self) -> u32 {
        self.process.lock().expect("no panic").as_ref().map_or(4_242, Child::id)
    }
}

fn ago(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds: NOW - seconds, nanos: 0 })
}

fn micros(micros: u64) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(Duration::from_micros(micros)).ok()
}

fn gate() -> a::PluginStatus {
    a::PluginStatus {
        plugin_id: "policy-gate".into(),
        plugin_name: "Policy gate".into(),
        version: "1.2.0".into(),
        tier: t::Tier::Community as i32,
        state: t::PluginState::Ready as i32,
        state_since: ago(125),
        generation: 3,
        pid: 4711,
        resources: Some(a::ResourceUse {
            cpu_time: micros(1_500_000),
            memory_bytes: 5 << 20,
            peak_memory_bytes: 6 << 20,
            processes: 1,
            threads: 2,
            descriptors: 9,
            invocations_in_flight: 1,
            ..Default::default()
        }),
        enabled: true,
        guards: 1,
        denials: 7,
        restarts: 2,
        p50: micros(340),
        p99: micros(1_240),
        ..Default::default()
    }
}

fn broken() -> a::PluginStatus {
    a::PluginStatus {
        plugin_id: "broken".into(),
        plugin_name: "broken".into(),
        tier: t::Tier::Workspace as i32,
        state: t::PluginState::Quarantined as i32,
        state_since: ago(3_720),
        message: "exited with status 1: \u{1b}[2J\u{202e}gone".into(),
        generation: 9,
        retry_after: micros(30_000_000),
        recent_failures: 6,
        enabled: true,
        guards: 1,
        ungranted_guards: 1,
        restarts: 5,
        ..Default::default()
    }
}

fn guard() -> t::Guard {
    t::Guard { hook: t::Hook::BeforeToolCall as i32, tool_names: vec!["exec".into()], tool_policy: false }
}

fn guard_status(state: a::GuardState) -> a::GuardStatus {
    let missing_scope = if state == a::GuardState::NotGranted { "policy.trusted" } else { "" };
    a::GuardStatus {
        plugin_id: "policy-gate".into(),
        guard: Some(guard()),
        state: state as i32,
        missing_scope: missing_scope.into(),
        remembered: false,
    }
}

fn stats() -> a::HandlerStats {
    let count = |outcome: t::HandlerOutcome, count| a::handler_stats::OutcomeCount { outcome: outcome as i32, count };
    a::HandlerStats {
        handler_id: "guard".into(),
        hook: t::Hook::BeforeToolCall as i32,
        outcomes: vec![
            count(t::HandlerOutcome::Allow, 40),
            count(t::HandlerOutcome::Deny, 7),
            count(t::HandlerOutcome::Timeout, 1),
        ],
        last_called_at: ago(3),
        p50: micros(340),
        p99: micros(1_240),
        breaker_open: false,
        violations: 2,
        kind: t::ItemKind::Hook as i32,
    }
}

fn report(outcome: t::HandlerOutcome, message: &str) -> t::HandlerReport {
    t::HandlerReport {
        plugin_id: "policy-gate".into(),
        handler_id: "guard".into(),
        outcome: outcome as i32,
        elapsed: micros(412),
        message: message.into(),
        ..Default::default()
    }
}

fn known(plugin_id: &str) -> Result<a::PluginStatus, Status> {
    match plugin_id {
        "policy-gate" => Ok(gate()),
        "broken" => Ok(broken()),
        other => Err(refusal(
            Code::NotFound,
            "PLUGIN_UNKNOWN",
            &format!("there is no plugin `{other}`"),
            &[("plugin_id", other)],
        )),
    }
}

fn absent(plugin_id: &str) -> Status {
    let metadata = [("plugin_id", plugin_id), ("state", "quarantined"), ("phase", "hello"), ("exit", "status 1")];
    refusal(Code::Unavailable, "PLUGIN_ABSENT", &format!("{plugin_id} failed while waiting for hello"), &metadata)
}

fn streamed<T: Send + 'static>(messages: Vec<T>) -> Response<BoxStream<T>> {
    Response::new(Box::pin(iter(messages.into_iter().map(Ok))))
}

#[async_trait]
impl a::admin_service_server::AdminService for Admin {
    async fn get_supervisor(&self, _: Request<a::GetSupervisorRequest>) -> Answer<a::GetSupervisorResponse> {
        self.asked.note("get_supervisor");
        let runtime = a::get_supervisor_response::RuntimeStatus {
            runtime_id: "default".into(),
            incarnation: 5,
            software: "Agent 1.0\u{7}".into(),
            connected: true,
            live_runs: 2,
        };
        let count =
            |state: t::PluginState, count| a::get_supervisor_response::StateCount { state: state as i32, count };
        Ok(Response::new(a::GetSupervisorResponse {
            version: "0.1.0".into(),
            plugin_protocol: Some(t::ProtocolRange { min: 1, max: 1 }),
            runtime_protocol: Some(t::ProtocolRange { min: 1, max: 1 }),
            pid: self.pid(),
            started_at: ago(7_500),
            plugins: vec![count(t::PluginState::Ready, 1), count(t::PluginState::Quarantined, 1)],
            runtimes: vec![runtime],
            pending_directives: 0,
            config_path: "/etc/outrigger/outrigger.toml".into(),
            contribution_epoch: 12,
            event_epoch: 99,
        }))
    }

    async fn stop_supervisor(&self, _: Request<a::StopSupervisorRequest>) -> Answer<a::StopSupervisorResponse> {
        self.asked.note("stop_supervisor");
        if let Some(mut process) = self.process.lock().expect("no panic").take() {
            process.kill().and_then(|()| process.wait()).expect("end the process");
        }
        Ok(Response::new(a::StopSupervisorResponse {}))
    }

    async fn list_plugins(&self, request: Request<a::ListPluginsRequest>) -> Answer<a::ListPluginsResponse> {
        let request = request.into_inner();
        self.asked.note(format!("list_plugins page={}", request.page_token));
        let (plugin, next) = if request.page_token.is_empty() { (broken(), "2") } else { (gate(), "") };
        Ok(Response::new(a::ListPluginsResponse { plugins: vec![plugin], next_page_token: next.into() }))
    }

    async fn get_plugin(&self, request: Request<a::GetPluginRequest>) -> Answer<a::GetPluginResponse> {
        let status = known(&request.get_ref().plugin_id)?;
        let item = |id: &str, accepted| a::get_plugin_response::Item {
            kind: t::ItemKind::Hook as i32,
            id: id.into(),
            accepted,
            message: if accepted { String::new() } else { "needs hooks.conversation".into() },
            remedy: if accepted { String::new() } else { "outrigger grant policy-gate hooks.conversation".into() },
        };
        Ok(Response::new(a::GetPluginResponse {
            status: Some(status),
            command: vec!["/opt/policy-gate".into(), "--strict".into()],
            tree_sha256: vec![0xab; 32].into(),
            grants: vec![t::ScopeGrant {
                scope: "state".into(),
                quotas: vec![t::Quota { name: "state-bytes".into(), limit: 1_048_576, used: 12 }],
                names: vec![],
            }],
            items: vec![item("guard", true), item("reader\n", false)],
            handlers: vec![stats()],
            sandbox: vec![a::get_plugin_response::SandboxRung {
                name: "landlock-files".into(),
                mode: "best-effort".into(),
                applied: false,
                detail: "the kernel has no Landlock".into(),
            }],
            environment_names: vec!["PATH".into(), "OUTRIGGER_TARGET".into()],
            sdk: "rust/outrigger-sdk 0.1.0".into(),
            protocol_version: 1,
            guards: vec![guard_status(a::GuardState::Served), guard_status(a::GuardState::NotGranted)],
            exposures: vec!["a plugin of the supervisor's user can read the keys".into()],
        }))
    }

    async fn watch_plugins(
        &self,
        request: Request<a::WatchPluginsRequest>,
    ) -> Answer<BoxStream<a::WatchPluginsResponse>> {
        self.asked.note(format!("watch_plugins {:?}", request.get_ref().plugin_ids));
        Ok(streamed(vec![
            a::WatchPluginsResponse { plugins: vec![broken(), gate()], removed: vec![] },
            a::WatchPluginsResponse { plugins: vec![], removed: vec!["broken".into()] },
        ]))
    }

    async fn start_plugin(&self, request: Request<a::StartPluginRequest>) -> Answer<a::StartPluginResponse> {
        let request = request.into_inner();
        self.asked.note(format!("start_plugin {} reset={}", request.plugin_id, request.reset));
        let plugin = known(&request.plugin_id)?;
        match request.plugin_id.as_str() {
            "broken" if !request.reset => Err(absent("broken")),
            _ => Ok(Response::new(a::StartPluginResponse { plugin: Some(plugin) })),
        }
    }

    async fn stop_plugin(&self, request: Request<a::StopPluginRequest>) -> Answer<a::StopPluginResponse> {
        let request = request.into_inner();
        self.asked.note(format!(
            "stop_plugin {} kill={} confirm={} dry_run={}",
            request.plugin_id, request.kill, request.confirm_unguarded, request.dry_run
        ));
        let status = known(&request.plugin_id)?;
        if !request.confirm_unguarded && !request.dry_run {
            let metadata = [("plugin_id", "policy-gate"), ("guards", "before_tool_call:exec")];
            return Err(refusal(Code::FailedPrecondition, "GUARDS_HOLD", "guards of policy-gate hold", &metadata));
        }
        let plugin = a::PluginStatus { state: t::PluginState::Stopped as i32, pid: 0, resources: None, ..status };
        let report = (!request.dry_run).then(|| a::StopReport {
            step: a::StopStep::Sigkill as i32,
            exit_status: None,
            signal: 9,
            cut_off_invocations: 2,
            elapsed: micros(12_000),
        });
        Ok(Response::new(a::StopPluginResponse { plugin: Some(plugin), report, unguarded: vec![guard()] }))
    }

    async fn restart_plugin(&self, request: Request<a::RestartPluginRequest>) -> Answer<a::RestartPluginResponse> {
        let plugin = known(&request.get_ref().plugin_id)?;
        let report = a::StopReport {
            step: a::StopStep::Drain as i32,
            exit_status: Some(0),
            elapsed: micros(4_100),
            ..Default::default()
        };
        Ok(Response::new(a::RestartPluginResponse { plugin: Some(plugin), report: Some(report) }))
    }

    async fn reload_plugin(&self, request: Request<a::ReloadPluginRequest>) -> Answer<a::ReloadPluginResponse> {
        let plugin = known(&request.get_ref().plugin_id)?;
        Ok(Response::new(a::ReloadPluginResponse { plugin: Some(plugin), previous_generation: 2 }))
    }

    async fn tail_logs(&self, request: Request<a::TailLogsRequest>) -> Answer<BoxStream<a::TailLogsResponse>> {
        let request = request.into_inner();
        self.asked.note(format!(
            "tail_logs {} lines={} follow={} generation={}",
            request.plugin_id, request.lines, request.follow, request.generation
        ));
        let line = |source: &str, level: &str, text: &str, fields: &'static [u8]| a::tail_logs_response::Line {
            time: Some(Timestamp { seconds: NOW, nanos: 250_000_000 }),
            plugin_id: "policy-gate".into(),
            generation: 3,
            source: source.into(),
            level: level.into(),
            text: text.into(),
            fields_json: fields.into(),
            truncated: false,
        };
        Ok(streamed(vec![
            a::TailLogsResponse { lines: vec![line("stderr", "", "hello \u{1b}[31mred", b"")], dropped: 0 },
            a::TailLogsResponse { lines: vec![line("log", "error", "it broke", b"{\"code\":3}")], dropped: 4 },
        ]))
    }

    async fn watch_events(&self, request: Request<a::WatchEventsRequest>) -> Answer<BoxStream<a::WatchEventsResponse>> {
        let request = request.into_inner();
        self.asked.note(format!(
            "watch_events streams={} runtime={} session={} run={} recent={} until_now={}",
            request.streams.join(","),
            request.runtime_id,
            request.session_key,
            request.run_id,
            request.recent,
            request.until_now
        ));
        let event = |stream: &str, seq: u64, data: &'static [u8]| t::AgentEvent {
            run_id: "606fc93f-a3d7-4f50-b960-df58a925cc12".into(),
            stream: stream.into(),
            seq,
            data_json: data.into(),
            time: Some(Timestamp { seconds: NOW, nanos: 250_000_000 }),
            session_key: "agent:main:main".into(),
            agent_id: "main".into(),
            runtime_id: "default".into(),
            ..Default::default()
        };
        let emitted =
            t::AgentEvent { plugin_id: "planner".into(), ..event("planner.x", 0, b"{\"pluginId\":\"planner\"}") };
        let last = t::AgentEvent { terminal: true, ..event("lifecycle", 7, b"{\"phase\":\"end\"}") };
        let text = event("assistant", 1, b"{\"text\":\"\\u001b[31mred\"}");
        Ok(streamed(vec![
            a::WatchEventsResponse { events: vec![text, emitted], last_event_seq: 9, dropped: 0 },
            a::WatchEventsResponse { events: vec![last], last_event_seq: 12, dropped: 2 },
        ]))
    }

    async fn explain_plugin(&self, request: Request<a::ExplainPluginRequest>) -> Answer<a::ExplainPluginResponse> {
        let plugin = known(&request.get_ref().plugin_id)?;
        if plugin.plugin_id == "policy-gate" {
            return Ok(Response::new(a::ExplainPluginResponse { plugin: Some(plugin), ..Default::default() }));
        }
        let evidence = |name: &str, content| a::Evidence { name: name.into(), content };
        Ok(Response::new(a::ExplainPluginResponse {
            plugin: Some(plugin),
            summary: "It failed six times in a row.".into(),
            advice: vec!["outrigger start broken --reset".into()],
            failures: vec![a::explain_plugin_response::Failure {
                time: ago(60),
                generation: 9,
                phase: a::LaunchPhase::Hello as i32,
                cause: a::FailureCause::Exit as i32,
                message: "it exited before it said hello".into(),
                exit_status: Some(1),
                signal: 0,
                stderr_tail: vec!["Traceback:".into(), "\u{1b}]0;title\u{7}boom".into()],
                evidence: vec![
                    evidence("stack", Some(a::evidence::Content::Text("main\nread".into()))),
                    evidence("open-files", Some(a::evidence::Content::Unreadable("no permission".into()))),
                    evidence("wait-channel", None),
                ],
                cause_name: "crashed".into(),
            }],
            last_reclaim: Some(t::ReclaimReport {
                report_id: 8,
                plugin_id: "broken".into(),
                generation: 9,
                cause: t::ReclaimCause::Crash as i32,
                started_at: ago(60),
                finished_at: ago(60),
                items: vec![t::reclaim_report::Item {
                    kind: t::OwnedKind::RunContext as i32,
                    released: 2,
                    kept: 1,
                    failed: 0,
                }],
                ..Default::default()
            }),
        }))
    }

    async fn list_grants(&self, request: Request<a::ListGrantsRequest>) -> Answer<a::ListGrantsResponse> {
        let request = request.into_inner();
        self.asked.note(format!("list_grants {} page={}", request.plugin_id, request.page_token));
        let plugin_id = if request.plugin_id.is_empty() { "policy-gate" } else { &request.plugin_id };
        known(plugin_id)?;
        let entry = |scope: &str, quotas: Vec<t::Quota>, names: &[&str], flags: [bool; 5]| {
            let [tier_default, granted, tier_allows, requested, effective] = flags;
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let grant = Some(t::ScopeGrant { scope: scope.into(), quotas, names });
            // The tier has `inject`, so that only a denial takes it away.
            let denied = scope == "inject";
            let right = a::Right { grant, tier_default, granted, tier_allows, requested, effective, denied };
            a::list_grants_response::Entry {
                plugin_id: plugin_id.to_owned(),
                tier: t::Tier::Community as i32,
                right: Some(right),
            }
        };
        let quota = |name: &str, limit, used| t::Quota { name: name.into(), limit, used };
        if request.page_token.is_empty() {
            let roots = ["/srv/\u{1b}[2Jreports"];
            return Ok(Response::new(a::ListGrantsResponse {
                entries: vec![
                    entry("attach", vec![quota("staged-bytes", 64 << 20, 0)], &roots, [false, true, true, true, true]),
                    entry("commands.reserved", vec![], &[], [false, false, false, true, false]),
                    entry("hooks.tools", vec![], &[], [true, false, true, true, true]),
                    entry("inject", vec![quota("injections", 32, 0)], &[], [true, false, true, true, false]),
                ],
                next_page_token: "2".into(),
            }));
        }
        let turns = vec![quota("pending-turns", 32, 3), quota("min-interval-ms", 60_000, 0)];
        Ok(Response::new(a::ListGrantsResponse {
            entries: vec![
                entry("lease", vec![], &[], [false, false, true, false, false]),
                entry("policy.trusted", vec![], &[], [false, false, true, true, false]),
                entry("schedule", turns, &[], [true, true, true, true, true]),
            ],
            next_page_token: String::new(),
        }))
    }

    async fn list_hooks(&self, request: Request<a::ListHooksRequest>) -> Answer<a::ListHooksResponse> {
        let request = request.into_inner();
        self.asked.note(format!("list_hooks hook={} plugin={}", request.hook, request.plugin_id));
        let handler = |plugin_id: &str, stats, state: a::GuardState| a::list_hooks_response::Handler {
            plugin_id: plugin_id.into(),
            stats,
            tool_names: vec!["exec".into()],
            priority: 10,
            guard: state as i32,
            tool_policy: false,
            timeout: micros(2_000_000),
            hook: t::Hook::BeforeToolCall as i32,
            not_called_by: if plugin_id == "broken" { vec!["default".into()] } else { vec![] },
        };
        Ok(Response::new(a::ListHooksResponse {
            handlers: vec![
                handler("policy-gate", Some(stats()), a::GuardState::Served),
                handler("broken", None, a::GuardState::Denying),
                handler("policy-gate", None, a::GuardState::NotGranted),
            ],
        }))
    }

    async fn invoke_plugin_hook(
        &self,
        request: Request<a::InvokePluginHookRequest>,
    ) -> Answer<a::InvokePluginHookResponse> {
        let request = request.into_inner();
        let event = String::from_utf8_lossy(&request.event_json).into_owned();
        self.asked.note(format!(
            "invoke_plugin_hook {} hook={} tool={} canary={} event={event}",
            request.plugin_id, request.hook, request.tool_name, request.canary
        ));
        known(&request.plugin_id)?;
        if request.plugin_id == "broken" {
            return Err(absent("broken"));
        }
        let (result, report) = if event.contains("rm -rf") {
            let block = t::Block { reason: "no \u{1b}rm".into(), ..Default::default() };
            let decision = t::tool_call_decision::Decision::Block(block);
            let decision = t::ToolCallDecision { decision: Some(decision) };
            let result = t::HookResult { result: Some(t::hook_result::Result::ToolCall(decision)) };
            (Some(result), report(t::HandlerOutcome::Deny, ""))
        } else {
            (None, report(t::HandlerOutcome::Allow, ""))
        };
        Ok(Response::new(a::InvokePluginHookResponse { result, report: Some(report) }))
    }

    async fn check_guards(&self, request: Request<a::CheckGuardsRequest>) -> Answer<a::CheckGuardsResponse> {
        self.asked.note(format!("check_guards {}", request.get_ref().plugin_id));
        if request.get_ref().plugin_id == "policy-gate" {
            return Ok(Response::new(a::CheckGuardsResponse {
                reports: vec![report(t::HandlerOutcome::Allow, "")],
                guards: vec![guard_status(a::GuardState::Served)],
            }));
        }
        Ok(Response::new(a::CheckGuardsResponse {
            reports: vec![report(t::HandlerOutcome::Timeout, "no answer in 2 s")],
            guards: vec![guard_status(a::GuardState::Served), guard_status(a::GuardState::NotGranted)],
        }))
    }

    async fn add_runtime_key(&self, request: Request<a::AddRuntimeKeyRequest>) -> Answer<a::AddRuntimeKeyResponse> {
        let request = request.into_inner();
        self.asked.note(format!("add_runtime_key {} group={}", request.runtime_id, request.group));
        if request.group == "nobody-knows" {
            let mut details = tonic_types::ErrorDetails::new();
            details.set_error_info("FIELD_INVALID", "outrigger", std::collections::HashMap::new());
            details.add_bad_request_violation("group", "this machine has no such group");
            details.set_help(vec![tonic_types::HelpLink::new("name a group of `getent group`", "")]);
            use tonic_types::StatusExt;
            return Err(Status::with_error_details(Code::InvalidArgument, "the group is unknown", details));
        }
        let key = a::RuntimeKey {
            path: format!("/var/lib/outrigger/keys/{}.key", request.runtime_id),
            runtime_id: request.runtime_id,
            group: request.group,
            created_at: ago(0),
            last_used_at: None,
        };
        Ok(Response::new(a::AddRuntimeKeyResponse { key: Some(key), created: true }))
    }

    async fn list_runtime_keys(&self, _: Request<a::ListRuntimeKeysRequest>) -> Answer<a::ListRuntimeKeysResponse> {
        let key = a::RuntimeKey {
            runtime_id: "default".into(),
            path: "/var/lib/outrigger/keys/default.key".into(),
            group: String::new(),
            created_at: ago(86_400),
            last_used_at: ago(5),
        };
        Ok(Response::new(a::ListRuntimeKeysResponse { keys: vec![key] }))
    }

    async fn remove_runtime_key(
        &self,
        request: Request<a::RemoveRuntimeKeyRequest>,
    ) -> Answer<a::RemoveRuntimeKeyResponse> {
        let removed = request.get_ref().runtime_id == "default";
        Ok(Response::new(a::RemoveRuntimeKeyResponse { removed, was_attached: removed }))
    }
}
