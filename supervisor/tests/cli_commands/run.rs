//! Runs a command line as the binary would, with its streams caught.

use std::io::{self, Cursor, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use clap::Parser;
use jiff::Timestamp;
use outrigger::cli::{Cli, Command, ConfigCheck, ConfigReport, Exit, Terminal, execute};
use serde_json::Value;

/// Every command ends within this, or the test fails.
const LIMIT: Duration = Duration::from_secs(30);
/// The time that commands see: two minutes and five seconds after the fake's plugins became what they are.
pub(crate) const NOW: i64 = 1_795_243_725;

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// What was printed, as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| {
            assert!(error.is_io(), "not JSON: {error}\n{}\n{}", self.out, self.err);
            Value::Null
        })
    }

    /// Each line that was printed, as JSON.
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

/// A command to be run.
pub(crate) struct Run {
    args: Vec<String>,
    width: Option<u16>,
    color: bool,
    answer: Option<&'static str>,
    check: ConfigCheck,
    out: Option<io::ErrorKind>,
}

impl Run {
    /// With these arguments, against the supervisor in this directory.
    pub(crate) fn new(dir: &Path, args: &[&str]) -> Self {
        let mut all = vec!["outrigger".to_owned()];
        for (option, below) in [("--runtime-dir", "run"), ("--state-dir", "state")] {
            all.extend([option.to_owned(), dir.join(below).to_str().expect("UTF-8").to_owned()]);
        }
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        Self { args: all, width: None, color: false, answer: None, check: |_| ConfigReport::default(), out: None }
    }

    /// On a terminal of this width.
    pub(crate) fn width(mut self, width: u16) -> Self {
        self.width = Some(width);
        self
    }

    /// On a terminal with colour.
    pub(crate) fn color(mut self) -> Self {
        self.color = true;
        self
    }

    /// With a person who types this.
    pub(crate) fn answering(mut self, answer: &'static str) -> Self {
        self.answer = Some(answer);
        self
    }

    /// With this reader of configurations.
    pub(crate) fn checking(mut self, check: ConfigCheck) -> Self {
        self.check = check;
        self
    }

    /// With a stdout that fails so.
    pub(crate) fn out_fails(mut self, kind: io::ErrorKind) -> Self {
        self.out = Some(kind);
        self
    }

    /// Runs it.
    pub(crate) fn go(self) -> Ran {
        let (done, ended) = mpsc::channel();
        thread::spawn(move || {
            let cli = Cli::try_parse_from(&self.args).expect("the arguments parse");
            let command = match cli.command {
                Command::Client(command) => Some(command),
                Command::Run(_) => None,
            };
            let (out, err) = (Caught::default(), Caught::default());
            let mut terminal = Terminal {
                out: match self.out {
                    Some(kind) => Box::new(Failing(kind)),
                    None => Box::new(out.clone()),
                },
                err: Box::new(err.clone()),
                width: self.width,
                color: self.color,
                error_color: self.color,
                answers: self.answer.map(|answer| Box::new(Cursor::new(answer)) as Box<dyn io::BufRead>),
                clock: || Timestamp::from_second(NOW).expect("a time"),
            };
            let exit = execute(&cli.global, command.expect("not run"), self.check, &mut terminal);
            done.send(Ran { exit, out: out.text(), err: err.text() }).expect("the test waits");
        });
        ended.recv_timeout(LIMIT).expect("the command ends in time, and does not panic")
    }
}

/// Runs a command against the supervisor in this directory.
pub(crate) fn outrigger(dir: &Path, args: &[&str]) -> Ran {
    Run::new(dir, args).go()
}

#[derive(Clone, Default)]
struct Caught(Arc<Mutex<Vec<u8>>>);

impl Caught {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no writer panicked").clone()).expect("UTF-8")
    }
}

impl Write for Caught {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Failing(io::ErrorKind);

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
