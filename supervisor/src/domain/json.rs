//! JSON texts of strangers: checked in one pass, without building a tree.
//!
//! The rules are those of the wire contract (`common.proto`): UTF-8, one JSON text, bounded depth, nodes, keys and string
//! length, no key twice in an object, no lone surrogates, numbers that a 64-bit float holds finitely. Time is linear but
//! for the keys of one object, which are sorted; memory is 16 bytes a key of the objects that are open, and nothing
//! recurses, so no text can exhaust the stack.

mod canonical;
mod members;
mod merge;
mod prune;
mod scan;
mod slot;

pub use canonical::canonical;
pub use members::{drop_members, keep_members};
pub use merge::shallow_merge;
pub use prune::remove_members;
use scan::Scanner;
pub use slot::Slot;
use std::ops::Range;

/// Deepest nesting of a payload; the root is 0.
pub const PAYLOAD_DEPTH: u32 = 128;

/// Bounds of one JSON text. The default is what a plugin may store, emit or return of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueLimits {
    /// Longest text in bytes. Texts of 2 GiB and more are refused whatever this says.
    pub max_bytes: usize,
    /// Deepest value; the root is 0, and a value in a container is one deeper than the container.
    pub max_depth: u32,
    /// Most values, containers and root included.
    pub max_nodes: u32,
    /// Most keys in one object.
    pub max_keys: u32,
    /// Longest string or key, in UTF-16 code units.
    pub max_characters: u32,
    /// The root must be an object.
    pub must_be_object: bool,
}

impl Default for ValueLimits {
    fn default() -> Self {
        Self {
            max_bytes: 262_144,
            max_depth: 32,
            max_nodes: 4_096,
            max_keys: 512,
            max_characters: 65_536,
            must_be_object: false,
        }
    }
}

impl ValueLimits {
    /// Bounds of what a runtime hands over, and of what a handler returns of it: depth alone. The message it travels in
    /// bounds the rest.
    #[must_use]
    pub const fn payload(max_depth: u32) -> Self {
        Self {
            max_bytes: usize::MAX,
            max_depth,
            max_nodes: u32::MAX,
            max_keys: u32::MAX,
            max_characters: u32::MAX,
            must_be_object: false,
        }
    }

    /// The same bounds for a text whose root must be an object.
    #[must_use]
    pub const fn object(mut self) -> Self {
        self.must_be_object = true;
        self
    }
}

/// Checks a JSON value against bounds.
///
/// # Errors
/// The first rule that is broken, and where.
pub fn validate_value(text: &[u8], limits: &ValueLimits) -> Result<(), JsonError> {
    Scanner::new(text, limits)?.whole()
}

/// Members of a root that were looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Where the value of the first of them stands.
    pub first: Option<Range<usize>>,
    /// The root has one of the others.
    pub others: bool,
}

/// Checks a JSON value against bounds, and looks for members of its root on the way.
///
/// # Errors
/// The first rule that is broken, and where.
pub fn validate_members(text: &[u8], limits: &ValueLimits, first: &str, others: &[&str]) -> Result<Found, JsonError> {
    Scanner::new(text, limits)?.whole_with(first, others)
}

/// Checks a payload: any JSON text no deeper than `max_depth` (usually [`PAYLOAD_DEPTH`]).
///
/// # Errors
/// The first rule that is broken, and where.
pub fn validate_payload(text: &[u8], max_depth: u32) -> Result<(), JsonError> {
    validate_value(text, &ValueLimits::payload(max_depth))
}

/// Why a text is refused: a rule and the byte where it is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("accept JSON at byte {offset}: {rule}")]
pub struct JsonError {
    /// The rule.
    pub rule: Rule,
    /// Offset in bytes from the beginning of the text.
    pub offset: usize,
}

/// A rule that a JSON text can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// It is longer than the bound.
    #[error("the text is longer than {0} bytes")]
    Bytes(usize),
    /// It is not UTF-8.
    #[error("the text is not UTF-8")]
    Utf8,
    /// It is not JSON; the field says what is wanted there.
    #[error("the text is not JSON, {0} is wanted here")]
    Syntax(&'static str),
    /// A value is nested too deeply.
    #[error("a value is nested deeper than {0}")]
    Depth(u32),
    /// There are too many values.
    #[error("there are more than {0} values")]
    Nodes(u32),
    /// An object has too many keys.
    #[error("an object has more than {0} keys")]
    Keys(u32),
    /// A string or key is too long.
    #[error("a string or key is longer than {0} UTF-16 code units")]
    Characters(u32),
    /// An object has a key twice.
    #[error("an object has this key twice")]
    DuplicateKey,
    /// Half of a surrogate pair stands alone.
    #[error("a surrogate stands alone")]
    LoneSurrogate,
    /// A number is too large for a 64-bit float.
    #[error("a number is beyond what a 64-bit float holds")]
    Number,
    /// The root is not an object.
    #[error("the root is not an object")]
    NotAnObject,
}

#[cfg(test)]
mod tests;
