//! What the whole-system tests share: a supervisor of their own, real plugins, and clients for both control sockets.
//!
//! A test describes plugins ([`package`]), starts a [`World`] with them and acts as runtime ([`hooks`]) and operator
//! (`World`'s methods). Whatever ends the test, the world's supervisor is killed and it is checked that no process of
//! any plugin is left. Waits are for states and have limits; [`limit::within`] bounds a whole test.
//!
//! The programs (`outrigger` and the fixtures) are those of the same build: `cargo test --workspace` builds them.

pub mod hooks;
pub mod limit;
pub mod neighbour;
pub mod package;
pub mod processes;
pub mod programs;
pub mod python;
pub mod world;

pub use hooks::{Called, HookStream};
pub use limit::within;
pub use neighbour::Neighbour;
pub use package::Package;
pub use world::{Setup, World};
