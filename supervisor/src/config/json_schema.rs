//! JSON Schemas of both files, for editors: made of the tables the parsers use, and checked in as `docs/schema/*.json`.
//!
//! They say less than the parsers check: whether files exist, ids are unique or a grant is below its tier's ceiling only
//! shows on the machine.

use serde_json::{Map, Value, json};

use super::keys::{Form, Key, MANIFEST, MOST_VARIABLES, OPERATOR, scopes};
use super::units;

/// The schema of `plugin.toml`.
#[must_use]
pub fn manifest() -> Value {
    document("plugin.toml: what a plugin's author asks for", MANIFEST)
}

/// The schema of `outrigger.toml`.
#[must_use]
pub fn operator() -> Value {
    document("outrigger.toml: what the operator decides", OPERATOR)
}

fn document(title: &str, keys: &[Key]) -> Value {
    let mut schema = table(keys);
    if let Value::Object(keywords) = &mut schema {
        keywords.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
        keywords.insert("title".to_owned(), title.into());
    }
    schema
}

fn table(keys: &[Key]) -> Value {
    let property = |key: &Key| {
        let mut schema = value(&key.form);
        if let Value::Object(keywords) = &mut schema {
            keywords.insert("description".to_owned(), describe(key).into());
        }
        (key.name.to_owned(), schema)
    };
    let properties: Map<_, _> = keys.iter().map(property).collect();
    let required: Vec<_> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
}

/// What a key is for, with the range where the form's keywords cannot say it.
fn describe(key: &Key) -> String {
    let show_range = |least: String, most: String| format!("{} {least} to {most}.", key.about);
    match &key.form {
        Form::Duration(range) => show_range(units::show_duration(*range.start()), units::show_duration(*range.end())),
        Form::Size(range) => show_range(units::show_size(*range.start()), units::show_size(*range.end())),
        _ => key.about.to_owned(),
    }
}

fn value(form: &Form) -> Value {
    match form {
        Form::Text(longest) => json!({ "type": "string", "maxLength": longest }),
        Form::Pattern(pattern, _) => json!({ "type": "string", "pattern": pattern }),
        Form::Choice(words) => json!({ "enum": words() }),
        Form::Flag => json!({ "type": "boolean" }),
        Form::Count(range) => json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() }),
        Form::Duration(_) => json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h)$" }),
        Form::Size(_) => json!({ "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)$" }),
        Form::List(of, most) => json!({ "type": "array", "maxItems": most, "items": value(of) }),
        Form::Table(keys) => table(keys),
        Form::Map(names, of) => json!({
            "type": "object",
            "propertyNames": { "pattern": names },
            "additionalProperties": value(of),
        }),
        Form::MapOf(names, of) => json!({
            "type": "object",
            "propertyNames": { "enum": names() },
            "additionalProperties": value(of),
        }),
        Form::Variables => json!({
            "type": "object",
            "maxProperties": MOST_VARIABLES,
            "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,127}$", "not": { "pattern": "^OUTRIGGER_" } },
            "additionalProperties": { "type": "string" },
        }),
        Form::Object => json!({ "type": "object" }),
        Form::Grant => json!({
            "anyOf": [
                { "enum": scopes() },
                {
                    "type": "object",
                    "required": ["scope"],
                    "properties": {
                        "scope": { "enum": scopes() },
                        "names": { "type": "array", "items": { "type": "string" } },
                    },
                    "additionalProperties": { "type": "integer", "minimum": 0 },
                },
            ],
        }),
    }
}

#[cfg(test)]
mod tests;
