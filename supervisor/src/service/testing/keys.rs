//! Keys without files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::domain::keys::{KeyInfo, Keys, KeysError};

/// The operator's key.
pub(crate) const ADMIN_KEY: &str = "admin:secret";
/// The key of the runtime `default`.
pub(crate) const RUNTIME_KEY: &str = "default:secret";

/// A key is `ID:secret`.
pub(crate) struct FakeKeys(Mutex<BTreeMap<String, KeyInfo>>);

impl FakeKeys {
    pub(crate) fn new() -> Self {
        let keys = Self(Mutex::default());
        keys.insert("default", "");
        keys
    }

    fn insert(&self, id: &str, group: &str) -> KeyInfo {
        let info = KeyInfo {
            runtime_id: id.to_owned(),
            path: PathBuf::from(format!("/state/keys/{id}.key")),
            group: group.to_owned(),
            created_at: SystemTime::UNIX_EPOCH,
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), info.clone());
        info
    }
}

impl Keys for FakeKeys {
    fn runtime(&self, line: &[u8]) -> Option<String> {
        let id = std::str::from_utf8(line).ok()?.strip_suffix(":secret")?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).map(|info| info.runtime_id.clone())
    }

    fn is_admin(&self, line: &[u8]) -> bool {
        line == ADMIN_KEY.as_bytes()
    }

    fn add(&self, runtime_id: &str, group: Option<&str>) -> Result<(KeyInfo, bool), KeysError> {
        if runtime_id.contains('/') {
            return Err(KeysError::Invalid { field: "runtime_id", right: "wants no slash".to_owned() });
        }
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(runtime_id);
        Ok((self.insert(runtime_id, group.unwrap_or_default()), !known))
    }

    fn list(&self) -> Result<Vec<KeyInfo>, KeysError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect())
    }

    fn remove(&self, runtime_id: &str) -> Result<bool, KeysError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(runtime_id).is_some())
    }
}
