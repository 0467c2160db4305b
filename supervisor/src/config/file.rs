//! Reading files whose owner may not be trusted: bounded, regular files only, and never through a link of a package.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags, fstat, open, openat};
use rustix::io::Errno;

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("does not exist")]
    NotFound,
    #[error("cannot be read: {0}")]
    Io(io::Error),
    #[error("is a symbolic link or leads through one")]
    Symlink,
    #[error("is not a regular file")]
    NotRegular,
    #[error("is outside its package")]
    Outside,
    #[error("is longer than {0} bytes")]
    TooLong(usize),
    #[error("is not UTF-8")]
    NotUtf8,
    #[error("can be {0} by others (mode {1:04o})")]
    Exposed(&'static str, u32),
}

impl ReadError {
    /// What would be right.
    pub(super) fn right(&self) -> &'static str {
        match self {
            Self::NotFound => "a file that is there",
            Self::Io(_) => "a file that the supervisor may read",
            Self::Symlink => "the file itself",
            Self::NotRegular => "an ordinary file",
            Self::Outside => "a path inside the package",
            Self::TooLong(_) => "a shorter file",
            Self::NotUtf8 => "a text in UTF-8",
            Self::Exposed(..) => "take the permission away: chmod o-rw",
        }
    }
}

impl From<Errno> for ReadError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::NOTDIR => Self::NotFound,
            Errno::LOOP => Self::Symlink,
            other => Self::Io(other.into()),
        }
    }
}

/// Permissions that others must not have on a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Others may do what they can.
    Open,
    /// Others must not write it.
    Unchanged,
    /// Others must neither read nor write it.
    Secret,
}

const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// Reads a file of a package. No component below the package may be a link, so that nothing outside is reached, whatever
/// the package's owner changes meanwhile.
pub(super) fn read_in_package(package: &Path, relative: &Path, longest: usize) -> Result<String, ReadError> {
    let mut names = Vec::new();
    for component in relative.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(ReadError::Outside),
        }
    }
    let Some(last) = names.pop() else {
        return Err(ReadError::NotRegular);
    };
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = open(package, directory, Mode::empty())?;
    for name in names {
        at = openat(&at, name, directory | OFlags::NOFOLLOW, Mode::empty()).map_err(|error| link(error, &at, name))?;
    }
    // Without NONBLOCK a pipe in the file's place would block the supervisor until somebody wrote to it.
    let file = openat(&at, last, READ | OFlags::NOFOLLOW | OFlags::NONBLOCK, Mode::empty())?;
    read(file, longest, Keep::Open)
}

/// With `O_DIRECTORY` a link is answered like any other file that is no directory.
fn link(error: Errno, at: &OwnedFd, name: &std::ffi::OsStr) -> ReadError {
    let is_link = rustix::fs::statat(at, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
    if is_link { ReadError::Symlink } else { error.into() }
}

/// Reads a file whose path the operator gave. Links are followed: the path is trusted.
pub(super) fn read_trusted(path: &Path, longest: usize, keep: Keep) -> Result<String, ReadError> {
    read(open(path, READ | OFlags::NONBLOCK, Mode::empty())?, longest, keep)
}

fn read(file: OwnedFd, longest: usize, keep: Keep) -> Result<String, ReadError> {
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(ReadError::NotRegular);
    }
    let mode = stat.st_mode & 0o7777;
    if keep != Keep::Open && mode & 0o002 != 0 {
        return Err(ReadError::Exposed("written", mode));
    }
    if keep == Keep::Secret && mode & 0o004 != 0 {
        return Err(ReadError::Exposed("read", mode));
    }
    let mut bytes = Vec::new();
    let bound = u64::try_from(longest).unwrap_or(u64::MAX).saturating_add(1);
    File::from(file).take(bound).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    if bytes.len() > longest {
        return Err(ReadError::TooLong(longest));
    }
    String::from_utf8(bytes).map_err(|_| ReadError::NotUtf8)
}

/// An absolute path, without asking the disk where that can be avoided: the name by which the operator knows a package
/// stays the same when a link in it is turned. `..` is resolved on the disk, as only that is right beside links.
pub(super) fn absolute(base: &Path, path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(base.join(path))?;
    if path.components().any(|component| component == Component::ParentDir) {
        return Ok(path.canonicalize().unwrap_or(path));
    }
    Ok(path)
}
