//! What a plugin is made of, written down step by step.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outrigger_proto::plugin::v1::invocation_result::Outcome;
use outrigger_proto::plugin::v1::{SubscriptionRegistration, ToolRegistration};
use outrigger_proto::types::v1::ToolSpec;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::agent_event::{AfterGap, Event, Gap, ReadEvents};
use crate::answer::sealed::Answer as _;
use crate::answer::{Answer, Decision};
use crate::approval::ApprovalEnd;
use crate::connect;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::{Error, HandlerError, Result, StartError};
use crate::events::GapHandler;
use crate::handler::{ApprovalHandler, HookHandler};
use crate::hooks::{self, Call, event};
use crate::item::sealed::Items;
use crate::item::{self, HookItem, Item, SubscriptionItem, ToolItem};
use crate::launch::Launch;
use crate::log;
use crate::running::BoxFuture;
use crate::session;
use crate::tool::{ToolAnswer, ToolContext};

/// Time to be connected: a supervisor that takes longer has its startup deadline behind it.
const CONNECT: Duration = Duration::from_secs(10);

/// A plugin: its state, its handlers, and how each is registered.
///
/// Methods that add an item ([`on`](Self::on), [`before_tool_call`](Self::before_tool_call), [`policy`](Self::policy),
/// [`tool`](Self::tool), [`subscribe`](Self::subscribe)) are followed by those that set the item's options
/// ([`tools`](Self::tools), [`timeout`](Self::timeout) …): an option is the last added item's. `S` is the plugin's state,
/// `L` the kind of that item.
///
/// ```
/// use std::time::Duration;
///
/// use outrigger_sdk::{Context, Decision, HandlerError, Launch, Plugin, ToolCall};
///
/// #[derive(serde::Deserialize)]
/// struct Config {
///     forbidden: Vec<String>,
/// }
///
/// async fn guard(call: ToolCall, cx: Context<Config>) -> Result<Decision, HandlerError> {
///     let forbidden = cx.state().forbidden.iter().any(|tool| tool == call.tool());
///     Ok(if forbidden { Decision::block("the operator forbids this tool") } else { Decision::declined() })
/// }
///
/// fn plugin() -> Plugin<Config> {
///     Plugin::on_start(|launch: Launch| async move { Ok(launch.config::<Config>()?) })
///         .before_tool_call("guard", guard)
///         .priority(10)
///         .timeout(Duration::from_secs(1))
///         .side_effect_free()
///         .build()
/// }
/// # let _ = plugin();
/// ```
#[must_use = "a plugin does nothing until it is run"]
pub struct Plugin<S = (), L = item::None> {
    parts: Parts<S>,
    pub(crate) last: L,
}

/// Everything of a plugin but its last item.
pub(crate) struct Parts<S> {
    pub(crate) start: Start<S>,
    pub(crate) ready: Option<Once<S>>,
    pub(crate) shutdown: Option<Once<S>>,
    pub(crate) max_in_flight: u32,
    pub(crate) version: String,
    pub(crate) items: Items<S>,
    pub(crate) read_events: Option<ReadHow<S>>,
    pub(crate) gaps: Option<GapHandler<S>>,
    pub(crate) approval: Option<ApprovalHandler<S>>,
}

pub(crate) type Start<S> = Box<dyn FnOnce(Launch) -> BoxFuture<Result<S, StartError>> + Send>;
pub(crate) type ReadHow<S> = Box<dyn FnOnce(&Launch<S>) -> ReadEvents + Send>;
pub(crate) type Once<S> = Box<dyn FnOnce(Launch<S>) -> BoxFuture<()> + Send>;

impl Plugin {
    /// A plugin without state that needs no warm-up.
    pub fn new() -> Self {
        Self::on_start(|_| async { Ok(()) })
    }
}

impl Default for Plugin {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Send + Sync + 'static> Plugin<S, item::None> {
    /// A plugin that warms up: the closure runs after Welcome and before anything is registered, and what it returns is
    /// the state all handlers share ([`Launch::state`]).
    ///
    /// Configuration, secrets and rights are there, and host calls that only read work. The startup deadline (10 s,
    /// where the operator set no other) runs on. An error ends the launch: see [`StartError`] for what follows from it.
    pub fn on_start<F, Fut>(start: F) -> Self
    where
        F: FnOnce(Launch) -> Fut + Send + 'static,
        Fut: Future<Output = Result<S, StartError>> + Send + 'static,
    {
        let parts = Parts {
            start: Box::new(|launch| Box::pin(start(launch))),
            ready: None,
            shutdown: None,
            max_in_flight: 0,
            version: String::new(),
            items: Items::default(),
            read_events: None,
            gaps: None,
            approval: None,
        };
        Self { parts, last: item::None }
    }
}

impl<S: Send + Sync + 'static, L: Item<S>> Plugin<S, L> {
    /// Forgets the kind of the last item, for the type of a function's result.
    pub fn build(self) -> Plugin<S> {
        self.add(item::None)
    }

    fn add<M>(mut self, item: M) -> Plugin<S, M> {
        self.last.store(&mut self.parts.items);
        Plugin { parts: self.parts, last: item }
    }

    /// Background work: the closure runs from when the plugin is registered, beside the handlers. It is dropped when the
    /// plugin is asked to exit.
    pub fn on_ready<F, Fut>(mut self, ready: F) -> Self
    where
        F: FnOnce(Launch<S>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.parts.ready = Some(Box::new(|launch| Box::pin(ready(launch))));
        self
    }

    /// Runs when the plugin is asked to exit and its handlers are done. About half of the time the supervisor gives (3 s, where the
    /// operator set no other) is its; then it is dropped. Host calls are refused here.
    pub fn on_shutdown<F, Fut>(mut self, shutdown: F) -> Self
    where
        F: FnOnce(Launch<S>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.parts.shutdown = Some(Box::new(|launch| Box::pin(shutdown(launch))));
        self
    }

    /// Most calls at once over all handlers, 1 to 64. Default 16. Others wait at the supervisor.
    pub fn max_in_flight(mut self, calls: u32) -> Self {
        self.parts.max_in_flight = calls;
        self
    }

    /// The plugin's version, as in its manifest, usually `env!("CARGO_PKG_VERSION")`; another one is refused. Default: not told.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.parts.version = version.into();
        self
    }

    /// Adds a handler of a hook of the catalogue ([`hooks`](crate::hooks)).
    ///
    /// `id` is unique among the plugin's hooks. The handler runs for several calls at a time; what it returns as an error
    /// is decided by the hook's failure policy.
    ///
    /// ```
    /// use outrigger_sdk::{Plugin, TextRewrite, hooks};
    ///
    /// let plugin = Plugin::new()
    ///     .on(hooks::MESSAGE_SENDING, "no-shouting", |call, _cx| async move {
    ///         let text = call.event()?.content.unwrap_or_default();
    ///         Ok(TextRewrite::replace(text.to_lowercase()))
    ///     })
    ///     .priority(5);
    /// # let _ = plugin.build();
    /// ```
    pub fn on<E, A, F, Fut>(
        self,
        hook: hooks::Hook<E, A>,
        id: impl Into<String>,
        handler: F,
    ) -> Plugin<S, item::Hook<S, E>>
    where
        E: 'static,
        A: Answer,
        F: Fn(Call<E>, Context<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<A, HandlerError>> + Send + 'static,
    {
        self.add(item::Hook(HookItem::new(hook.wire(), id.into(), answering(handler)), PhantomData))
    }

    /// Adds a guard: [`on`](Self::on) for [`hooks::BEFORE_TOOL_CALL`]. The manifest declares it (`[[guard]]`), for these
    /// tools or more. What it returns as an error blocks the call.
    pub fn before_tool_call<F, Fut>(
        self,
        id: impl Into<String>,
        handler: F,
    ) -> Plugin<S, item::Hook<S, event::BeforeToolCall>>
    where
        F: Fn(Call<event::BeforeToolCall>, Context<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Decision, HandlerError>> + Send + 'static,
    {
        self.on(hooks::BEFORE_TOOL_CALL, id, handler)
    }

    /// Adds a trusted tool policy: asked before every ordinary handler, and its parameters replace the call's. It needs
    /// `policy.trusted` and a guard with `policy = true` in the manifest. `id` is unique among the plugin's policies;
    /// `description` is a line for people of 1 to 512 characters. What it returns as an error blocks the call.
    pub fn policy<F, Fut>(
        self,
        id: impl Into<String>,
        description: impl Into<String>,
        handler: F,
    ) -> Plugin<S, item::Policy<S>>
    where
        F: Fn(Call<event::BeforeToolCall>, Context<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Decision, HandlerError>> + Send + 'static,
    {
        let mut item = HookItem::new(hooks::BEFORE_TOOL_CALL.wire(), id.into(), answering(handler));
        item.registration.description = description.into();
        self.add(item::Policy(item))
    }

    /// Serves a tool to the model: its name, which the manifest claims (`tools`), what the model is told of it, and the
    /// JSON Schema of its arguments, an object. Needs `tools.serve`.
    ///
    /// The supervisor has checked the arguments against the schema; where they are no `T` all the same, the model is told
    /// so and the handler does not run. The handler returns a [`ToolAnswer`] or a text, also for what went wrong
    /// ([`ToolAnswer::error`]); an `Err` is a failure of the call. It is cancelled for real: its future is dropped.
    ///
    /// ```
    /// use outrigger_sdk::Plugin;
    /// use serde_json::json;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Words {
    ///     text: String,
    /// }
    ///
    /// let schema = json!({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]});
    /// let plugin = Plugin::new().tool("word_count", "Counts the words of a text.", schema, |words: Words, cx| async move {
    ///     cx.progress(0.0, 1.0, "counting");
    ///     Ok(format!("{} words", words.text.split_whitespace().count()))
    /// });
    /// # let _ = plugin.build();
    /// ```
    pub fn tool<T, R, F, Fut>(
        self,
        name: impl Into<String>,
        description: impl Into<String>,
        input_schema: Value,
        handler: F,
    ) -> Plugin<S, item::Tool<S>>
    where
        T: DeserializeOwned,
        R: Into<ToolAnswer>,
        F: Fn(T, ToolContext<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, HandlerError>> + Send + 'static,
    {
        let spec = ToolSpec {
            name: name.into(),
            description: description.into(),
            input_schema_json: input_schema.to_string().into(),
            ..Default::default()
        };
        let registration = ToolRegistration { spec: Some(spec), ..Default::default() };
        let handler = move |arguments: Bytes, context| -> BoxFuture<Outcome> {
            match hooks::parse::<T>("the arguments", &arguments) {
                Ok(arguments) => {
                    let answer = handler(arguments, context);
                    Box::pin(async move { answered(answer.await.map(Into::<ToolAnswer>::into)) })
                }
                // The model can call again with better ones.
                Err(error) => {
                    let told = ToolAnswer::error(format!("the arguments cannot be used: {}", error.source));
                    Box::pin(std::future::ready(told.into_outcome()))
                }
            }
        };
        self.add(item::Tool(ToolItem { registration, handler: Arc::new(handler), keep_on_cancel: false }))
    }

    /// Subscribes to agent events of these streams; none: all the plugin may read. `id` is unique in the plugin. Needs
    /// `events.read`, and `hooks.conversation` for streams with content.
    ///
    /// Events come one after another, over all of the plugin's subscriptions, and each is acknowledged when its handlers
    /// are done; a slow handler so leads to a [`Gap`], see [`on_gap`](Self::on_gap). After a crash events that were not
    /// acknowledged come again, marked ([`Event::is_redelivered`]). An error or panic of a handler is logged, and the event
    /// counts as done.
    pub fn subscribe<F, Fut>(
        self,
        id: impl Into<String>,
        streams: impl IntoIterator<Item = impl Into<String>>,
        handler: F,
    ) -> Plugin<S, item::Subscription<S>>
    where
        F: Fn(Event, Launch<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        let registration = SubscriptionRegistration {
            subscription_id: id.into(),
            streams: streams.into_iter().map(Into::into).collect(),
            ..Default::default()
        };
        let handler = Arc::new(move |event, launch| -> BoxFuture<_> { Box::pin(handler(event, launch)) });
        self.add(item::Subscription(SubscriptionItem { registration, handler }))
    }

    /// Is told when events are missing, before those that come after them, and says whether to ask for them. Default:
    /// the log is told.
    pub fn on_gap<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Gap, Launch<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<AfterGap, HandlerError>> + Send + 'static,
    {
        self.parts.gaps = Some(Arc::new(move |gap, launch| Box::pin(handler(gap, launch))));
        self
    }

    /// Says how events are read, once the plugin is registered: from where, how many at a time, of which sessions.
    /// Default: [`ReadEvents::new`].
    pub fn read_events(mut self, how: impl FnOnce(&Launch<S>) -> ReadEvents + Send + 'static) -> Self {
        self.parts.read_events = Some(Box::new(how));
        self
    }

    /// Is told how approvals ended that the plugin asked for, also those an earlier generation asked for.
    pub fn on_approval<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(ApprovalEnd, Context<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        self.parts.approval = Some(Arc::new(move |end, context| {
            let told = handler(end, context);
            Box::pin(async move { answered(told.await) })
        }));
        self
    }

    /// Runs the plugin until the supervisor stops it.
    ///
    /// Call it first thing in `main`, on a runtime with one thread (`#[tokio::main(flavor = "current_thread")]`): see
    /// [`Environment::take`]. It installs the [`log`], and answers SIGTERM by finishing what is in flight.
    ///
    /// # Errors
    /// The launch ended in any other way than by the supervisor's Shutdown or by SIGTERM. The process must exit: it cannot run again.
    pub async fn run(self) -> Result<()> {
        self.run_in(Environment::take()?).await
    }

    /// As [`run`](Self::run), on a runtime of its own with one thread, which is the fastest.
    ///
    /// # Errors
    /// As `run`.
    pub fn run_blocking(self) -> Result<()> {
        let environment = Environment::take()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::Start(StartError::from(error)))?;
        let result = runtime.block_on(self.run_in(environment));
        // Blocking work that goes on must not keep the process.
        runtime.shutdown_background();
        result
    }

    /// As [`run`](Self::run), with an environment that was taken before.
    ///
    /// # Errors
    /// As `run`.
    pub async fn run_in(self, environment: Environment) -> Result<()> {
        log::install();
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Connect {
            address: environment.socket.display().to_string(),
            source,
        };
        let terminate = session::sigterm().map_err(|error| Error::Start(StartError::from(error)))?;
        let connect = async {
            let connection = connect::dial(&environment.socket).await.map_err(|error| failed(error.into()))?;
            connect::channel(connection).await.map_err(|error| failed(error.into()))
        };
        let timed_out = |_| Error::TimedOut { step: "connect to the supervisor", limit: CONNECT };
        let channel = tokio::time::timeout(CONNECT, connect).await.map_err(timed_out)??;
        session::hold(self.into_parts(), &environment, channel, terminate).await
    }

    /// The plugin with its last item stored.
    pub(crate) fn into_parts(self) -> Parts<S> {
        self.build().parts
    }
}

/// A hook's or policy's handler with its types hidden.
fn answering<S, E, A, F, Fut>(handler: F) -> HookHandler<S>
where
    A: Answer,
    F: Fn(Call<E>, Context<S>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<A, HandlerError>> + Send + 'static,
{
    Arc::new(move |call, context| {
        let answer = handler(Call::new(call), context);
        Box::pin(async move { answered(answer.await) })
    })
}

fn answered<A: Answer>(answer: Result<A, HandlerError>) -> Outcome {
    answer.map(A::into_outcome).unwrap_or_else(HandlerError::into_outcome)
}
