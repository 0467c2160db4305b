//! The sockets of runtimes and operators: `runtime.sock` and `admin.sock` in the runtime directory.
//!
//! A socket is made under another name, given its mode and group, and then moved into place: nobody can dial it with
//! the wrong mode, and whoever dialled the name finds either the old socket or the new one.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use tokio::net::UnixListener;

use super::accept::Acceptor;
use super::key_file::{self, GroupError};
use super::paths::{DirError, open_private_dir};
use super::peer::{self, PeerProcess};
use super::socket::Socket;

/// What to do with a socket that is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// Replace it: the caller holds the lock of the state directory, so no other supervisor serves it.
    Replace,
    /// Replace it only if nobody answers on it.
    Probe,
}

/// A control socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Its directory cannot be trusted.
    #[error(transparent)]
    Directory(#[from] DirError),
    /// Somebody serves it.
    #[error("listen on `{}`: another supervisor answers there", .0.display())]
    InUse(PathBuf),
    /// Something else lies there.
    #[error("listen on `{}`: what is there is not a socket", .0.display())]
    NotSocket(PathBuf),
    /// The group that may use it cannot be found or used.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The system refuses.
    #[error("listen on `{path}`: {source}", path = path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A control socket. Dropping it stops listening and removes the socket, unless another has taken its place.
#[derive(Debug)]
pub struct ControlListener {
    acceptor: Acceptor,
    own_pid: u32,
    path: PathBuf,
    directory: File,
    /// Device and number of the file, to tell it from another.
    identity: (u64, u64),
}

impl ControlListener {
    /// Listens on a path in the runtime directory, which is made or checked.
    ///
    /// Mode 0600; with a group, by name or number, 0660, and the runtime directory is opened for passing through (0711),
    /// as otherwise nobody could reach the socket. To be called inside a tokio runtime. Blocks for some file operations.
    ///
    /// # Errors
    /// Something else is there or serves it, or the system refuses.
    pub fn bind(path: &Path, group: Option<&str>, stale: Stale) -> Result<Self, BindError> {
        let path = std::path::absolute(path).map_err(|source| BindError::Io { path: path.to_owned(), source })?;
        let failed = |source| BindError::Io { path: path.clone(), source };
        let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            return Err(failed(io::Error::other("it names no file")));
        };
        let group = group.map(key_file::find_group).transpose()?;
        let directory = open_private_dir(parent)?;
        // Through the descriptor of the directory, so that no limit on the length of an address applies.
        let inside = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        let target = inside.join(name);
        check_stale(&path, &target, stale)?;

        let new = format!(".{name}.new");
        let made = inside.join(&new);
        match unlinkat(&directory, &new, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed(error.into())),
        }
        let listen = || {
            let listener = net::UnixListener::bind(&made)?;
            listener.set_nonblocking(true)?;
            if let Some(gid) = group {
                lchown(&made, None, Some(gid))?;
                let mode = directory.metadata()?.mode() & 0o7777;
                directory.set_permissions(Permissions::from_mode(mode | 0o011))?;
            }
            fs::set_permissions(&made, Permissions::from_mode(if group.is_some() { 0o660 } else { 0o600 }))?;
            let found = fs::symlink_metadata(&made)?;
            fs::rename(&made, &target)?;
            Ok((UnixListener::from_std(listener)?, (found.dev(), found.ino())))
        };
        let (listener, identity) = listen().map_err(failed)?;
        let acceptor = Acceptor::new(listener, path.display().to_string());
        Ok(Self { acceptor, own_pid: std::process::id(), path, directory, identity })
    }

    /// Absolute path of the socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next connection whose peer does not descend from this process, decided before a byte is read. Others are
    /// closed and counted. Cancel safe: a connection is either given or still in the queue.
    pub async fn accept(&mut self) -> (Socket, PeerProcess) {
        let own_pid = self.own_pid;
        self.acceptor.next(|socket| peer::not_below(socket, own_pid)).await
    }

    /// Peers that were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.acceptor.refused().load(Ordering::Relaxed)
    }
}

impl Drop for ControlListener {
    fn drop(&mut self) {
        let Some(name) = self.path.file_name() else { return };
        let found = rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW);
        if found.is_ok_and(|found| (found.st_dev, found.st_ino) == self.identity) {
            // If it cannot be removed the next start replaces it.
            let _ = unlinkat(&self.directory, name, AtFlags::empty());
        }
    }
}

/// Makes sure that what is there, if anything, may be replaced.
fn check_stale(path: &Path, target: &Path, stale: Stale) -> Result<(), BindError> {
    let failed = |source| BindError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotSocket(path.to_owned())),
        Ok(_) if stale == Stale::Replace => return Ok(()),
        Ok(_) => {}
    }
    match probe(target) {
        // A full queue, too, is somebody's.
        Ok(()) | Err(Errno::AGAIN) => Err(BindError::InUse(path.to_owned())),
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(()),
        Err(error) => Err(failed(error.into())),
    }
}

/// Dials without waiting.
fn probe(target: &Path) -> Result<(), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(target)?)
}

#[cfg(test)]
mod tests;
