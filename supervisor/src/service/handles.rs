//! Handles of sessions and runs: capabilities of one plugin and generation, random, looked up in a table.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use outrigger_proto::types::v1::{RunRef, SessionRef};

/// Handles of each kind that a generation keeps; the oldest give way and are made anew when they are named again.
const KEPT: usize = 4096;
/// Random bytes of a handle.
const BYTES: usize = 16;

/// The handles of one generation.
pub(crate) struct Handles {
    sessions: Mutex<Table>,
    runs: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// By runtime, then by key or run.
    handles: HashMap<Arc<str>, HashMap<Arc<str>, Arc<str>>>,
    /// What is in it, oldest first.
    order: VecDeque<(Arc<str>, Arc<str>)>,
}

impl Table {
    /// The handle, made if there is none. The ordinary call finds one, and nothing is allocated.
    fn handle(&mut self, runtime: &str, name: &str) -> &str {
        if self.get(runtime, name).is_none() {
            self.make_room();
            let runtime: Arc<str> =
                self.handles.get_key_value(runtime).map_or_else(|| runtime.into(), |(id, _)| Arc::clone(id));
            let name: Arc<str> = name.into();
            let handle = super::entropy::hex::<BYTES>().into();
            self.handles.entry(Arc::clone(&runtime)).or_default().insert(Arc::clone(&name), handle);
            self.order.push_back((runtime, name));
        }
        self.get(runtime, name).unwrap_or_default()
    }

    fn get(&self, runtime: &str, name: &str) -> Option<&str> {
        self.handles.get(runtime)?.get(name).map(AsRef::as_ref)
    }

    fn make_room(&mut self) {
        if self.order.len() >= KEPT
            && let Some((runtime, name)) = self.order.pop_front()
            && let Some(names) = self.handles.get_mut(&runtime)
        {
            names.remove(&name);
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
            handle: table.handle(&session.runtime_id, &session.key).to_owned(),
            key: session.key.clone(),
            id: session.id.clone(),
            agent_id: session.agent_id.clone(),
            runtime_id: session.runtime_id.clone(),
        }
    }

    /// The run as this generation may see it. Run ids belong to the runtime named.
    pub(crate) fn run(&self, runtime: &str, run: &RunRef) -> RunRef {
        let mut table = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        RunRef { handle: table.handle(runtime, &run.id).to_owned(), id: run.id.clone() }
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
    }

    #[test]
    fn the_table_has_its_bound() {
        let handles = Handles::new();
        let first = handles.session(&session("0")).handle;
        for number in 1..=KEPT {
            handles.session(&session(&number.to_string()));
        }
        let table = handles.sessions.lock().expect("no test panics with it");
        assert_eq!((table.order.len(), table.handles["default"].len()), (KEPT, KEPT));
        drop(table);
        assert_ne!(first, handles.session(&session("0")).handle);
    }
}
