//! A plugin that misbehaves on purpose, in one way that its command line names.
//!
//! `misbehave --fault NAME [--when starting|idle|hook|draining] [--tool NAME]... [KEY=VALUE]...`; `--list` prints the
//! faults. Without a fault it behaves well: it registers the guard `guard` for its tools (default `misbehave`), has no
//! opinion of a tool call unless its parameters have `"block": true`, holds one with `"hold": true` until Cancel, Drain
//! or Shutdown, and exits with status 0 when told. Each strike is told on standard error, one line a fact.
//!
//! Options of all faults: `life=SECONDS` (how long the process lives after the strike, at most 20, then SIGALRM ends
//! it), `point=connect` (a fault that strikes when starting does so before Hello). A wrong command line exits with 64.

use std::env;
use std::process::exit;

mod answers;
mod arguments;
mod attacks;
mod dial;
mod frames;
mod identity;
mod link;
mod load;
mod messages;
mod plugin;
mod processes;
mod report;
mod strike;
mod sys;
mod tap;
mod wire;

use arguments::Arguments;
use link::Failure;
use plugin::Plugin;
use report::report;

/// The command line makes no sense (EX_USAGE of sysexits.h).
const USAGE: i32 = 64;
/// It failed in a way nobody asked for (EX_SOFTWARE).
const FAILED: i32 = 70;

fn main() {
    if env::args().nth(1).is_some_and(|argument| argument == "--list") {
        print!("{}", arguments::list());
        return;
    }
    let arguments = match Arguments::parse(env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(reason) => {
            report!("{reason}");
            exit(USAGE);
        }
    };
    let status = run(arguments).unwrap_or_else(|error| {
        report!("failed: {error}");
        FAILED
    });
    exit(status);
}

fn run(arguments: Arguments) -> Result<i32, Failure> {
    match arguments.role.as_deref() {
        Some("worker") => {}
        Some(role) => return Ok(processes::play(role, &arguments)?),
        None if arguments.is("wrapper-exits") => return Ok(processes::wrap(&arguments)?),
        None => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { Plugin::connect(arguments).await?.run().await })
}
