//! What a tool answered: typed, and within its bounds.

use bytes::Bytes;
use outrigger_proto::types::v1 as types;
use outrigger_proto::types::v1::tool_content::{Image, Part};

use crate::config::schema::Schema;
use crate::domain::json::{self, ValueLimits};
use crate::domain::text;

/// Parts of an answer.
const MAX_PARTS: usize = 32;
/// Characters of a text.
const MAX_TEXT: usize = 262_144;
/// Bytes of a picture.
const MAX_IMAGE: usize = 786_432;

/// Checks an answer; takes time in proportion to its size.
///
/// # Errors
/// What is wrong with it, for the author.
pub(super) fn check(result: &types::ToolResult, output: Option<&Schema>) -> Result<(), String> {
    if result.content.len() > MAX_PARTS {
        return Err(format!("it has {} parts, at most {MAX_PARTS}", result.content.len()));
    }
    for (index, content) in result.content.iter().enumerate() {
        check_part(content).map_err(|why| format!("part {index} {why}"))?;
    }
    if !result.structured_json.is_empty() {
        check_value(&result.structured_json).map_err(|why| format!("structured_json {why}"))?;
    }
    match output {
        Some(schema) if !result.is_error => check_output(&result.structured_json, schema),
        _ => Ok(()),
    }
}

fn check_part(content: &types::ToolContent) -> Result<(), String> {
    match &content.part {
        None => Err("is of no kind that this supervisor knows".to_owned()),
        Some(Part::Text(said)) if text::units(said) > MAX_TEXT => {
            Err(format!("is a text of {} characters, at most {MAX_TEXT}", text::units(said)))
        }
        Some(Part::Text(_)) => Ok(()),
        Some(Part::ValueJson(value)) => check_value(value),
        Some(Part::Image(image)) => check_image(image),
        Some(Part::File(_)) => {
            Err("is a file, and this supervisor takes no uploads yet: send text, JSON or a picture".to_owned())
        }
    }
}

fn check_value(value: &Bytes) -> Result<(), String> {
    json::validate_value(value, &ValueLimits::default())
        .map_err(|error| format!("is no JSON value, byte {}: {}", error.offset, error.rule))
}

fn check_image(image: &Image) -> Result<(), String> {
    if !(1..=MAX_IMAGE).contains(&image.data.len()) {
        return Err(format!("is a picture of {} bytes, wants 1 to {MAX_IMAGE}", image.data.len()));
    }
    let data = &image.data;
    let agrees = match image.media_type.as_str() {
        "image/png" => data.starts_with(b"\x89PNG\r\n\x1a\n"),
        "image/jpeg" => data.starts_with(b"\xff\xd8\xff"),
        "image/gif" => data.starts_with(b"GIF87a") || data.starts_with(b"GIF89a"),
        "image/webp" => data.starts_with(b"RIFF") && data.get(8..12) == Some(b"WEBP"),
        _ => return Err("is a picture that is neither PNG nor JPEG, GIF or WebP by its media type".to_owned()),
    };
    if agrees { Ok(()) } else { Err(format!("says that it is {}, and its first bytes do not", image.media_type)) }
}

fn check_output(structured: &Bytes, schema: &Schema) -> Result<(), String> {
    if structured.is_empty() {
        return Err("structured_json is missing, for which the tool has a schema".to_owned());
    }
    let value: serde_json::Value =
        serde_json::from_slice(structured).map_err(|error| format!("structured_json cannot be read: {error}"))?;
    match schema.mismatches(&value).first() {
        Some(mismatch) => Err(format!("structured_json does not satisfy the tool's schema: {mismatch}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: Vec<Part>) -> types::ToolResult {
        let content = parts.into_iter().map(|part| types::ToolContent { part: Some(part) }).collect();
        types::ToolResult { content, ..Default::default() }
    }

    fn image(length: usize, media_type: &str) -> Part {
        let mut data = b"\x89PNG\r\n\x1a\n".to_vec();
        data.resize(length, 0);
        Part::Image(Image { data: data.into(), media_type: media_type.to_owned() })
    }

    #[test]
    fn bounds_hold_at_the_bound() {
        let good = |result: types::ToolResult| assert_eq!(check(&result, None), Ok(()));
        let bad = |result: types::ToolResult| assert!(check(&result, None).is_err());
        let text = |length: usize| Part::Text("a".repeat(length));
        good(of(vec![]));
        good(of(vec![text(0)]));
        good(of(vec![text(MAX_TEXT)]));
        bad(of(vec![text(MAX_TEXT + 1)]));
        good(of(vec![text(1); MAX_PARTS]));
        bad(of(vec![text(1); MAX_PARTS + 1]));
        good(of(vec![image(MAX_IMAGE, "image/png")]));
        bad(of(vec![image(MAX_IMAGE + 1, "image/png")]));
        bad(of(vec![image(100, "image/jpeg")]));
        bad(of(vec![image(100, "image/svg+xml")]));
        bad(of(vec![Part::Image(Image { media_type: "image/png".to_owned(), ..Default::default() })]));
        good(of(vec![Part::ValueJson(Bytes::from_static(b"1"))]));
        bad(of(vec![Part::ValueJson(Bytes::new())]));
        bad(of(vec![Part::ValueJson(Bytes::from_static(b"{"))]));
        bad(types::ToolResult { content: vec![types::ToolContent { part: None }], ..Default::default() });
        bad(of(vec![Part::File(types::tool_content::File { upload_id: "u".to_owned(), ..Default::default() })]));
    }

    #[test]
    fn structured_answers_satisfy_the_schema_unless_they_are_errors() {
        let schema = Schema::compile(br#"{"type":"object","required":["n"]}"#).expect("a schema");
        let of = |structured: &'static str, is_error| types::ToolResult {
            structured_json: Bytes::from_static(structured.as_bytes()),
            is_error,
            content: Vec::new(),
        };
        assert_eq!(check(&of(r#"{"n":1}"#, false), Some(&schema)), Ok(()));
        assert!(check(&of("{}", false), Some(&schema)).is_err());
        assert!(check(&of("", false), Some(&schema)).is_err());
        assert_eq!(check(&of("{}", true), Some(&schema)), Ok(()));
        assert_eq!(check(&of("", true), Some(&schema)), Ok(()));
        assert!(check(&of("{", true), Some(&schema)).is_err());
    }
}
