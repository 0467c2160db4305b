//! One event as the bus keeps it: encoded once, shared by every subscriber.

use std::sync::Arc;

use bytes::Bytes;
use outrigger_proto::types::v1 as types;
use prost::Message as _;

use super::classes::{self, Class};

/// What an event costs in the ring and in queues besides its text.
const OVERHEAD: usize = 256;

/// One published event. Immutable.
#[derive(Debug)]
pub(crate) struct Event {
    /// Number in the supervisor's sequence.
    pub(crate) seq: u64,
    pub(crate) runtime_id: Arc<str>,
    pub(crate) run_id: Arc<str>,
    /// Empty: of no session.
    pub(crate) session: Arc<types::SessionRef>,
    pub(crate) stream: String,
    pub(crate) class: Class,
    /// The plugin that emitted it. Empty: the runtime did.
    pub(crate) plugin_id: String,
    /// The encoded [`types::AgentEvent`].
    pub(crate) full: Bytes,
    /// The same with what everybody may read; set for meta streams.
    pub(crate) meta: Option<Bytes>,
}

/// Which form of an event a reader gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Full,
    Meta,
}

impl Event {
    /// Encodes an event, of a meta stream once more with the closed list of members.
    pub(crate) fn new(
        seq: u64,
        runtime_id: Arc<str>,
        run_id: Arc<str>,
        session: Arc<types::SessionRef>,
        event: &types::AgentEvent,
    ) -> Self {
        let class = Class::of(&event.stream);
        let meta = (class == Class::Meta).then(|| {
            let mut shown =
                types::AgentEvent { data_json: classes::shown(&event.stream, &event.data_json), ..event.clone() };
            // What a vendor writes there is bound to no form.
            if let Some(trace) = &mut shown.trace {
                trace.tracestate.clear();
            }
            shown.encode_to_vec().into()
        });
        Self {
            seq,
            runtime_id,
            run_id,
            session,
            stream: event.stream.clone(),
            class,
            plugin_id: event.plugin_id.clone(),
            full: event.encode_to_vec().into(),
            meta,
        }
    }

    /// What it costs where it is kept, in bytes.
    pub(crate) fn cost(&self) -> usize {
        self.full.len() + self.meta.as_ref().map_or(0, Bytes::len) + OVERHEAD
    }

    /// Its encoding in a form.
    pub(crate) fn bytes(&self, form: Form) -> &Bytes {
        match form {
            Form::Full => &self.full,
            // What has no other form may be read by whoever may read it at all.
            Form::Meta => self.meta.as_ref().unwrap_or(&self.full),
        }
    }

    /// It belongs to this run.
    pub(crate) fn is_of(&self, runtime_id: &str, run_id: &str) -> bool {
        *self.run_id == *run_id && *self.runtime_id == *runtime_id
    }
}
