//! JSON output: a document of several lines for one answer, one line each for what follows.
//!
//! Characters that could steer a terminal are written as `\uXXXX`, which is the same JSON to a program.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

use crate::domain::text::is_deceptive;

/// The value as one document, indented, without a line break at its end.
pub(crate) fn document<T: Serialize>(value: &T) -> String {
    write(value, Harmless(PrettyFormatter::new()))
}

/// The value as one line, without a line break at its end.
pub(crate) fn line<T: Serialize>(value: &T) -> String {
    write(value, Harmless(CompactFormatter))
}

fn write<T: Serialize, F: Formatter>(value: &T, formatter: F) -> String {
    let mut text = Vec::with_capacity(256);
    let mut serializer = Serializer::with_formatter(&mut text, formatter);
    value
        .serialize(&mut serializer)
        .expect("views have string keys and no failing parts, and memory takes every write");
    String::from_utf8(text).expect("the formatter passes UTF-8 on as it came")
}

/// Escapes what [`is_deceptive`] names; all else as the formatter inside does it.
struct Harmless<F>(F);

impl<F: Formatter> Formatter for Harmless<F> {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, character)) = rest.char_indices().find(|(_, character)| is_deceptive(*character)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + character.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_harmless_and_says_the_same() {
        let text = "a\x1b[0m\u{202e}b\u{9b}\u{e0041}\"c\n";
        let written = line(&serde_json::json!({ "text": text }));
        assert_eq!(written, r#"{"text":"a\u001b[0m\u202eb\u009b\udb40\udc41\"c\n"}"#);
        let back: serde_json::Value = serde_json::from_str(&written).expect("it is JSON");
        assert_eq!(back["text"], text);
        assert_eq!(document(&serde_json::json!({ "a": [] })), "{\n  \"a\": []\n}");
    }
}
