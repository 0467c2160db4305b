//! Removing members by name, wherever they stand.

use bytes::Bytes;

use super::scan::{Scanner, Unescaped};
use super::{JsonError, PAYLOAD_DEPTH, Rule, ValueLimits};

/// An open container of the text that is written.
enum Frame {
    Array,
    /// Whether it has a member already.
    Object(bool),
}

/// Removes every member whose name is unwanted, at any depth, with what is in it. `None` where there is none: then the
/// text stays as it was written, otherwise the space between values goes. Time is linear, and nothing recurses.
///
/// # Errors
/// The rule that the text breaks as a payload of depth [`PAYLOAD_DEPTH`]. None that was checked before.
pub fn remove_members(text: &[u8], unwanted: impl Fn(&[u8]) -> bool) -> Result<Option<Bytes>, JsonError> {
    let mut scanner = Scanner::new(text, &ValueLimits::payload(PAYLOAD_DEPTH))?;
    let mut frames: Vec<Frame> = Vec::new();
    let mut kept = Vec::new();
    let mut removed = false;
    let mut name = Vec::new();
    'values: loop {
        // A value begins here.
        scanner.skip_space();
        let start = scanner.position();
        let opened = match scanner.peek() {
            Some(b'{') => Some((Frame::Object(false), b'{', b'}')),
            Some(b'[') => Some((Frame::Array, b'[', b']')),
            _ => None,
        };
        // An object begins that has members: its first key follows, and no comma or end.
        let mut begun = false;
        match opened {
            Some((frame, open, close)) => {
                if frames.len() > PAYLOAD_DEPTH as usize {
                    return scanner.broken(Rule::Depth(PAYLOAD_DEPTH));
                }
                scanner.take(open);
                kept.push(open);
                scanner.skip_space();
                if scanner.take(close) {
                    kept.push(close);
                } else {
                    begun = matches!(frame, Frame::Object(_));
                    frames.push(frame);
                    if !begun {
                        continue 'values;
                    }
                }
            }
            None => {
                scanner.value()?;
                kept.extend_from_slice(&text[start..scanner.position()]);
            }
        }
        loop {
            scanner.skip_space();
            match frames.last_mut() {
                None => {
                    scanner.end()?;
                    return Ok(removed.then(|| kept.into()));
                }
                Some(Frame::Array) => {
                    if scanner.take(b',') {
                        kept.push(b',');
                        continue 'values;
                    }
                    if !scanner.take(b']') {
                        return scanner.wanted("`,` or `]`");
                    }
                    kept.push(b']');
                }
                Some(Frame::Object(has_members)) => {
                    if !begun && scanner.take(b'}') {
                        kept.push(b'}');
                    } else {
                        if !begun && !scanner.take(b',') {
                            return scanner.wanted("`,` or `}`");
                        }
                        begun = false;
                        scanner.skip_space();
                        let start = scanner.position();
                        if scanner.peek() != Some(b'"') {
                            return scanner.wanted("a key");
                        }
                        let key = scanner.string()?;
                        let end = scanner.position();
                        scanner.colon()?;
                        name.clear();
                        name.extend(Unescaped::new(&text[key.range]));
                        if unwanted(&name) {
                            removed = true;
                            scanner.value()?;
                            continue;
                        }
                        if std::mem::replace(has_members, true) {
                            kept.push(b',');
                        }
                        kept.extend_from_slice(&text[start..end]);
                        kept.push(b':');
                        continue 'values;
                    }
                }
            }
            frames.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::domain::json::validate_payload;

    fn prune(text: &str) -> Option<String> {
        let pruned = remove_members(text.as_bytes(), |name| name.starts_with(b"x")).expect("JSON");
        pruned.map(|text| String::from_utf8(text.into()).expect("UTF-8"))
    }

    #[test]
    fn members_go_with_what_is_in_them() {
        let cases = [
            (r#"{"a": 1, "b":["x"]}"#, None),
            (r#" "x" "#, None),
            (r#"{"x":1}"#, Some("{}")),
            (r#"{ "x" : {"a":[1]} , "a" : 1.0 }"#, Some(r#"{"a":1.0}"#)),
            (
                r#"{"a":1,"x":2,"xy":3,"b":[{"\u0078":0,"c":{}},[], [1, 2]]}"#,
                Some(r#"{"a":1,"b":[{"c":{}},[],[1,2]]}"#),
            ),
            (r#"[{"x":0},{"a":{"x":0}},{}]"#, Some(r#"[{},{"a":{}},{}]"#)),
        ];
        for (text, expected) in cases {
            assert_eq!(prune(text).as_deref(), expected, "{text}");
        }
    }

    fn without(value: &Value) -> Value {
        match value {
            Value::Object(members) => members
                .iter()
                .filter(|(name, _)| !name.starts_with('x'))
                .map(|(name, value)| (name.clone(), without(value)))
                .collect(),
            Value::Array(items) => items.iter().map(without).collect(),
            other => other.clone(),
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<i32>().prop_map(Value::from), "[ax{}\",é]{0,3}".prop_map(Value::from)];
        leaf.prop_recursive(5, 32, 5, |inner| {
            let members = prop::collection::btree_map("[axé\"]{0,2}", inner.clone(), 0..5);
            prop_oneof![
                prop::collection::vec(inner, 0..5).prop_map(Value::from),
                members.prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn prunes_as_a_tree_is_pruned(value in json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.expect("a value");
            let pruned = prune(&text);
            prop_assert_eq!(pruned.is_none(), without(&value) == value);
            let read: Value = serde_json::from_str(pruned.as_deref().unwrap_or(&text)).expect("JSON");
            prop_assert_eq!(read, without(&value));
        }

        #[test]
        fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(Some(pruned)) = remove_members(&bytes, |name| name.len() == 1) {
                prop_assert!(validate_payload(&pruned, PAYLOAD_DEPTH).is_ok());
            }
        }
    }

    #[test]
    fn depth_has_its_bound() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(remove_members(nested(129).as_bytes(), |_| false), Ok(None));
        assert_eq!(remove_members(nested(130).as_bytes(), |_| false).map_err(|e| e.rule), Err(Rule::Depth(128)));
    }
}
