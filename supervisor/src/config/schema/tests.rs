use serde_json::json;

use super::*;

fn compile(schema: &Value) -> Result<Schema, String> {
    Schema::compile(schema.to_string().as_bytes()).map_err(|error| error.to_string())
}

fn refused(schema: &Value) -> String {
    compile(schema).expect_err("it is refused")
}

fn mismatches(schema: &Value, value: &Value) -> Vec<String> {
    compile(schema).expect("it is a schema").mismatches(value).iter().map(ToString::to_string).collect()
}

#[test]
fn mismatches_tell_place_value_and_want() {
    let schema = json!({
        "type": "object",
        "required": ["port"],
        "additionalProperties": false,
        "properties": {
            "port": { "type": "integer", "minimum": 1, "maximum": 65535 },
            "mode": { "enum": ["strict", "loose"] },
            "hosts": { "type": "array", "maxItems": 2, "items": { "type": "string", "pattern": "^[a-z]+$", "maxLength": 4 } },
            "when": { "format": "date-time" },
            "kind": { "anyOf": [{ "const": 1 }, { "const": 2 }] },
        },
    });
    let cases = [
        (json!({}), "at `/`: an object is not what the schema wants: the key \"port\""),
        (json!({ "port": "x\n" }), "at `/port`: \"x\\u{a}\" is not what the schema wants: type integer"),
        (json!({ "port": 0 }), "at `/port`: 0 is not what the schema wants: at least 1"),
        (json!({ "port": 70_000 }), "at `/port`: 70000 is not what the schema wants: at most 65535"),
        (
            json!({ "port": 1, "mode": "lax" }),
            "at `/mode`: \"lax\" is not what the schema wants: one of [\"strict\",\"loose\"]",
        ),
        (
            json!({ "port": 1, "hosts": ["A"] }),
            "at `/hosts/0`: \"A\" is not what the schema wants: a match of ^[a-z]+$",
        ),
        (
            json!({ "port": 1, "hosts": ["abcde"] }),
            "at `/hosts/0`: \"abcde\" is not what the schema wants: at most 4 characters",
        ),
        (
            json!({ "port": 1, "hosts": ["a", "b", "c"] }),
            "at `/hosts`: an array is not what the schema wants: at most 2 elements",
        ),
        (json!({ "port": 1, "prot": 2 }), "at `/`: an object is not what the schema wants: no key \"prot\""),
        (json!({ "port": 1, "when": "now" }), "at `/when`: \"now\" is not what the schema wants: the format date-time"),
        (
            json!({ "port": 1, "kind": 3 }),
            "at `/kind`: 3 is not what the schema wants: one of its alternatives (anyOf)",
        ),
    ];
    for (value, expected) in cases {
        assert_eq!(mismatches(&schema, &value), [expected], "{value}");
    }
    assert_eq!(mismatches(&schema, &json!({ "port": 1, "when": "2026-01-01T00:00:00Z" })), [""; 0]);
    let many = json!({ "port": 1, "hosts": vec!["A"; 2], "mode": 1, "a": 1, "kind": 4 });
    assert_eq!(mismatches(&schema, &many).len(), 5);
    let all = mismatches(&json!({ "items": { "type": "string" } }), &json!(vec![1; 100]));
    assert_eq!(all.len(), MOST_MISMATCHES);
}

#[test]
fn what_is_no_schema_is_refused() {
    assert_eq!(
        Schema::compile(b"{").expect_err("not JSON").to_string(),
        "use the schema: accept JSON at byte 1: the text is not JSON, a key is wanted here"
    );
    assert_eq!(refused(&json!(3)), "use the schema: it is neither an object nor a boolean");
    assert!(refused(&json!({ "type": "strin" })).starts_with("use the schema: at `/type`:"));
    assert!(refused(&json!({ "properties": { "a": { "minimum": "1" } } })).contains("`/properties/a/minimum`"));
    // Look-around and back-references need an engine that backtracks.
    assert!(compile(&json!({ "pattern": "(?=a)b" })).is_err());
    assert!(compile(&json!({ "pattern": "(a)\\1" })).is_err());
    assert!(compile(&json!({ "pattern": "((a{1,100}){1,100}){1,100}" })).is_err());
    let long = json!({ "description": "x".repeat(MAX_BYTES) });
    assert!(refused(&long).contains("longer than 65536 bytes"));
    assert!(compile(&json!(true)).expect("it is a schema").accepts(&json!(1)));
    assert!(!compile(&json!(false)).expect("it is a schema").accepts(&json!(1)));
}

/// Nothing outside the schema is reached, whatever it says.
#[test]
fn references_lead_nowhere_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("other.json");
    std::fs::write(&path, "{}").expect("a file");
    for reference in
        [format!("file://{}", path.display()), "https://example.com/s.json".into(), "other.json".into(), "#name".into()]
    {
        let told = refused(&json!({ "$ref": reference }));
        assert_eq!(
            told,
            format!("use the schema: `$ref` \"{reference}\" is not to a place in the schema itself (`#` or `#/…`)")
        );
    }
    assert_eq!(refused(&json!({ "$ref": "#/$defs/a" })), "use the schema: `$ref` \"#/$defs/a\" leads to nothing");
    assert!(refused(&json!({ "$schema": "https://example.com/dialect" })).contains("`$schema`"));
    assert!(
        refused(&json!({ "$defs": { "a": { "$id": "https://example.com/a" } } })).contains("`$id` is not supported")
    );
    assert!(refused(&json!({ "$dynamicRef": "#a" })).contains("`$dynamicRef`"));
    let good = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "https://example.com/root.json",
        "definitions": { "a/b%": { "type": "string" } },
        "properties": { "$id": { "$ref": "#/definitions/a~1b%25" } },
    });
    assert_eq!(mismatches(&good, &json!({ "$id": 1 })).len(), 1);
}

/// Schemas that would take 2^n steps are refused before they are compiled.
#[test]
fn schemas_that_explode_are_refused() {
    let visits = "use the schema: it could take more than 1000 steps to check one place of a value";
    let chain = |count: usize, step: &dyn Fn(usize) -> Value| {
        let definitions: serde_json::Map<_, _> = (0..count).map(|index| (format!("d{index}"), step(index))).collect();
        let mut schema = json!({ "$ref": "#/$defs/d0" });
        schema["$defs"] = Value::Object(definitions);
        schema["$defs"][format!("d{count}")] = json!({ "type": "string" });
        schema
    };
    let next = |index: usize| json!({ "$ref": format!("#/$defs/d{}", index + 1) });
    assert_eq!(refused(&chain(12, &|index| json!({ "allOf": [next(index), next(index)] }))), visits);
    assert_eq!(refused(&json!({ "items": { "allOf": [{ "$ref": "#" }, { "$ref": "#" }] } })), visits);
    assert_eq!(
        refused(&json!({ "unevaluatedProperties": false, "anyOf": [{ "additionalProperties": { "$ref": "#" } }] })),
        visits
    );
    let circle = json!({ "allOf": [{ "$ref": "#" }] });
    assert_eq!(refused(&circle), "use the schema: its references lead in a circle without going deeper into the value");
    let deep = chain(40, &|index| json!({ "allOf": [next(index)] }));
    assert_eq!(refused(&deep), "use the schema: it is nested too deeply, references followed");
    let wide = chain(300, &|index| json!({ "items": next(index), "additionalProperties": next(index) }));
    assert_eq!(refused(&wide), "use the schema: it is nested too deeply, references followed");
    let patterns: Vec<_> = (0..65).map(|index| json!({ "pattern": format!("^{index}$") })).collect();
    assert_eq!(refused(&json!({ "anyOf": patterns })), "use the schema: it has more than 64 patterns");
}

/// What people write for trees and expressions is recursive, and cheap.
#[test]
fn recursive_schemas_are_fine() {
    let expression = json!({
        "$defs": {
            "expression": {
                "oneOf": [
                    { "type": "number" },
                    { "type": "array", "prefixItems": [{ "type": "string" }, { "$ref": "#/$defs/expression" }, { "$ref": "#/$defs/expression" }] },
                    {
                        "type": "object",
                        "properties": {
                            "left": { "$ref": "#/$defs/expression" },
                            "right": { "$ref": "#/$defs/expression" },
                            "all": { "type": "array", "items": { "$ref": "#/$defs/expression" } },
                        },
                        "additionalProperties": false,
                    },
                ],
            },
        },
        "$ref": "#/$defs/expression",
    });
    let schema = compile(&expression).expect("it is cheap");
    assert!(schema.accepts(&json!({ "left": 1, "right": ["+", 1, { "all": [1, 2] }] })));
    assert!(!schema.accepts(&json!({ "left": 1, "right": ["+", 1, { "all": [1, "2"] }] })));
    let side = json!({ "anyOf": [{ "$ref": "#" }, { "type": "null" }] });
    let tree = json!({ "properties": { "left": side, "right": side, "forest": { "items": side } } });
    assert!(compile(&tree).expect("it is cheap").accepts(&json!({ "left": null, "forest": [{ "right": {} }] })));
    let many: serde_json::Map<_, _> =
        (0..1_500).map(|index| (format!("key{index}"), json!({ "type": "string" }))).collect();
    assert!(compile(&json!({ "properties": many })).is_ok());
    let json_value = json!({ "items": { "$ref": "#" }, "additionalProperties": { "$ref": "#" }, "type": ["object", "array", "null"] });
    assert!(compile(&json_value).expect("it is cheap").accepts(&json!([{ "a": [null] }])));
}

/// At the bounds of both, the deepest schema and the deepest value fit a thread's usual stack (2 MiB, as here).
#[test]
fn the_deepest_fits_the_stack() {
    let mut chained = json!({ "items": { "$ref": "#" }, "not": { "const": 1 } });
    for _ in 0..29 {
        chained = json!({ "allOf": [chained] });
    }
    let schema = compile(&chained).expect("it is within the bounds");
    assert!(refused(&json!({ "allOf": [{ "allOf": [chained] }] })).contains("nested too deeply"));
    for (leaf, fits) in [(json!(0), true), (json!(1), false)] {
        let value = (0..126).fold(leaf, |value, _| json!([value]));
        assert_eq!(schema.accepts(&value), fits);
        assert_eq!(schema.mismatches(&value).is_empty(), fits);
    }
    let definitions: serde_json::Map<_, _> = (0..255)
        .map(|index| (format!("d{index}"), json!({ "items": { "$ref": format!("#/$defs/d{}", index + 1) } })))
        .collect();
    let mut nested = json!({ "$ref": "#/$defs/d0" });
    nested["$defs"] = Value::Object(definitions);
    nested["$defs"]["d255"] = json!(true);
    assert!(compile(&nested).expect("it is within the bounds").accepts(&json!([[[]]])));
}

/// To explain costs memory for every visit, so what is large is only decided.
#[test]
fn what_is_too_large_to_explain_is_refused_all_the_same() {
    let schema = json!({ "items": { "anyOf": vec![json!({ "type": "boolean" }); 900] } });
    let told = mismatches(&schema, &json!(vec![1; 100]));
    assert_eq!(
        told,
        ["at `/`: an array is not what the schema wants: something else in a place that is too costly to find"]
    );
    assert_eq!(mismatches(&schema, &json!(vec![1; 2])).len(), 2);
}
