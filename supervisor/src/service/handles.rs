//! Handles of sessions and runs: capabilities of one plugin and generation, random, looked up in a table.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use outrigger_proto::types::v1::{RunRef, SessionRef};

/// Handles of each kind that a generation keeps; the oldest give way and are made anew when they are named again.
const KEPT: usize = 4096;
/// Random bytes of a handle.
const BYTES: usize = 16;

/// A runtime, and the key of a session or the id of a run of it.
type Named = (Arc<str>, Arc<str>);

/// The handles of one generation.
pub(crate) struct Handles {
    sessions: Mutex<Table>,
    runs: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// By runtime, then by key or run.
    handles: HashMap<Arc<str>, HashMap<Arc<str>, Arc<str>>>,
    /// What each handle stands for: runtime, then key or run.
    names: HashMap<Arc<str>, Named>,
    /// What is in it, oldest first.
    order: VecDeque<Named>,
}

impl Table {
    /// The handle, made if there is none.
    fn handle(&mut self, runtime: &str, name: &str) -> String {
        if let Some(handle) = self.handles.get(runtime).and_then(|names| names.get(name)) {
            return handle.to_string();
        }
        self.make_room();
        let runtime: Arc<str> =
            self.handles.get_key_value(runtime).map_or_else(|| runtime.into(), |(id, _)| Arc::clone(id));
        let name: Arc<str> = name.into();
        let text = super::entropy::hex::<BYTES>();
        let handle: Arc<str> = text.as_str().into();
        self.names.insert(Arc::clone(&handle), (Arc::clone(&runtime), Arc::clone(&name)));
        self.handles.entry(Arc::clone(&runtime)).or_default().insert(Arc::clone(&name), handle);
        self.order.push_back((runtime, name));
        text
    }

    fn make_room(&mut self) {
        if self.order.len() >= KEPT
            && let Some((runtime, name)) = self.order.pop_front()
            && let Some(names) = self.handles.get_mut(&runtime)
        {
            if let Some(handle) = names.remove(&name) {
                self.names.remove(&handle);
            }
            if names.is_empty() {
                self.handles.remove(&runtime);
            }
        }
    }
}

impl Handles {
    pub(crate) fn new() -> Self {
        Self { sessions: Mutex::new(Table::default()), runs: Mutex::new(Table::default()) }
    }

    /// The session as this generation may see it: with its handle.
    pub(crate) fn session(&self, session: &SessionRef) -> SessionRef {
        let mut table = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        SessionRef {
            handle: table.handle(&session.runtime_id, &session.key),
            key: session.key.clone(),
            id: session.id.clone(),
            agent_id: session.agent_id.clone(),
            runtime_id: session.runtime_id.clone(),
        }
    }

    /// The run as this generation may see it. Run ids belong to the runtime named.
    pub(crate) fn run(&self, runtime: &str, run: &RunRef) -> RunRef {
        let mut table = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        RunRef { handle: table.handle(runtime, &run.id), id: run.id.clone() }
    }

    /// Runtime and key of a session by its handle, however that was given.
    pub(crate) fn session_of(&self, handle: &str) -> Option<(String, String)> {
        Self::named(&self.sessions, handle)
    }

    /// Runtime and id of a run by its handle, however that was given.
    pub(crate) fn run_of(&self, handle: &str) -> Option<(String, String)> {
        Self::named(&self.runs, handle)
    }

    fn named(table: &Mutex<Table>, handle: &str) -> Option<(String, String)> {
        let table = table.lock().unwrap_or_else(PoisonError::into_inner);
        table.names.get(handle).map(|(runtime, name)| (runtime.to_string(), name.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(key: &str) -> SessionRef {
        SessionRef { key: key.to_owned(), runtime_id: "default".to_owned(), ..Default::default() }
    }

    #[test]
    fn a_handle_stays_and_says_nothing() {
        let (a, b) = (Handles::new(), Handles::new());
        let first = a.session(&session("k")).handle;
        assert_eq!(first, a.session(&session("k")).handle);
        assert_ne!(first, a.session(&session("l")).handle);
        assert_ne!(first, b.session(&session("k")).handle);
        assert_eq!(first.len(), 2 * BYTES);
        assert_eq!(a.session_of(&first), Some(("default".to_owned(), "k".to_owned())));
        assert_eq!((b.session_of(&first), a.run_of(&first)), (None, None));
    }

    #[test]
    fn the_table_has_its_bound() {
        let handles = Handles::new();
        let first = handles.session(&session("0")).handle;
        for number in 1..=KEPT {
            handles.session(&session(&number.to_string()));
        }
        let table = handles.sessions.lock().expect("no test panics with it");
        assert_eq!((table.order.len(), table.handles["default"].len(), table.names.len()), (KEPT, KEPT, KEPT));
        drop(table);
        assert_ne!(first, handles.session(&session("0")).handle);
    }
}
