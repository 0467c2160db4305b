//! What can be added to a [`Plugin`](crate::Plugin), as types: they decide which options the item added last has.
//!
//! Nobody writes these names but in the type of a half-made plugin; [`Plugin::build`](crate::Plugin::build) forgets them.

use outrigger_proto::plugin::v1::{HandlerOptions, HookRegistration};
use outrigger_proto::types::v1::Hook;

use crate::handler::HookHandler;

/// No item was added yet, or the last one is complete.
pub struct None;

/// A handler of the hook `before_tool_call`.
pub struct BeforeToolCall<S>(pub(crate) HookItem<S>);

/// A hook's handler and how it is registered.
pub(crate) struct HookItem<S> {
    pub(crate) registration: HookRegistration,
    pub(crate) handler: HookHandler<S>,
    pub(crate) keep_on_cancel: bool,
    pub(crate) tools_from: Option<ToolsFrom<S>>,
}

/// Tells the tools of a hook once the state is known.
pub(crate) type ToolsFrom<S> = Box<dyn FnOnce(&S) -> Vec<String> + Send>;

impl<S> HookItem<S> {
    pub(crate) fn new(hook: Hook, handler_id: String, handler: HookHandler<S>) -> Self {
        let registration = HookRegistration {
            handler_id,
            hook: hook.into(),
            options: Some(HandlerOptions::default()),
            ..Default::default()
        };
        Self { registration, handler, keep_on_cancel: false, tools_from: Option::None }
    }
}

/// Anything that can be the last item.
pub trait Item<S>: sealed::Item<S> {}
/// A handler: it has a timeout, may be cancelled, and so on.
pub trait Handler<S>: Item<S> + sealed::Handler<S> {}
/// A hook's handler: it has a place in the order.
pub trait AnyHook<S>: Handler<S> + sealed::AnyHook<S> {}
/// A hook's handler that can be for some tools only.
pub trait ByTool<S>: AnyHook<S> {}

pub(crate) mod sealed {
    use super::{HandlerOptions, HookItem};

    /// All items of a plugin that are complete.
    pub struct Items<S> {
        pub(crate) hooks: Vec<HookItem<S>>,
    }

    pub trait Item<S> {
        fn store(self, items: &mut Items<S>);
    }
    pub trait Handler<S> {
        fn options(&mut self) -> &mut HandlerOptions;
        fn keep_running_on_cancel(&mut self);
    }
    pub trait AnyHook<S> {
        #[expect(private_interfaces, reason = "the trait cannot be named outside this crate")]
        fn hook(&mut self) -> &mut HookItem<S>;
    }
}

impl<S> sealed::Item<S> for None {
    fn store(self, _: &mut sealed::Items<S>) {}
}
impl<S> Item<S> for None {}

impl<S> sealed::Item<S> for BeforeToolCall<S> {
    fn store(self, items: &mut sealed::Items<S>) {
        items.hooks.push(self.0);
    }
}
impl<S> sealed::Handler<S> for BeforeToolCall<S> {
    fn options(&mut self) -> &mut HandlerOptions {
        self.0.registration.options.get_or_insert_default()
    }
    fn keep_running_on_cancel(&mut self) {
        self.0.keep_on_cancel = true;
    }
}
impl<S> sealed::AnyHook<S> for BeforeToolCall<S> {
    #[expect(private_interfaces, reason = "the trait cannot be named outside this crate")]
    fn hook(&mut self) -> &mut HookItem<S> {
        &mut self.0
    }
}
impl<S> Item<S> for BeforeToolCall<S> {}
impl<S> Handler<S> for BeforeToolCall<S> {}
impl<S> AnyHook<S> for BeforeToolCall<S> {}
impl<S> ByTool<S> for BeforeToolCall<S> {}
