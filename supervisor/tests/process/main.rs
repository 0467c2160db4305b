//! The process layer with real processes. Each test runs in a process of its own, which so is a whole supervisor; where
//! the run is root's, once as root and once as an ordinary user.

#![expect(clippy::panic, reason = "a test fails by it")]

mod defence;
mod ending;
mod fallback;
mod launch;
mod limits;
mod observe;
mod roles;
mod runner;
mod support;

use std::process::ExitCode;

/// Name and body.
type Test = (&'static str, fn());

fn main() -> ExitCode {
    outrigger::keeper_main();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let tests: Vec<Test> =
        [launch::TESTS, ending::TESTS, defence::TESTS, fallback::TESTS, limits::TESTS, observe::TESTS].concat();
    match arguments.as_slice() {
        ["__role", role, rest @ ..] => roles::play(role, rest),
        [runner::RUN_ONE, name] => {
            let (_, test) = tests.iter().find(|(known, _)| known == name).expect("the runner names a test");
            test();
            ExitCode::SUCCESS
        }
        arguments => runner::run(&tests, arguments),
    }
}
