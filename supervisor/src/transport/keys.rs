//! The secrets of the control sockets, in the state directory: `admin.key`, and `keys/ID.key` for each runtime.
//!
//! A plugin of the supervisor's own user passes every check of modes and users on a socket. So each call carries, as
//! `outrigger-key` metadata, the one line of such a file: `RUNTIME_ID:SECRET` on the runtime socket, `admin:SECRET` on the
//! admin socket. A runtime may be called `admin`: its key is another, in another file, and good on the runtime socket only.
//!
//! Files are read when asked ([`Keys::open`], [`Keys::reload`]), so that a call costs no file operation.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::key_file::{self, Stored};
pub use super::key_file::{GroupError, Key, KeyError};
use super::paths::{self, DirError};
use super::sys;
use crate::domain::ids::RuntimeId;

/// Name of the holder in `admin.key`.
const ADMIN: &str = "admin";

/// Runtime of the key that is made at the first start.
pub const DEFAULT_RUNTIME: &str = "default";

/// Keys of runtimes. A machine has a handful; the bound keeps the table small whatever calls ask for.
const RUNTIMES_MAX: usize = 1024;

/// The keys, as they were when last read.
#[derive(Debug)]
pub struct Keys {
    state_dir: PathBuf,
    admin: Key,
    runtimes: BTreeMap<RuntimeId, Entry>,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    info: KeyInfo,
}

/// The key of a runtime, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// The runtime.
    pub runtime: RuntimeId,
    /// Absolute path of the file.
    pub path: PathBuf,
    /// Group that may read it, by name where it has one.
    pub group: Option<String>,
    /// When it was made.
    pub created_at: SystemTime,
}

/// Keys cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A directory cannot be trusted.
    #[error(transparent)]
    Directory(#[from] DirError),
    /// A file cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The group cannot be used.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// A file in `keys/` ends with `.key` and is named for no runtime.
    #[error("use the key `{}`: its name is not a runtime id and `.key`", .0.display())]
    Name(PathBuf),
    /// There are too many.
    #[error("hold more than {RUNTIMES_MAX} keys of runtimes")]
    TooMany,
    /// The system refuses.
    #[error("keep the key `{path}`: {source}", path = path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Keys {
    /// Reads the keys. At the first start makes them: `admin.key`, and `keys/default.key`, which is not made again once
    /// an operator has removed it. To be called with the lock of the state directory held. Blocks.
    ///
    /// # Errors
    /// A directory or file cannot be trusted, used or made. The message names it and never holds a secret.
    pub fn open(state_dir: &Path) -> Result<Self, KeysError> {
        let state_dir = std::path::absolute(state_dir).map_err(io_error(state_dir))?;
        paths::ensure_private_dir(&state_dir)?;
        let keys = state_dir.join("keys");
        if !exists(&keys)? {
            // Made whole under another name: a start that is cut short leaves the next one the first.
            let new = state_dir.join(".keys.new");
            if exists(&new)? {
                fs::remove_dir_all(&new).map_err(io_error(&new))?;
            }
            DirBuilder::new().mode(0o700).create(&new).map_err(io_error(&new))?;
            key_file::create(&new, &format!("{DEFAULT_RUNTIME}.key"), DEFAULT_RUNTIME, None).map_err(io_error(&new))?;
            fs::rename(&new, &keys).map_err(io_error(&keys))?;
        }
        let admin = paths::admin_key(&state_dir);
        if !exists(&admin)? {
            key_file::create(&state_dir, "admin.key", ADMIN, None).map_err(io_error(&admin))?;
        }
        let (admin, runtimes) = read_all(&state_dir)?;
        Ok(Self { state_dir, admin, runtimes })
    }

    /// Reads the files again. Blocks.
    ///
    /// # Errors
    /// As [`Keys::open`]; the keys stay as they were.
    pub fn reload(&mut self) -> Result<(), KeysError> {
        (self.admin, self.runtimes) = read_all(&self.state_dir)?;
        Ok(())
    }

    /// Whether a caller presented the operator's key.
    #[must_use]
    pub fn is_admin(&self, presented: &[u8]) -> bool {
        self.admin.matches(presented)
    }

    /// The runtime whose key a caller presented.
    #[must_use]
    pub fn runtime(&self, presented: &[u8]) -> Option<&RuntimeId> {
        let holder = presented.split(|&byte| byte == b':').next()?;
        let entry = self.runtimes.get(std::str::from_utf8(holder).ok()?)?;
        entry.key.matches(presented).then_some(&entry.info.runtime)
    }

    /// The keys of runtimes, ordered by runtime.
    pub fn list(&self) -> impl Iterator<Item = &KeyInfo> {
        self.runtimes.values().map(|entry| &entry.info)
    }

    /// Makes the key of a runtime, readable by the supervisor's user, or by a group too, given by name or number. A key
    /// that is there keeps its secret and gets this group. Whether it was not there before. Blocks.
    ///
    /// With a group the state directory and `keys/` become passable for all (0711; their lists stay closed), as otherwise
    /// the group could not reach the file. So every other file in the state directory needs a mode of its own.
    ///
    /// # Errors
    /// There is no such group, there are too many keys, or the system refuses.
    pub fn add(&mut self, runtime: &RuntimeId, group: Option<&str>) -> Result<(KeyInfo, bool), KeysError> {
        let path = paths::runtime_key(&self.state_dir, runtime);
        let directory = self.state_dir.join("keys");
        let gid = group.map(key_file::find_group).transpose()?;
        let created = !exists(&path)?;
        if created {
            if self.runtimes.len() >= RUNTIMES_MAX {
                return Err(KeysError::TooMany);
            }
            key_file::create(&directory, &format!("{runtime}.key"), runtime.as_str(), gid).map_err(io_error(&path))?;
        } else {
            // Only a key that could be used is given to anyone.
            read_one(&path, runtime.as_str())?;
            File::open(&path).and_then(|file| key_file::share(&file, gid)).map_err(io_error(&path))?;
        }
        if gid.is_some() {
            for directory in [&self.state_dir, &directory] {
                let found = fs::metadata(directory).map_err(io_error(directory))?;
                let mode = found.mode() & 0o7777 | 0o011;
                fs::set_permissions(directory, Permissions::from_mode(mode)).map_err(io_error(directory))?;
            }
        }
        let stored = read_one(&path, runtime.as_str())?;
        let info = describe(runtime.clone(), path, &stored)?;
        self.runtimes.insert(runtime.clone(), Entry { key: stored.key, info: info.clone() });
        Ok((info, created))
    }

    /// Removes the key of a runtime: it is accepted no more. Whether it was there. Blocks.
    ///
    /// # Errors
    /// The file cannot be removed; the key is accepted no more until it is read again.
    pub fn remove(&mut self, runtime: &RuntimeId) -> Result<bool, KeysError> {
        let known = self.runtimes.remove(runtime).is_some();
        let path = paths::runtime_key(&self.state_dir, runtime);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(known),
            Err(error) => Err(io_error(&path)(error)),
        }
    }
}

/// Reads every key file.
fn read_all(state_dir: &Path) -> Result<(Key, BTreeMap<RuntimeId, Entry>), KeysError> {
    let admin = read_one(&paths::admin_key(state_dir), ADMIN)?.key;
    let directory = state_dir.join("keys");
    paths::ensure_private_dir(&directory)?;
    let mut runtimes = BTreeMap::new();
    for entry in fs::read_dir(&directory).map_err(io_error(&directory))? {
        let path = entry.map_err(io_error(&directory))?.path();
        if path.extension().is_none_or(|extension| extension != "key") {
            continue;
        }
        let name = path.file_stem().and_then(|stem| stem.to_str());
        let Some(runtime) = name.and_then(|name| name.parse::<RuntimeId>().ok()) else {
            return Err(KeysError::Name(path));
        };
        if runtimes.len() >= RUNTIMES_MAX {
            return Err(KeysError::TooMany);
        }
        let stored = read_one(&path, runtime.as_str())?;
        let info = describe(runtime.clone(), path, &stored)?;
        runtimes.insert(runtime, Entry { key: stored.key, info });
    }
    Ok((admin, runtimes))
}

/// Reads a key file that must hold the key of this holder and belong to this user or root.
fn read_one(path: &Path, holder: &str) -> Result<Stored, KeyError> {
    let stored = key_file::read(path)?;
    let owner = stored.metadata.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(KeyError::Owner { path: path.to_owned(), owner });
    }
    if stored.key.holder() != holder {
        return Err(KeyError::Holder { path: path.to_owned(), expected: holder.to_owned() });
    }
    Ok(stored)
}

fn describe(runtime: RuntimeId, path: PathBuf, stored: &Stored) -> Result<KeyInfo, KeysError> {
    let group = if stored.metadata.mode() & 0o040 == 0 {
        None
    } else {
        let gid = stored.metadata.gid();
        Some(sys::group_name(gid).map_err(io_error(&path))?.unwrap_or_else(|| gid.to_string()))
    };
    let created_at = stored.metadata.modified().map_err(io_error(&path))?;
    Ok(KeyInfo { runtime, path, group, created_at })
}

fn exists(path: &Path) -> Result<bool, KeysError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error(path)(error)),
    }
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> KeysError + '_ {
    move |source| KeysError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
