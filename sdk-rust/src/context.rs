//! What a handler knows about its call besides what is asked.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outrigger_proto::plugin::v1::{CancelReason, SessionState};
use outrigger_proto::types::v1::{RunRef, SessionRef, TraceContext};

use crate::host::Host;
use crate::invocation::Invocation;
use crate::launch::Launch;

/// One call's surroundings. Everything of the [`Launch`], its state included, is there as well.
///
/// Cloning is cheap, and a clone may outlive the call.
pub struct Context<S = ()> {
    launch: Launch<S>,
    call: Arc<Invocation>,
}

impl<S> Context<S> {
    pub(crate) fn new(launch: Launch<S>, call: Arc<Invocation>) -> Self {
        Self { launch, call }
    }

    /// Number of the call in this session of the plugin, rising from 1.
    #[must_use]
    pub fn invocation_id(&self) -> u64 {
        self.call.id
    }

    /// When the call's time is up. The supervisor then cancels it.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.call.deadline
    }

    /// What is left of the call's time.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.call.deadline.saturating_duration_since(Instant::now())
    }

    /// The answer is not wanted any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancel_reason().is_some()
    }

    /// Why the answer is not wanted any more. `None`: it is.
    #[must_use]
    pub fn cancel_reason(&self) -> Option<CancelReason> {
        self.call.cancel_reason()
    }

    /// Ends when the call is cancelled, and never if it is not. Can be dropped at any time.
    ///
    /// A handler needs it only with [`keep_running_on_cancel`](crate::Plugin::keep_running_on_cancel), and for what it
    /// has started elsewhere: its own future is dropped.
    pub async fn cancelled(&self) -> CancelReason {
        self.call.cancelled().await
    }

    /// The session concerned, with the handle by which host calls name it.
    #[must_use]
    pub fn session(&self) -> Option<&SessionRef> {
        self.call.session.as_ref()
    }

    /// The run concerned.
    #[must_use]
    pub fn run(&self) -> Option<&RunRef> {
        self.call.run.as_ref()
    }

    /// Values of the handler's state namespaces, as of when the call was sent.
    #[must_use]
    pub fn states(&self) -> &[SessionState] {
        &self.call.states
    }

    /// The caller's trace, if there is one.
    #[must_use]
    pub fn trace(&self) -> Option<&TraceContext> {
        self.call.trace.as_ref()
    }

    /// Number of the last agent event published before this call. 0: none was.
    #[must_use]
    pub fn event_seq(&self) -> u64 {
        self.call.event_seq
    }

    /// A trial: answer as always. The answer is not used.
    #[must_use]
    pub fn is_canary(&self) -> bool {
        self.call.canary
    }

    /// The host's services, for calls made for this invocation.
    #[must_use]
    pub fn host(&self) -> Host {
        self.launch.host().of(self.call.id)
    }

    /// The launch, for work that outlives the call.
    #[must_use]
    pub fn launch(&self) -> &Launch<S> {
        &self.launch
    }
}

impl<S> Deref for Context<S> {
    type Target = Launch<S>;

    fn deref(&self) -> &Launch<S> {
        &self.launch
    }
}

impl<S> Clone for Context<S> {
    fn clone(&self) -> Self {
        Self { launch: self.launch.clone(), call: self.call.clone() }
    }
}

impl<S> fmt::Debug for Context<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("invocation_id", &self.call.id).finish_non_exhaustive()
    }
}
