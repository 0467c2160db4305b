//! JSON Schemas of strangers: compiled without reaching anything outside, and bounded in what they cost.
//!
//! The only module that knows the validator; dialects 6, 7, 2019-09 and 2020-12, the last where none is named.

use std::fmt;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{PatternOptions, Retrieve, Uri, Validator};
use serde_json::Value;

use super::problem::quoted;
use super::schema_cost;
use crate::domain::json::{JsonError, ValueLimits, validate_value};
use crate::domain::text;

/// Longest schema, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// Deepest nesting of a schema; serde_json reads to 127.
const MAX_DEPTH: u32 = 100;
/// Mismatches told of one value.
const MOST_MISMATCHES: usize = 16;
/// Visits for which mismatches are looked for: the validator keeps some hundred bytes for each that fails.
const MOST_EXPLAINED: u64 = 50_000;
/// Bytes of one compiled regular expression, and of its cache.
const PATTERN_BYTES: usize = 128 * 1024;

/// A compiled schema. Checking a value is bounded in time by the value's size and in stack by its depth.
pub struct Schema {
    validator: Validator,
    /// Most visits that one place of a value can get.
    visits: u64,
    patterns: usize,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").finish_non_exhaustive()
    }
}

/// Why a schema cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// It is not JSON within the bounds.
    #[error("use the schema: {0}")]
    Json(#[from] JsonError),
    /// It refers to something outside, or could cost too much.
    #[error("use the schema: {0}")]
    Refused(String),
    /// It is not a schema; where in it, and why.
    #[error("use the schema: at `{place}`: {message}")]
    Invalid {
        /// JSON pointer into the schema; empty for the whole.
        place: String,
        /// What is wrong there.
        message: String,
    },
}

/// One place where a value is not as the schema wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// JSON pointer into the value; empty for the whole.
    pub place: String,
    /// The value there, short.
    pub value: String,
    /// What the schema wants.
    pub wants: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.place.is_empty() { "/" } else { &self.place };
        f.write_str(&text::escape(&format!(
            "at `{place}`: {} is not what the schema wants: {}",
            self.value, self.wants
        )))
    }
}

/// References lead nowhere: a schema speaks for itself.
struct NoRetrieval;

impl Retrieve for NoRetrieval {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("`{uri}` is outside the schema, where nothing is fetched from").into())
    }
}

impl Schema {
    /// Compiles a schema of at most [`MAX_BYTES`]. Takes milliseconds, so not for the data thread.
    ///
    /// # Errors
    /// It is not JSON, not a schema, refers to something outside, or could cost too much.
    pub fn compile(text: &[u8]) -> Result<Self, SchemaError> {
        let limits = ValueLimits { max_bytes: MAX_BYTES, ..ValueLimits::payload(MAX_DEPTH) };
        validate_value(text, &limits)?;
        let refused = |error: &dyn fmt::Display| SchemaError::Refused(text::escape(&error.to_string()));
        let schema: Value = serde_json::from_slice(text).map_err(|error| refused(&error))?;
        if !schema.is_object() && !schema.is_boolean() {
            return Err(SchemaError::Refused("it is neither an object nor a boolean".to_owned()));
        }
        let schema_cost::Cost { visits, patterns } = schema_cost::check(&schema).map_err(|error| refused(&error))?;
        let options = PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES);
        let validator = jsonschema::options()
            .with_retriever(NoRetrieval)
            .with_pattern_options(options)
            .should_validate_formats(true)
            .build(&schema)
            .map_err(|error| SchemaError::Invalid {
                place: error.instance_path().to_string(),
                message: shorten(&text::escape(&error.to_string())),
            })?;
        Ok(Self { validator, visits, patterns })
    }

    /// Different regular expressions in it: each keeps up to 256 KiB.
    #[must_use]
    pub fn patterns(&self) -> usize {
        self.patterns
    }

    /// Whether a value satisfies the schema. Takes time in proportion to the value's size, for a hostile schema up to
    /// 1,000 steps for each value in it. The value must not be nested deeper than a payload may be.
    #[must_use]
    pub fn accepts(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
    }

    /// Where a value does not satisfy the schema, at most 16 places; empty if it does.
    #[must_use]
    pub fn mismatches(&self, value: &Value) -> Vec<Mismatch> {
        if self.accepts(value) {
            return Vec::new();
        }
        if count(value).saturating_mul(self.visits) > MOST_EXPLAINED {
            let wants = "something else in a place that is too costly to find".to_owned();
            return vec![Mismatch { place: String::new(), value: show(value), wants }];
        }
        let mut found = Vec::new();
        for error in self.validator.iter_errors(value).take(MOST_MISMATCHES) {
            let place = error.instance_path().to_string();
            let at = value.pointer(&place).unwrap_or(value);
            let mismatch = Mismatch { place, value: show(at), wants: wants(error.kind(), &error) };
            if !found.contains(&mismatch) {
                found.push(mismatch);
            }
        }
        found
    }
}

/// Places of a value: all values in it, and the keys of its objects.
fn count(value: &Value) -> u64 {
    match value {
        Value::Object(members) => members.values().fold(1, |sum: u64, member| sum.saturating_add(1 + count(member))),
        Value::Array(items) => items.iter().fold(1, |sum: u64, item| sum.saturating_add(count(item))),
        _ => 1,
    }
}

/// A value, short.
fn show(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

/// What the schema wants, in words that do not repeat the value.
fn wants(kind: &ValidationErrorKind, error: &jsonschema::ValidationError<'_>) -> String {
    let words = match kind {
        ValidationErrorKind::Type { kind: TypeKind::Single(kind) } => format!("type {kind}"),
        ValidationErrorKind::Required { property } => format!("the key {property}"),
        ValidationErrorKind::AdditionalProperties { unexpected } => format!("no key {}", join(unexpected)),
        ValidationErrorKind::UnevaluatedProperties { unexpected } => format!("no key {}", join(unexpected)),
        ValidationErrorKind::Enum { options } => format!("one of {options}"),
        ValidationErrorKind::Constant { expected_value } => format!("{expected_value}"),
        ValidationErrorKind::Minimum { limit } => format!("at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("at most {limit}"),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("more than {limit}"),
        ValidationErrorKind::ExclusiveMaximum { limit } => format!("less than {limit}"),
        ValidationErrorKind::MultipleOf { multiple_of } => format!("a multiple of {multiple_of}"),
        ValidationErrorKind::MinLength { limit } => format!("at least {limit} characters"),
        ValidationErrorKind::MaxLength { limit } => format!("at most {limit} characters"),
        ValidationErrorKind::MinItems { limit } => format!("at least {limit} elements"),
        ValidationErrorKind::MaxItems { limit } => format!("at most {limit} elements"),
        ValidationErrorKind::MinProperties { limit } => format!("at least {limit} keys"),
        ValidationErrorKind::MaxProperties { limit } => format!("at most {limit} keys"),
        ValidationErrorKind::Pattern { pattern } => format!("a match of {pattern}"),
        ValidationErrorKind::Format { format } => format!("the format {format}"),
        ValidationErrorKind::UniqueItems => "no element twice".to_owned(),
        ValidationErrorKind::AnyOf { .. } => "one of its alternatives (anyOf)".to_owned(),
        ValidationErrorKind::OneOfNotValid { .. } => "one of its alternatives (oneOf)".to_owned(),
        ValidationErrorKind::OneOfMultipleValid { .. } => "only one of its alternatives (oneOf)".to_owned(),
        _ => error.masked_with("the value").to_string(),
    };
    shorten(&words)
}

fn join(keys: &[String]) -> String {
    keys.iter().take(8).map(|key| quoted(key)).collect::<Vec<_>>().join(", ")
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= 200 { text.to_owned() } else { text.chars().take(199).chain(['…']).collect() }
}

#[cfg(test)]
mod tests;
