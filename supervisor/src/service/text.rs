//! Texts that come from plugins and runtimes: bounds in UTF-16 units, and what must never reach a terminal raw.

/// Length in characters as the contract counts them: UTF-16 code units.
pub(crate) fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// Control characters but space, and characters that change the direction of text.
pub(crate) fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text in one line: what must not reach a terminal becomes a space, and it is cut at `max` units.
pub(crate) fn clean(text: &str, max: usize) -> String {
    let mut cleaned = String::new();
    let mut units = 0;
    for character in text.trim().chars() {
        units += character.len_utf16();
        if units > max {
            break;
        }
        cleaned.push(if is_unsafe(character) { ' ' } else { character });
    }
    cleaned
}

/// An id of a handler, namespace, job or the like: 1 to 128 characters, trimmed, no control characters.
pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty() && text == text.trim() && units(text) <= 128 && !text.chars().any(is_unsafe)
}

/// Names by which runtimes knew tools before they became canonical: an id of a tool is never one of them.
const TOOL_ALIASES: &[&str] = &["bash", "exec_command", "apply-patch", "agent"];

/// A canonical tool id: lower-case, no wildcard, no alias, at most 128 characters.
pub(crate) fn is_tool(text: &str) -> bool {
    let shape = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.' | b':' | b'/')
    };
    !text.is_empty() && text.len() <= 128 && text.bytes().all(shape) && !TOOL_ALIASES.contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaned_text_is_one_harmless_line() {
        assert_eq!(clean(" a\nb\u{1b}[31m\u{202e}c ", 100), "a b [31m c");
        assert_eq!(clean("𝄞𝄞𝄞", 4), "𝄞𝄞");
    }

    #[test]
    fn tool_ids_are_canonical() {
        for good in ["exec", "read", "memory_search", "mcp.server/tool"] {
            assert!(is_tool(good), "{good}");
        }
        for bad in ["", "Exec", "exec*", "bash", "apply-patch", "a b"] {
            assert!(!is_tool(bad), "{bad}");
        }
    }
}
