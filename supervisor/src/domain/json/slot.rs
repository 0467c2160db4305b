//! One member of an object, to be replaced without reading the rest again.

use std::ops::Range;

use bytes::Bytes;

use super::scan::{Scanner, Unescaped};
use super::{JsonError, PAYLOAD_DEPTH, Rule, ValueLimits};

/// The place of a member in an object: where its value stands, or where it would stand if the object had it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    object: Bytes,
    name: &'static str,
    /// Empty where the object does not have the member.
    value: Range<usize>,
    /// What comes before the value where the object does not have the member.
    lead: String,
}

impl Slot {
    /// Finds a member of an object. Reads no further than its value. The name must be one that needs no escape.
    ///
    /// # Errors
    /// The rule that the text breaks up to there as an object of depth [`PAYLOAD_DEPTH`]. None that was checked before.
    pub fn find(object: Bytes, name: &'static str) -> Result<Self, JsonError> {
        let mut scanner = Scanner::new(&object, &ValueLimits::payload(PAYLOAD_DEPTH - 1))?;
        scanner.skip_space();
        if !scanner.take(b'{') {
            return scanner.broken(Rule::NotAnObject);
        }
        let start = scanner.position();
        scanner.skip_space();
        if scanner.peek() == Some(b'}') {
            return Ok(Self { object, name, value: start..start, lead: format!("\"{name}\":") });
        }
        loop {
            scanner.skip_space();
            if scanner.peek() != Some(b'"') {
                return scanner.wanted("a key");
            }
            let key = scanner.string()?;
            let found = Unescaped::new(&object[key.range]).eq(name.bytes());
            scanner.colon()?;
            scanner.skip_space();
            let start = scanner.position();
            scanner.value()?;
            let end = scanner.position();
            if found {
                return Ok(Self { object, name, value: start..end, lead: String::new() });
            }
            scanner.skip_space();
            if scanner.peek() == Some(b'}') {
                return Ok(Self { object, name, value: end..end, lead: format!(",\"{name}\":") });
            }
            if !scanner.take(b',') {
                return scanner.wanted("`,` or `}`");
            }
        }
    }

    /// The object as it was found.
    #[must_use]
    pub fn object(&self) -> &Bytes {
        &self.object
    }

    /// The name of the member.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The value as it is written; `None` where the object does not have the member. Copies nothing.
    #[must_use]
    pub fn value(&self) -> Option<Bytes> {
        (!self.value.is_empty()).then(|| self.object.slice(self.value.clone()))
    }

    /// Bytes of the object with a value of so many bytes in this place.
    #[must_use]
    pub fn bytes_with(&self, value: usize) -> usize {
        (self.object.len() - self.value.len()).saturating_add(self.lead.len()).saturating_add(value)
    }

    /// The object with another value in this place; everything else stays as it was written. The value has to be one
    /// JSON text.
    #[must_use]
    pub fn with(&self, value: &[u8]) -> Bytes {
        let mut text = Vec::with_capacity(self.bytes_with(value.len()));
        text.extend_from_slice(&self.object[..self.value.start]);
        text.extend_from_slice(self.lead.as_bytes());
        text.extend_from_slice(value);
        text.extend_from_slice(&self.object[self.value.end..]);
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn put(object: &str, value: &str) -> String {
        let slot = Slot::find(Bytes::copy_from_slice(object.as_bytes()), "params").expect("an object");
        let text = slot.with(value.as_bytes());
        assert_eq!(text.len(), slot.bytes_with(value.len()));
        String::from_utf8(text.into()).expect("UTF-8")
    }

    #[test]
    fn a_member_is_replaced_where_it_stands_and_added_where_it_is_missing() {
        assert_eq!(put(r#" {"a": 1, "params" : {"x":[1]} , "b":2}"#, "{}"), r#" {"a": 1, "params" : {} , "b":2}"#);
        assert_eq!(put(r#"{"\u0070arams":0}"#, "1"), r#"{"\u0070arams":1}"#);
        assert_eq!(put(r#"{"in":{"params":0}}"#, "1"), r#"{"in":{"params":0},"params":1}"#);
        assert_eq!(put("{}", "1"), r#"{"params":1}"#);
        assert_eq!(put("{ }", "1"), r#"{"params":1 }"#);
        let slot = Slot::find(Bytes::from_static(b"{\"params\": {} }"), "params").expect("an object");
        assert_eq!(slot.value().as_deref(), Some(&b"{}"[..]));
        for broken in ["", "[]", "{", "{\"a\":1", "{\"a\" 1}", "{a:1}", "{\"a\":1;}"] {
            assert!(Slot::find(Bytes::copy_from_slice(broken.as_bytes()), "params").is_err(), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn replaces_as_maps_do(
            mut members in prop::collection::btree_map("[a-c\"\\\\é]{0,2}|params", 0..9u8, 0..5),
            value in 0..9u8,
        ) {
            let object = serde_json::to_string(&members).expect("a map of numbers");
            let text = put(&object, &value.to_string());
            members.insert("params".to_owned(), value);
            let read: Value = serde_json::from_str(&text).expect("JSON");
            prop_assert_eq!(read, serde_json::to_value(&members).expect("a map of numbers"));
        }

        #[test]
        fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Slot::find(bytes.into(), "params");
        }
    }
}
