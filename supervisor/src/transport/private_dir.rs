//! The directory and socket of one launch: `launch/PLUGIN-GENERATION-NONCE/host.sock` in the runtime directory.
//!
//! The socket is bound through a descriptor of its directory, so the kernel's limit on the length of a socket's address
//! does not apply; a client in that directory dials `host.sock`. The directory is then made read-only for its owner,
//! which stops accidents; a plugin of the same user can undo that, so removal expects anything in it.

use std::ffi::{CString, OsStr};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::paths::{DirError, open_private_dir};
use crate::domain::ids::{Generation, PluginId};
use crate::domain::launch::LaunchError;

/// Name of the directory in the runtime directory that holds those of the launches.
const LAUNCHES: &str = "launch";

/// Name of the socket in a private directory.
const SOCKET: &str = "host.sock";

/// Longest path in a socket's address, bytes: its field has 108, and the last is zero (unix(7)).
const ADDRESS_MAX: usize = 107;

/// Digits of the nonce that are part of the name.
const NONCE_DIGITS: usize = 8;

/// Entries removed when a launch ends. A plugin that leaves more has them taken away at the next start.
const ENTRIES_AT_END: usize = 10_000;

/// Entries removed for one launch when the supervisor starts.
const ENTRIES_AT_START: usize = 1_000_000;

/// A private directory with its listening socket, before its keeper is known. Dropping it removes both.
#[derive(Debug)]
pub struct PrivateDir {
    listener: UnixListener,
    place: Place,
}

impl PrivateDir {
    /// Makes the directory and binds the socket; a child may dial from then on and waits until it is accepted.
    ///
    /// The nonce is the launch's, 8 hexadecimal digits at least. Blocks for some file operations.
    ///
    /// # Errors
    /// The runtime directory belongs to someone else, others can write to it, or the system refuses. Nothing is left.
    pub fn create(
        runtime_dir: &Path,
        plugin: &PluginId,
        generation: Generation,
        nonce: &str,
    ) -> Result<Self, LaunchError> {
        let failed = |path: &Path, source| LaunchError::Directory { path: path.to_owned(), source };
        let digits = nonce.get(..NONCE_DIGITS).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let digits = digits.ok_or_else(|| failed(runtime_dir, io::Error::other("the nonce is not hexadecimal")))?;
        let name = format!("{plugin}-{generation}-{digits}");
        let runtime_dir = std::path::absolute(runtime_dir).map_err(|error| failed(runtime_dir, error))?;
        let path = runtime_dir.join(LAUNCHES).join(&name);

        let make = || {
            let launches = open_launches(&runtime_dir)?;
            mkdirat(&launches, &name, Mode::RWXU)?;
            // From here on its drop removes the directory.
            let mut place = Place { launches, name: name.clone(), path: path.clone(), directory: None };
            let directory = place.directory.insert(open_directory(&place.launches, OsStr::new(&name))?);
            directory.set_permissions(Permissions::from_mode(0o700))?;
            let address = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
            let listener = UnixListener::bind(&address)?;
            listener.set_nonblocking(true)?;
            fs::set_permissions(&address, Permissions::from_mode(0o600))?;
            directory.set_permissions(Permissions::from_mode(0o500))?;
            Ok(Self { listener, place })
        };
        make().map_err(|error| failed(&path, error))
    }

    /// Absolute path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Absolute path of the socket.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        self.place.path.join(SOCKET)
    }

    /// The absolute path does not fit into a socket's address: only a client whose working directory is the private
    /// directory can dial.
    #[must_use]
    pub fn absolute_path_too_long(&self) -> bool {
        self.socket_path().as_os_str().len() > ADDRESS_MAX
    }

    /// A descriptor of the directory, for a child that starts in it.
    #[must_use]
    pub fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.place.directory.as_ref().map(AsFd::as_fd)
    }

    /// The socket, and what removes it and its directory when dropped.
    pub(super) fn into_parts(self) -> (UnixListener, Place) {
        (self.listener, self.place)
    }
}

/// A private directory in the file system. Dropping it removes it with all it holds.
#[derive(Debug)]
pub(super) struct Place {
    launches: File,
    name: String,
    path: PathBuf,
    /// `None` only while it is being made.
    directory: Option<File>,
}

impl Place {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.launches, OsStr::new(&self.name), ENTRIES_AT_END) {
            tracing::warn!(path = %self.path.display(), %error, "a launch's private directory is left until the next start");
        }
    }
}

/// What a supervisor that is gone had left.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Private directories removed.
    pub removed: usize,
    /// Private directories that could not be.
    pub left: usize,
    /// Why the last of those could not be.
    pub reason: Option<String>,
}

/// Removes the private directories that a supervisor which is gone had left. Only what is in `launch/`; no symbolic link
/// is followed. To be called with the lock of the state directory held, before the first launch. Blocks.
///
/// # Errors
/// The runtime directory or `launch/` cannot be trusted or read.
pub fn sweep_stale(runtime_dir: &Path) -> io::Result<Swept> {
    let launches = open_launches(runtime_dir)?;
    let mut swept = Swept::default();
    for name in names(&launches, usize::MAX)? {
        match remove(&launches, OsStr::from_bytes(name.as_bytes()), ENTRIES_AT_START) {
            Ok(()) => swept.removed += 1,
            Err(error) => {
                swept.left += 1;
                swept.reason = Some(error.to_string());
            }
        }
    }
    Ok(swept)
}

/// Opens `launch/`, made if it is not there.
fn open_launches(runtime_dir: &Path) -> io::Result<File> {
    let runtime = open_private_dir(runtime_dir)?;
    match mkdirat(&runtime, LAUNCHES, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let launches = open_directory(&runtime, OsStr::new(LAUNCHES))?;
    let found = launches.metadata()?;
    let expected = rustix::process::geteuid().as_raw();
    if found.uid() != expected {
        return Err(DirError::Owner { path: runtime_dir.join(LAUNCHES), owner: found.uid(), expected }.into());
    }
    // Whoever could write here could put a socket of his own in the place of a launch's.
    launches.set_permissions(Permissions::from_mode(0o700))?;
    Ok(launches)
}

/// Opens a directory, never through a symbolic link.
fn open_directory(parent: &File, name: &OsStr) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?.into())
}

/// Opens a directory whatever its mode, and gives its owner all rights on it.
fn open_to_empty(parent: &File, name: &OsStr) -> io::Result<File> {
    let opened = open_directory(parent, name).or_else(|error| {
        if error.raw_os_error() != Some(libc::EACCES) {
            return Err(error);
        }
        // A descriptor that needs no right on the directory; the link below /proc leads to exactly this one.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let closed = openat(parent, name, flags, Mode::empty())?;
        fs::set_permissions(format!("/proc/self/fd/{}", closed.as_raw_fd()), Permissions::from_mode(0o700))?;
        open_directory(parent, name)
    })?;
    opened.set_permissions(Permissions::from_mode(0o700))?;
    Ok(opened)
}

/// Names in a directory, at most so many.
fn names(directory: &File, most: usize) -> io::Result<Vec<CString>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            found.push(entry.file_name().to_owned());
            if found.len() >= most {
                break;
            }
        }
    }
    Ok(found)
}

/// Removes an entry whatever it is, with all it holds, up to so many entries.
///
/// Directories inside directories are moved up before they are emptied, so that the depth a plugin chose costs neither
/// stack nor descriptors.
fn remove(parent: &File, name: &OsStr, most: usize) -> io::Result<()> {
    if unlink(parent, name)? == Unlinked::Gone {
        return Ok(());
    }
    let top = open_to_empty(parent, name)?;
    let mut left = most;
    let mut moved = 0_usize;
    loop {
        let batch = names(&top, left)?;
        if batch.is_empty() && left > 0 {
            break;
        }
        for name in batch {
            left = left.saturating_sub(1);
            let name = OsStr::from_bytes(name.as_bytes());
            if unlink(&top, name)? == Unlinked::Gone {
                continue;
            }
            let inner = open_to_empty(&top, name)?;
            for name in names(&inner, left)? {
                left = left.saturating_sub(1);
                let name = OsStr::from_bytes(name.as_bytes());
                if unlink(&inner, name)? == Unlinked::Directory {
                    // To be moved, a directory must be writable itself.
                    drop(open_to_empty(&inner, name)?);
                    moved += 1;
                    renameat(&inner, name, &top, format!(".moved-up-{moved}"))?;
                }
            }
            match unlinkat(&top, name, AtFlags::REMOVEDIR) {
                // Not empty: the count was used up.
                Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if left == 0 {
            return Err(io::Error::other(format!("it holds more than {most} entries")));
        }
    }
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What an attempt to unlink has shown.
#[derive(PartialEq, Eq)]
enum Unlinked {
    /// It is not there any more.
    Gone,
    /// It is a directory.
    Directory,
}

fn unlink(parent: &File, name: &OsStr) -> io::Result<Unlinked> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(Unlinked::Gone),
        Err(Errno::ISDIR) => Ok(Unlinked::Directory),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
