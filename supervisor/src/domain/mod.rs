//! Contracts of the supervisor: names, states, policies, errors, and traits for the outside.
//!
//! Pure: no file, clock, process or task, and no generated type. Every other layer may use this one.

pub mod backoff;
pub mod failure;
pub mod guard;
pub mod hook;
pub mod ids;
pub mod json;
pub mod keys;
pub mod launch;
pub mod lifecycle;
pub mod names;
pub mod quota;
pub mod rights;
pub mod settings;
pub mod spec;
pub mod store;
pub mod text;
