//! Reads and writes the kernel's files of a control group.

use std::fs;
use std::io;
use std::path::Path;

use crate::process::procfs;

/// Bytes of a file that are read: far more than any has but the list of processes.
const READ_MAX: u64 = 64 * 1024;

/// A file of a group as text.
///
/// # Errors
/// It is not there or not readable.
pub(super) fn read(directory: &Path, file: &str) -> io::Result<String> {
    let path = directory.join(file);
    let bytes = procfs::read_at_most(&path.to_string_lossy(), READ_MAX)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes one value.
///
/// # Errors
/// In words, with the path.
pub(super) fn write(directory: &Path, file: &str, value: &str) -> Result<(), String> {
    let path = directory.join(file);
    fs::write(&path, value).map_err(|error| format!("write `{value}` to `{}`: {error}", path.display()))
}

/// The number in a file that holds one; `None` also for `max`.
pub(super) fn number(directory: &Path, file: &str) -> Option<u64> {
    read(directory, file).ok()?.trim().parse().ok()
}

/// A number of a file of names and numbers; 0 where it is not there.
pub(super) fn count(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// Whether a list of words, as of controllers, has the word.
pub(super) fn lists(text: &str, word: &str) -> bool {
    text.split_ascii_whitespace().any(|listed| listed == word)
}

/// Removes a group and, as the kernel would not, those below it, down to 32 levels. It must be empty of processes.
///
/// # Errors
/// There are processes in it, or it is not ours.
pub(super) fn remove(directory: &Path) -> io::Result<()> {
    remove_below(directory, 32)
}

fn remove_below(directory: &Path, levels: u32) -> io::Result<()> {
    if fs::remove_dir(directory).is_ok() {
        return Ok(());
    }
    if levels > 0 {
        for entry in fs::read_dir(directory)?.filter_map(Result::ok) {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                // Where one is left, the group above it is, too, and says why.
                let _ = remove_below(&entry.path(), levels - 1);
            }
        }
    }
    fs::remove_dir(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_whole_name() {
        let events = "low 0\nhigh 1\nmax 7\noom 2\noom_kill 3\noom_group_kill 1\n";
        assert_eq!((count(events, "oom"), count(events, "oom_kill"), count(events, "max")), (2, 3, 7));
        assert_eq!(
            (count(events, "oom_k"), count("", "oom"), count("max x\n", "max"), count("max", "max")),
            (0, 0, 0, 0)
        );
        assert!(lists("cpu memory pids\n", "memory") && !lists("cpuset io\n", "cpu"));
    }

    #[test]
    fn groups_go_with_what_is_below_them_and_never_with_files() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let deep = root.path().join("a/b/c");
        fs::create_dir_all(&deep).expect("directories");
        fs::write(root.path().join("a/b/kept"), "").expect("a file");
        // The kernel's own files go with their group; a real file stands for processes here.
        assert!(remove(&root.path().join("a")).is_err());
        assert!(!deep.exists() && root.path().join("a/b/kept").exists());
        fs::remove_file(root.path().join("a/b/kept")).expect("a file");
        remove(&root.path().join("a")).expect("empty now");
        assert!(!root.path().join("a").exists());
    }
}
