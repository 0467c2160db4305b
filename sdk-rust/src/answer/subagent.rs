//! Answers about subagents.

use outrigger_proto::types::v1 as types;
use outrigger_proto::types::v1::hook_result::Result as Shape;
use outrigger_proto::types::v1::subagent_spawn::{Ready, Status};
use serde_json::Value;

use super::decision::MOST_REASON;
use super::{Opinion, json, sealed};
use crate::wire;

/// Whether a subagent may start, for `subagent_spawning`.
pub type SubagentSpawn = Opinion<types::SubagentSpawn>;

impl SubagentSpawn {
    /// It may start, and whether its thread binding is in place.
    #[must_use]
    pub fn ready(thread_binding_ready: bool) -> Self {
        Self::of(types::SubagentSpawn { status: Some(Status::Ok(Ready { thread_binding_ready })) })
    }

    /// It must not start, and why: 1 to 2,000 characters, cut there.
    pub fn refuse(error: impl Into<String>) -> Self {
        Self::of(types::SubagentSpawn { status: Some(Status::Error(wire::cut(error.into(), MOST_REASON))) })
    }
}

impl sealed::Wire for types::SubagentSpawn {
    fn wrap(self) -> Shape {
        Shape::SubagentSpawn(self)
    }

    fn unwrap(shape: Shape) -> Option<Self> {
        if let Shape::SubagentSpawn(wire) = shape { Some(wire) } else { None }
    }
}

/// Where a subagent's completion goes, for `subagent_delivery_target`. The first plugin that answers wins.
pub type SubagentDelivery = Opinion<types::SubagentDelivery>;

impl SubagentDelivery {
    /// To this origin, an object in the runtime's form.
    #[must_use]
    pub fn to(origin: &Value) -> Self {
        Self::of(types::SubagentDelivery { origin_json: json(origin) })
    }
}

impl sealed::Wire for types::SubagentDelivery {
    fn wrap(self) -> Shape {
        Shape::SubagentDelivery(self)
    }

    fn unwrap(shape: Shape) -> Option<Self> {
        if let Shape::SubagentDelivery(wire) = shape { Some(wire) } else { None }
    }
}
