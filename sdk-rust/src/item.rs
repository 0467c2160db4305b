//! What can be added to a [`Plugin`](crate::Plugin), as types: they decide which options the item added last has.
//!
//! Nobody writes these names but in the type of a half-made plugin; [`Plugin::build`](crate::Plugin::build) forgets them.

use std::marker::PhantomData;

use outrigger_proto::plugin::v1::{HandlerOptions, HookRegistration, SubscriptionRegistration, ToolRegistration};
use outrigger_proto::types::v1 as types;

use crate::events::EventHandler;
use crate::handler::{HookHandler, ToolHandler};
use crate::hooks::event::OfTool;

/// No item was added yet, or the last one is complete.
pub struct None;
/// A hook's handler; `E` is the hook's event.
pub struct Hook<S, E>(pub(crate) HookItem<S>, pub(crate) PhantomData<fn() -> E>);
/// A trusted tool policy.
pub struct Policy<S>(pub(crate) HookItem<S>);
/// A tool the plugin serves.
pub struct Tool<S>(pub(crate) ToolItem<S>);
/// A subscription to agent events.
pub struct Subscription<S>(pub(crate) SubscriptionItem<S>);

/// The handler of a hook or policy, and how it is registered.
pub(crate) struct HookItem<S> {
    pub(crate) registration: HookRegistration,
    pub(crate) handler: HookHandler<S>,
    pub(crate) keep_on_cancel: bool,
    pub(crate) tools_from: Option<ToolsFrom<S>>,
}

/// Tells the tools of a hook once the state is known.
pub(crate) type ToolsFrom<S> = Box<dyn FnOnce(&S) -> Vec<String> + Send>;

impl<S> HookItem<S> {
    pub(crate) fn new(hook: types::Hook, handler_id: String, handler: HookHandler<S>) -> Self {
        let registration = HookRegistration {
            handler_id,
            hook: hook.into(),
            options: Some(HandlerOptions::default()),
            ..Default::default()
        };
        Self { registration, handler, keep_on_cancel: false, tools_from: Option::None }
    }
}

/// A tool's handler and how it is registered; the registration has its spec.
pub(crate) struct ToolItem<S> {
    pub(crate) registration: ToolRegistration,
    pub(crate) handler: ToolHandler<S>,
    pub(crate) keep_on_cancel: bool,
}

/// A subscription's handler and how it is registered.
pub(crate) struct SubscriptionItem<S> {
    pub(crate) registration: SubscriptionRegistration,
    pub(crate) handler: EventHandler<S>,
}

/// Anything that can be the last item.
pub trait Item<S>: sealed::Item<S> {}
/// An item the supervisor gives a verdict on.
pub trait Registered<S>: Item<S> + sealed::Registered {}
/// A handler: it has a timeout, may be cancelled, and so on.
pub trait Handler<S>: Registered<S> + sealed::Handler {}
/// The handler of a hook or policy.
pub trait AnyHook<S>: Handler<S> + sealed::AnyHook<S> {}
/// The handler of a hook or policy that can be for some tools only.
pub trait ByTool<S>: AnyHook<S> {}
/// An item with a line for people.
pub trait Described<S>: Item<S> + sealed::Described {}

pub(crate) mod sealed {
    use super::{HandlerOptions, HookItem, SubscriptionItem, ToolItem};

    /// All items of a plugin that are complete.
    pub struct Items<S> {
        pub(crate) hooks: Vec<HookItem<S>>,
        pub(crate) policies: Vec<HookItem<S>>,
        pub(crate) tools: Vec<ToolItem<S>>,
        pub(crate) subscriptions: Vec<SubscriptionItem<S>>,
    }

    pub trait Item<S> {
        fn store(self, items: &mut Items<S>);
    }
    pub trait Registered {
        fn must_accept(&mut self) -> &mut bool;
    }
    pub trait Handler {
        fn options(&mut self) -> &mut HandlerOptions;
        fn keep_on_cancel(&mut self) -> &mut bool;
    }
    pub trait AnyHook<S> {
        #[expect(private_interfaces, reason = "the trait cannot be named outside this crate")]
        fn hook(&mut self) -> &mut HookItem<S>;
    }
    pub trait Described {
        fn description(&mut self) -> &mut String;
    }

    impl<S> Default for Items<S> {
        fn default() -> Self {
            Self { hooks: Vec::new(), policies: Vec::new(), tools: Vec::new(), subscriptions: Vec::new() }
        }
    }
}

impl<S> sealed::Item<S> for None {
    fn store(self, _: &mut sealed::Items<S>) {}
}
impl<S, E> sealed::Item<S> for Hook<S, E> {
    fn store(self, items: &mut sealed::Items<S>) {
        items.hooks.push(self.0);
    }
}
impl<S> sealed::Item<S> for Policy<S> {
    fn store(self, items: &mut sealed::Items<S>) {
        items.policies.push(self.0);
    }
}
impl<S> sealed::Item<S> for Tool<S> {
    fn store(self, items: &mut sealed::Items<S>) {
        items.tools.push(self.0);
    }
}
impl<S> sealed::Item<S> for Subscription<S> {
    fn store(self, items: &mut sealed::Items<S>) {
        items.subscriptions.push(self.0);
    }
}

impl<S> sealed::Handler for HookItem<S> {
    fn options(&mut self) -> &mut HandlerOptions {
        self.registration.options.get_or_insert_default()
    }
    fn keep_on_cancel(&mut self) -> &mut bool {
        &mut self.keep_on_cancel
    }
}
impl<S, E> sealed::Handler for Hook<S, E> {
    fn options(&mut self) -> &mut HandlerOptions {
        self.0.options()
    }
    fn keep_on_cancel(&mut self) -> &mut bool {
        self.0.keep_on_cancel()
    }
}
impl<S> sealed::Handler for Policy<S> {
    fn options(&mut self) -> &mut HandlerOptions {
        self.0.options()
    }
    fn keep_on_cancel(&mut self) -> &mut bool {
        self.0.keep_on_cancel()
    }
}
impl<S> sealed::Handler for Tool<S> {
    fn options(&mut self) -> &mut HandlerOptions {
        self.0.registration.options.get_or_insert_default()
    }
    fn keep_on_cancel(&mut self) -> &mut bool {
        &mut self.0.keep_on_cancel
    }
}

impl<H: sealed::Handler> sealed::Registered for H {
    fn must_accept(&mut self) -> &mut bool {
        &mut self.options().must_accept
    }
}
impl<S> sealed::Registered for Subscription<S> {
    fn must_accept(&mut self) -> &mut bool {
        &mut self.0.registration.must_accept
    }
}

impl<S, E> sealed::AnyHook<S> for Hook<S, E> {
    #[expect(private_interfaces, reason = "the trait cannot be named outside this crate")]
    fn hook(&mut self) -> &mut HookItem<S> {
        &mut self.0
    }
}
impl<S> sealed::AnyHook<S> for Policy<S> {
    #[expect(private_interfaces, reason = "the trait cannot be named outside this crate")]
    fn hook(&mut self) -> &mut HookItem<S> {
        &mut self.0
    }
}

impl<S, E> sealed::Described for Hook<S, E> {
    fn description(&mut self) -> &mut String {
        &mut self.0.registration.description
    }
}
impl<S> sealed::Described for Subscription<S> {
    fn description(&mut self) -> &mut String {
        &mut self.0.registration.description
    }
}

impl<S> Item<S> for None {}

impl<S, E> Item<S> for Hook<S, E> {}
impl<S, E> Registered<S> for Hook<S, E> {}
impl<S, E> Handler<S> for Hook<S, E> {}
impl<S, E> AnyHook<S> for Hook<S, E> {}
impl<S, E> Described<S> for Hook<S, E> {}
impl<S, E: OfTool> ByTool<S> for Hook<S, E> {}

impl<S> Item<S> for Policy<S> {}
impl<S> Registered<S> for Policy<S> {}
impl<S> Handler<S> for Policy<S> {}
impl<S> AnyHook<S> for Policy<S> {}
impl<S> ByTool<S> for Policy<S> {}

impl<S> Item<S> for Tool<S> {}
impl<S> Registered<S> for Tool<S> {}
impl<S> Handler<S> for Tool<S> {}

impl<S> Item<S> for Subscription<S> {}
impl<S> Registered<S> for Subscription<S> {}
impl<S> Described<S> for Subscription<S> {}
