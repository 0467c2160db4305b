//! What a tree is doing, written down for people before it is killed. Bounded, whatever the tree looks like; never an
//! environment.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;

use rustix::param::page_size;

use super::procfs::{self, Stat};
use crate::domain::launch::Evidence;
use crate::domain::text::escape;

const PROCESSES_MAX: usize = 32;
const THREADS_MAX: usize = 32;
const FILES_MAX: usize = 64;
const LINES_MAX: usize = 400;
const UNREADABLE_MAX: usize = 64;
/// Characters of one text that a plugin chose.
const TEXT_MAX: usize = 200;
/// Bytes of a command line that are read.
const COMMAND_MAX: u64 = 4096;

/// Takes the evidence of the processes below the keeper.
pub(super) fn of_tree(keeper: u32) -> Evidence {
    let mut notes = Notes::default();
    let processes = procfs::descendants(keeper);
    for process in processes.iter().take(PROCESSES_MAX) {
        notes.process(process);
        notes.threads(process.pid);
        notes.files(process.pid);
    }
    notes.left_out(processes.len(), PROCESSES_MAX, "processes");
    notes.0
}

#[derive(Default)]
struct Notes(Evidence);

impl Notes {
    fn process(&mut self, process: &Stat) {
        let Stat { pid, state, parent, threads, resident_pages, .. } = process;
        let (name, kib) = (clean(&process.name), resident_pages.saturating_mul(page_size() as u64) / 1024);
        let command = match command_line(process) {
            Ok(command) => command,
            Err(error) => {
                self.unreadable(format!("command line of process {pid}"), &error);
                String::new()
            }
        };
        self.line(format!(
            "process {pid} ({name}): {}, parent {parent}, {threads} threads, {kib} KiB: {command}",
            describe(*state)
        ));
    }

    fn threads(&mut self, pid: u32) {
        let tasks = match procfs::tasks(pid) {
            Ok(tasks) => tasks,
            Err(error) => return self.unreadable(format!("threads of process {pid}"), &error),
        };
        for task in tasks.iter().take(THREADS_MAX) {
            let base = format!("/proc/{pid}/task/{task}");
            let name = procfs::read_at_most(&format!("{base}/comm"), 64).unwrap_or_default();
            let name = clean(name.strip_suffix(b"\n").unwrap_or(&name));
            match procfs::read_at_most(&format!("{base}/wchan"), 128) {
                // The kernel's word for a thread that runs, and for one that it will not tell about.
                Ok(place) if place == b"0" || place.is_empty() => {
                    self.line(format!("thread {task} ({name}) of {pid}: in no wait channel, or hidden"));
                }
                Ok(place) => self.line(format!("thread {task} ({name}) of {pid}: waits in {}", clean(&place))),
                Err(error) => self.unreadable(format!("wait channel of thread {task}"), &error),
            }
        }
        self.left_out(tasks.len(), THREADS_MAX, &format!("threads of process {pid}"));
    }

    fn files(&mut self, pid: u32) {
        let entries = match fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(entries) => entries,
            Err(error) => return self.unreadable(format!("open files of process {pid}"), &error),
        };
        for entry in entries.filter_map(Result::ok).take(FILES_MAX) {
            let number = entry.file_name();
            match fs::read_link(entry.path()) {
                Ok(target) => {
                    let target = clean(target.as_os_str().as_bytes());
                    self.line(format!("file {} of {pid}: {target}", number.to_string_lossy()));
                }
                Err(error) => self.unreadable(format!("file {} of {pid}", number.to_string_lossy()), &error),
            }
        }
        let count = procfs::descriptor_count(pid).unwrap_or(0);
        self.left_out(usize::try_from(count).unwrap_or(usize::MAX), FILES_MAX, &format!("open files of process {pid}"));
    }

    fn line(&mut self, line: String) {
        if self.0.lines.len() < LINES_MAX {
            self.0.lines.push(line);
        }
    }

    fn unreadable(&mut self, what: String, error: &io::Error) {
        if self.0.unreadable.len() < UNREADABLE_MAX {
            self.0.unreadable.push(format!("{what}: {error}"));
        }
    }

    fn left_out(&mut self, found: usize, taken: usize, what: &str) {
        if found > taken && self.0.unreadable.len() < UNREADABLE_MAX {
            self.0.unreadable.push(format!("{what}: {} more were left out", found - taken));
        }
    }
}

/// The arguments, and nothing behind them: where a process overwrites the end of its arguments, the kernel goes on into
/// its environment.
fn command_line(process: &Stat) -> io::Result<String> {
    let bytes = process.argument_bytes.min(COMMAND_MAX);
    if bytes == 0 {
        // A zombie has none; where the kernel does not tell their length, none is the safe answer.
        return Ok(String::new());
    }
    let text = procfs::read_at_most(&format!("/proc/{}/cmdline", process.pid), bytes)?;
    let text = text.strip_suffix(&[0]).unwrap_or(&text);
    Ok(clean(&text.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect::<Vec<_>>()))
}

fn describe(state: char) -> String {
    match state {
        'R' => "running",
        'S' => "sleeping",
        'D' => "waiting for a device",
        'Z' => "ended, not reaped",
        'T' => "stopped",
        't' => "stopped by a tracer",
        'X' => "dead",
        'I' => "idle",
        other => return format!("state {}", other.escape_default()),
    }
    .to_owned()
}

/// Text of a plugin's choice, fit for a terminal and a log: one line, bounded, nothing that moves, hides or reorders text.
fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.char_indices().nth(TEXT_MAX) {
        None => escape(&text),
        Some((end, _)) => escape(&text[..end]) + "…",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_tamed() {
        assert_eq!(clean(b"a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\u{a}");
        assert_eq!(clean("x\u{202e}y".as_bytes()), "x\\u{202e}y");
        assert_eq!(clean(&[0xff, b'a']), "\u{fffd}a");
        assert_eq!(clean("ü".repeat(500).as_bytes()), format!("{}…", "ü".repeat(TEXT_MAX)));
    }
}
