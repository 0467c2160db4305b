//! Options of the item that was added last.

use std::time::Duration;

use outrigger_proto::plugin::v1::ToolRegistration;
use outrigger_proto::types::v1::{DispatchKind, ToolHints, ToolMetadata, ToolRisk, Trigger};
use serde_json::Value;

use crate::hooks::event;
use crate::item::{self, AnyHook, ByTool, Described, Handler, Registered};
use crate::plugin::Plugin;
use crate::wire;

/// Options of every item.
impl<S, L: Registered<S>> Plugin<S, L> {
    /// The launch fails if the supervisor refuses this item. Default: the plugin works without it.
    pub fn must_accept(mut self) -> Self {
        *self.last.must_accept() = true;
        self
    }
}

/// Options of any handler.
impl<S, L: Handler<S>> Plugin<S, L> {
    /// Wish for the time one call may take, 1 ms to 600 s, for a tool to 1 h; the operator's setting beats it. Default: the
    /// hook's, for a tool 120 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.last.options().timeout = Some(wire::to_duration(timeout));
        self
    }

    /// Most calls of this handler at once, 1 to 64. Default 16, or `max_in_flight` if that is less. Others wait at the supervisor.
    pub fn max_concurrency(mut self, calls: u32) -> Self {
        self.last.options().max_concurrency = calls;
        self
    }

    /// State namespaces whose values come with every call ([`Context::states`](crate::Context::states)), at most 8.
    pub fn with_states(mut self, namespaces: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.last.options().state_namespaces = namespaces.into_iter().map(Into::into).collect();
        self
    }

    /// A cancelled call's handler goes on, so that it can put things in order, and is answered when it ends. It keeps its
    /// place meanwhile, and after the supervisor's patience (10 s, where the operator set no other) the plugin is
    /// replaced. Default: the handler's future is dropped where it waits.
    pub fn keep_running_on_cancel(mut self) -> Self {
        *self.last.keep_on_cancel() = true;
        self
    }
}

/// Options of items with a line for people.
impl<S, L: Described<S>> Plugin<S, L> {
    /// One line for people, at most 512 characters.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        *self.last.description() = description.into();
        self
    }
}

/// Options of a hook's or policy's handler.
impl<S, L: AnyHook<S>> Plugin<S, L> {
    /// The handler has no side effects: it may run beside others, and its result be thrown away. So several guards cost
    /// the slowest one and not the sum. Default: it may have some.
    pub fn side_effect_free(mut self) -> Self {
        self.last.hook().registration.side_effect_free = true;
        self
    }
}

/// Options of a hook's handler.
impl<S, E> Plugin<S, item::Hook<S, E>> {
    /// Order among all plugins' handlers of the hook: higher first. Default 0.
    pub fn priority(mut self, priority: i32) -> Self {
        self.last.0.registration.priority = priority;
        self
    }

    /// Send the conversation along ([`Call::messages`](crate::hooks::Call::messages)), where the hook has one. Needs
    /// `hooks.conversation`. Default: it is left out.
    pub fn wants_messages(mut self) -> Self {
        self.last.0.registration.wants_messages = true;
        self
    }
}

/// Options of a handler of `before_agent_reply`.
impl<S> Plugin<S, item::Hook<S, event::BeforeAgentReply>> {
    /// Triggers it is for. Default, and for none: all.
    pub fn triggers(mut self, triggers: impl IntoIterator<Item = Trigger>) -> Self {
        self.last.0.registration.triggers = triggers.into_iter().map(i32::from).collect();
        self
    }
}

/// Options of a handler of `reply_dispatch`.
impl<S> Plugin<S, item::Hook<S, event::ReplyDispatch>> {
    /// Kinds of dispatch it is for. Default, and for none: all.
    pub fn dispatch_kinds(mut self, kinds: impl IntoIterator<Item = DispatchKind>) -> Self {
        self.last.0.registration.dispatch_kinds = kinds.into_iter().map(i32::from).collect();
        self
    }
}

/// Options of a handler of `before_prompt_build`.
impl<S> Plugin<S, item::Hook<S, event::BeforePromptBuild>> {
    /// Call it after the tools are final, with a short-lived authority
    /// ([`Call::tool_authority`](crate::hooks::Call::tool_authority)); it may then only prepend and append context.
    pub fn requires_tool_authority(mut self) -> Self {
        self.last.0.registration.requires_tool_authority = true;
        self
    }
}

/// Options of a policy, and of a hook that is about a tool.
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

/// Options of a subscription.
impl<S> Plugin<S, item::Subscription<S>> {
    /// Agents it is for, at most 64. Default, and for none: all.
    pub fn agents(mut self, agents: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.last.0.registration.agent_ids = agents.into_iter().map(Into::into).collect();
        self
    }
}

/// Options of a served tool.
impl<S> Plugin<S, item::Tool<S>> {
    /// JSON Schema of the value for programs ([`ToolAnswer::structured`](crate::ToolAnswer::structured)); the supervisor
    /// holds every answer to it. Default: any value, or none.
    pub fn output_schema(mut self, schema: Value) -> Self {
        self.registration().spec.get_or_insert_default().output_schema_json = schema.to_string().into();
        self
    }

    /// How it behaves, for runtimes and people; nothing is enforced by it. Default: nothing is stated.
    pub fn hints(mut self, hints: ToolHints) -> Self {
        self.registration().spec.get_or_insert_default().hints = Some(hints);
        self
    }

    /// Its name for people, at most 128 characters. Default: its id.
    pub fn display_name(mut self, name: impl Into<String>) -> Self {
        self.metadata().display_name = name.into();
        self
    }

    /// How harmful it is. Default: not stated.
    pub fn risk(mut self, risk: ToolRisk) -> Self {
        self.metadata().risk = risk.into();
        self
    }

    /// Words to find it by, at most 32, each 1 to 64 characters.
    pub fn tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.metadata().tags = tags.into_iter().map(Into::into).collect();
        self
    }

    fn registration(&mut self) -> &mut ToolRegistration {
        &mut self.last.0.registration
    }

    fn metadata(&mut self) -> &mut ToolMetadata {
        self.registration().metadata.get_or_insert_default()
    }
}
