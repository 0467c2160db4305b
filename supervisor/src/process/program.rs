//! Which program is the keeper: the static one from a sealed memory file, or this one.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use super::keeper;

/// The static keeper; empty where it could not be compiled.
const IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/keeper"));
/// First argument of a process that is to be a keeper.
const KEEP: &str = "__keep";

static KEEPER_MAIN_CALLED: AtomicBool = AtomicBool::new(false);

/// Turns this process into a keeper if it was started as one; otherwise returns at once.
///
/// The first thing that `main` of a program that embeds the supervisor calls, before it starts a thread: on a machine
/// that refuses to execute memory files the supervisor starts its own program again as the keeper.
pub fn keeper_main() {
    KEEPER_MAIN_CALLED.store(true, Ordering::Relaxed);
    if std::env::args_os().nth(1).is_some_and(|argument| argument == OsStr::new(KEEP)) {
        keeper::run();
    }
}

/// What a keeper is executed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// The small static program, from a sealed memory file.
    MemoryFile,
    /// This process's own program, which is larger and starts more slowly.
    OwnProgram {
        /// Why.
        reason: String,
    },
}

impl Form {
    /// The best form here, as far as is known without trying.
    pub(super) fn best() -> Self {
        match memory_file() {
            Ok(_) => Self::MemoryFile,
            Err(reason) => Self::OwnProgram { reason: reason.clone() },
        }
    }

    /// A command that starts a keeper.
    ///
    /// # Errors
    /// Where the own program would be needed, but has not shown that it can be a keeper: started without that, it would
    /// run as whatever it is.
    pub(super) fn command(&self) -> io::Result<Command> {
        let mut command = match (self, memory_file()) {
            (Self::MemoryFile, Ok(file)) => Command::new(format!("/proc/self/fd/{}", file.as_raw_fd())),
            (Self::MemoryFile, Err(reason)) => return Err(io::Error::other(reason.as_str())),
            (Self::OwnProgram { reason }, _) => {
                if !KEEPER_MAIN_CALLED.load(Ordering::Relaxed) {
                    let text = format!("{reason}, and this program's main does not call keeper_main()");
                    return Err(io::Error::new(io::ErrorKind::Unsupported, text));
                }
                let mut command = Command::new("/proc/self/exe");
                command.arg(KEEP);
                command
            }
        };
        command.arg0("outrigger-keeper");
        Ok(command)
    }
}

/// The sealed memory file with the static keeper, made at the first call and kept for the life of the process.
fn memory_file() -> Result<&'static OwnedFd, &'static String> {
    static FILE: OnceLock<Result<OwnedFd, String>> = OnceLock::new();
    FILE.get_or_init(|| {
        if IMAGE.is_empty() {
            return Err("built without the static keeper".to_owned());
        }
        make_memory_file().map_err(|error| format!("no executable memory file: {error}"))
    })
    .as_ref()
}

fn make_memory_file() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Linux before 6.3 does not know the request to be executable, and has every memory file so.
    let file = match memfd_create(c"outrigger-keeper", flags | MemfdFlags::EXEC) {
        Err(rustix::io::Errno::INVAL) => memfd_create(c"outrigger-keeper", flags),
        made => made,
    }?;
    let mut rest = IMAGE;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    // Whoever comes to hold the file cannot change what the next launch executes.
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    Ok(file)
}
