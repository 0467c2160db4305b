//! The members of one object, each with its value as it stands in the text.

use std::borrow::Cow;

use bytes::Bytes;

/// The members of an object as they stand in the text.
pub(super) struct Members<'a>(pub(super) Vec<(Cow<'a, str>, &'a serde_json::value::RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(key) = map.next_key::<Key<'de>>()? {
                    members.push((key.0, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// A key, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// An object without the members of these names, at its root. `None` where the text is no object.
#[must_use]
pub fn drop_members(object: &Bytes, names: &[&str]) -> Option<Bytes> {
    filtered(object, |name| !names.contains(&name))
}

/// An object with the members of these names alone. `None` where the text is no object.
#[must_use]
pub fn keep_members(object: &Bytes, names: &[&str]) -> Option<Bytes> {
    filtered(object, |name| names.contains(&name))
}

fn filtered(object: &Bytes, keeps: impl Fn(&str) -> bool) -> Option<Bytes> {
    let Members(members) = serde_json::from_slice(object).ok()?;
    if members.iter().all(|(name, _)| keeps(name)) {
        return Some(object.clone());
    }
    let mut out = Vec::with_capacity(object.len());
    for (name, value) in members.iter().filter(|(name, _)| keeps(name)) {
        out.push(if out.is_empty() { b'{' } else { b',' });
        serde_json::to_writer(&mut out, &**name).ok()?;
        out.push(b':');
        out.extend_from_slice(value.get().as_bytes());
    }
    if out.is_empty() {
        out.push(b'{');
    }
    out.push(b'}');
    Some(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_go_or_stay_by_name_however_it_is_spelled() {
        let object = Bytes::from_static(br#"{"a": {"prompt":1}, "\u0070rompt" : "x", "b":[1, 2]}"#);
        assert_eq!(drop_members(&object, &["prompt"]).expect("an object"), &br#"{"a":{"prompt":1},"b":[1, 2]}"#[..]);
        assert_eq!(keep_members(&object, &["b", "c"]).expect("an object"), &br#"{"b":[1, 2]}"#[..]);
        assert_eq!(keep_members(&object, &[]).expect("an object"), &b"{}"[..]);
        let same = drop_members(&object, &["c"]).expect("an object");
        assert_eq!(same.as_ptr(), object.as_ptr(), "what stays as it is is not copied");
        assert_eq!(drop_members(&Bytes::from_static(b"[]"), &[]), None);
    }
}
