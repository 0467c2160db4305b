//! The `outrigger` program: the supervisor (`run`), and the operator's commands, which talk to it.

mod run;

use std::process::ExitCode;

use clap::Parser as _;
use outrigger::cli::{self, Cli, Command};

fn main() -> ExitCode {
    // A keeper that cannot be run from a memory file is this program, started again.
    outrigger::keeper_main();
    let Cli { global, command } = Cli::parse();
    match command {
        Command::Run(args) => run::run(&global, &args),
        Command::Client(command) => cli::run(&global, command, run::check),
    }
}
