//! What a plugin offers, checked item by item: a verdict for each, and what of it is served.

mod tools;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::types::v1 as types;
use prost::Message as _;

pub(crate) use self::tools::{Served, Tool};
use super::events::{Class, Subscription};
use crate::domain::guard::{Guard, Tools};
use crate::domain::hook::Hook;
use crate::domain::names;
use crate::domain::quota::Quota;
use crate::domain::rights::Scope;
use crate::domain::spec::PluginSpec;
use crate::domain::text;

/// Items of one registration (architecture §14).
const MAX_ITEMS: usize = 256;
/// Items that have a verdict each. A registration with more is refused as a whole: in 256 KiB there is room for 131,072
/// empty items, whose verdicts would take 40 MiB and be longer than any message.
const MAX_VERDICTS: usize = 1024;
/// Bytes of one registration (architecture §14).
const MAX_BYTES: usize = 256 * 1024;
/// Invocations at once where the plugin says nothing.
const DEFAULT_IN_FLIGHT: u32 = 16;
/// Most invocations at once.
const MAX_IN_FLIGHT: u32 = 64;
/// Tools one handler may name.
const MAX_TOOLS: usize = 256;
/// Streams, and agents, one subscription may name.
const MAX_NAMES: usize = 64;
/// The least time a handler may wish.
const SHORTEST: Duration = Duration::from_millis(1);
/// The most time a handler may wish, but for tools.
const LONGEST: Duration = Duration::from_secs(600);

/// A handler that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Handler {
    /// Its id, as it comes back with each call.
    pub(crate) id: String,
    /// The hook.
    pub(crate) hook: Hook,
    /// Tools it wants.
    pub(crate) tools: Tools,
    /// Higher is asked first.
    pub(crate) priority: i32,
    /// Time for one call, as operator, wish and catalogue decided.
    pub(crate) timeout: Duration,
    /// Most calls of it at once.
    pub(crate) max_concurrency: usize,
    /// It wants the conversation's messages.
    pub(crate) wants_messages: bool,
    /// It may run beside others.
    pub(crate) side_effect_free: bool,
    /// It is a trusted tool policy: asked before every hook, and what it makes of parameters is what they see.
    pub(crate) policy: bool,
    /// Triggers it wants; empty: all.
    pub(crate) triggers: Vec<i32>,
    /// Dispatch kinds it wants; empty: all.
    pub(crate) dispatch_kinds: Vec<i32>,
    /// It is called only with a tool authority.
    pub(crate) tool_authority: bool,
    /// Its plugin may see the conversation.
    pub(crate) conversation: bool,
    /// Approvals of its plugin that may be pending.
    pub(crate) pending_approvals: usize,
}

impl Handler {
    /// A call in the form it comes in for this handler.
    pub(crate) fn call(&self, call: wire::HookCall) -> wire::invocation::Call {
        match self.policy {
            true => wire::invocation::Call::ToolPolicy(call),
            false => wire::invocation::Call::Hook(call),
        }
    }
}

/// What a launch registered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Registration {
    /// Most invocations at once.
    pub(crate) max_in_flight: usize,
    /// It reads nothing while a handler runs.
    pub(crate) serial: bool,
    /// Accepted handlers, in the registration's order.
    pub(crate) handlers: Vec<Handler>,
    /// Accepted tools, in the registration's order; their places come after those of the handlers.
    pub(crate) tools: Arc<[Tool]>,
    /// Accepted subscriptions to events, in the registration's order.
    pub(crate) subscriptions: Arc<[Subscription]>,
    /// One verdict for each item.
    pub(crate) verdicts: Vec<wire::Verdict>,
    /// Guards that count and that no handler serves, or not for all of their tools.
    pub(crate) unserved: Vec<Guard>,
}

impl Registration {
    /// Items that were refused.
    pub(crate) fn refused(&self) -> impl Iterator<Item = &wire::Verdict> {
        self.verdicts.iter().filter(|verdict| verdict.reason != wire::VerdictReason::Accepted as i32)
    }

    /// The handler of an id.
    pub(crate) fn handler(&self, hook: Hook, policy: bool, id: &str) -> Option<usize> {
        let is_it = |handler: &Handler| handler.hook == hook && handler.policy == policy && handler.id == id;
        self.handlers.iter().position(is_it)
    }

    /// A tool it serves, and its place among all that can be invoked.
    pub(crate) fn served(&self, tool: &str) -> Option<(usize, &Served)> {
        let (index, tool) = self.tools.iter().enumerate().find(|(_, known)| known.name == tool)?;
        Some((self.handlers.len() + index, tool.served.as_ref()?))
    }

    /// Most calls at once of everything that can be invoked, by place.
    pub(crate) fn caps(&self) -> Vec<usize> {
        let tools = self.tools.iter().map(|tool| tool.served.as_ref().map_or(1, |served| served.max_concurrency));
        self.handlers.iter().map(|handler| handler.max_concurrency).chain(tools).collect()
    }
}

/// An item that had to be accepted and was not.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refused(pub(crate) Box<wire::Verdict>);

struct Refusal {
    reason: wire::VerdictReason,
    message: String,
    field: &'static str,
    scope: &'static str,
    remedy: String,
}

impl Refusal {
    fn new(reason: wire::VerdictReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), field: "", scope: "", remedy: String::new() }
    }

    fn field(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, ..Self::new(wire::VerdictReason::FieldInvalid, message) }
    }
}

/// Checks everything a plugin offers, where no runtime has names for itself.
#[cfg(test)]
pub(crate) fn check(register: &wire::Register, spec: &PluginSpec) -> Result<Registration, Refused> {
    check_beside(register, spec, &BTreeSet::new())
}

/// Checks everything a plugin offers. `reserved`: names that runtimes have for tools of their own.
///
/// # Errors
/// The first item marked `must_accept` that was refused, or the registration as a whole: the launch fails.
pub(crate) fn check_beside(
    register: &wire::Register,
    spec: &PluginSpec,
    reserved: &BTreeSet<String>,
) -> Result<Registration, Refused> {
    let count = count(register);
    if count > MAX_VERDICTS {
        return Err(Refused(Box::new(wire::Verdict {
            id: "registration".to_owned(),
            reason: wire::VerdictReason::TooMany as i32,
            message: format!("{count} items, at most {MAX_ITEMS} are taken"),
            ..Default::default()
        })));
    }
    let too_large = register.encoded_len() > MAX_BYTES;
    let mut verdicts = Vec::new();
    let mut handlers: Vec<Handler> = Vec::new();
    let mut subscriptions: Vec<Subscription> = Vec::new();
    let mut tools = tools::Intake::default();
    let mut ids = HashSet::new();
    for item in items(register) {
        let judged = if too_large {
            Err(Refusal::new(
                wire::VerdictReason::TooMany,
                format!("the registration is longer than {MAX_BYTES} bytes"),
            ))
        } else if verdicts.len() >= MAX_ITEMS {
            Err(Refusal::new(wire::VerdictReason::TooMany, format!("more than {MAX_ITEMS} items")))
        } else {
            match item.offer {
                Offer::Hook(hook) => {
                    check_hook(hook, item.kind == types::ItemKind::ToolPolicy, spec).and_then(|handler| {
                        if ids.insert((handler.policy, handler.id.clone())) {
                            Ok(Accepted::Handler(handler))
                        } else {
                            let what = if handler.policy { "policy" } else { "hook" };
                            let why = format!("an earlier {what} of this registration has the id");
                            Err(Refusal::new(wire::VerdictReason::Taken, why))
                        }
                    })
                }
                Offer::Subscription(subscription) => check_subscription(subscription, spec).and_then(|subscription| {
                    if subscriptions.iter().all(|earlier| earlier.id != subscription.id) {
                        Ok(Accepted::Subscription(subscription))
                    } else {
                        let why = "an earlier subscription of this registration has the id";
                        Err(Refusal::new(wire::VerdictReason::Taken, why))
                    }
                }),
                Offer::Tool(tool) => tools.check(tool, spec, reserved).map(Accepted::Tool),
                Offer::NotServed => {
                    let why = "this supervisor does not serve items of this kind yet";
                    Err(Refusal::new(wire::VerdictReason::NotServed, why))
                }
            }
        };
        let mut verdict =
            wire::Verdict { kind: item.kind as i32, id: text::clean(&item.id, 128), ..Default::default() };
        match judged {
            Ok(accepted) => {
                verdict.reason = wire::VerdictReason::Accepted as i32;
                match accepted {
                    Accepted::Handler(handler) => {
                        verdict.timeout = Some(super::wire::duration(handler.timeout));
                        handlers.push(handler);
                    }
                    Accepted::Tool(timeout) => verdict.timeout = timeout.map(super::wire::duration),
                    Accepted::Subscription(subscription) => subscriptions.push(subscription),
                }
            }
            Err(refusal) => {
                verdict.reason = refusal.reason as i32;
                verdict.message = text::clean(&refusal.message, 500);
                verdict.field = refusal.field.to_owned();
                verdict.scope = refusal.scope.to_owned();
                verdict.remedy = text::clean(&refusal.remedy, 500);
                if item.must_accept {
                    return Err(Refused(Box::new(verdict)));
                }
            }
        }
        verdicts.push(verdict);
    }
    let max_in_flight = match (register.serial, register.max_in_flight) {
        (true, _) => 1,
        (false, 0) => DEFAULT_IN_FLIGHT as usize,
        (false, wanted) => wanted.min(MAX_IN_FLIGHT) as usize,
    };
    for handler in &mut handlers {
        handler.max_concurrency = handler.max_concurrency.min(max_in_flight);
    }
    let tools = tools.finish(max_in_flight);
    let unserved = unserved(spec, &handlers);
    let subscriptions = subscriptions.into();
    Ok(Registration { max_in_flight, serial: register.serial, handlers, tools, subscriptions, verdicts, unserved })
}

/// Guards that count, less the tools that some handler serves.
fn unserved(spec: &PluginSpec, handlers: &[Handler]) -> Vec<Guard> {
    let guards = super::guards::counting(spec).into_iter();
    guards.filter_map(|guard| left_of(&guard, handlers).map(|tools| Guard { tools, ..guard })).collect()
}

/// The tools of a guard that no handler serves. `None`: all are served.
pub(crate) fn left_of(guard: &Guard, handlers: &[Handler]) -> Option<Tools> {
    let serves = |handler: &&Handler| handler.hook == guard.hook && handler.policy == guard.policy;
    if handlers.iter().filter(serves).any(|handler| handler.tools.covers(&guard.tools)) {
        return None;
    }
    let Tools::Only(tools) = &guard.tools else { return Some(Tools::All) };
    let served = |tool: &&String| handlers.iter().filter(serves).any(|handler| handler.tools.matches(tool));
    let left: Vec<String> = tools.iter().filter(|tool| !served(tool)).cloned().collect();
    (!left.is_empty()).then(|| Tools::from_list(left))
}

struct Item<'a> {
    kind: types::ItemKind,
    id: String,
    must_accept: bool,
    offer: Offer<'a>,
}

/// What an item offers, of what this supervisor serves.
enum Offer<'a> {
    Hook(&'a wire::HookRegistration),
    Tool(&'a wire::ToolRegistration),
    Subscription(&'a wire::SubscriptionRegistration),
    NotServed,
}

/// An item that was accepted.
enum Accepted {
    Handler(Handler),
    /// A tool; the time of one call, if it is served.
    Tool(Option<Duration>),
    Subscription(Subscription),
}

fn must(options: Option<&wire::HandlerOptions>) -> bool {
    options.is_some_and(|options| options.must_accept)
}

fn count(register: &wire::Register) -> usize {
    register.hooks.len()
        + register.tool_policies.len()
        + register.states.len()
        + register.transitions.len()
        + register.tools.len()
        + register.commands.len()
        + register.actions.len()
        + register.descriptors.len()
        + register.subscriptions.len()
        + register.jobs.len()
        + register.lifecycles.len()
}

/// All items in the order of the message's fields.
fn items(register: &wire::Register) -> Vec<Item<'_>> {
    use types::ItemKind as Kind;
    let mut items: Vec<Item<'_>> = Vec::new();
    let mut add = |kind, id: &str, must_accept, offer| items.push(Item { kind, id: id.to_owned(), must_accept, offer });
    for item in &register.hooks {
        add(Kind::Hook, &item.handler_id, must(item.options.as_ref()), Offer::Hook(item));
    }
    for item in &register.tool_policies {
        add(Kind::ToolPolicy, &item.handler_id, must(item.options.as_ref()), Offer::Hook(item));
    }
    for item in &register.states {
        add(Kind::State, &item.namespace, must(item.options.as_ref()), Offer::NotServed);
    }
    for item in &register.transitions {
        add(Kind::Transition, &item.action, must(item.options.as_ref()), Offer::NotServed);
    }
    for item in &register.tools {
        let name = item.spec.as_ref().map(|spec| spec.name.as_str());
        let described = item.metadata.as_ref().map(|metadata| metadata.tool_name.as_str());
        let kind = if item.spec.is_some() { Kind::Tool } else { Kind::ToolMetadata };
        add(kind, name.or(described).unwrap_or_default(), must(item.options.as_ref()), Offer::Tool(item));
    }
    for item in &register.commands {
        let name = item.command.as_ref().map(|command| command.name.as_str());
        add(Kind::Command, name.unwrap_or_default(), must(item.options.as_ref()), Offer::NotServed);
    }
    for item in &register.actions {
        let id = item.action.as_ref().map(|action| action.action_id.as_str());
        add(Kind::Action, id.unwrap_or_default(), must(item.options.as_ref()), Offer::NotServed);
    }
    for item in &register.descriptors {
        let id = item.descriptor.as_ref().map(|descriptor| descriptor.descriptor_id.as_str());
        add(Kind::Descriptor, id.unwrap_or_default(), item.must_accept, Offer::NotServed);
    }
    for item in &register.subscriptions {
        add(Kind::Subscription, &item.subscription_id, item.must_accept, Offer::Subscription(item));
    }
    for item in &register.jobs {
        add(Kind::Job, &item.job_id, must(item.options.as_ref()), Offer::NotServed);
    }
    for item in &register.lifecycles {
        add(Kind::Lifecycle, &item.lifecycle_id, must(item.options.as_ref()), Offer::NotServed);
    }
    items
}

fn check_hook(item: &wire::HookRegistration, policy: bool, spec: &PluginSpec) -> Result<Handler, Refusal> {
    use wire::VerdictReason as Reason;
    let id = item.handler_id.trim();
    if !text::is_id(id) {
        return Err(Refusal::field("handler_id", "wants 1 to 128 characters without control characters"));
    }
    let hook = match Hook::from_number(item.hook) {
        Some(hook) if !policy || hook == Hook::BeforeToolCall => hook,
        None if policy && item.hook == 0 => Hook::BeforeToolCall,
        Some(hook) => {
            return Err(Refusal::field("hook", format!("a policy is for before_tool_call, not for {}", hook.name())));
        }
        None => return Err(Refusal::new(Reason::HookUnknown, format!("hook {} is not known here", item.hook))),
    };
    if policy && item.description.trim().is_empty() {
        return Err(Refusal::field("description", "is required for a policy: one line for people"));
    }
    check_filters(item, hook)?;
    if item.tool_names.len() > MAX_TOOLS {
        return Err(Refusal::field(
            "tool_names",
            format!("names {} tools, at most {MAX_TOOLS}", item.tool_names.len()),
        ));
    }
    if let Some((tool, error)) = item.tool_names.iter().find_map(|tool| Some((tool, names::tool(tool).err()?))) {
        return Err(Refusal::field("tool_names", format!("`{}` {error}", text::clean(tool, 64))));
    }
    if !item.tool_names.is_empty() && !hook.row().by_tool {
        return Err(Refusal::field("tool_names", format!("`{}` has no tools", hook.name())));
    }
    if text::units(&item.description) > 512 {
        return Err(Refusal::field("description", "longer than 512 characters"));
    }
    let tools = Tools::from_list(item.tool_names.iter().cloned());
    let wanted = if policy { Some(Scope::PolicyTrusted) } else { hook.row().access.scope() };
    let conversation = spec.rights.decide(Scope::HooksConversation);
    let denial = match wanted.map(|scope| spec.rights.decide(scope)) {
        Some(Err(denial)) => Some(denial),
        _ if item.wants_messages => conversation.clone().err(),
        _ => None,
    };
    if let Some(denial) = denial {
        return Err(Refusal {
            scope: denial.scope.name(),
            remedy: denial.remedy.clone(),
            ..Refusal::new(Reason::NotGranted, denial.to_string())
        });
    }
    if hook.is_guard() {
        check_declared(hook, policy, &tools, spec)?;
    }
    let Options { wish, max_concurrency } = check_options(item.options.as_ref(), LONGEST)?;
    let setting = spec.hooks.get(&hook);
    let timeout = setting.and_then(|setting| setting.timeout).or(spec.timeout).or(wish).unwrap_or(hook.row().timeout);
    Ok(Handler {
        id: id.to_owned(),
        hook,
        tools,
        priority: item.priority,
        timeout,
        max_concurrency,
        wants_messages: item.wants_messages,
        side_effect_free: item.side_effect_free,
        policy,
        triggers: item.triggers.clone(),
        dispatch_kinds: item.dispatch_kinds.clone(),
        tool_authority: item.requires_tool_authority,
        conversation: conversation.is_ok(),
        pending_approvals: pending_approvals(spec),
    })
}

/// What the common options ask for.
struct Options {
    wish: Option<Duration>,
    max_concurrency: usize,
}

/// Checks the common options of something that can be invoked, whose calls may take so long.
fn check_options(options: Option<&wire::HandlerOptions>, longest: Duration) -> Result<Options, Refusal> {
    let options = options.cloned().unwrap_or_default();
    let wish = match &options.timeout {
        None => None,
        Some(wish) => match super::wire::to_duration(wish) {
            Some(wish) if (SHORTEST..=longest).contains(&wish) => Some(wish),
            _ => {
                let right = format!("wants 1 ms to {} s", longest.as_secs());
                return Err(Refusal::field("options.timeout", right));
            }
        },
    };
    if options.max_concurrency > MAX_IN_FLIGHT {
        return Err(Refusal::field("options.max_concurrency", format!("wants 1 to {MAX_IN_FLIGHT}")));
    }
    if !options.state_namespaces.is_empty() {
        return Err(Refusal {
            field: "options.state_namespaces",
            ..Refusal::new(
                wire::VerdictReason::ReferenceUnknown,
                "names a namespace of session state, which is not served yet",
            )
        });
    }
    let max_concurrency = if options.max_concurrency == 0 { DEFAULT_IN_FLIGHT } else { options.max_concurrency };
    Ok(Options { wish, max_concurrency: max_concurrency as usize })
}

/// Filters belong to the hooks that have something to filter by.
fn check_filters(item: &wire::HookRegistration, hook: Hook) -> Result<(), Refusal> {
    let only = |field: &'static str, hook: Hook| Refusal::field(field, format!("is for {} only", hook.name()));
    if !item.triggers.is_empty() && hook != Hook::BeforeAgentReply {
        return Err(only("triggers", Hook::BeforeAgentReply));
    }
    if !item.dispatch_kinds.is_empty() && hook != Hook::ReplyDispatch {
        return Err(only("dispatch_kinds", Hook::ReplyDispatch));
    }
    if item.triggers.len().max(item.dispatch_kinds.len()) > MAX_TOOLS {
        return Err(Refusal::field("triggers", format!("names more than {MAX_TOOLS}")));
    }
    if item.requires_tool_authority && hook != Hook::BeforePromptBuild {
        return Err(only("requires_tool_authority", Hook::BeforePromptBuild));
    }
    Ok(())
}

fn pending_approvals(spec: &PluginSpec) -> usize {
    let quota = Quota::find(Scope::Approvals, "pending-approvals").map_or(0, |quota| quota.in_force(&spec.rights));
    usize::try_from(quota).unwrap_or(usize::MAX)
}

/// A subscription to agent events.
fn check_subscription(item: &wire::SubscriptionRegistration, spec: &PluginSpec) -> Result<Subscription, Refusal> {
    let id = item.subscription_id.trim();
    if !text::is_id(id) {
        return Err(Refusal::field("subscription_id", "wants 1 to 128 characters without control characters"));
    }
    if text::units(&item.description) > 512 {
        return Err(Refusal::field("description", "longer than 512 characters"));
    }
    for (field, names) in [("streams", &item.streams), ("agent_ids", &item.agent_ids)] {
        if names.len() > MAX_NAMES {
            return Err(Refusal::field(field, format!("names {}, at most {MAX_NAMES}", names.len())));
        }
        if names.iter().any(|name| !text::is_id(name)) {
            return Err(Refusal::field(field, "wants names of 1 to 128 characters without control characters"));
        }
    }
    let need = |scope: Scope, what: &str| {
        spec.rights.decide(scope).map_err(|denial| Refusal {
            scope: scope.name(),
            remedy: denial.remedy.clone(),
            ..Refusal::new(wire::VerdictReason::NotGranted, format!("{what}{denial}"))
        })
    };
    need(Scope::EventsRead, "")?;
    // What a plugin emits itself is open to it.
    let own = |stream: &str| stream.split('.').next() == Some(spec.id.as_str());
    if let Some(content) = item.streams.iter().find(|stream| Class::of(stream) == Class::Content && !own(stream)) {
        need(Scope::HooksConversation, &format!("stream `{}` shows content: ", text::clean(content, 64)))?;
    }
    let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    Ok(Subscription { id: id.to_owned(), streams: set(&item.streams), agents: set(&item.agent_ids) })
}

/// A guard must be declared in the manifest, with these tools or more.
fn check_declared(hook: Hook, policy: bool, tools: &Tools, spec: &PluginSpec) -> Result<(), Refusal> {
    let declared: Vec<&Guard> =
        spec.guards.iter().filter(|guard| guard.hook == hook && guard.policy == policy).collect();
    let covered = match tools {
        Tools::All => declared.iter().any(|guard| guard.tools == Tools::All),
        Tools::Only(tools) => tools.iter().all(|tool| declared.iter().any(|guard| guard.tools.matches(tool))),
    };
    if covered {
        return Ok(());
    }
    let mut lines = match tools {
        Tools::All => format!("[[guard]] hook = \"{}\"", hook.name()),
        Tools::Only(tools) => {
            format!("[[guard]] hook = \"{}\" tools = {tools:?}", hook.name()).replace('{', "[").replace('}', "]")
        }
    };
    if policy {
        lines += " policy = true";
    }
    Err(Refusal {
        remedy: format!("add to plugin.toml: {lines}"),
        ..Refusal::new(
            wire::VerdictReason::GuardNotDeclared,
            format!("the manifest does not declare this guard of `{}`", hook.name()),
        )
    })
}
