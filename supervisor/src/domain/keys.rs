//! Secrets of the control sockets, as the services see them.

use std::path::PathBuf;
use std::time::SystemTime;

/// The keys of the state directory.
pub trait Keys: Send + Sync {
    /// The runtime whose key this line is. Compares in constant time.
    fn runtime(&self, line: &[u8]) -> Option<String>;
    /// Whether this line is the operator's key. Compares in constant time.
    fn is_admin(&self, line: &[u8]) -> bool;
    /// Makes the key of a runtime, or gives an existing one to this group; true where it was made. Blocking.
    ///
    /// # Errors
    /// What is wrong with id or group, or why the file could not be written.
    fn add(&self, runtime_id: &str, group: Option<&str>) -> Result<(KeyInfo, bool), KeysError>;
    /// All keys of runtimes, ordered by id, without their secrets. Blocking.
    ///
    /// # Errors
    /// Why they cannot be read.
    fn list(&self) -> Result<Vec<KeyInfo>, KeysError>;
    /// Removes a runtime's key; false where there was none. It is good for no call any more when this returns. Blocking.
    ///
    /// # Errors
    /// Why the file could not be removed.
    fn remove(&self, runtime_id: &str) -> Result<bool, KeysError>;
}

/// A runtime's key without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// The runtime.
    pub runtime_id: String,
    /// Its file, absolute.
    pub path: PathBuf,
    /// The group that may read it; empty for none.
    pub group: String,
    /// When the file was made.
    pub created_at: SystemTime,
}

/// Why a key could not be made, read or removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// What was asked for is wrong: which field, and what would be right.
    #[error("{field}: {right}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What would be right.
        right: String,
    },
    /// A file or directory could not be used.
    #[error("{0}")]
    Files(String),
}
