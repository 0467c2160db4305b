//! Tools that plugins serve: which there are, and their calls.
//!
//! ```text
//!  InvokeTool ─▶ tool ─▶ session, run ─▶ decision there? ─▶ arguments, schema ─▶ plugin serves?
//!                                                                                   │
//!       result or failure ◀─ progress … ◀─ the plugin ◀─ decision used up, call taken in ┘
//! ```
//!
//! The decision is the last thing looked at, in the moment in which the session takes the call in: so a call that the
//! plugin could not take uses up nothing, and of two calls with one decision only one is sent.

mod answer;
mod call;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outrigger_proto::admin::v1 as admin;
use outrigger_proto::plugin::v1 as plugin;
use outrigger_proto::runtime::v1 as wire;
use outrigger_proto::types::v1::{self as types, ErrorReason, PluginState};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tonic::Status;

use self::call::{Call, News};
use super::decisions::{ParamsDigest, Subject, digest};
use super::dispatch::{Dispatcher, absent_state, why_absent};
use super::invocation::{MAX_PAYLOAD, check_run, no_run};
use super::registry::{Listed, Registry};
use super::runs::{Run, Runs};
use super::runtimes::{Runtime, Runtimes};
use super::status::Failure;
use crate::config::schema::Mismatch;
use crate::domain::json::{self, PAYLOAD_DEPTH, ValueLimits};
use crate::domain::text;

/// Messages of one call that may wait to be written: news, and its end.
const WAITING: usize = 4;
/// Entries of a page where the request names no number, and at most.
const PAGE: std::ops::RangeInclusive<usize> = 100..=1000;
/// The tool call of an operator.
const OPERATOR: &str = "operator";

/// Everything about served tools.
#[derive(Clone)]
pub(crate) struct Tools {
    pub(crate) registry: Arc<Registry>,
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) runtimes: Arc<Runtimes>,
    pub(crate) runs: Arc<Runs>,
    pub(crate) tasks: TaskTracker,
}

/// The messages of one call.
pub(crate) type Stream<T> = mpsc::Receiver<Result<T, Status>>;

impl Tools {
    /// A page of all tools, by plugin and name.
    pub(crate) fn list(&self, request: &wire::ListToolsRequest) -> wire::ListToolsResponse {
        let size = match request.page_size as usize {
            0 => *PAGE.start(),
            size => size.min(*PAGE.end()),
        };
        // A plugin's id has no `/`, so that the token orders as the listing does.
        let after = request.page_token.split_once('/');
        let key = |listed: &Listed| (listed.part.view.id.as_str().to_owned(), listed.tool().name.clone());
        let snapshot = self.registry.snapshot();
        let is_after = |listed: &&Listed| {
            after.is_none_or(|(plugin, tool)| {
                (listed.part.view.id.as_str(), listed.tool().name.as_str()) > (plugin, tool)
            })
        };
        let mut page: Vec<&Listed> = snapshot.tools.iter().filter(is_after).take(size + 1).collect();
        let more = page.len() > size;
        page.truncate(size);
        let last = page.last().filter(|_| more).map(|listed| key(listed));
        wire::ListToolsResponse {
            entries: page.into_iter().map(entry).collect(),
            next_page_token: last.map(|(plugin, tool)| format!("{plugin}/{tool}")).unwrap_or_default(),
        }
    }

    /// Runs a tool for a runtime.
    ///
    /// # Errors
    /// As the contract has it for `InvokeTool`; the plugin was not asked.
    pub(crate) async fn invoke(
        &self,
        runtime: &Arc<Runtime>,
        request: wire::InvokeToolRequest,
    ) -> Result<Stream<wire::InvokeToolResponse>, Failure> {
        let started = Instant::now();
        let name = request.tool_name.as_str();
        let snapshot = self.registry.snapshot();
        let listed = snapshot.served_tool(name).ok_or_else(|| unknown("", name))?;
        if !(1..=256).contains(&text::units(&request.tool_call_id)) {
            return Err(Failure::field("tool_call_id", "wants 1 to 256 characters"));
        }
        let deadline = deadline(listed, started, request.timeout.as_ref())?;
        let mut session = request.session;
        if let Some(session) = &mut session {
            runtime.announce(session)?;
        }
        let run = match &request.run {
            Some(run) => Some(self.begin(runtime, run, session.as_ref())?),
            None => None,
        };
        let wanted = snapshot.gates(name);
        if wanted && request.decision_id.is_empty() {
            let why = format!("the gate wants to be asked before `{name}` runs");
            return Err(Failure::new(ErrorReason::DecisionRequired, why).meta("tool_name", name));
        }
        let checked = check(listed, request.arguments_json, request.context_json).await?;
        let decision = (!request.decision_id.is_empty()).then(|| {
            let subject = checked.digest.map(|digest| Subject {
                tool_call_id: request.tool_call_id.clone(),
                tool_name: name.to_owned(),
                session_key: session.as_ref().map(|session| session.key.clone()).unwrap_or_default(),
                digest,
            });
            (request.decision_id.clone(), subject)
        });
        let plugin_id = listed.part.view.id.to_string();
        let registry = Arc::clone(&self.registry);
        let tell = move |news| {
            let event = match news {
                News::Progress(progress) => wire::invoke_tool_response::Event::Progress(progress),
                News::Result { result, arguments_invalid } => {
                    wire::invoke_tool_response::Event::Result(wire::invoke_tool_response::Result {
                        result: Some(result),
                        plugin_id: plugin_id.clone(),
                        arguments_invalid,
                        contribution_epoch: registry.snapshot().epoch,
                    })
                }
            };
            wire::InvokeToolResponse { event: Some(event) }
        };
        if !checked.mismatches.is_empty() {
            return Ok(at_once(tell(mismatch(&checked.mismatches))));
        }
        let call = Call {
            listed: listed.clone(),
            started,
            deadline,
            runtime_id: Arc::clone(&runtime.id),
            session,
            run,
            asked: plugin::ToolCall {
                name: name.to_owned(),
                arguments_json: checked.arguments,
                tool_call_id: request.tool_call_id,
                context_json: checked.context,
            },
            trace: runtime.trace(request.trace),
            decision,
            dispatcher: Arc::clone(&self.dispatcher),
            registry: Arc::clone(&self.registry),
        };
        Ok(self.start(call, runtime.removed.clone().cancelled_owned(), tell))
    }

    /// Runs a tool for an operator, past the gate.
    ///
    /// # Errors
    /// As the contract has it for `InvokePluginTool`; the plugin was not asked.
    pub(crate) async fn try_out(
        &self,
        request: admin::InvokePluginToolRequest,
    ) -> Result<Stream<admin::InvokePluginToolResponse>, Failure> {
        let started = Instant::now();
        let (id, name) = (request.plugin_id.as_str(), request.tool_name.as_str());
        let snapshot = self.registry.snapshot();
        let is_it = |listed: &&Listed| {
            listed.part.view.id.as_str() == id && listed.tool().name == name && listed.tool().served.is_some()
        };
        let listed = snapshot.tools.iter().find(is_it).ok_or_else(|| unknown(id, name))?;
        let deadline = deadline(listed, started, request.timeout.as_ref())?;
        let session = request.session.map(|session| self.runtimes.session(&session)).transpose()?;
        let checked = check(listed, request.arguments_json, request.context_json).await?;
        let tell = |news| {
            let event = match news {
                News::Progress(progress) => admin::invoke_plugin_tool_response::Event::Progress(progress),
                News::Result { result, .. } => admin::invoke_plugin_tool_response::Event::Result(result),
            };
            admin::InvokePluginToolResponse { event: Some(event) }
        };
        if !checked.mismatches.is_empty() {
            return Ok(at_once(tell(mismatch(&checked.mismatches))));
        }
        let call = Call {
            listed: listed.clone(),
            started,
            deadline,
            runtime_id: Arc::from(session.as_ref().map(|session| session.runtime_id.as_str()).unwrap_or_default()),
            session,
            run: None,
            asked: plugin::ToolCall {
                name: name.to_owned(),
                arguments_json: checked.arguments,
                tool_call_id: OPERATOR.to_owned(),
                context_json: checked.context,
            },
            trace: None,
            decision: None,
            dispatcher: Arc::clone(&self.dispatcher),
            registry: Arc::clone(&self.registry),
        };
        Ok(self.start(call, std::future::pending(), tell))
    }

    fn start<T: Send + 'static>(
        &self,
        call: Call,
        removed: impl Future<Output = ()> + Send + 'static,
        tell: impl Fn(News) -> T + Send + 'static,
    ) -> Stream<T> {
        let (sender, receiver) = mpsc::channel(WAITING);
        self.tasks.spawn(call.drive(removed, sender, tell));
        receiver
    }

    /// The run of a call; one that nobody named before begins.
    fn begin(
        &self,
        runtime: &Runtime,
        run: &types::RunRef,
        session: Option<&types::SessionRef>,
    ) -> Result<Arc<Run>, Failure> {
        let id = check_run("run", Some(run))?;
        let run = self.runs.begin(&runtime.id, id).map_err(|none| no_run(runtime, id, none))?;
        if let Some(session) = session {
            run.set_session(Arc::new(session.clone()));
        }
        Ok(run)
    }
}

fn unknown(plugin: &str, tool: &str) -> Failure {
    let tool = text::clean(tool, 128);
    let why = match plugin {
        "" => format!("no plugin serves a tool `{tool}`"),
        plugin => format!("`{plugin}` serves no tool `{tool}`"),
    };
    Failure::new(ErrorReason::HandlerUnknown, why).meta("plugin_id", plugin).meta("kind", "TOOL").meta("id", tool)
}

fn deadline(listed: &Listed, started: Instant, asked: Option<&prost_types::Duration>) -> Result<Instant, Failure> {
    let own = listed.tool().served.as_ref().map(|served| served.timeout).unwrap_or_default();
    let asked = match asked {
        None => own,
        Some(asked) => match super::wire::to_duration(asked) {
            Some(asked) if asked > Duration::ZERO => asked,
            _ => return Err(Failure::field("timeout", "wants more than zero")),
        },
    };
    Ok(started + own.min(asked))
}

/// Arguments and context, checked.
struct Checked {
    arguments: Bytes,
    context: Bytes,
    digest: Option<ParamsDigest>,
    mismatches: Vec<Mismatch>,
}

/// Checks what a tool is called with, off the data thread: a schema may take its time.
async fn check(listed: &Listed, arguments: Bytes, context: Bytes) -> Result<Checked, Failure> {
    let arguments = if arguments.is_empty() { Bytes::from_static(b"{}") } else { arguments };
    let size = arguments.len() + context.len();
    if size > MAX_PAYLOAD {
        let right = format!("arguments and context have {size} bytes, at most {MAX_PAYLOAD}");
        return Err(Failure::field("arguments_json", right));
    }
    let listed = listed.clone();
    let check = move || {
        check_object("arguments_json", &arguments)?;
        if !context.is_empty() {
            check_object("context_json", &context)?;
        }
        let value: serde_json::Value = serde_json::from_slice(&arguments).map_err(|error| {
            Failure::new(ErrorReason::JsonInvalid, format!("arguments_json: {error}"))
                .meta("field", "arguments_json")
                .meta("rule", error.to_string())
                .meta("offset", "0")
        })?;
        let served = listed.tool().served.as_ref();
        let mismatches = served.map(|served| served.input.mismatches(&value)).unwrap_or_default();
        Ok(Checked { digest: digest(&arguments), arguments, context, mismatches })
    };
    let lost = |_| Err(Failure::new(ErrorReason::Unspecified, "the check of the arguments was lost"));
    tokio::task::spawn_blocking(check).await.unwrap_or_else(lost)
}

fn check_object(field: &str, text: &[u8]) -> Result<(), Failure> {
    let limits = ValueLimits::payload(PAYLOAD_DEPTH).object();
    json::validate_value(text, &limits).map_err(|error| Failure::json(field, error))
}

/// What the model is told of arguments that are not as the schema wants them.
fn mismatch(mismatches: &[Mismatch]) -> News {
    let lines: Vec<String> = mismatches.iter().map(ToString::to_string).collect();
    let said = format!("The arguments do not satisfy the tool's schema, and it was not called:\n{}", lines.join("\n"));
    let part = types::tool_content::Part::Text(said);
    let content = vec![types::ToolContent { part: Some(part) }];
    let result = types::ToolResult { content, is_error: true, structured_json: Bytes::new() };
    News::Result { result, arguments_invalid: true }
}

fn at_once<T>(message: T) -> Stream<T> {
    let (sender, receiver) = mpsc::channel(1);
    // There is room for one.
    let _ = sender.try_send(Ok(message));
    receiver
}

fn entry(listed: &Listed) -> wire::list_tools_response::Entry {
    let (view, tool) = (&listed.part.view, listed.tool());
    let state = absent_state(view);
    let serves = |session: &super::session::Session| {
        session.is_accepting() && !session.is_overloaded() && session.registration.served(&tool.name).is_some()
    };
    let available = tool.served.is_some()
        && view.serving().is_some_and(|session| serves(&session))
        && !view.tool(&tool.name).is_open(Instant::now());
    wire::list_tools_response::Entry {
        plugin_id: view.id.to_string(),
        plugin_name: listed.part.name.clone(),
        spec: tool.served.as_ref().map(|served| served.spec.clone()),
        metadata: tool.metadata.clone(),
        available,
        plugin_state: state as i32,
        timeout: tool.served.as_ref().map(|served| super::wire::duration(served.timeout)),
    }
}

/// The plugin does not serve the tool now.
fn absent(listed: &Listed) -> Failure {
    let view = &listed.part.view;
    let why = match absent_state(view) {
        PluginState::Ready => "is ready, but does not serve the tool now".to_owned(),
        _ => why_absent(view),
    };
    super::core::absent(view, format!("`{}` {why}", view.id))
}
