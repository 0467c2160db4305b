//! The voice of the demonstration: numbered lines with the time since it began, and below them what belongs to them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Instant;

use crate::cli::failure::Failure;
use crate::cli::replay::report::Decision;
use crate::cli::terminal::{BOLD, DIM, Terminal};
use crate::cli::text::safe;

/// How much of the end of the supervisor's log is looked at where something went wrong.
const LOG_TAIL_BYTES: u64 = 4_096;
/// Lines of it that are shown.
const LOG_TAIL_LINES: usize = 12;

/// Prints what happens.
pub(super) struct Narrator<'a> {
    terminal: &'a mut Terminal,
    begun: Instant,
    steps: u32,
}

impl<'a> Narrator<'a> {
    /// The clock of the story begins here.
    pub(super) fn new(terminal: &'a mut Terminal) -> Self {
        Self { terminal, begun: Instant::now(), steps: 0 }
    }

    /// The head of it all.
    pub(super) fn title(&mut self, text: &str) -> Result<(), Failure> {
        let text = self.terminal.paint(BOLD, text);
        self.print(format!("{text}\n"))
    }

    /// What happens now: a numbered line.
    pub(super) fn step(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.steps += 1;
        let time = self.terminal.paint(DIM, format!("{:5.1}s", self.begun.elapsed().as_secs_f64()));
        let text = self.terminal.paint(BOLD, safe(text.as_ref()));
        self.print(format!("{:2} {time}  {text}", self.steps))
    }

    /// Something that belongs to the step.
    pub(super) fn detail(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.print(format!("           {}", safe(text.as_ref())))
    }

    /// Why it matters.
    pub(super) fn why(&mut self, text: &str) -> Result<(), Failure> {
        let text = self.terminal.paint(DIM, text);
        self.print(format!("           {text}"))
    }

    /// What the plugins made of a tool call.
    pub(super) fn decision(&mut self, decision: &Decision) -> Result<(), Failure> {
        let verdict = decision.verdict_words(self.terminal);
        let line = format!("{:<6} {:<32}  {verdict}  {}", safe(&decision.tool), decision.summary(), decision.who());
        self.print(format!("           {line}"))
    }

    /// The end of the supervisor's log.
    pub(super) fn log_tail(&mut self, log: &Path) -> Result<(), Failure> {
        let tail = File::open(log).and_then(|mut file| {
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        });
        let Ok(tail) = tail else { return Ok(()) };
        let lines: Vec<_> = tail.lines().collect();
        if lines.is_empty() {
            return Ok(());
        }
        self.detail("the supervisor's last words:")?;
        for line in &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..] {
            self.detail(format!("| {line}"))?;
        }
        Ok(())
    }

    fn print(&mut self, line: String) -> Result<(), Failure> {
        writeln!(self.terminal.out, "{line}")?;
        Ok(self.terminal.out.flush()?)
    }
}
