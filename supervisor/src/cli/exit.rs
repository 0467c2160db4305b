//! Exit codes: one list, which `--help` shows and scripts can rely on.

use std::process::ExitCode;

/// How a command ended, as its exit code tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Refused or failed, and none of the others.
    Failed = 1,
    /// The command line is wrong. (The argument parser uses the same number.)
    Usage = 2,
    /// No supervisor answers.
    NoSupervisor = 3,
    /// The plugin is unknown, absent, or failed.
    Plugin = 4,
    /// `call`: the plugin said no.
    Denied = 5,
    /// The key is missing, cannot be read, or is another supervisor's.
    Key = 6,
    /// `--timeout` passed; whether the effect happened is unknown.
    TimedOut = 7,
    /// Guards hold, and neither `--yes` nor an answer confirmed that they may go.
    GuardsHold = 8,
}

impl Exit {
    /// Every code with its meaning, in order.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::Done, "done"),
        (Self::Failed, "refused or failed"),
        (Self::Usage, "wrong command line"),
        (Self::NoSupervisor, "no supervisor answers"),
        (Self::Plugin, "plugin unknown, absent or failed (status PLUGIN: one is not ready)"),
        (Self::Denied, "call: the plugin said no"),
        (Self::Key, "key missing, unreadable or not accepted"),
        (Self::TimedOut, "--timeout passed; whether it happened is unknown"),
        (Self::GuardsHold, "guards hold and nothing confirmed that they may go"),
    ];

    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The list, as `--help` shows it.
    #[must_use]
    pub fn help() -> String {
        let mut text = String::from("Exit codes:\n");
        for (exit, meaning) in Self::ALL {
            text.push_str(&format!("  {}  {meaning}\n", exit.code()));
        }
        text.push_str(
            "\nWith --json an error is one JSON document on stderr: {\"error\":{message,reason,details,remedy,exit}}.",
        );
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_listed_in_order_without_a_hole() {
        for (number, (exit, _)) in Exit::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(exit.code()), number);
            assert!(Exit::help().contains(&format!("\n  {number}  ")));
        }
    }
}
