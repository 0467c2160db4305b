//! Every command of the command line against a small supervisor in this process: what it prints as text and as JSON,
//! what it asks of the supervisor, and how it ends.

mod admin;
mod errors;
mod fake;
mod local;
mod real;
mod replay;
mod run;
mod terminal;
