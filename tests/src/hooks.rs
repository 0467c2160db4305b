//! A runtime's side: calls of `before_tool_call`, one by one or on a stream, and what came of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use outrigger::transport::client::KeyInterceptor;
use outrigger_proto::runtime::v1::hook_stream_request::Call;
use outrigger_proto::runtime::v1::hook_stream_response::answer::Answer;
use outrigger_proto::runtime::v1::runtime_service_client::RuntimeServiceClient;
use outrigger_proto::runtime::v1::{HookInvocation, HookOutcome, HookStreamRequest, HookVerdict, InvokeHookRequest};
use outrigger_proto::types::v1::{HandlerOutcome, HandlerReport, Hook};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

/// A channel that carries a key.
pub type Keyed = InterceptedService<Channel, KeyInterceptor>;
/// A runtime's client.
pub type Runtime = RuntimeServiceClient<Keyed>;

/// Messages that may wait to be written.
const QUEUE: usize = 64;

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Called {
    /// Whether it goes on.
    pub verdict: HookVerdict,
    /// Why not.
    pub reason: String,
    /// Who decided; `None` where everybody let it pass.
    pub decided_by: Option<HandlerReport>,
    /// Every handler.
    pub handlers: Vec<HandlerReport>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Called {
    fn new(outcome: HookOutcome, elapsed: Duration) -> Self {
        Self {
            verdict: outcome.verdict(),
            reason: outcome.reason,
            decided_by: outcome.decided_by.map(|report| *report),
            handlers: outcome.handlers,
            elapsed,
        }
    }

    /// It goes on.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.verdict == HookVerdict::GoOn
    }

    /// How whoever stopped it fared. `None`: it goes on.
    #[must_use]
    pub fn stopped_as(&self) -> Option<HandlerOutcome> {
        if self.goes_on() { None } else { self.decided_by.as_ref().map(HandlerReport::outcome) }
    }

    /// It was stopped for this plugin, by name in the reason and in the report.
    #[must_use]
    pub fn is_stopped_by(&self, plugin: &str) -> bool {
        let named = self.decided_by.as_ref().is_some_and(|report| report.plugin_id == plugin);
        self.verdict == HookVerdict::Stop && named && self.reason.starts_with(&format!("{plugin}: "))
    }

    /// In few words, as `go-on/allow` or `stop/timeout`.
    #[must_use]
    pub fn short(&self) -> String {
        let name =
            |outcome: HandlerOutcome| outcome.as_str_name().trim_start_matches("HANDLER_OUTCOME_").to_ascii_lowercase();
        match self.stopped_as() {
            Some(outcome) => format!("stop/{}", name(outcome)),
            None if self.goes_on() => {
                let told: Vec<_> = self.handlers.iter().map(|handler| name(handler.outcome())).collect();
                format!("go-on/{}", if told.is_empty() { "unasked".to_owned() } else { told.join("+") })
            }
            None => format!("{:?}", self.verdict),
        }
    }
}

/// Asserts that a call was stopped for a plugin, with this outcome.
///
/// # Panics
/// It was not.
#[track_caller]
pub fn assert_stopped(called: &Called, plugin: &str, outcome: HandlerOutcome) {
    assert!(called.is_stopped_by(plugin), "not stopped by {plugin}: {called:?}");
    assert_eq!(called.stopped_as(), Some(outcome), "{called:?}");
}

/// The invocation of a tool call's hook.
#[must_use]
pub fn tool_call(tool: &str, params: &Value) -> HookInvocation {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let id = format!("call-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let event = json!({ "toolName": tool, "toolCallId": id, "params": params });
    HookInvocation {
        hook: Hook::BeforeToolCall as i32,
        event_json: event.to_string().into(),
        tool_name: tool.to_owned(),
        tool_call_id: id,
        report_handlers: true,
        ..HookInvocation::default()
    }
}

/// Calls the hook by the unary method.
///
/// # Errors
/// The call was not carried out.
pub async fn invoke(runtime: &Runtime, tool: &str, params: &Value) -> Result<Called, Status> {
    let begin = Instant::now();
    let request = InvokeHookRequest { invocation: Some(tool_call(tool, params)) };
    let response = runtime.clone().invoke_hook(request).await?.into_inner();
    let outcome = response.outcome.ok_or_else(|| Status::internal("the answer has no outcome"))?;
    Ok(Called::new(outcome, begin.elapsed()))
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<HookOutcome, String>>>>>;

/// A long-lived stream of calls. Dropping it ends it.
pub struct HookStream {
    out: mpsc::Sender<HookStreamRequest>,
    waiting: Waiting,
    next: AtomicU64,
    reader: JoinHandle<()>,
}

impl HookStream {
    /// Opens a stream.
    ///
    /// # Errors
    /// As the supervisor answers.
    pub async fn open(runtime: &Runtime) -> Result<Self, Status> {
        let (out, requests) = mpsc::channel(QUEUE);
        let mut answers = runtime.clone().hook_stream(ReceiverStream::new(requests)).await?.into_inner();
        let waiting = Waiting::default();
        let table = Arc::clone(&waiting);
        let reader = tokio::spawn(async move {
            while let Ok(Some(message)) = answers.message().await {
                for answer in message.answers {
                    let waiter = lock(&table).remove(&answer.call_id);
                    let told = match answer.answer {
                        Some(Answer::Outcome(outcome)) => Ok(outcome),
                        Some(Answer::Error(error)) => Err(format!("{}: {}", error.code, error.message)),
                        None => Err("an answer without an outcome".to_owned()),
                    };
                    // An answer that nobody waits for is a second one.
                    let Some(waiter) = waiter else { unreachable!("call {} was answered twice", answer.call_id) };
                    // Whoever called may have gone.
                    let _ = waiter.send(told);
                }
            }
            // Dropping the senders tells those who still wait.
            lock(&table).clear();
        });
        Ok(Self { out, waiting, next: AtomicU64::new(1), reader })
    }

    /// Makes one call; any number may be under way at once.
    ///
    /// # Errors
    /// The call was not carried out, or the stream broke.
    pub async fn call(&self, tool: &str, params: &Value) -> Result<Called, String> {
        let begin = Instant::now();
        let call_id = self.next.fetch_add(1, Ordering::Relaxed);
        let (told, answer) = oneshot::channel();
        lock(&self.waiting).insert(call_id, told);
        let call = Call { call_id, invocation: Some(Box::new(tool_call(tool, params))) };
        let request = HookStreamRequest { calls: vec![call], ..HookStreamRequest::default() };
        self.out.send(request).await.map_err(|_| "the stream is closed".to_owned())?;
        let outcome = answer.await.map_err(|_| "the stream broke".to_owned())??;
        Ok(Called::new(outcome, begin.elapsed()))
    }
}

impl Drop for HookStream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
