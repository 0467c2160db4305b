//! The state directory belongs to one supervisor at a time.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

use super::OpenError;

/// Name of the lock file in the state directory.
const LOCK_FILE: &str = "lock";

/// Holds the state directory until it is dropped, or until this process ends in whatever way.
///
/// The file stays: removing it would let two supervisors lock two files of that name. It contains the holder's process
/// id as a decimal line, for people and for the message of who comes second; nothing decides by it.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Makes the state directory if it is missing (0700), checks that nobody else can write to it, and locks it.
    /// Answers the directory's real path.
    pub(super) fn acquire(state_dir: &Path) -> Result<(Self, PathBuf), OpenError> {
        let failed = |source| OpenError::Directory { path: state_dir.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(failed)?;
        let real = state_dir.canonicalize().map_err(failed)?;
        // What is checked is what is used: the file is opened through this descriptor.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            File::from(rustix::fs::open(&real, flags, Mode::empty()).map_err(|error| failed(error.into()))?);
        check(&real, &directory)?;

        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut file = File::from(
            rustix::fs::openat(&directory, LOCK_FILE, flags, Mode::RUSR | Mode::WUSR)
                .map_err(|error| failed(error.into()))?,
        );
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(OpenError::Held { path: real, holder: holder(&mut file) });
            }
            Err(error) => return Err(failed(error.into())),
        }
        write_pid(&mut file).map_err(failed)?;
        Ok((Self { file }, real))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough while a child between fork and exec has a copy of the descriptor. An error is one of a
        // descriptor that is none, and then there is nothing to unlock.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

/// Refuses a directory into which another user can write.
fn check(path: &Path, directory: &File) -> Result<(), OpenError> {
    let metadata = directory.metadata().map_err(|source| OpenError::Directory { path: path.to_owned(), source })?;
    let me = rustix::process::geteuid().as_raw();
    let why = if metadata.uid() != me {
        format!("it belongs to user {} and not to {me}", metadata.uid())
    } else if metadata.mode() & 0o022 != 0 {
        format!("others can write to it (mode {:04o}; make it 0700)", metadata.mode() & 0o7777)
    } else {
        return Ok(());
    };
    Err(OpenError::Exposed { path: path.to_owned(), why })
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

/// Who holds the lock, as far as the file tells: it may just be about to write.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_missing_directory_is_made_for_its_owner_only() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let state = parent.path().join("a").join("state");
        let (lock, real) = Lock::acquire(&state).expect("it can be locked");
        assert_eq!(state.metadata().expect("it is there").mode() & 0o7777, 0o700);
        assert_eq!(real.join(LOCK_FILE).metadata().expect("it is there").mode() & 0o7777, 0o600);
        let text = std::fs::read_to_string(real.join(LOCK_FILE)).expect("it can be read");
        assert_eq!(text, format!("{}\n", std::process::id()));
        drop(lock);
        Lock::acquire(&state).expect("it is free again");
    }

    #[test]
    fn the_second_is_told_who_is_first() {
        let state = tempfile::tempdir().expect("a temporary directory");
        let _first = Lock::acquire(state.path()).expect("it can be locked");
        let refused = Lock::acquire(state.path()).expect_err("it is held");
        assert!(matches!(refused, OpenError::Held { holder: Some(pid), .. } if pid == std::process::id()), "{refused}");
        assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
    }

    #[test]
    fn a_directory_others_can_write_to_is_refused() {
        for mode in [0o770, 0o707, 0o720, 0o702, 0o1777] {
            let state = tempfile::tempdir().expect("a temporary directory");
            std::fs::set_permissions(state.path(), Permissions::from_mode(mode)).expect("it is ours");
            let refused = Lock::acquire(state.path()).expect_err("others can write");
            assert!(matches!(refused, OpenError::Exposed { .. }), "{mode:o}: {refused}");
            assert!(!state.path().join(LOCK_FILE).exists(), "{mode:o}");
        }
        let state = tempfile::tempdir().expect("a temporary directory");
        std::fs::set_permissions(state.path(), Permissions::from_mode(0o755)).expect("it is ours");
        Lock::acquire(state.path()).expect("reading is harmless: what is secret has a mode of its own");
    }

    #[test]
    fn a_directory_of_another_user_is_refused() {
        // Root owns `/` for everybody else; root itself needs one that it gives away.
        let given = tempfile::tempdir().expect("a temporary directory");
        let path = if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(given.path(), Some(65_534), None).expect("root may");
            given.path()
        } else {
            Path::new("/")
        };
        let refused = Lock::acquire(path).expect_err("it is not ours");
        assert!(matches!(refused, OpenError::Exposed { .. }), "{refused}");
    }

    #[test]
    fn a_lock_that_is_a_link_is_refused() {
        let state = tempfile::tempdir().expect("a temporary directory");
        let target = state.path().join("target");
        std::fs::write(&target, "keep").expect("it is ours");
        std::os::unix::fs::symlink(&target, state.path().join(LOCK_FILE)).expect("it is ours");
        Lock::acquire(state.path()).expect_err("it is a link");
        assert_eq!(std::fs::read_to_string(target).expect("it is there"), "keep");
    }
}
