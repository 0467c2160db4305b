//! The scanner: a position in the text and a stack of open containers.

use std::cmp::Ordering;
use std::ops::Range;

use super::{Found, JsonError, Rule, ValueLimits};

/// Objects with no more keys than this compare them in pairs, which is faster than sorting.
const PAIRWISE_KEYS: usize = 10;
/// Offsets are kept in 32 bits, and no message comes near.
const LONGEST_TEXT: usize = i32::MAX as usize;

/// Reads values from a text that is known to be UTF-8.
pub(super) struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
    limits: ValueLimits,
    nodes: u32,
    frames: Vec<Frame>,
    /// Keys of the open objects, outermost first; those of the innermost are at the end.
    keys: Vec<Key>,
    /// Members of the root that are looked for: where the first begins, whether there is another.
    first: &'t str,
    others: &'t [&'t str],
    found: Found,
}

/// An open container.
#[derive(Clone, Copy)]
enum Frame {
    Array,
    /// Its keys begin at this index of `Scanner::keys`.
    Object(usize),
}

/// A key that was read: where it is, and what suffices to tell most keys apart.
#[derive(Clone, Copy)]
struct Key {
    /// The first eight bytes, unescaped, as a number that orders like them.
    prefix: u64,
    at: u32,
    len: u32,
}

/// A string that was read: the text between its quotes.
#[derive(Clone)]
pub(super) struct Text {
    pub(super) range: Range<usize>,
    escaped: bool,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t [u8], limits: &ValueLimits) -> Result<Self, JsonError> {
        let longest = limits.max_bytes.min(LONGEST_TEXT);
        if text.len() > longest {
            return Err(JsonError { rule: Rule::Bytes(longest), offset: longest });
        }
        std::str::from_utf8(text).map_err(|error| JsonError { rule: Rule::Utf8, offset: error.valid_up_to() })?;
        let (frames, keys) = (Vec::new(), Vec::new());
        Ok(Self {
            text,
            at: 0,
            limits: *limits,
            nodes: 0,
            frames,
            keys,
            first: "",
            others: &[],
            found: Found::default(),
        })
    }

    /// Reads the whole text as one value, and looks for members of the root.
    pub(super) fn whole_with(mut self, first: &'t str, others: &'t [&'t str]) -> Result<Found, JsonError> {
        (self.first, self.others) = (first, others);
        self.whole()?;
        Ok(self.found)
    }

    /// Reads the whole text as one value.
    pub(super) fn whole(&mut self) -> Result<(), JsonError> {
        self.skip_space();
        if self.limits.must_be_object && self.peek().is_some_and(|byte| byte != b'{') {
            return self.broken(Rule::NotAnObject);
        }
        self.value()?;
        self.end()
    }

    /// Nothing but space is left.
    pub(super) fn end(&mut self) -> Result<(), JsonError> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { self.wanted("the end") }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Takes this byte if it is next.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Reads one value with everything in it.
    pub(super) fn value(&mut self) -> Result<(), JsonError> {
        let outer = self.frames.len();
        loop {
            self.skip_space();
            self.count()?;
            let opened = match self.peek() {
                Some(b'{') => self.open(Frame::Object(self.keys.len()), b'}')?,
                Some(b'[') => self.open(Frame::Array, b']')?,
                Some(b'"') => {
                    self.string()?;
                    false
                }
                Some(b'-' | b'0'..=b'9') => {
                    self.number()?;
                    false
                }
                _ => {
                    self.literal()?;
                    false
                }
            };
            if !opened && self.close(outer)? {
                return Ok(());
            }
        }
    }

    /// Counts the value that begins here.
    fn count(&mut self) -> Result<(), JsonError> {
        // A depth beyond 32 bits is no depth the stack below could have.
        let depth = u32::try_from(self.frames.len()).unwrap_or(u32::MAX);
        if depth > self.limits.max_depth {
            return self.broken(Rule::Depth(self.limits.max_depth));
        }
        if self.nodes == self.limits.max_nodes {
            return self.broken(Rule::Nodes(self.limits.max_nodes));
        }
        self.nodes += 1;
        Ok(())
    }

    /// Opens a container and reads up to its first value; `false` if it is empty, and so complete.
    fn open(&mut self, frame: Frame, end: u8) -> Result<bool, JsonError> {
        self.at += 1;
        self.skip_space();
        if self.take(end) {
            return Ok(false);
        }
        self.frames.push(frame);
        if let Frame::Object(first_key) = frame {
            self.key(first_key)?;
        }
        Ok(true)
    }

    /// After a value: closes the containers that end here. `true` if the value at stack height `outer` is complete,
    /// `false` if another value comes.
    fn close(&mut self, outer: usize) -> Result<bool, JsonError> {
        while self.frames.len() > outer {
            if self.frames.len() == 1
                && let Some(value) = self.found.first.as_mut().filter(|value| value.end == 0)
            {
                value.end = self.at;
            }
            self.skip_space();
            match self.frames.last() {
                Some(Frame::Object(first_key)) => {
                    let first_key = *first_key;
                    if self.take(b',') {
                        self.skip_space();
                        self.key(first_key)?;
                        return Ok(false);
                    }
                    if !self.take(b'}') {
                        return self.wanted("`,` or `}`");
                    }
                    self.refuse_duplicates(first_key)?;
                }
                _ => {
                    if self.take(b',') {
                        return Ok(false);
                    }
                    if !self.take(b']') {
                        return self.wanted("`,` or `]`");
                    }
                }
            }
            self.frames.pop();
        }
        Ok(true)
    }

    /// Reads a key and its colon, and keeps the key until its object closes.
    fn key(&mut self, first_key: usize) -> Result<(), JsonError> {
        if self.peek() != Some(b'"') {
            return self.wanted("a key");
        }
        if self.keys.len() - first_key >= self.limits.max_keys as usize {
            return self.broken(Rule::Keys(self.limits.max_keys));
        }
        let key = self.string()?;
        let raw = &self.text[key.range.clone()];
        let prefix = if key.escaped { prefix(Unescaped::new(raw)) } else { prefix(raw.iter().copied()) };
        // Neither truncates: the text is not longer than LONGEST_TEXT.
        self.keys.push(Key { prefix, at: key.range.start as u32, len: raw.len() as u32 });
        self.colon()?;
        if self.frames.len() == 1 && !self.first.is_empty() {
            let is = |name: &str| match key.escaped {
                true => Unescaped::new(raw).eq(name.bytes()),
                false => raw == name.as_bytes(),
            };
            if is(self.first) {
                self.skip_space();
                self.found.first = Some(self.at..0);
            } else if self.others.iter().any(|name| is(name)) {
                self.found.others = true;
            }
        }
        Ok(())
    }

    pub(super) fn colon(&mut self) -> Result<(), JsonError> {
        self.skip_space();
        if self.take(b':') { Ok(()) } else { self.wanted("`:`") }
    }

    /// Compares the keys of the object that ends here, and forgets them.
    fn refuse_duplicates(&mut self, first_key: usize) -> Result<(), JsonError> {
        let text = self.text;
        let keys = &mut self.keys[first_key..];
        let twice = if keys.len() <= PAIRWISE_KEYS {
            keys.iter().enumerate().find_map(|(index, later)| {
                let same = keys[..index].iter().any(|earlier| compare(text, earlier, later).is_eq());
                same.then_some(later.at)
            })
        } else {
            keys.sort_unstable_by(|left, right| compare(text, left, right));
            keys.windows(2).find_map(|pair| match pair {
                [left, right] if compare(text, left, right).is_eq() => Some(left.at.max(right.at)),
                _ => None,
            })
        };
        self.keys.truncate(first_key);
        match twice {
            None => Ok(()),
            // At the quote before the key.
            Some(at) => Err(JsonError { rule: Rule::DuplicateKey, offset: at as usize - 1 }),
        }
    }

    /// Reads a string; the next byte is its opening quote.
    pub(super) fn string(&mut self) -> Result<Text, JsonError> {
        let open = self.at;
        let start = open + 1;
        let mut escaped = false;
        self.at = start;
        loop {
            self.at = skip_plain(self.text, self.at);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.wanted("an escape in place of a control character"),
                None => return self.wanted("the end of the string"),
            }
        }
        let range = start..self.at;
        self.at += 1;
        // A text has never more UTF-16 units than bytes, so most strings need no counting.
        let longest = self.limits.max_characters as usize;
        if range.len() > longest && utf16_length(&self.text[range.clone()]) > longest {
            return Err(JsonError { rule: Rule::Characters(self.limits.max_characters), offset: open });
        }
        Ok(Text { range, escaped })
    }

    /// Reads an escape; the next byte is its backslash.
    fn escape(&mut self) -> Result<(), JsonError> {
        match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let Some(unit) = hex_unit(self.text, self.at) else {
                    return self.wanted("an escape with four hexadecimal digits");
                };
                let low = hex_unit(self.text, self.at + 6).filter(|unit| (0xDC00..0xE000).contains(unit));
                self.at += match (unit, low) {
                    (0xD800..0xDC00, Some(_)) => 12,
                    (0xD800..0xE000, _) => return self.broken(Rule::LoneSurrogate),
                    _ => 6,
                };
                Ok(())
            }
            _ => self.wanted("an escape that JSON knows"),
        }
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        let mut exponent = false;
        if let Some(b'e' | b'E') = self.peek() {
            exponent = true;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        // 10^300 is finite, so only an exponent or many digits can be too much.
        if exponent || self.at - start > 300 {
            let number = std::str::from_utf8(&self.text[start..self.at]).ok().and_then(|text| text.parse::<f64>().ok());
            if !number.is_some_and(f64::is_finite) {
                return Err(JsonError { rule: Rule::Number, offset: start });
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { self.wanted("a digit") } else { Ok(()) }
    }

    fn literal(&mut self) -> Result<(), JsonError> {
        for literal in [&b"true"[..], b"false", b"null"] {
            if self.text[self.at..].starts_with(literal) {
                self.at += literal.len();
                return Ok(());
            }
        }
        self.wanted("a value")
    }

    pub(super) fn wanted<T>(&self, what: &'static str) -> Result<T, JsonError> {
        self.broken(Rule::Syntax(what))
    }

    pub(super) fn broken<T>(&self, rule: Rule) -> Result<T, JsonError> {
        Err(JsonError { rule, offset: self.at })
    }
}

/// Orders keys by what they mean, not by how they are escaped.
fn compare(text: &[u8], left: &Key, right: &Key) -> Ordering {
    let raw = |key: &Key| &text[key.at as usize..key.at as usize + key.len as usize];
    left.prefix.cmp(&right.prefix).then_with(|| {
        let (left, right) = (raw(left), raw(right));
        if left.contains(&b'\\') || right.contains(&b'\\') {
            Unescaped::new(left).cmp(Unescaped::new(right))
        } else {
            left.cmp(right)
        }
    })
}

fn prefix(bytes: impl Iterator<Item = u8>) -> u64 {
    let mut first = [0; 8];
    for (place, byte) in first.iter_mut().zip(bytes) {
        *place = byte;
    }
    u64::from_be_bytes(first)
}

/// The first position from `at` on whose byte is a quote, a backslash or a control character; the end if there is none.
fn skip_plain(text: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    // Eight bytes at once: the lowest high bit that comes out belongs to the first byte that is zero, or below a bound.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    while let Some(&chunk) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(chunk);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let special = zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\'))) | control;
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while text.get(at).is_some_and(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        at += 1;
    }
    at
}

/// The UTF-16 unit of `\uXXXX` at this place.
fn hex_unit(text: &[u8], at: usize) -> Option<u16> {
    let escape = text.get(at..at + 6)?;
    let digits = escape.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit * 16 + u16::try_from(char::from(digit).to_digit(16)?).ok()?))
}

/// Length of a checked string in UTF-16 code units.
fn utf16_length(raw: &[u8]) -> usize {
    let mut units = 0;
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        at += match (byte, raw.get(at + 1)) {
            (b'\\', Some(b'u')) => 6,
            (b'\\', _) => 2,
            _ => 1,
        };
        // Continuation bytes count nothing, the first byte of four counts both halves of a pair.
        units += usize::from(byte & 0xC0 != 0x80) + usize::from(byte >= 0xF0);
    }
    units
}

/// The bytes a checked string means.
pub(super) struct Unescaped<'t> {
    raw: &'t [u8],
    /// What is left of a character that was escaped.
    rest: std::array::IntoIter<u8, 4>,
    skip: usize,
}

impl<'t> Unescaped<'t> {
    pub(super) fn new(raw: &'t [u8]) -> Self {
        Self { raw, rest: [0; 4].into_iter(), skip: 4 }
    }

    /// Begins to hand out a character.
    fn character(&mut self, character: char) -> Option<u8> {
        let mut bytes = [0; 4];
        let len = character.encode_utf8(&mut bytes).len();
        // The bytes are kept at the end of the four, after what is to be skipped.
        bytes.rotate_right(4 - len);
        self.rest = bytes.into_iter();
        self.skip = 4 - len;
        self.next()
    }
}

impl Iterator for Unescaped<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if let Some(byte) = self.rest.nth(std::mem::take(&mut self.skip)) {
            return Some(byte);
        }
        let (&first, after) = self.raw.split_first()?;
        if first != b'\\' {
            self.raw = after;
            return Some(first);
        }
        let (&kind, after) = after.split_first()?;
        let plain = match kind {
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let unit = u32::from(hex_unit(self.raw, 0)?);
                let low = hex_unit(self.raw, 6).map(u32::from);
                let (character, len) = match (unit, low) {
                    (0xD800..0xDC00, Some(low @ 0xDC00..0xE000)) => {
                        (0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00), 12)
                    }
                    _ => (unit, 6),
                };
                self.raw = self.raw.get(len..)?;
                return self.character(char::from_u32(character)?);
            }
            other => other,
        };
        self.raw = after;
        Some(plain)
    }
}
