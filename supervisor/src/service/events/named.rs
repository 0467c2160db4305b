//! Sessions and runs by the handles that came with events.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::event::Event;
use super::filter::Named;
use crate::service::handles::Handles;

/// Runs and sessions remembered of one generation, as many as it has handles.
const KEPT: usize = 4096;

/// The handles of one event.
#[derive(Debug, Clone)]
pub(crate) struct EventHandles {
    /// Empty: of no session.
    pub(crate) session: Arc<str>,
    pub(crate) run: Arc<str>,
}

/// What handles given to one generation stand for.
#[derive(Debug, Default)]
pub(crate) struct Given(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    sessions: Table,
    runs: Table,
}

#[derive(Debug, Default)]
struct Table {
    names: HashMap<Arc<str>, Named>,
    order: VecDeque<Arc<str>>,
}

impl Table {
    fn note(&mut self, handle: &Arc<str>, runtime_id: &str, name: &str) {
        if self.names.contains_key(handle) {
            return;
        }
        if self.order.len() >= KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.names.remove(&oldest);
        }
        self.names.insert(Arc::clone(handle), (runtime_id.to_owned(), name.to_owned()));
        self.order.push_back(Arc::clone(handle));
    }
}

impl Given {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handles of an event, remembered.
    pub(crate) fn of(&self, handles: &Handles, event: &Event) -> EventHandles {
        let run = outrigger_proto::types::v1::RunRef { id: event.run_id.to_string(), ..Default::default() };
        let run: Arc<str> = handles.run(&event.runtime_id, &run).handle.into();
        let mut tables = self.lock();
        tables.runs.note(&run, &event.runtime_id, &event.run_id);
        let session: Arc<str> = if event.session.key.is_empty() {
            Arc::default()
        } else {
            let session: Arc<str> = handles.session(&event.session).handle.into();
            tables.sessions.note(&session, &event.runtime_id, &event.session.key);
            session
        };
        EventHandles { session, run }
    }

    /// The session of a handle.
    pub(crate) fn session(&self, handle: &str) -> Option<Named> {
        self.lock().sessions.names.get(handle).cloned()
    }

    /// The run of a handle.
    pub(crate) fn run(&self, handle: &str) -> Option<Named> {
        self.lock().runs.names.get(handle).cloned()
    }
}
