//! TOML to JSON: a plugin's configuration as it goes over the wire.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Number, Value};
use toml::de::DeValue;

use super::reader::Node;
use crate::domain::json::{ValueLimits, validate_value};

/// A plugin's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    /// It, an object.
    pub value: Value,
    /// The same as text.
    pub text: Bytes,
    /// The lines where its values begin, by JSON pointer.
    pub lines: BTreeMap<String, usize>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self { value: Value::Object(Map::new()), text: Bytes::from_static(b"{}"), lines: BTreeMap::new() }
    }
}

/// Converts a table. `None`, with problems noted: JSON has no such value, or it is beyond the bounds of values.
pub(super) fn to_json(node: &Node<'_>) -> Option<Configuration> {
    node.any_table()?;
    let mut lines = BTreeMap::new();
    let value = convert(node, "", &mut lines)?;
    // Its depth is bounded by the parser's, so neither this nor the conversion can exhaust the stack.
    let text = Bytes::from(value.to_string());
    if let Err(error) = validate_value(&text, &ValueLimits::default().object()) {
        node.fail(&format!("is beyond the bounds of a configuration: {}", error.rule), "a smaller one");
        return None;
    }
    Some(Configuration { value, text, lines })
}

fn convert(node: &Node<'_>, pointer: &str, lines: &mut BTreeMap<String, usize>) -> Option<Value> {
    lines.insert(pointer.to_owned(), node.line());
    match node.value {
        DeValue::String(text) => Some(Value::String(text.to_string())),
        DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            if parsed.is_err() {
                node.fail("is out of range", "a whole number of 64 bits");
            }
            parsed.ok().map(Value::from)
        }
        DeValue::Float(number) => {
            let parsed = number.as_str().parse().ok().and_then(Number::from_f64);
            if parsed.is_none() {
                node.fail("is not a number in JSON", "a finite number");
            }
            parsed.map(Value::Number)
        }
        DeValue::Datetime(_) => {
            node.fail("is a date, which JSON does not have", "the same in quotes");
            None
        }
        DeValue::Array(_) => {
            let items = node.list(usize::MAX)?.into_iter().enumerate();
            // Every item is converted, so that all problems are noted.
            let items: Vec<_> =
                items.map(|(index, item)| convert(&item, &format!("{pointer}/{index}"), lines)).collect();
            items.into_iter().collect::<Option<_>>().map(Value::Array)
        }
        DeValue::Table(_) => {
            let table = node.any_table()?;
            let members: Vec<_> = table
                .iter()
                .map(|(key, value)| {
                    let escaped = key.replace('~', "~0").replace('/', "~1");
                    Some((key.to_owned(), convert(&value, &format!("{pointer}/{escaped}"), lines)?))
                })
                .collect();
            members.into_iter().collect::<Option<_>>().map(Value::Object)
        }
    }
}
