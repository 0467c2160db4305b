//! The canonical form of a JSON text (RFC 8785), over which parameters are digested.
//!
//! Integers without fraction and exponent stay as they are written, whatever their size (`common.proto`, Digest): a
//! 64-bit float would make two different numbers one. Most texts that programs write are canonical already; that is
//! found out in one pass, and nothing is built.

use std::borrow::Cow;

use super::members::Members;

/// Objects nested deeper than this are not looked at by the fast check.
const FAST_DEPTH: usize = 16;

/// The canonical form of a text that was checked ([`super::validate_payload`]).
///
/// # Errors
/// It is not JSON, which a checked text always is.
pub fn canonical(text: &[u8]) -> Result<Cow<'_, [u8]>, serde_json::Error> {
    if is_canonical(text) {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    write(text, &mut out)?;
    Ok(Cow::Owned(out))
}

/// Whether a JSON text is canonical for certain: no space, plain printable ASCII strings, integers, keys in order.
fn is_canonical(text: &[u8]) -> bool {
    // The last key of each open object; `None` for arrays.
    let mut open = [None::<&[u8]>; FAST_DEPTH];
    let mut depth = 0;
    let mut at = 0;
    // The next string is a key.
    let mut key = false;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                if depth == FAST_DEPTH {
                    return false;
                }
                open[depth] = (byte == b'{').then_some(&[]);
                depth += 1;
                key = byte == b'{';
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                key = false;
            }
            b',' => key = depth > 0 && open[depth - 1].is_some(),
            b':' => key = false,
            b'"' => {
                let rest = &text[at..];
                let Some(length) =
                    rest.iter().position(|byte| matches!(byte, b'"' | b'\\') || !matches!(byte, 0x20..=0x7E))
                else {
                    return false;
                };
                if rest[length] != b'"' {
                    return false;
                }
                if key {
                    let last = &mut open[depth - 1];
                    // ASCII orders like its UTF-16 form. The empty key is first, and then nothing is before it.
                    if last.is_some_and(|last| &rest[..length] <= last && !last.is_empty()) || length == 0 {
                        return false;
                    }
                    *last = Some(&rest[..length]);
                }
                at += length + 1;
            }
            b'-' if text.get(at) == Some(&b'0') => return false,
            b'-' | b'0'..=b'9' | b'a' | b'e' | b'f' | b'l' | b'n' | b'r' | b's' | b't' | b'u' => {
                // An exponent stands after a digit, the `e` of a literal never does.
                if byte == b'e' && at >= 2 && text[at - 2].is_ascii_digit() {
                    return false;
                }
            }
            // Space, a fraction, an exponent.
            _ => return false,
        }
    }
    true
}

/// Writes the canonical form of one value.
fn write(text: &[u8], out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let text = text.trim_ascii();
    match text.first() {
        Some(b'{') => {
            let members: Members<'_> = serde_json::from_slice(text)?;
            let mut members = members.0;
            members.sort_by(|(left, _), (right, _)| left.encode_utf16().cmp(right.encode_utf16()));
            out.push(b'{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                serde_json::to_writer(&mut *out, &*key)?;
                out.push(b':');
                write(value.get().as_bytes(), out)?;
            }
            out.push(b'}');
        }
        Some(b'[') => {
            let items: Vec<&serde_json::value::RawValue> = serde_json::from_slice(text)?;
            out.push(b'[');
            for (index, item) in items.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item.get().as_bytes(), out)?;
            }
            out.push(b']');
        }
        Some(b'"') => {
            let string: String = serde_json::from_slice(text)?;
            serde_json::to_writer(&mut *out, &string)?;
        }
        Some(b'-' | b'0'..=b'9') => number(text, out)?,
        _ => out.extend_from_slice(text),
    }
    Ok(())
}

fn number(text: &[u8], out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    if text == b"-0" {
        out.push(b'0');
    } else if text.iter().all(|byte| matches!(byte, b'-' | b'0'..=b'9')) {
        out.extend_from_slice(text);
    } else {
        let value: f64 = serde_json::from_slice(text)?;
        out.extend_from_slice(ryu_js::Buffer::new().format(value).as_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(text: &str) -> String {
        String::from_utf8(canonical(text.as_bytes()).expect("JSON").into_owned()).expect("UTF-8")
    }

    /// RFC 8785, section 3.2.2 to 3.2.4 and appendix B.
    #[test]
    fn the_examples_of_the_standard() {
        let given = r#"{
          "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
          "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
          "literals": [null, true, false]
        }"#;
        let wanted = concat!(
            r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"#,
            r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#
        );
        assert_eq!(form(given), wanted);
        let keys = r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#;
        assert_eq!(form(keys), "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}");
        assert_eq!(form("[-0, -0.0, 0.0, 1e21, 9007199254740993, 123456789012345678901]"), {
            "[0,0,0,1e+21,9007199254740993,123456789012345678901]"
        });
    }

    #[test]
    fn what_is_canonical_is_not_copied_and_nothing_else_passes_for_it() {
        for text in [r#"{"a":{"b":1,"c":[true,null,-7]},"d":"x y"}"#, "[]", "{}", r#"{"a":[{"b":1},{"a":2}]}"#, "12"] {
            assert!(is_canonical(text.as_bytes()), "{text}");
        }
        for text in [
            r#"{"b":1,"a":2}"#,
            r#"{"a": 1}"#,
            "[1.0]",
            "[1e3]",
            "[1E3]",
            "[-0]",
            r#"["\u0041"]"#,
            r#"["ä"]"#,
            r#"{"":1}"#,
            r#"{"a":{"d":1,"c":2}}"#,
            r#"{"a":{"z":1},"Z":2}"#,
        ] {
            assert!(!is_canonical(text.as_bytes()), "{text}");
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Into::into),
            "[ -~]{0,6}|\\PC{0,4}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::btree_map("[a-d]{0,3}|\\PC{0,2}", inner, 0..5)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Its canonical form is one that the slow way leaves as it is, and spelling does not matter.
        #[test]
        fn the_fast_way_and_the_slow_one_agree(value in json()) {
            let short = serde_json::to_vec(&value).expect("JSON");
            let long = serde_json::to_vec_pretty(&value).expect("JSON");
            let mut slow = Vec::new();
            write(&short, &mut slow).expect("JSON");
            prop_assert_eq!(&*canonical(&short).expect("JSON"), &slow[..]);
            prop_assert_eq!(&*canonical(&long).expect("JSON"), &slow[..]);
            let mut again = Vec::new();
            write(&slow, &mut again).expect("JSON");
            prop_assert_eq!(again, slow);
        }
    }
}
