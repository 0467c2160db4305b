//! Where a command writes, how wide it is, whether it may use colour, and who can be asked.

use std::io::{self, BufRead, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

/// Red, bold: something is wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Yellow: something wants attention.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
/// Green: all is well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Cyan: a name to look for.
pub(crate) const NAME: Style = AnsiColor::Cyan.on_default();
/// Dim: beside the point.
pub(crate) const DIM: Style = Style::new().dimmed();
/// Bold.
pub(crate) const BOLD: Style = Style::new().bold();

/// When colour is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The streams of a command and what is known of them. Tests put their own in place.
pub struct Terminal {
    /// Answers go here.
    pub out: Box<dyn Write>,
    /// Errors and questions go here.
    pub err: Box<dyn Write>,
    /// Columns of the terminal answers go to. `None`: no terminal, nothing is cut.
    pub width: Option<u16>,
    /// Answers may use colour.
    pub color: bool,
    /// Errors may use colour.
    pub error_color: bool,
    /// A person who can be asked. `None`: nobody is there.
    pub answers: Option<Box<dyn BufRead>>,
    /// The time now.
    pub clock: fn() -> Timestamp,
}

impl Terminal {
    /// The streams of this process.
    #[must_use]
    pub fn standard(color: ColorWhen) -> Self {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let width = stdout.is_terminal().then(|| {
            rustix::termios::tcgetwinsize(&stdout)
                .ok()
                .map(|size| size.ws_col)
                .filter(|columns| *columns > 0)
                .unwrap_or(80)
        });
        let person = stdin.is_terminal() && stderr.is_terminal();
        Self {
            color: use_color(color, &stdout),
            error_color: use_color(color, &stderr),
            out: Box::new(io::BufWriter::new(stdout)),
            err: Box::new(stderr),
            width,
            answers: person.then(|| Box::new(io::BufReader::new(stdin)) as Box<dyn BufRead>),
            clock: Timestamp::now,
        }
    }

    /// The text in this style, or as it is where colour is not wanted.
    pub(crate) fn paint(&self, style: Style, text: impl AsRef<str>) -> String {
        paint(self.color, style, text.as_ref())
    }

    /// The text as the head of an error.
    pub(crate) fn paint_error(&self, text: &str) -> String {
        paint(self.error_color, BAD, text)
    }

    /// Asks a question that only `y` or `yes` answers with yes. `None`: nobody is there to ask.
    pub(crate) fn confirm(&mut self, question: &str) -> Option<bool> {
        let answers = self.answers.as_mut()?;
        // A question that cannot be shown was not asked, and so is a no.
        if write!(self.err, "{question} [y/N] ").and_then(|()| self.err.flush()).is_err() {
            return Some(false);
        }
        let mut answer = String::new();
        // A line of a person; one longer than this is no answer.
        let read = io::Read::take(answers, 64).read_line(&mut answer);
        Some(read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }
}

fn paint(color: bool, style: Style, text: &str) -> String {
    if color { format!("{}{text}{}", style.render(), style.render_reset()) } else { text.to_owned() }
}

fn use_color<S: anstream::stream::RawStream>(when: ColorWhen, stream: &S) -> bool {
    match when {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        ColorWhen::Auto => anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never,
    }
}
