//! One key of a control socket in its file: a line `HOLDER:SECRET`, the secret 64 hexadecimal digits.

use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::sys;

/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;

/// Longest file: a holder, a colon, a secret and the end of the line fit well.
const FILE_MAX: u64 = 256;

/// The line of a key file. Never printed.
#[derive(Clone)]
pub struct Key {
    line: String,
    /// Where the colon is.
    colon: usize,
}

impl Key {
    /// Makes a new secret for a holder.
    fn generate(holder: &str) -> io::Result<Self> {
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        let mut line = format!("{holder}:");
        for byte in bytes {
            for digit in [byte >> 4, byte & 15] {
                line.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
        Ok(Self { line, colon: holder.len() })
    }

    /// Takes the content of a file, with or without an end of line.
    fn parse(text: &str) -> Option<Self> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let (holder, secret) = line.split_once(':')?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_holder = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        let good = !holder.is_empty()
            && holder.bytes().all(is_holder)
            && secret.len() == 2 * SECRET_BYTES
            && secret.bytes().all(is_digit);
        good.then(|| Self { line: line.to_owned(), colon: holder.len() })
    }

    /// Who carries it: a runtime id, or `admin`.
    #[must_use]
    pub fn holder(&self) -> &str {
        &self.line[..self.colon]
    }

    /// The whole line, as it travels in `outrigger-key`. To be shown to nobody.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Whether a caller presented this line. The time taken does not tell how much of it was right.
    #[must_use]
    pub fn matches(&self, presented: &[u8]) -> bool {
        let own = self.line.as_bytes();
        // The length is no secret.
        own.len() == presented.len()
            && black_box(
                own.iter().zip(presented).fold(0, |differing, (one, other)| black_box(differing | (one ^ other))),
            ) == 0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}:…)", self.holder())
    }
}

/// A key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is not there.
    #[error("read the key `{}`: there is no such file; has the supervisor ever started with this state directory?", .0.display())]
    Missing(PathBuf),
    /// It may not be read.
    #[error("read the key `{}`: permission denied; only the supervisor's user may, and a group that was given it", .0.display())]
    Denied(PathBuf),
    /// Everybody on the machine can use it.
    #[error("use the key `{path}`: others can read or write it (mode {mode:04o}); make a new one, as this one may be known", path = path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It belongs to someone else.
    #[error("use the key `{path}`: it belongs to user {owner}", path = path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// It holds something else.
    #[error("use the key `{}`: it is not a file with one line `HOLDER:SECRET`", .0.display())]
    Malformed(PathBuf),
    /// It holds the key of someone else.
    #[error("use the key `{path}`: its line does not begin with `{expected}:`", path = path.display())]
    Holder {
        /// The file.
        path: PathBuf,
        /// Whose it should be.
        expected: String,
    },
    /// The system refuses.
    #[error("use the key `{path}`: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A group cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// There is none.
    #[error("find group `{0}`: there is none of this name or number")]
    Unknown(String),
    /// The group database cannot be read.
    #[error("find group `{name}`: {source}")]
    Io {
        /// The group.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// Finds a group by name or number.
pub(super) fn find_group(name: &str) -> Result<u32, GroupError> {
    let named = sys::group_id(name).map_err(|source| GroupError::Io { name: name.to_owned(), source })?;
    named.or_else(|| name.parse().ok()).ok_or_else(|| GroupError::Unknown(name.to_owned()))
}

/// A key with what its file says.
pub(super) struct Stored {
    pub(super) key: Key,
    pub(super) metadata: fs::Metadata,
}

/// Reads a key file. Never through a symbolic link, never waiting on a pipe.
pub(super) fn read(path: &Path) -> Result<Stored, KeyError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => KeyError::Missing(path.to_owned()),
        io::ErrorKind::PermissionDenied => KeyError::Denied(path.to_owned()),
        _ => KeyError::Io { path: path.to_owned(), source },
    };
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(KeyError::Malformed(path.to_owned()));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    Read::by_ref(&mut file).take(FILE_MAX).read_to_string(&mut text).map_err(failed)?;
    let key = Key::parse(&text).ok_or_else(|| KeyError::Malformed(path.to_owned()))?;
    Ok(Stored { key, metadata })
}

/// Makes a new key and its file, whole or not at all; replaces what is there.
pub(super) fn create(directory: &Path, file: &str, holder: &str, group: Option<u32>) -> io::Result<()> {
    let new = directory.join(format!(".{file}.new"));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let write = || {
        let mut open = OpenOptions::new();
        let mut out = open.write(true).create_new(true).mode(0o600).custom_flags(libc::O_CLOEXEC).open(&new)?;
        out.write_all(Key::generate(holder)?.line().as_bytes())?;
        out.write_all(b"\n")?;
        share(&out, group)?;
        out.sync_all()?;
        fs::rename(&new, directory.join(file))?;
        File::open(directory)?.sync_all()
    };
    write().inspect_err(|_| drop(fs::remove_file(&new)))
}

/// Gives a file to a group for reading, or takes it back. At no time can another group read it.
pub(super) fn share(file: &File, group: Option<u32>) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o600))?;
    fchown(file, None, Some(group.unwrap_or_else(|| rustix::process::getegid().as_raw())))?;
    file.set_permissions(Permissions::from_mode(if group.is_some() { 0o640 } else { 0o600 }))
}
