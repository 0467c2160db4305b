//! Variables for a command.

use outrigger_proto::types::v1 as types;
use outrigger_proto::types::v1::hook_result::Result as Shape;

use super::{Opinion, sealed};

/// Variables for a shell command, for `resolve_exec_env`. The later plugin wins; the supervisor removes names of loaders,
/// paths, proxies, TLS and language runtimes.
pub type ExecEnvironment = Opinion<types::ExecEnvironment>;

impl ExecEnvironment {
    /// Sets a variable: a name of at most 128 characters, a value of at most 32,768; at most 128 of them.
    #[must_use]
    pub fn set(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|wire| wire.variables.extend([(name.into(), value.into())]))
    }
}

impl sealed::Wire for types::ExecEnvironment {
    fn wrap(self) -> Shape {
        Shape::ExecEnvironment(self)
    }

    fn unwrap(shape: Shape) -> Option<Self> {
        if let Shape::ExecEnvironment(wire) = shape { Some(wire) } else { None }
    }
}
