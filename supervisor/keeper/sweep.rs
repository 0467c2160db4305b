//! Kills the tree by walking it, for kernels without signal scopes.
//!
//! A process is killed only by a pidfd, opened before its parent was read: so a number that was given to a stranger
//! meanwhile is never hit.

use core::ffi::CStr;

use super::sys::{self, O_CLOEXEC, O_DIRECTORY, O_RDONLY};

/// Levels that one walk descends; each needs some KiB of stack. What is deeper rises when its parents die.
const DEPTH_MAX: u32 = 12;
/// Children of one process that one walk takes; the rest is there at the next one.
const CHILDREN_MAX: usize = 512;

/// The kernel lists the children of a process.
pub(super) fn is_possible() -> bool {
    let own = sys::own_pid();
    match sys::open(Path::new().text(b"/proc/").number(own).text(b"/task/").number(own).text(b"/children").end(), READ)
    {
        Ok(fd) => {
            sys::close(fd);
            true
        }
        Err(_) => false,
    }
}

/// Kills every process below the keeper that one walk meets.
pub(super) fn kill_descendants() {
    let keeper = sys::own_pid();
    let mut children = [0; CHILDREN_MAX];
    let count = list_children(keeper, &mut children);
    for child in children.iter().take(count) {
        kill_tree(*child, keeper, keeper, DEPTH_MAX);
    }
}

/// Kills `pid`, if its parent is `parent` or the keeper, and what is below it.
fn kill_tree(pid: i32, parent: i32, keeper: i32, depth: u32) {
    let Ok(pinned) = sys::pidfd_open(pid) else { return };
    let above = parent_of(pid);
    // Still the process whose parent was read? Then it is in the tree: an orphan of the tree comes to the keeper, and
    // `parent` is pinned by the caller.
    if (above == Some(parent) || above == Some(keeper)) && sys::pidfd_kill(pinned, 0).is_ok() {
        // Listed before the kill, as a dead process lists none; killed before its children, so that it makes no more.
        let mut children = [0; CHILDREN_MAX];
        let count = if depth > 0 { list_children(pid, &mut children) } else { 0 };
        let _ = sys::pidfd_kill(pinned, sys::SIGKILL);
        for child in children.iter().take(count) {
            kill_tree(*child, pid, keeper, depth - 1);
        }
    }
    sys::close(pinned);
}

const READ: i32 = O_RDONLY | O_CLOEXEC;

/// The second number after the program's name, which stands in brackets and may itself contain any.
fn parent_of(pid: i32) -> Option<i32> {
    let fd = sys::open(Path::new().text(b"/proc/").number(pid).text(b"/stat").end(), READ).ok()?;
    let mut bytes = [0; 512];
    let count = sys::read(fd, &mut bytes);
    sys::close(fd);
    let bytes = bytes.get(..count.ok()?)?;
    let after_name = bytes.get(bytes.iter().rposition(|byte| *byte == b')')?..)?;
    number(after_name.split(|byte| *byte == b' ').nth(2)?)
}

/// Children of all threads of a process; how many were found.
fn list_children(pid: i32, into: &mut [i32; CHILDREN_MAX]) -> usize {
    let Ok(tasks) = sys::open(Path::new().text(b"/proc/").number(pid).text(b"/task").end(), READ | O_DIRECTORY) else {
        return 0;
    };
    let mut found = 0;
    let mut entries = [0; 1024];
    while let Ok(filled @ 1..) = sys::directory_entries(tasks, &mut entries) {
        let mut rest = entries.get(..filled).unwrap_or_default();
        // An entry: inode (8 bytes), offset (8), its length (2), kind (1), name and a zero byte.
        while let Some(&[low, high]) = rest.get(16..18) {
            let length = usize::from(u16::from_ne_bytes([low, high]));
            let name = rest.get(19..length).unwrap_or_default();
            if let Some(task) = name.split(|byte| *byte == 0).next().and_then(number) {
                found += list_children_of_task(pid, task, into.get_mut(found..).unwrap_or_default());
            }
            rest = rest.get(length.max(1)..).unwrap_or_default();
        }
    }
    sys::close(tasks);
    found
}

fn list_children_of_task(pid: i32, task: i32, into: &mut [i32]) -> usize {
    let path = Path::new().text(b"/proc/").number(pid).text(b"/task/").number(task).text(b"/children");
    let Ok(fd) = sys::open(path.end(), READ) else { return 0 };
    let (mut found, mut current) = (0, None);
    let mut bytes = [0; 1024];
    while let Ok(filled @ 1..) = sys::read(fd, &mut bytes) {
        for byte in bytes.iter().take(filled) {
            if byte.is_ascii_digit() {
                current = Some(current.unwrap_or(0_i32).wrapping_mul(10).wrapping_add(i32::from(byte - b'0')));
            } else if let Some(child) = current.take()
                && let Some(slot) = into.get_mut(found)
            {
                *slot = child;
                found += 1;
            }
        }
    }
    sys::close(fd);
    found
}

fn number(digits: &[u8]) -> Option<i32> {
    core::str::from_utf8(digits).ok()?.parse().ok()
}

/// A path being written, always with a zero byte at its end.
struct Path {
    bytes: [u8; 64],
    length: usize,
}

impl Path {
    fn new() -> Self {
        Self { bytes: [0; 64], length: 0 }
    }

    /// Adds text; what does not fit is left out (the longest path used here has 43 bytes).
    fn text(mut self, text: &[u8]) -> Self {
        for byte in text {
            if self.length + 1 < self.bytes.len() {
                self.bytes[self.length] = *byte;
                self.length += 1;
            }
        }
        self
    }

    fn number(self, number: i32) -> Self {
        let mut digits = [0; 10];
        let mut at = digits.len();
        let mut rest = number.unsigned_abs();
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.text(&digits[at..])
    }

    fn end(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}
