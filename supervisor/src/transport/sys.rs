//! The few kernel and C library calls for which there is no safe binding.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Longest record of the group database that is looked at, bytes. A group with very many members needs this much.
const GROUP_RECORD_MAX: usize = 1024 * 1024;

/// What `SO_PEERCRED` says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Credentials {
    /// Process that called connect; 0 where it is not visible from here.
    pub(super) pid: u32,
    /// Its effective user at that moment.
    pub(super) uid: u32,
}

/// What `PIDFD_GET_INFO` says, as far as it is needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Info {
    /// Process id, as seen from here.
    pub(super) pid: u32,
    /// Process id of its parent, as seen from here.
    pub(super) parent: u32,
}

/// Asks who called connect on the other end.
pub(super) fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<Credentials> {
    let found: libc::ucred = option(socket, libc::SO_PEERCRED)?;
    Ok(Credentials { pid: u32::try_from(found.pid).unwrap_or(0), uid: found.uid })
}

/// Asks for a descriptor of the process that called connect on the other end (kernel 6.5).
pub(super) fn peer_pidfd(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let number: libc::c_int = option(socket, libc::SO_PEERPIDFD)?;
    if number < 0 {
        return Err(io::Error::other("the kernel gave no descriptor of the peer"));
    }
    // SAFETY: the call succeeded, so `number` is a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Asks for process and parent behind a pidfd (kernel 6.13).
pub(super) fn process_info(pidfd: BorrowedFd<'_>) -> io::Result<Info> {
    let mut info = MaybeUninit::<libc::pidfd_info>::zeroed();
    // SAFETY: `info` is zeroed and as large as the request number says; all bit patterns of its fields are valid.
    let info = unsafe {
        (*info.as_mut_ptr()).mask = u64::from(libc::PIDFD_INFO_PID);
        if libc::ioctl(pidfd.as_raw_fd(), libc::PIDFD_GET_INFO, info.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        info.assume_init()
    };
    if info.mask & u64::from(libc::PIDFD_INFO_PID) == 0 || info.tgid == 0 {
        // A process that has been reaped keeps no more than its exit status.
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(Info { pid: info.tgid, parent: info.ppid })
}

/// Watches a pidfd until its process has exited. Inside a tokio runtime with I/O.
pub(super) fn watch(pidfd: BorrowedFd<'_>) -> io::Result<AsyncFd<BorrowedFd<'_>>> {
    // SAFETY: a borrowed descriptor always has the same number and stays open as long as the borrow, so longer than the
    // registration.
    Ok(unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?)
}

/// Finds a group by name. `None`: there is no such group.
pub(super) fn group_id(name: &str) -> io::Result<Option<u32>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    // SAFETY: all pointers are valid for the length of the call and `name` ends with a zero.
    group_record(
        |group, buffer, length, found| unsafe { libc::getgrnam_r(name.as_ptr(), group, buffer, length, found) },
        |group| group.gr_gid,
    )
}

/// Finds the name of a group. `None`: it has none.
pub(super) fn group_name(gid: u32) -> io::Result<Option<String>> {
    group_record(
        // SAFETY: all pointers are valid for the length of the call.
        |group, buffer, length, found| unsafe { libc::getgrgid_r(gid, group, buffer, length, found) },
        |group| {
            // SAFETY: a record that was found has a name that ends with a zero, in the buffer that is still alive.
            unsafe { CStr::from_ptr(group.gr_name) }.to_string_lossy().into_owned()
        },
    )
}

/// Calls one of the `getgr*_r` functions with a buffer that grows as it asks.
fn group_record<T>(
    call: impl Fn(*mut libc::group, *mut libc::c_char, usize, *mut *mut libc::group) -> libc::c_int,
    take: impl FnOnce(&libc::group) -> T,
) -> io::Result<Option<T>> {
    let mut buffer = vec![0; 1024];
    loop {
        let mut group = MaybeUninit::<libc::group>::uninit();
        let mut found = std::ptr::null_mut();
        match call(group.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found) {
            0 if found.is_null() => return Ok(None),
            // SAFETY: `found` points to `group`, which the call has filled; its pointers lead into `buffer`.
            0 => return Ok(Some(take(unsafe { &*found }))),
            libc::EINTR => {}
            libc::ERANGE if buffer.len() < GROUP_RECORD_MAX => buffer.resize(buffer.len() * 4, 0),
            libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM => return Ok(None),
            code => return Err(io::Error::from_raw_os_error(code)),
        }
    }
}

/// Reads a socket option of a plain type.
fn option<T: Copy>(socket: BorrowedFd<'_>, name: libc::c_int) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let size = size_of::<T>();
    let mut length = libc::socklen_t::try_from(size).map_err(io::Error::other)?;
    // SAFETY: `value` has room for `length` bytes, and the kernel writes no more.
    let outcome = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, value.as_mut_ptr().cast(), &raw mut length)
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    if length as usize != size {
        return Err(io::Error::other("the kernel gave a socket option of another size"));
    }
    // SAFETY: the kernel has written all of it. Used here with integers and a record of integers only.
    Ok(unsafe { value.assume_init() })
}
