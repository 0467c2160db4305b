//! `AdminService`: what operators ask of the supervisor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outrigger_proto::admin::v1 as wire;
use outrigger_proto::admin::v1::admin_service_server::AdminService;
use outrigger_proto::plugin::v1 as plugin_wire;
use outrigger_proto::types::v1 as types;
use outrigger_proto::types::v1::ErrorReason;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::actor::Plugin;
use super::core::Core;
use super::dispatch::{self, Asking};
use super::events::{Follow, WatchFilter};
use super::session::Ask;
use super::status::Failure;
use super::tools::Tools;
use super::wire::{duration, timestamp, to_duration};
use super::{admin_explain, admin_logs, admin_rights, admin_views as views, canary};
use crate::domain::hook::Hook;
use crate::domain::json::{self, PAYLOAD_DEPTH, ValueLimits};
use crate::domain::keys::{KeyInfo, KeysError};
use crate::domain::lifecycle::StopHow;
use crate::domain::text;

/// Newest events of one request: as many as there are at most.
const MAX_EVENTS: u32 = 8192;
/// Shortest distance of reports of resources.
const MIN_INTERVAL: Duration = Duration::from_millis(500);

/// The service.
#[derive(Clone)]
pub(crate) struct AdminApi {
    pub(crate) core: Arc<Core>,
    pub(crate) tools: Arc<Tools>,
}

impl AdminApi {
    fn status(&self, plugin: &Plugin) -> Option<wire::PluginStatus> {
        Some(views::status(&self.core, plugin))
    }

    fn statuses(&self) -> Vec<wire::PluginStatus> {
        self.core.plugins.values().map(|plugin| views::status(&self.core, plugin)).collect()
    }

    fn drain(timeout: Option<&prost_types::Duration>) -> Result<Option<Duration>, Failure> {
        let checked = timeout.map(|timeout| {
            let longest = Duration::from_secs(3600);
            to_duration(timeout)
                .filter(|timeout| *timeout <= longest)
                .ok_or_else(|| Failure::field("drain_timeout", "wants 0 s to 1 h"))
        });
        checked.transpose()
    }
}

fn keys_failure(error: KeysError) -> Failure {
    match error {
        KeysError::Invalid { field, right } => Failure::field(field, right),
        KeysError::Files(why) => Failure::new(ErrorReason::StoreUnavailable, why),
    }
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Status::internal("the work was lost"))
}

#[tonic::async_trait]
impl AdminService for AdminApi {
    async fn get_supervisor(
        &self,
        _request: Request<wire::GetSupervisorRequest>,
    ) -> Result<Response<wire::GetSupervisorResponse>, Status> {
        let core = &self.core;
        let mut states: BTreeMap<i32, u32> = BTreeMap::new();
        for plugin in core.plugins.values() {
            *states.entry(plugin.view.status().state as i32).or_default() += 1;
        }
        let range = types::ProtocolRange {
            min: *super::conversation::PROTOCOL.start(),
            max: *super::conversation::PROTOCOL.end(),
        };
        let runtimes = core.runtimes.attached(core.shared.settings.runtime_gone);
        let runtimes = runtimes.into_iter().map(|runtime| wire::get_supervisor_response::RuntimeStatus {
            runtime_id: runtime.id,
            incarnation: runtime.incarnation,
            software: runtime.software,
            connected: runtime.connected,
            live_runs: 0,
        });
        Ok(Response::new(wire::GetSupervisorResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            plugin_protocol: Some(range),
            runtime_protocol: Some(range),
            pid: std::process::id(),
            started_at: Some(timestamp(core.started_at)),
            plugins: states
                .into_iter()
                .map(|(state, count)| wire::get_supervisor_response::StateCount { state, count })
                .collect(),
            runtimes: runtimes.collect(),
            pending_directives: 0,
            config_path: core.config_path.to_string_lossy().into_owned(),
            contribution_epoch: core.shared.registry.snapshot().epoch,
            event_epoch: core.shared.bus.epoch(),
        }))
    }

    async fn stop_supervisor(
        &self,
        _request: Request<wire::StopSupervisorRequest>,
    ) -> Result<Response<wire::StopSupervisorResponse>, Status> {
        self.core.stop_asked.cancel();
        Ok(Response::new(wire::StopSupervisorResponse {}))
    }

    async fn list_plugins(
        &self,
        request: Request<wire::ListPluginsRequest>,
    ) -> Result<Response<wire::ListPluginsResponse>, Status> {
        let request = request.into_inner();
        let size = views::page_size(request.page_size);
        let wanted = |status: &wire::PluginStatus| request.states.is_empty() || request.states.contains(&status.state);
        let after = |status: &wire::PluginStatus| status.plugin_id.as_str() > request.page_token.as_str();
        let mut plugins: Vec<_> = self.statuses().into_iter().filter(wanted).filter(after).take(size + 1).collect();
        let more = plugins.len() > size;
        plugins.truncate(size);
        let last = plugins.last().map(|status| status.plugin_id.clone()).unwrap_or_default();
        let next_page_token = if more { last } else { String::new() };
        Ok(Response::new(wire::ListPluginsResponse { plugins, next_page_token }))
    }

    async fn get_plugin(
        &self,
        request: Request<wire::GetPluginRequest>,
    ) -> Result<Response<wire::GetPluginResponse>, Status> {
        let plugin = self.core.plugin(&request.get_ref().plugin_id)?;
        Ok(Response::new(views::full(&self.core, plugin)))
    }

    async fn watch_plugins(
        &self,
        request: Request<wire::WatchPluginsRequest>,
    ) -> Result<Response<BoxStream<wire::WatchPluginsResponse>>, Status> {
        let request = request.into_inner();
        let interval = match &request.resource_interval {
            None => None,
            Some(interval) => match to_duration(interval) {
                Some(interval) if interval >= MIN_INTERVAL => Some(interval),
                _ => return Err(Failure::field("resource_interval", "wants at least 500 ms").into()),
            },
        };
        let mut plugins = Vec::new();
        for (id, plugin) in &self.core.plugins {
            if request.plugin_ids.is_empty() || request.plugin_ids.iter().any(|wanted| wanted == id.as_str()) {
                plugins.push(plugin.clone());
            }
        }
        for id in &request.plugin_ids {
            self.core.plugin(id)?;
        }
        let (sender, receiver) = mpsc::channel(4);
        let core = Arc::clone(&self.core);
        self.core.shared.tasks.spawn(async move {
            let (changed, mut changes) = tokio::sync::watch::channel(());
            let watchers: Vec<_> = plugins
                .iter()
                .map(|plugin| {
                    let (mut status, changed) = (plugin.view.watch(), changed.clone());
                    tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
                        while status.changed().await.is_ok() {
                            changed.send_replace(());
                        }
                    }))
                })
                .collect();
            let mut seen: BTreeMap<String, wire::PluginStatus> = BTreeMap::new();
            let stopping = core.stop_asked.clone();
            loop {
                let now: Vec<wire::PluginStatus> = plugins.iter().map(|plugin| views::status(&core, plugin)).collect();
                let first = seen.is_empty();
                let news: Vec<_> =
                    now.into_iter().filter(|status| seen.get(&status.plugin_id) != Some(status)).collect();
                for status in &news {
                    seen.insert(status.plugin_id.clone(), status.clone());
                }
                if first || !news.is_empty() {
                    let response = wire::WatchPluginsResponse { plugins: news, removed: Vec::new() };
                    if sender.send(Ok(response)).await.is_err() {
                        break;
                    }
                }
                let pause = async {
                    match interval {
                        Some(interval) => tokio::time::sleep(interval).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = pause => {}
                    result = changes.changed() => if result.is_err() { break },
                    () = sender.closed() => break,
                    () = stopping.cancelled() => break,
                }
            }
            drop(watchers);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn start_plugin(
        &self,
        request: Request<wire::StartPluginRequest>,
    ) -> Result<Response<wire::StartPluginResponse>, Status> {
        let request = request.into_inner();
        let plugin = self.core.plugin(&request.plugin_id)?;
        self.core.start(plugin, request.reset).await?;
        Ok(Response::new(wire::StartPluginResponse { plugin: self.status(plugin) }))
    }

    async fn stop_plugin(
        &self,
        request: Request<wire::StopPluginRequest>,
    ) -> Result<Response<wire::StopPluginResponse>, Status> {
        let request = request.into_inner();
        let plugin = self.core.plugin(&request.plugin_id)?;
        let drain = Self::drain(request.drain_timeout.as_ref())?;
        let before = plugin.details().last_stop;
        let holding = self.core.holding(plugin);
        let unguarded = holding.iter().map(super::wire::guard).collect();
        if request.dry_run {
            let plugin = self.status(plugin);
            return Ok(Response::new(wire::StopPluginResponse { plugin, report: None, unguarded }));
        }
        if !holding.is_empty() && !request.confirm_unguarded {
            let names: Vec<String> = holding.iter().flat_map(guard_names).collect();
            let why = format!("guards of `{}` hold: {}", request.plugin_id, names.join(", "));
            let failure = Failure::new(ErrorReason::GuardsHold, why).meta("plugin_id", &request.plugin_id);
            return Err(failure.meta("guards", names.join(",")).help("confirm that they guard no more").into());
        }
        let how = if request.kill { StopHow::Kill } else { StopHow::Drain(drain) };
        self.core.stop(plugin, how).await?;
        // Without a process there was no stop to report.
        let stopped = plugin.details().last_stop.filter(|stop| before.as_ref() != Some(stop));
        let report = stopped.as_ref().map(views::stop_report).unwrap_or_default();
        Ok(Response::new(wire::StopPluginResponse { plugin: self.status(plugin), report: Some(report), unguarded }))
    }

    async fn restart_plugin(
        &self,
        request: Request<wire::RestartPluginRequest>,
    ) -> Result<Response<wire::RestartPluginResponse>, Status> {
        let plugin = self.core.plugin(&request.get_ref().plugin_id)?;
        let before = plugin.details().last_stop;
        self.core.restart(plugin).await?;
        let stopped = plugin.details().last_stop.filter(|stop| before.as_ref() != Some(stop));
        let report = stopped.as_ref().map(views::stop_report);
        Ok(Response::new(wire::RestartPluginResponse { plugin: self.status(plugin), report }))
    }

    async fn reload_plugin(
        &self,
        request: Request<wire::ReloadPluginRequest>,
    ) -> Result<Response<wire::ReloadPluginResponse>, Status> {
        let request = request.into_inner();
        let plugin = self.core.plugin(&request.plugin_id)?;
        let drain = Self::drain(request.drain_timeout.as_ref())?;
        let previous = self.core.reload(plugin, drain).await?;
        let plugin = self.status(plugin);
        Ok(Response::new(wire::ReloadPluginResponse { plugin, previous_generation: previous.0 }))
    }

    async fn tail_logs(
        &self,
        request: Request<wire::TailLogsRequest>,
    ) -> Result<Response<BoxStream<wire::TailLogsResponse>>, Status> {
        let request = request.into_inner();
        let plugins: Vec<Plugin> = if request.plugin_id.is_empty() {
            self.core.plugins.values().cloned().collect()
        } else {
            vec![self.core.plugin(&request.plugin_id)?.clone()]
        };
        let (sender, receiver) = mpsc::channel(16);
        let stopping = self.core.stop_asked.clone();
        self.core.shared.tasks.spawn(admin_logs::tail(plugins, request, sender, stopping));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn watch_events(
        &self,
        request: Request<wire::WatchEventsRequest>,
    ) -> Result<Response<BoxStream<wire::WatchEventsResponse>>, Status> {
        let request = request.into_inner();
        let filter = WatchFilter {
            streams: request.streams.into_iter().collect(),
            runtime_id: request.runtime_id,
            session_key: request.session_key,
            run_id: request.run_id,
        };
        let (sender, receiver) = mpsc::channel(4);
        let stopping = self.core.stop_asked.clone();
        let recent = request.recent.min(MAX_EVENTS) as usize;
        // Its place is that of now, and not of when the task first runs.
        let follow = Follow::new(&self.core.shared.bus, filter, recent, request.until_now);
        self.core.shared.tasks.spawn(async move {
            tokio::select! {
                () = follow.run(sender) => {}
                () = stopping.cancelled() => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn explain_plugin(
        &self,
        request: Request<wire::ExplainPluginRequest>,
    ) -> Result<Response<wire::ExplainPluginResponse>, Status> {
        let plugin = self.core.plugin(&request.get_ref().plugin_id)?;
        let details = plugin.details();
        let (summary, advice) = admin_explain::explain(&self.core, plugin);
        Ok(Response::new(wire::ExplainPluginResponse {
            plugin: self.status(plugin),
            summary,
            advice,
            failures: details.failures.iter().rev().map(views::failure).collect(),
            last_reclaim: None,
        }))
    }

    async fn list_grants(
        &self,
        request: Request<wire::ListGrantsRequest>,
    ) -> Result<Response<wire::ListGrantsResponse>, Status> {
        Ok(Response::new(admin_rights::list(&self.core, &request.into_inner())?))
    }

    async fn list_hooks(
        &self,
        request: Request<wire::ListHooksRequest>,
    ) -> Result<Response<wire::ListHooksResponse>, Status> {
        let request = request.into_inner();
        if !request.plugin_id.is_empty() {
            self.core.plugin(&request.plugin_id)?;
        }
        let snapshot = self.core.shared.registry.snapshot();
        Ok(Response::new(wire::ListHooksResponse { handlers: views::hooks(&self.core, &snapshot, &request) }))
    }

    async fn invoke_plugin_hook(
        &self,
        request: Request<wire::InvokePluginHookRequest>,
    ) -> Result<Response<wire::InvokePluginHookResponse>, Status> {
        let request = request.into_inner();
        let plugin = self.core.plugin(&request.plugin_id)?;
        let hook =
            Hook::from_number(request.hook).ok_or_else(|| Failure::field("hook", "is no hook that is known here"))?;
        for (field, json) in [("event_json", &request.event_json), ("context_json", &request.context_json)] {
            if field == "context_json" && json.is_empty() {
                continue;
            }
            json::validate_value(json, &ValueLimits::payload(PAYLOAD_DEPTH).object()).map_err(|error| {
                Failure::new(ErrorReason::JsonInvalid, format!("{field}: {error}")).meta("field", field)
            })?;
        }
        let absent = || {
            let why = dispatch::why_absent(&plugin.view);
            super::core::absent(&plugin.view, format!("`{}` {why}", request.plugin_id))
        };
        let session = plugin.view.serving().ok_or_else(absent)?;
        let handlers = &session.registration.handlers;
        let index = handlers
            .iter()
            .position(|handler| {
                handler.hook == hook && (request.handler_id.is_empty() || handler.id == request.handler_id)
            })
            .ok_or_else(|| {
                let why = format!("`{}` has no such handler of `{}`", request.plugin_id, hook.name());
                Failure::new(ErrorReason::HandlerUnknown, why)
                    .meta("plugin_id", &request.plugin_id)
                    .meta("id", &request.handler_id)
            })?;
        let started = Instant::now();
        let tool = if request.tool_name.is_empty() && hook.row().by_tool {
            handlers[index].tools.to_list().into_iter().next().unwrap_or_else(|| "exec".to_owned())
        } else {
            request.tool_name.clone()
        };
        let invocation = plugin_wire::Invocation {
            handler_id: handlers[index].id.clone(),
            canary: request.canary,
            call: Some(handlers[index].call(plugin_wire::HookCall {
                hook: request.hook,
                event_json: request.event_json,
                context_json: request.context_json,
                tool_name: tool,
                tool_call_id: "operator".to_owned(),
                ..Default::default()
            })),
            ..Default::default()
        };
        let ask = Ask::new(index, started, started + handlers[index].timeout, invocation);
        let answer = session.invoke(ask).await;
        let result = match &answer {
            Ok(plugin_wire::invocation_result::Outcome::Hook(result)) => Some(result.clone()),
            _ => None,
        };
        let asking = dispatch::outcome(answer, &session, index, started).await;
        let report = report(plugin, &session.registration.handlers[index].id, &asking);
        Ok(Response::new(wire::InvokePluginHookResponse { result, report: Some(report) }))
    }

    async fn invoke_plugin_tool(
        &self,
        request: Request<wire::InvokePluginToolRequest>,
    ) -> Result<Response<BoxStream<wire::InvokePluginToolResponse>>, Status> {
        let request = request.into_inner();
        self.core.plugin(&request.plugin_id)?;
        let messages = self.tools.try_out(request).await?;
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn check_guards(
        &self,
        request: Request<wire::CheckGuardsRequest>,
    ) -> Result<Response<wire::CheckGuardsResponse>, Status> {
        let request = request.into_inner();
        let plugins: Vec<&Plugin> = if request.plugin_id.is_empty() {
            self.core.plugins.values().collect()
        } else {
            vec![self.core.plugin(&request.plugin_id)?]
        };
        let tries = plugins.iter().map(|plugin| async move {
            let mut reports = Vec::new();
            let Some(session) = plugin.view.serving() else {
                if !plugin.details().guards.is_empty() {
                    let asking = Asking::absent(dispatch::why_absent(&plugin.view));
                    reports.push(report(plugin, "", &asking));
                }
                return reports;
            };
            for (index, handler) in session.registration.handlers.iter().enumerate() {
                if handler.hook.is_guard() {
                    let mut asking = canary::try_one(&session, index).await;
                    if asking.answered && asking.fared == types::HandlerOutcome::Error {
                        // It did answer, and such an answer stops a call.
                        asking.fared = types::HandlerOutcome::Deny;
                    }
                    reports.push(report(plugin, &handler.id, &asking));
                }
            }
            reports
        });
        let reports = futures_util::future::join_all(tries).await.into_iter().flatten().collect();
        let guards = plugins.iter().flat_map(|plugin| views::guards(plugin)).collect();
        Ok(Response::new(wire::CheckGuardsResponse { reports, guards }))
    }

    async fn add_runtime_key(
        &self,
        request: Request<wire::AddRuntimeKeyRequest>,
    ) -> Result<Response<wire::AddRuntimeKeyResponse>, Status> {
        let request = request.into_inner();
        let keys = Arc::clone(&self.core.keys);
        let added = off_thread(move || {
            let group = (!request.group.is_empty()).then_some(request.group.as_str());
            keys.add(&request.runtime_id, group)
        });
        let (key, created) = added.await?.map_err(keys_failure)?;
        Ok(Response::new(wire::AddRuntimeKeyResponse { key: Some(self.key(key)), created }))
    }

    async fn list_runtime_keys(
        &self,
        _request: Request<wire::ListRuntimeKeysRequest>,
    ) -> Result<Response<wire::ListRuntimeKeysResponse>, Status> {
        let keys = Arc::clone(&self.core.keys);
        let keys = off_thread(move || keys.list()).await?.map_err(keys_failure)?;
        Ok(Response::new(wire::ListRuntimeKeysResponse { keys: keys.into_iter().map(|key| self.key(key)).collect() }))
    }

    async fn remove_runtime_key(
        &self,
        request: Request<wire::RemoveRuntimeKeyRequest>,
    ) -> Result<Response<wire::RemoveRuntimeKeyResponse>, Status> {
        let id = request.into_inner().runtime_id;
        let (keys, removing) = (Arc::clone(&self.core.keys), id.clone());
        let removed = off_thread(move || keys.remove(&removing)).await?.map_err(keys_failure)?;
        let was_attached = self.core.runtimes.remove(&id);
        self.core.shared.registry.reserve(|| self.core.runtimes.own_tools());
        self.core.shared.runs.lose(&id, &std::collections::BTreeSet::new());
        Ok(Response::new(wire::RemoveRuntimeKeyResponse { removed, was_attached }))
    }
}

impl AdminApi {
    fn key(&self, key: KeyInfo) -> wire::RuntimeKey {
        wire::RuntimeKey {
            last_used_at: self.core.runtimes.last_used(&key.runtime_id).map(timestamp),
            runtime_id: key.runtime_id,
            path: key.path.to_string_lossy().into_owned(),
            group: key.group,
            created_at: Some(timestamp(key.created_at)),
        }
    }
}

fn guard_names(guard: &crate::domain::guard::Guard) -> Vec<String> {
    let tools = guard.tools.to_list();
    if tools.is_empty() {
        return vec![guard.hook.name().to_owned()];
    }
    tools.into_iter().map(|tool| format!("{}:{tool}", guard.hook.name())).collect()
}

fn report(plugin: &Plugin, handler: &str, asking: &Asking) -> types::HandlerReport {
    types::HandlerReport {
        plugin_id: plugin.view.id.to_string(),
        handler_id: handler.to_owned(),
        outcome: asking.fared as i32,
        elapsed: Some(duration(asking.elapsed)),
        message: text::clean(&asking.message, 500),
        plugin_state: if asking.fared == types::HandlerOutcome::Absent {
            dispatch::absent_state(&plugin.view) as i32
        } else {
            0
        },
        ..Default::default()
    }
}
