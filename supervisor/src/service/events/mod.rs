//! Agent events: from the runtime that publishes them, and the plugins that emit them, to everybody who subscribed.
//!
//! [`publish`] is a runtime's stream; [`intake`] and [`emit`] check; the [`bus`] numbers each event, encodes it once and keeps the newest in a [`ring`]; a
//! [`subscriber`] is one plugin over all its generations, a [`lane`] one of its open streams with queue, credits and gaps;
//! [`stream`] is what the plugin reads, in [`frame`]s written around the shared bytes. The publisher never waits.

mod bus;
mod classes;
mod emit;
mod event;
mod filter;
mod frame;
mod gap;
mod intake;
mod lane;
mod named;
mod pace;
mod publish;
mod ring;
mod stream;
mod subscriber;
#[cfg(test)]
mod tests;
mod watch;

pub(crate) use bus::{Bus, Wanted};
pub(crate) use classes::Class;
pub(crate) use emit::emit;
pub(crate) use filter::Subscription;
pub(crate) use frame::{Frame, FrameCodec};
pub(crate) use intake::Intake;
#[cfg(feature = "bench")]
pub(crate) use pace::Pace;
pub(crate) use publish::Publishing;
pub(crate) use stream::{CREDIT_BYTES, EventStream, registered};
pub(crate) use watch::{Follow, WatchFilter, emitted};
