//! What the fixture plugins share.
//!
//! - [`faults`]: the table of the `misbehave` binary's faults, for tests that go through all of them.
//! - [`package`]: ready package directories of the `misbehave` plugin.
//! - [`python`]: the Python environment, and ready packages, of the plugins made from stock stubs.

pub mod faults;
pub mod package;
pub mod python;
