//! Handlers, with what they take and return hidden, and where an invocation finds its own.

use std::collections::HashMap;
use std::sync::Arc;

use outrigger_proto::plugin::v1 as plugin;
use outrigger_proto::plugin::v1::invocation::Call;
use outrigger_proto::plugin::v1::invocation_result::Outcome;

use crate::context::Context;
use crate::error::HandlerError;
use crate::invocation::Invocation;
use crate::item::HookItem;
use crate::launch::Launch;
use crate::running::{BoxFuture, Running};

/// A hook's handler.
pub(crate) type HookHandler<S> = Arc<dyn Fn(plugin::HookCall, Context<S>) -> BoxFuture<Outcome> + Send + Sync>;

/// All handlers, by kind and id.
pub(crate) struct Handlers<S> {
    hooks: HashMap<String, Hook<S>>,
}

struct Hook<S> {
    hook: i32,
    handler: HookHandler<S>,
    keep_on_cancel: bool,
}

impl<S> Handlers<S> {
    /// Of two hooks with the same id the first counts, as for the supervisor.
    pub(crate) fn new(hooks: Vec<HookItem<S>>) -> Self {
        let mut map = HashMap::with_capacity(hooks.len());
        for item in hooks {
            let hook =
                Hook { hook: item.registration.hook, handler: item.handler, keep_on_cancel: item.keep_on_cancel };
            map.entry(item.registration.handler_id).or_insert(hook);
        }
        Self { hooks: map }
    }

    /// Starts the handler an invocation is for.
    ///
    /// # Errors
    /// The handler is not done yet.
    pub(crate) fn start(
        &self,
        handler_id: &str,
        call: Option<Call>,
        launch: &Launch<S>,
        invocation: Arc<Invocation>,
    ) -> Result<Outcome, Running> {
        match call {
            Some(Call::Hook(call)) => match self.hooks.get(handler_id) {
                Some(hook) if hook.hook == call.hook => {
                    let context = Context::new(launch.clone(), invocation.clone());
                    Running::start(|| (hook.handler)(call, context), invocation, hook.keep_on_cancel)
                }
                Some(_) | None => {
                    Ok(unsupported(format_args!("there is no such handler of this hook: `{handler_id}`")))
                }
            },
            // Kinds of calls for which nothing can be registered here, or that are newer than this SDK.
            Some(_) | None => Ok(unsupported("this kind of call is not known")),
        }
    }
}

fn unsupported(message: impl std::fmt::Display) -> Outcome {
    Outcome::Failed(HandlerError::unsupported(message).into_wire())
}
