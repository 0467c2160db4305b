//! Merging objects key by key.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;

use super::scan::{Scanner, Unescaped};
use super::{JsonError, PAYLOAD_DEPTH, Rule, ValueLimits};

/// A member of an object: what its key means, and where key (with quotes) and value are written.
struct Member {
    name: Vec<u8>,
    key: Range<usize>,
    value: Range<usize>,
}

/// Merges `over` into `base`, key by key: the last writer of a key wins, and every value stays as it was written. Keys
/// keep the place they had in `base`; new ones follow in the order of `over`.
///
/// # Errors
/// The rule that one of the two breaks as an object of depth [`PAYLOAD_DEPTH`]. Neither does that was checked before.
pub fn shallow_merge(base: &[u8], over: &[u8]) -> Result<Bytes, JsonError> {
    // Keys by what they mean; the standard map's hashes are seeded, so that no text can make them collide.
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut merged: Vec<(&[u8], &[u8])> = Vec::new();
    for text in [base, over] {
        for Member { name, key, value } in members(text)? {
            let member = (&text[key], &text[value]);
            match places.get(&name) {
                Some(&place) => merged[place] = member,
                None => {
                    places.insert(name, merged.len());
                    merged.push(member);
                }
            }
        }
    }
    let mut text = Vec::with_capacity(base.len() + over.len());
    text.push(b'{');
    for (index, (key, value)) in merged.into_iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        text.extend_from_slice(key);
        text.push(b':');
        text.extend_from_slice(value);
    }
    text.push(b'}');
    Ok(text.into())
}

/// Reads an object's members in order. Values are one shallower than where they stand, hence the depth.
fn members(text: &[u8]) -> Result<Vec<Member>, JsonError> {
    let mut scanner = Scanner::new(text, &ValueLimits::payload(PAYLOAD_DEPTH - 1))?;
    let mut members = Vec::new();
    scanner.skip_space();
    if !scanner.take(b'{') {
        return scanner.broken(Rule::NotAnObject);
    }
    scanner.skip_space();
    if scanner.take(b'}') {
        scanner.end()?;
        return Ok(members);
    }
    loop {
        scanner.skip_space();
        let start = scanner.position();
        if scanner.peek() != Some(b'"') {
            return scanner.wanted("a key");
        }
        let name = Unescaped::new(&text[scanner.string()?.range]).collect();
        let key = start..scanner.position();
        scanner.colon()?;
        scanner.skip_space();
        let start = scanner.position();
        scanner.value()?;
        members.push(Member { name, key, value: start..scanner.position() });
        scanner.skip_space();
        if scanner.take(b'}') {
            scanner.end()?;
            return Ok(members);
        }
        if !scanner.take(b',') {
            return scanner.wanted("`,` or `}`");
        }
    }
}
