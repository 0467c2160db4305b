//! Bounds of the texts that are kept. Most of them come from a plugin.

/// Stands where something was cut.
const CUT: &str = "…";

/// At most `bytes` bytes of a text, the mark of the cut included. A NUL, at which the `sqlite3` shell would stop, becomes
/// a replacement character.
pub(super) fn bounded(mut text: String, bytes: usize) -> String {
    if text.contains('\0') {
        text = text.replace('\0', "\u{fffd}");
    }
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes.saturating_sub(CUT.len())));
        text.push_str(CUT);
    }
    text
}

/// The first lines that fit into `bytes` bytes of JSON.
pub(super) fn first_lines(lines: Vec<String>, bytes: usize) -> Vec<String> {
    let mut kept = Vec::new();
    let mut left = bytes;
    let total = lines.len();
    for line in lines {
        let line = bounded(line, LINE);
        let Some(rest) = left.checked_sub(written(&line)) else { break };
        left = rest;
        kept.push(line);
    }
    if kept.len() < total {
        kept.push(format!("{CUT} ({} more lines)", total - kept.len()));
    }
    kept
}

/// The last lines that fit into `bytes` bytes of JSON.
pub(super) fn last_lines(lines: Vec<String>, bytes: usize) -> Vec<String> {
    let mut kept = Vec::new();
    let mut left = bytes;
    for line in lines.into_iter().rev() {
        let line = bounded(line, LINE);
        let Some(rest) = left.checked_sub(written(&line)) else { break };
        left = rest;
        kept.push(line);
    }
    kept.reverse();
    kept
}

/// Length of a line in a JSON list, with its quotes and comma.
fn written(line: &str) -> usize {
    let escaped = |char: char| match char {
        '"' | '\\' => 2,
        '\0'..='\x1f' => 6,
        _ => char.len_utf8(),
    };
    line.chars().map(escaped).sum::<usize>() + 3
}

/// Longest line, bytes: as long as a line of a plugin's log may be.
const LINE: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_a_character() {
        assert_eq!(bounded("abc".into(), 3), "abc");
        assert_eq!(bounded("abcd".into(), 3), "…");
        assert_eq!(bounded("ääää".into(), 7), "ää…");
        assert_eq!(bounded("ääää".into(), 6), "ä…");
        assert_eq!(bounded("a\0b".into(), 8), "a\u{fffd}b");
        assert_eq!(bounded("\0".repeat(100), 9).len(), 9);
    }

    #[test]
    fn lines_are_kept_from_the_asked_end() {
        let lines: Vec<_> = (0..10).map(|number| format!("line {number}")).collect();
        assert_eq!(first_lines(lines.clone(), 19), ["line 0", "line 1", "… (8 more lines)"]);
        assert_eq!(last_lines(lines.clone(), 26), ["line 8", "line 9"]);
        assert_eq!(first_lines(lines.clone(), 90), lines);
        assert_eq!(last_lines(lines.clone(), 90), lines);
        assert_eq!(last_lines(vec!["x".repeat(1 << 20)], 1 << 16)[0].len(), LINE);
        assert_eq!(last_lines(vec![String::new(); 1_000], 30).len(), 10);
    }

    #[test]
    fn what_is_written_fits() {
        for text in ["\u{1}\"\\\t\u{7f}", "plain", "ä\u{2028}\n", ""] {
            let lines = vec![text.repeat(400); 500];
            for kept in [first_lines(lines.clone(), 40_000), last_lines(lines.clone(), 40_000)] {
                let length = serde_json::Value::from(kept).to_string().len();
                assert!(length <= 40_000 + 40, "{length} bytes of {text:?}");
            }
        }
    }
}
