//! What an out-of-process host must prove, statement by statement: each test is named after those it shows (`x02_…`,
//! `q07_…`), and quotes them. A real supervisor, real plugins, real faults.
//!
//! The X statements are about plugins that are processes; the Q statements answer what users of in-process plugins
//! complained about. Shown here is what hooks, tools and events reach; `kinds` goes through every kind of hook.

mod arrange;
mod ends;
mod events;
mod guards;
mod hangs;
mod isolation;
mod kinds;
mod limits;
mod look;
mod messages;
mod quarantine;
mod reload;
mod shutdown;

use std::time::Duration;

/// For one test; each takes some seconds at most.
const LIMIT: Duration = Duration::from_secs(60);
/// The plugin that behaves, beside those that do not.
const NEIGHBOUR: &str = "neighbour";
