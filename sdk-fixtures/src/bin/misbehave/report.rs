//! What the process tells of itself: one line each on standard error.

use std::fmt::Arguments;
use std::io::Write as _;

/// Writes one line. A standard error that cannot be written is no reason to stop misbehaving.
pub(crate) fn line(text: Arguments<'_>) {
    let line = format!("misbehave: {text}\n");
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// Writes one line, as `format!`.
macro_rules! report {
    ($($part:tt)*) => { $crate::report::line(format_args!($($part)*)) };
}

pub(crate) use report;
