//! What the benchmarks are made of: hosts in processes of their own, and rounds that ask them in turn.

pub(crate) mod groups;
pub(crate) mod host;
pub(crate) mod hosts;
pub(crate) mod machine;
pub(crate) mod measure;
pub(crate) mod rows;
pub(crate) mod samples;
pub(crate) mod supervised;

/// What can go wrong on the way to a number.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
/// A number, or why there is none.
pub(crate) type Result<T> = std::result::Result<T, Failure>;
