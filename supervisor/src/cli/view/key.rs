//! Keys of runtimes.

use outrigger_proto::admin::v1 as admin;
use serde::Serialize;

use super::{text, time};

/// The key of a runtime, without its secret.
#[derive(Debug, Serialize)]
pub(crate) struct Key {
    /// Id of the runtime.
    pub(crate) runtime_id: String,
    /// Absolute path of its file.
    pub(crate) path: String,
    /// Group that may read it. `null`: none.
    pub(crate) group: Option<String>,
    /// When it was made.
    pub(crate) created_at: Option<String>,
    /// When a call last carried it. `null`: not since the supervisor started.
    pub(crate) last_used_at: Option<String>,
}

impl From<admin::RuntimeKey> for Key {
    fn from(wire: admin::RuntimeKey) -> Self {
        Self {
            runtime_id: wire.runtime_id,
            path: wire.path,
            group: text(wire.group),
            created_at: time(wire.created_at),
            last_used_at: time(wire.last_used_at),
        }
    }
}
