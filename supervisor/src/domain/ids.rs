//! Names of plugins, launches and runtimes.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Event streams of the host: no plugin may have one of these names, as a plugin emits on a stream named like itself.
pub const RESERVED_STREAMS: &[&str] = &[
    "lifecycle",
    "tool",
    "assistant",
    "error",
    "item",
    "plan",
    "approval",
    "command_output",
    "patch",
    "compaction",
    "thinking",
    "usage",
    "model",
    "supervisor",
];

/// Id of a plugin: `[a-z0-9][a-z0-9_-]{0,63}`, no dot, not a reserved event stream. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PluginId(Arc<str>);

/// Why a text is not a plugin id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginIdError {
    /// It does not have the shape.
    #[error("`{0}` is not a plugin id: 1 to 64 of a-z, 0-9, `_` and `-`, beginning with a letter or digit")]
    Shape(String),
    /// It is the name of an event stream of the host.
    #[error("`{0}` is the name of an event stream of the host and so cannot be a plugin id")]
    Reserved(String),
}

impl PluginId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PluginId {
    type Err = PluginIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !has_shape(text) {
            return Err(PluginIdError::Shape(text.chars().take(80).collect()));
        }
        if RESERVED_STREAMS.contains(&text) {
            return Err(PluginIdError::Reserved(text.to_owned()));
        }
        Ok(Self(text.into()))
    }
}

/// Whether a text is `[a-z0-9][a-z0-9_-]{0,63}`.
fn has_shape(text: &str) -> bool {
    let bytes = text.as_bytes();
    let first = bytes.first().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let rest =
        bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-'));
    first && rest && bytes.len() <= 64
}

impl fmt::Display for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PluginId({})", self.0)
    }
}

/// Id of an agent runtime: `[a-z0-9][a-z0-9_-]{0,63}`. Its key file gives it, no request names it. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuntimeId(Arc<str>);

/// A text is not the id of a runtime.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a runtime id: 1 to 64 of a-z, 0-9, `_` and `-`, beginning with a letter or digit")]
pub struct RuntimeIdError(String);

impl RuntimeId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RuntimeId {
    type Err = RuntimeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !has_shape(text) {
            return Err(RuntimeIdError(text.chars().take(80).collect()));
        }
        Ok(Self(text.into()))
    }
}

/// So that tables can be asked with a text.
impl Borrow<str> for RuntimeId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuntimeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RuntimeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RuntimeId({})", self.0)
    }
}

/// Number of a launch: durable, rising by one with each launch of a plugin, never used again. 0 means "never launched".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_shape() {
        let long = "a".repeat(64);
        for good in ["a", "0", "policy-gate", "a_b", long.as_str()] {
            assert_eq!(good.parse::<PluginId>().map(|id| id.to_string()), Ok(good.to_owned()));
        }
        let longer = "a".repeat(65);
        for bad in ["", "-a", "_a", "A", "a.b", "a b", "ä", longer.as_str()] {
            assert!(matches!(bad.parse::<PluginId>(), Err(PluginIdError::Shape(_))), "{bad}");
        }
        assert!(matches!("lifecycle".parse::<PluginId>(), Err(PluginIdError::Reserved(_))));
        assert!("lifecycle".parse::<RuntimeId>().is_ok(), "a runtime emits no stream, so no name is reserved");
        assert!("../admin".parse::<RuntimeId>().is_err());
    }
}
