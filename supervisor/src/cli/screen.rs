//! The whole terminal, for as long as something is shown that changes in place; then it is as it was before.

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

/// How often is looked whether a key was pressed.
const KEYS: Duration = Duration::from_millis(50);
/// To the other screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// Back to what was shown before, with the cursor.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The terminal, taken over. Dropping it gives it back.
pub(crate) struct Screen {
    /// How the terminal was before. `None`: what is typed does not come from a terminal.
    before: Option<Termios>,
}

impl Screen {
    /// Takes the terminal over: what is typed is not shown, and comes without waiting for the end of a line.
    ///
    /// `None` where answers do not go to a terminal.
    pub(crate) fn take() -> io::Result<Option<Self>> {
        if !io::stdout().is_terminal() {
            return Ok(None);
        }
        let screen = Self { before: tcgetattr(io::stdin()).ok() };
        screen.enter()?;
        Ok(Some(screen))
    }

    fn enter(&self) -> io::Result<()> {
        if let Some(before) = &self.before {
            let mut typed = before.clone();
            // Ctrl-C and Ctrl-Z stay signals.
            typed.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            tcsetattr(io::stdin(), OptionalActions::Now, &typed)?;
        }
        write(ENTER)
    }

    /// Gives the terminal back. That it is gone changes nothing.
    fn leave(&self) {
        let _ = write(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }

    /// Gives the terminal back, stops this process as Ctrl-Z would, and takes the terminal again when it goes on.
    pub(crate) fn suspend(&self) -> io::Result<()> {
        self.leave();
        kill_process(getpid(), Signal::STOP)?;
        self.enter()
    }

    /// Columns and rows, at least 1 each.
    pub(crate) fn size(&self) -> (u16, u16) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
            _ => (80, 24),
        }
    }

    /// Shows these lines from the top, in place of what was shown. What does not fit below is left out.
    pub(crate) fn show(&self, lines: &[String]) -> io::Result<()> {
        let rows = usize::from(self.size().1);
        let mut frame = String::from("\x1b[H");
        for (index, line) in lines.iter().take(rows).enumerate() {
            if index > 0 {
                frame.push_str("\r\n");
            }
            frame.push_str(line);
            frame.push_str("\x1b[K");
        }
        frame.push_str("\x1b[J");
        write(&frame)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// What a person did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happened {
    /// Ctrl-C, `q`, or the terminal is gone.
    Quit,
    /// The terminal has another size.
    Resized,
    /// Ctrl-Z.
    Suspended,
}

/// Waits for what a person does. From its making on no signal ends the process by itself.
pub(crate) struct Person {
    signals: [(tokio::signal::unix::Signal, Happened); 5],
    /// Keys come from a terminal.
    keys: bool,
}

impl Person {
    /// To be called inside a tokio runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let heard = |kind, happened| Ok::<_, io::Error>((signal(kind)?, happened));
        Ok(Self {
            signals: [
                heard(SignalKind::interrupt(), Happened::Quit)?,
                heard(SignalKind::terminate(), Happened::Quit)?,
                heard(SignalKind::hangup(), Happened::Quit)?,
                heard(SignalKind::window_change(), Happened::Resized)?,
                heard(SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw()), Happened::Suspended)?,
            ],
            keys: io::stdin().is_terminal(),
        })
    }

    /// The next thing. Cancel safe.
    pub(crate) async fn next(&mut self) -> Happened {
        let [interrupt, terminate, hangup, resize, stop] = &mut self.signals;
        tokio::select! {
            _ = interrupt.0.recv() => interrupt.1,
            _ = terminate.0.recv() => terminate.1,
            _ = hangup.0.recv() => hangup.1,
            _ = resize.0.recv() => resize.1,
            _ = stop.0.recv() => stop.1,
            () = quit_key(), if self.keys => Happened::Quit,
        }
    }
}

/// Waits for `q`, or for the end of what is typed.
///
/// The terminal is not in non-blocking mode, which it would share with the shell: so only what is there is read.
async fn quit_key() {
    let stdin = io::stdin();
    loop {
        while is_readable(&stdin) {
            let mut typed = [0; 64];
            match stdin.lock().read(&mut typed) {
                Ok(0) | Err(_) => return,
                Ok(count) if typed[..count].iter().any(|key| matches!(key, b'q' | b'Q')) => return,
                Ok(_) => {}
            }
        }
        tokio::time::sleep(KEYS).await;
    }
}

fn is_readable(stdin: &io::Stdin) -> bool {
    let stdin = stdin.as_fd();
    let mut watched = [PollFd::new(&stdin, PollFlags::IN)];
    matches!(poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1..))
}
