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
    /// By runtime and key, or runtime and run.
    handles: HashMap<(String, String), Arc<str>>,
    order: VecDeque<(String, String)>,
}

impl Table {
    fn handle(&mut self, runtime: &str, name: &str) -> Arc<str> {
        let key = (runtime.to_owned(), name.to_owned());
        if let Some(handle) = self.handles.get(&key) {
            return Arc::clone(handle);
        }
        if self.order.len() >= KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.handles.remove(&oldest);
        }
        let handle: Arc<str> = super::entropy::hex::<BYTES>().into();
        self.handles.insert(key.clone(), Arc::clone(&handle));
        self.order.push_back(key);
        handle
    }
}

impl Handles {
    pub(crate) fn new() -> Self {
        Self { sessions: Mutex::new(Table::default()), runs: Mutex::new(Table::default()) }
    }

    /// The session as this generation may see it: with its handle.
    pub(crate) fn session(&self, session: &SessionRef) -> SessionRef {
        let mut table = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        SessionRef { handle: table.handle(&session.runtime_id, &session.key).to_string(), ..session.clone() }
    }

    /// The run as this generation may see it. Run ids belong to the runtime named.
    pub(crate) fn run(&self, runtime: &str, run: &RunRef) -> RunRef {
        let mut table = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        RunRef { handle: table.handle(runtime, &run.id).to_string(), id: run.id.clone() }
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
        assert_eq!(handles.sessions.lock().expect("no test panics with it").handles.len(), KEPT);
        assert_ne!(first, handles.session(&session("0")).handle);
    }
}
