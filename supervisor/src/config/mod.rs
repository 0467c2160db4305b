//! Reading what people configure: `outrigger.toml`, the operator's decision, and each plugin's `plugin.toml`, the
//! author's request.
//!
//! Both are read strictly and once, into types that cannot be wrong. Every problem of a file is reported, with file,
//! line, key, value and what would be right. A plugin whose entry or manifest is wrong does not stop the others: it is
//! loaded as broken, and guards what it last guarded. `docs/configuration.md` is the reference for people,
//! `docs/schema/*.json` for editors.

mod claims;
pub mod command;
mod convert;
mod entry;
mod environment;
mod file;
mod grants;
pub mod json_schema;
mod keys;
pub mod load;
pub mod manifest;
pub mod operator;
pub mod problem;
mod reader;
pub mod schema;
mod schema_cost;
mod secrets;
mod supervisor;
pub mod units;

pub use load::{Config, load, reload_entry};
