//! Tests of the services together, one file a topic. What concerns one file alone is tested there.

mod actor;
mod admin;
mod approvals;
mod bench;
mod beside;
mod catalogue;

mod control;
mod conversation;
mod dispatch;
mod events;
mod launch;
mod limits;
mod news;
mod observers;
mod open_calls;
mod privacy;
mod registration;
mod reload;
mod runtime;
mod session;
mod shutdown;
mod tools;
mod turns;
