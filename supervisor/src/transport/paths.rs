//! Where configuration, sockets and state lie. The CLI and the clients look in the same order.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::domain::ids::RuntimeId;

/// What the places depend on.
#[derive(Debug, Clone, Default)]
pub struct Env {
    /// Effective user.
    pub uid: u32,
    /// Environment variables. An empty one counts as absent.
    pub vars: BTreeMap<String, OsString>,
}

impl Env {
    /// The environment of this process.
    #[must_use]
    pub fn current() -> Self {
        const READ: &[&str] = &[
            "HOME",
            "OUTRIGGER_CONFIG",
            "OUTRIGGER_RUNTIME_DIR",
            "OUTRIGGER_STATE_DIR",
            "XDG_CONFIG_HOME",
            "XDG_RUNTIME_DIR",
            "XDG_STATE_HOME",
        ];
        let vars = READ.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var_os(name)?))).collect();
        Self { uid: rustix::process::geteuid().as_raw(), vars }
    }

    fn var(&self, name: &str) -> Option<PathBuf> {
        self.vars.get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// A directory an operator named. A relative one would mean another place to each client.
    fn override_dir(&self, variable: &'static str) -> Result<Option<PathBuf>, PathError> {
        match self.var(variable) {
            Some(path) if path.is_relative() => Err(PathError::Relative { variable, path }),
            other => Ok(other),
        }
    }

    /// A base directory; relative ones are to be ignored, as the XDG Base Directory Specification wants.
    fn base_dir(&self, variable: &str) -> Option<PathBuf> {
        self.var(variable).filter(|path| path.is_absolute())
    }

    /// A base directory of a user, or its default below the home directory.
    fn user_dir(&self, variable: &'static str, below_home: &str) -> Result<PathBuf, PathError> {
        self.base_dir(variable)
            .or_else(|| self.base_dir("HOME").map(|home| home.join(below_home)))
            .ok_or(PathError::NoHome { variable })
    }
}

/// A place cannot be told.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Neither the variable nor `HOME` says where a user's files lie.
    #[error("find the user's directories: neither {variable} nor HOME is an absolute path")]
    NoHome {
        /// The variable that would help.
        variable: &'static str,
    },
    /// A variable holds a relative path.
    #[error("use {variable}: `{path}` is not absolute", path = path.display())]
    Relative {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        path: PathBuf,
    },
}

/// The directory of the sockets: `OUTRIGGER_RUNTIME_DIR`; `/run/outrigger` for root; `$XDG_RUNTIME_DIR/outrigger`;
/// `/tmp/outrigger-UID`.
///
/// # Errors
/// The first is relative.
pub fn runtime_dir(env: &Env) -> Result<PathBuf, PathError> {
    if let Some(path) = env.override_dir("OUTRIGGER_RUNTIME_DIR")? {
        return Ok(path);
    }
    if env.uid == 0 {
        return Ok("/run/outrigger".into());
    }
    Ok(match env.base_dir("XDG_RUNTIME_DIR") {
        Some(base) => base.join("outrigger"),
        None => format!("/tmp/outrigger-{}", env.uid).into(),
    })
}

/// The directory of durable state and keys: `OUTRIGGER_STATE_DIR`; `/var/lib/outrigger` for root;
/// `$XDG_STATE_HOME/outrigger`; `~/.local/state/outrigger`.
///
/// # Errors
/// The first is relative, or the home directory is needed and not known.
pub fn state_dir(env: &Env) -> Result<PathBuf, PathError> {
    if let Some(path) = env.override_dir("OUTRIGGER_STATE_DIR")? {
        return Ok(path);
    }
    if env.uid == 0 {
        return Ok("/var/lib/outrigger".into());
    }
    Ok(env.user_dir("XDG_STATE_HOME", ".local/state")?.join("outrigger"))
}

/// The operator's file: what the command line names; `OUTRIGGER_CONFIG`; `/etc/outrigger/outrigger.toml` for root;
/// `$XDG_CONFIG_HOME/outrigger/outrigger.toml`; `~/.config/outrigger/outrigger.toml`. The first two may be relative.
///
/// # Errors
/// The home directory is needed and not known.
pub fn config_file(env: &Env, named: Option<&Path>) -> Result<PathBuf, PathError> {
    if let Some(path) = named.map(Path::to_owned).or_else(|| env.var("OUTRIGGER_CONFIG")) {
        return Ok(path);
    }
    if env.uid == 0 {
        return Ok("/etc/outrigger/outrigger.toml".into());
    }
    Ok(env.user_dir("XDG_CONFIG_HOME", ".config")?.join("outrigger/outrigger.toml"))
}

/// The socket for agent runtimes.
#[must_use]
pub fn runtime_socket(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("runtime.sock")
}

/// The socket for collectors of metrics.
#[must_use]
pub fn metrics_socket(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("metrics.sock")
}

/// The socket for operators.
#[must_use]
pub fn admin_socket(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("admin.sock")
}

/// The file with the operator's key.
#[must_use]
pub fn admin_key(state_dir: &Path) -> PathBuf {
    state_dir.join("admin.key")
}

/// The file with the key of a runtime.
#[must_use]
pub fn runtime_key(state_dir: &Path, runtime: &RuntimeId) -> PathBuf {
    state_dir.join("keys").join(format!("{runtime}.key"))
}

/// A directory cannot be trusted with sockets or state.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// It belongs to someone else.
    #[error("use `{path}`: it belongs to user {owner}, not to user {expected}", path = path.display())]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Whose it should be.
        expected: u32,
    },
    /// Others can write to it.
    #[error("use `{path}`: group or others can write to it (mode {mode:04o}); take that away with `chmod go-w`", path = path.display())]
    Writable {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is a symbolic link that someone else made.
    #[error("use `{path}`: it is a symbolic link that user {owner} made", path = path.display())]
    Link {
        /// The link.
        path: PathBuf,
        /// Who made it.
        owner: u32,
    },
    /// It cannot be made or opened.
    #[error("use `{path}`: {source}", path = path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl From<DirError> for io::Error {
    fn from(error: DirError) -> Self {
        match error {
            DirError::Io { source, .. } => source,
            other => Self::other(other),
        }
    }
}

/// Makes a directory of mode 0700, with its parents, or checks the one that is there: it must belong to this process's
/// user, and neither group nor others may write to it. The mode of one that is there is kept, as an operator may have
/// opened it for reading. A symbolic link is followed only if this user or root made it.
///
/// # Errors
/// It is not such a directory and could not be made one.
pub fn ensure_private_dir(path: &Path) -> Result<(), DirError> {
    open_private_dir(path).map(drop)
}

/// As [`ensure_private_dir`], and gives a descriptor of the directory that was checked.
pub(super) fn open_private_dir(path: &Path) -> Result<File, DirError> {
    let io = |source| DirError::Io { path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
    let expected = rustix::process::geteuid().as_raw();
    let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let itself = fs::symlink_metadata(path).map_err(io)?;
    if !itself.is_symlink() {
        flags |= OFlags::NOFOLLOW;
    } else if itself.uid() != expected && itself.uid() != 0 {
        return Err(DirError::Link { path: path.to_owned(), owner: itself.uid() });
    }
    let directory = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|error| io(error.into()))?);
    let found = directory.metadata().map_err(io)?;
    if found.uid() != expected {
        return Err(DirError::Owner { path: path.to_owned(), owner: found.uid(), expected });
    }
    if found.mode() & 0o022 != 0 {
        return Err(DirError::Writable { path: path.to_owned(), mode: found.mode() & 0o7777 });
    }
    Ok(directory)
}

#[cfg(test)]
mod tests;
