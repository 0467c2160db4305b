//! Handlers, with what they take and return hidden, and where an invocation finds its own.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use outrigger_proto::plugin::v1 as plugin;
use outrigger_proto::plugin::v1::Completed;
use outrigger_proto::plugin::v1::invocation::Call;
use outrigger_proto::plugin::v1::invocation_result::Outcome;
use outrigger_proto::types::v1::Hook;

use crate::approval::ApprovalEnd;
use crate::context::Context;
use crate::error::HandlerError;
use crate::invocation::Invocation;
use crate::item::{HookItem, ToolItem};
use crate::launch::Launch;
use crate::outbox::Outbox;
use crate::running::{BoxFuture, Running};
use crate::tool::ToolContext;

/// The handler of a hook or policy.
pub(crate) type HookHandler<S> = Arc<dyn Fn(plugin::HookCall, Context<S>) -> BoxFuture<Outcome> + Send + Sync>;
/// A tool's handler. What it is called with has the arguments still.
pub(crate) type ToolHandler<S> = Arc<dyn Fn(bytes::Bytes, ToolContext<S>) -> BoxFuture<Outcome> + Send + Sync>;
/// What is told of the ends of approvals.
pub(crate) type ApprovalHandler<S> = Arc<dyn Fn(ApprovalEnd, Context<S>) -> BoxFuture<Outcome> + Send + Sync>;

/// All handlers, by kind and id.
pub(crate) struct Handlers<S> {
    hooks: HashMap<(i32, String), Held<HookHandler<S>>>,
    policies: HashMap<String, Held<HookHandler<S>>>,
    tools: HashMap<String, Held<ToolHandler<S>>>,
    approval: Option<ApprovalHandler<S>>,
}

struct Held<H> {
    handler: H,
    keep_on_cancel: bool,
}

impl<S: Send + Sync + 'static> Handlers<S> {
    /// Of two handlers with the same id the first counts, as for the supervisor.
    pub(crate) fn new(
        hooks: Vec<HookItem<S>>,
        policies: Vec<HookItem<S>>,
        tools: Vec<ToolItem<S>>,
        approval: Option<ApprovalHandler<S>>,
    ) -> Self {
        let hook = |item: HookItem<S>| {
            let held = Held { handler: item.handler, keep_on_cancel: item.keep_on_cancel };
            (item.registration.hook, item.registration.handler_id, held)
        };
        let tool = |item: ToolItem<S>| {
            let name = item.registration.spec.map(|spec| spec.name).unwrap_or_default();
            (name, Held { handler: item.handler, keep_on_cancel: item.keep_on_cancel })
        };
        Self {
            hooks: first(hooks.into_iter().map(hook).map(|(hook, id, held)| ((hook, id), held))),
            policies: first(policies.into_iter().map(hook).map(|(_, id, held)| (id, held))),
            tools: first(tools.into_iter().map(tool)),
            approval,
        }
    }

    /// Starts the handler an invocation is for.
    ///
    /// # Errors
    /// The handler is not done yet.
    pub(crate) fn start(
        &self,
        handler_id: String,
        call: Option<Call>,
        launch: &Launch<S>,
        outbox: &Outbox,
        invocation: Arc<Invocation>,
    ) -> Result<Outcome, Running> {
        let context = || Context::new(launch.clone(), invocation.clone());
        match call {
            Some(Call::Hook(call)) => {
                let key = (call.hook, handler_id);
                match self.hooks.get(&key) {
                    Some(hook) => {
                        let context = context();
                        Running::start(|| (hook.handler)(call, context), invocation, hook.keep_on_cancel)
                    }
                    None if Hook::try_from(call.hook).is_err() => Ok(unsupported("this hook is not known")),
                    None => Ok(none_such("hook", &key.1)),
                }
            }
            Some(Call::ToolPolicy(call)) => match self.policies.get(&handler_id) {
                Some(policy) => {
                    let context = context();
                    Running::start(|| (policy.handler)(call, context), invocation, policy.keep_on_cancel)
                }
                None => Ok(none_such("tool policy", &handler_id)),
            },
            Some(Call::Tool(mut call)) => match self.tools.get(&handler_id) {
                Some(tool) => {
                    let arguments = std::mem::take(&mut call.arguments_json);
                    let context = ToolContext::new(context(), call, outbox.clone());
                    // Known before the handler runs: it may tell of its progress at once.
                    outbox.begin(invocation.clone());
                    Running::start(|| (tool.handler)(arguments, context), invocation, tool.keep_on_cancel)
                }
                None => Ok(none_such("tool", &handler_id)),
            },
            Some(Call::Approval(call)) => match &self.approval {
                Some(approval) => {
                    let context = context();
                    Running::start(|| approval(ApprovalEnd::new(call), context), invocation, false)
                }
                // Any answer will do.
                None => Ok(Outcome::Completed(Completed {})),
            },
            // Kinds of calls for which nothing can be registered here, or that are newer than this SDK.
            Some(_) | None => Ok(unsupported("this kind of call is not known")),
        }
    }
}

/// A map in which of two entries the first counts.
fn first<K: Eq + Hash, V>(entries: impl Iterator<Item = (K, V)>) -> HashMap<K, V> {
    let mut map = HashMap::new();
    for (key, value) in entries {
        map.entry(key).or_insert(value);
    }
    map
}

fn none_such(kind: &str, id: &str) -> Outcome {
    unsupported(format_args!("there is no such handler of this {kind}: `{id}`"))
}

fn unsupported(message: impl std::fmt::Display) -> Outcome {
    Outcome::Failed(HandlerError::unsupported(message).into_wire())
}
