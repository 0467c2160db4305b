//! The handles that travel with events.

use std::sync::Arc;

use outrigger_proto::types::v1::RunRef;

use super::event::Event;
use crate::service::handles::Handles;

/// The handles of one event.
#[derive(Debug, Clone)]
pub(crate) struct EventHandles {
    /// Empty: of no session.
    pub(crate) session: Arc<str>,
    pub(crate) run: Arc<str>,
}

impl EventHandles {
    /// The handles of an event, among those of a generation.
    pub(crate) fn of(handles: &Handles, event: &Event) -> Self {
        let run = RunRef { id: event.run_id.to_string(), ..Default::default() };
        let run = handles.run(&event.runtime_id, &run).handle.into();
        let session = match event.session.key.is_empty() {
            true => Arc::default(),
            false => handles.session(&event.session).handle.into(),
        };
        Self { session, run }
    }
}
