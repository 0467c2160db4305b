//! What a plugin is made of, written down step by step.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use outrigger_proto::types::v1::Hook;

use crate::connect;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::{Error, HandlerError, Result, StartError};
use crate::handler::HookHandler;
use crate::item::sealed::Items;
use crate::item::{self, AnyHook, BeforeToolCall, ByTool, Handler, HookItem, Item};
use crate::launch::Launch;
use crate::log;
use crate::running::BoxFuture;
use crate::session;
use crate::tool_call::{Decision, ToolCall};
use crate::wire;

/// Time to be connected: a supervisor that takes longer has its startup deadline behind it.
const CONNECT: Duration = Duration::from_secs(10);

/// A plugin: its state, its handlers, and how each is registered.
///
/// Methods that add an item ([`before_tool_call`](Self::before_tool_call)) are followed by those that set the item's
/// options ([`tools`](Self::tools), [`timeout`](Self::timeout) …): an option is the last added item's. `S` is the
/// plugin's state, `L` the kind of that item.
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
    last: L,
}

/// Everything of a plugin but its last item.
pub(crate) struct Parts<S> {
    pub(crate) start: Start<S>,
    pub(crate) ready: Option<Once<S>>,
    pub(crate) shutdown: Option<Once<S>>,
    pub(crate) max_in_flight: u32,
    pub(crate) version: String,
    pub(crate) items: Items<S>,
}

pub(crate) type Start<S> = Box<dyn FnOnce(Launch) -> BoxFuture<Result<S, StartError>> + Send>;
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
            items: Items { hooks: Vec::new() },
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

    /// Adds a guard: asked before a tool is called. The manifest declares it (`[[guard]]`), for these tools or more.
    ///
    /// `id` is unique among the plugin's hooks. The handler runs for several calls at a time. What it returns as an
    /// error blocks the call.
    pub fn before_tool_call<F, Fut>(self, id: impl Into<String>, handler: F) -> Plugin<S, BeforeToolCall<S>>
    where
        F: Fn(ToolCall, Context<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Decision, HandlerError>> + Send + 'static,
    {
        let handler: HookHandler<S> = Arc::new(move |call, context| {
            let decision = handler(ToolCall::new(call), context);
            Box::pin(
                async move { decision.await.map(Decision::into_outcome).unwrap_or_else(HandlerError::into_outcome) },
            )
        });
        self.add(BeforeToolCall(HookItem::new(Hook::BeforeToolCall, id.into(), handler)))
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

/// Options of any handler.
impl<S, L: Handler<S>> Plugin<S, L> {
    /// The launch fails if the supervisor refuses this item. Default: the plugin works without it.
    pub fn must_accept(mut self) -> Self {
        self.last.options().must_accept = true;
        self
    }

    /// Wish for the time one call may take, 1 ms to 600 s; the operator's setting beats it. Default: the hook's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.last.options().timeout = Some(wire::to_duration(timeout));
        self
    }

    /// Most calls of this handler at once, 1 to 64. Default 16, or `max_in_flight` if that is less. Others wait at the supervisor.
    pub fn max_concurrency(mut self, calls: u32) -> Self {
        self.last.options().max_concurrency = calls;
        self
    }

    /// State namespaces whose values come with every call ([`Context::states`]), at most 8.
    pub fn with_states(mut self, namespaces: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.last.options().state_namespaces = namespaces.into_iter().map(Into::into).collect();
        self
    }

    /// A cancelled call's handler goes on, so that it can put things in order, and is answered when it ends. It keeps its
    /// place meanwhile, and after the supervisor's patience (10 s, where the operator set no other) the plugin is
    /// replaced. Default: the handler's future is dropped where it waits.
    pub fn keep_running_on_cancel(mut self) -> Self {
        self.last.keep_running_on_cancel();
        self
    }
}

/// Options of a hook's handler.
impl<S, L: AnyHook<S>> Plugin<S, L> {
    /// Order among all plugins' handlers of the hook: higher first. Default 0.
    pub fn priority(mut self, priority: i32) -> Self {
        self.last.hook().registration.priority = priority;
        self
    }

    /// One line for people, at most 512 characters.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.last.hook().registration.description = description.into();
        self
    }

    /// The handler has no side effects: it may run beside others, and its result be thrown away. So several guards cost
    /// the slowest one and not the sum. Default: it may have some.
    pub fn side_effect_free(mut self) -> Self {
        self.last.hook().registration.side_effect_free = true;
        self
    }
}

/// Options of a hook that is about a tool.
impl<S, L: ByTool<S>> Plugin<S, L> {
    /// Tools it is for: canonical lower-case ids, at most 256. Default, and for none: all tools.
    pub fn tools(mut self, tools: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.last.hook().registration.tool_names = tools.into_iter().map(Into::into).collect();
        self
    }

    /// Tools it is for, told once the state is known, for instance by the configuration. With none the item is left out.
    pub fn tools_from(mut self, tools: impl FnOnce(&S) -> Vec<String> + Send + 'static) -> Self {
        self.last.hook().tools_from = Some(Box::new(tools));
        self
    }
}
