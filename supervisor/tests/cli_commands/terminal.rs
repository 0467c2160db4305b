//! `top` on a terminal: a pair of them, one end the program's.

#![expect(unsafe_code, reason = "the standard library opens no pair of terminals")]

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::fake::Fake;

/// Time for anything here to happen.
const LIMIT: Duration = Duration::from_secs(20);

/// The program on a terminal of its own. Dropping it kills it.
struct OnTerminal {
    child: Child,
    /// What a person types.
    keyboard: File,
    /// The program's end, kept so that its settings can be looked at.
    terminal: File,
    /// How it was before the program.
    before: Termios,
    shown: Receiver<Vec<u8>>,
    text: String,
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pair() -> (File, File) {
    let open = |path: &str| OpenOptions::new().read(true).write(true).open(path).expect("open a terminal");
    let person = open("/dev/ptmx");
    let mut name = [0u8; 64];
    // SAFETY: the descriptor is open, and `name` is as long as is said.
    let named = unsafe {
        libc::unlockpt(person.as_raw_fd()) == 0
            && libc::ptsname_r(person.as_raw_fd(), name.as_mut_ptr().cast(), name.len()) == 0
    };
    assert!(named, "a terminal has a name");
    let name: Vec<u8> = name.into_iter().take_while(|byte| *byte != 0).collect();
    let path = String::from_utf8(name).expect("a path is text");
    // Not this process's own terminal, should it have none.
    use std::os::unix::fs::OpenOptionsExt as _;
    let terminal = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(path);
    (person, terminal.expect("open the other end"))
}

impl OnTerminal {
    fn top(fake: &Fake, rows: u16) -> Self {
        let (keyboard, terminal) = pair();
        let size = Winsize { ws_row: rows, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).expect("it has a size");
        let before = tcgetattr(&terminal).expect("it is a terminal");
        let end = || Stdio::from(terminal.try_clone().expect("one more descriptor"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        command.arg("--runtime-dir").arg(fake.dir().join("run")).arg("--state-dir").arg(fake.dir().join("state"));
        command.args(["top", "-d", "500ms"]).env("TERM", "xterm").env_remove("NO_COLOR");
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("start the program");
        let mut reading = keyboard.try_clone().expect("one more descriptor");
        let (sender, shown) = channel();
        // Ends when the last descriptor of the other end is closed.
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reading.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keyboard, terminal, before, shown, text: String::new() }
    }

    fn settings(&self) -> Termios {
        tcgetattr(&self.terminal).expect("it is a terminal")
    }

    /// Waits until this was shown, from a place in the text on; where it ends.
    fn shows(&mut self, from: usize, what: &str) -> usize {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(at) = self.text[from..].find(what) {
                return from + at + what.len();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let bytes =
                self.shown.recv_timeout(left).unwrap_or_else(|_| unreachable!("no {what:?} in {:?}", self.text));
            self.text.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    /// Waits until it has ended and given the terminal back; its exit code.
    fn ends(mut self) -> Option<i32> {
        let deadline = Instant::now() + LIMIT;
        let status = loop {
            match self.child.try_wait().expect("look after it") {
                Some(status) => break status,
                None => assert!(Instant::now() < deadline, "it does not end: {:?}", self.text),
            }
            thread::sleep(Duration::from_millis(5));
        };
        self.shows(0, "\u{1b}[?25h\u{1b}[?1049l");
        assert_eq!(format!("{:?}", self.settings()), format!("{:?}", self.before), "as it was before");
        status.code()
    }
}

#[test]
fn top_takes_the_terminal_and_gives_it_back() {
    let fake = Fake::start();
    for end in ["q", "interrupt"] {
        let mut top = OnTerminal::top(&fake, 24);
        let taken = top.shows(0, "\u{1b}[?1049h\u{1b}[?25l");
        let first = top.shows(taken, "policy-gate");
        assert!(!top.settings().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO));
        // Again, in the same place.
        let second = top.shows(first, "\u{1b}[H");
        top.shows(second, "policy-gate");
        assert!(!top.text.contains("\u{1b}[2J"), "what a plugin wrote does not clear it: {:?}", top.text);
        if end == "q" {
            top.keyboard.write_all(b"xq").expect("type");
        } else {
            let pid = rustix::process::Pid::from_child(&top.child);
            rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
        }
        assert_eq!(top.ends(), Some(0), "{end}");
    }
}

#[test]
fn top_gives_the_terminal_back_when_the_supervisor_goes_and_fits_what_is_low() {
    let fake = Fake::start();
    let mut top = OnTerminal::top(&fake, 4);
    top.shows(0, "2 more do not fit");
    assert!(!top.text.contains("policy-gate"), "{:?}", top.text);
    drop(fake);
    assert_eq!(top.ends(), Some(3));
}
