//! Texts that come from outside: bounds in UTF-16 units, and what must never reach a terminal raw.

/// Length in characters as the contract counts them: UTF-16 code units.
#[must_use]
pub fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// Control characters but space, and characters that change the direction of text: no text of ours needs them.
#[must_use]
pub fn is_unsafe(character: char) -> bool {
    // Bidirectional marks, embeddings and isolates; line and paragraph separators stand between them.
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Those, and characters that are invisible or that some terminals break lines at: people have a use for them (a soft
/// hyphen, the joiners of an emoji), so they stay in what is passed on, and are escaped where somebody reads.
#[must_use]
pub fn is_deceptive(character: char) -> bool {
    is_unsafe(character)
        || matches!(character,
            '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with everything deceptive as `\u{…}`: on one line, and nothing hidden. Longer than it was, but not shorter.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if is_deceptive(character) {
            escaped.extend(character.escape_unicode());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// The text in one line: what must not reach a terminal becomes a space, and it is cut at `max` units.
#[must_use]
pub fn clean(text: &str, max: usize) -> String {
    replace(text, max, is_unsafe)
}

/// The same for a text of several lines: line feeds and tabs stay.
#[must_use]
pub fn clean_lines(text: &str, max: usize) -> String {
    replace(text, max, |character| is_unsafe(character) && !matches!(character, '\n' | '\t'))
}

fn replace(text: &str, max: usize, unwanted: impl Fn(char) -> bool) -> String {
    let mut cleaned = String::new();
    let mut units = 0;
    // What becomes a space is none of the text's ends either, so that nothing is left of a text of such alone.
    let text = text.trim_matches(|character: char| character.is_whitespace() || unwanted(character));
    for character in text.chars() {
        units += character.len_utf16();
        if units > max {
            break;
        }
        cleaned.push(if unwanted(character) { ' ' } else { character });
    }
    cleaned
}

/// An id of a handler, namespace, job or the like: 1 to 128 characters, trimmed, no control characters.
#[must_use]
pub fn is_id(text: &str) -> bool {
    !text.is_empty() && text == text.trim() && units(text) <= 128 && !text.chars().any(is_unsafe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaned_text_is_one_harmless_line() {
        assert_eq!(clean(" a\nb\u{1b}[31m\u{202e}c ", 100), "a b [31m c");
        assert_eq!(clean("𝄞𝄞𝄞", 4), "𝄞𝄞");
        assert_eq!((clean(" \u{1b}\n\u{202e} ", 100), clean("\u{1b} a\u{7f}", 100)), (String::new(), "a".to_owned()));
        assert_eq!(escape("a\n\u{202e}b\u{200d}c\u{ad}d\u{e0041}"), "a\\u{a}\\u{202e}b\\u{200d}c\\u{ad}d\\u{e0041}");
        assert_eq!((clean("a\u{200d}b", 9), escape("é ✓")), ("a\u{200d}b".to_owned(), "é ✓".to_owned()));
        assert_eq!(clean_lines(" a\r\n\tb\u{1b}\u{202e}c ", 100), "a \n\tb  c");
    }
}
