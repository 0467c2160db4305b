//! What is wrong with a file, in words that lead to the place and to what would be right.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::domain::text;

/// Longest value shown, in characters.
const SHOWN: usize = 80;

/// One thing that is wrong. Its display is one line: `FILE:LINE: KEY: VALUE MESSAGE; RIGHT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1. `None`: the file as a whole.
    pub line: Option<usize>,
    /// The key, with all that leads to it, as `plugin[0].tier`. Empty: no key.
    pub key: String,
    /// The value as the file has it. `None`: there is none, or it is not for showing.
    pub value: Option<String>,
    /// What is wrong with it, to follow the value.
    pub message: String,
    /// What would be right. Empty: the message says it.
    pub right: String,
}

impl Problem {
    /// A problem of a file as a whole.
    pub(super) fn of_file(file: &Path, message: impl Into<String>, right: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            key: String::new(),
            value: None,
            message: message.into(),
            right: right.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.to_string_lossy();
        let mut line = file.into_owned();
        if let Some(number) = self.line {
            line += &format!(":{number}");
        }
        line += ": ";
        if !self.key.is_empty() {
            line += &self.key;
            line += ": ";
        }
        if let Some(value) = &self.value {
            line += value;
            line += " ";
        }
        line += &self.message;
        if !self.right.is_empty() {
            line += "; ";
            line += &self.right;
        }
        f.write_str(&text::escape(&line))
    }
}

/// All that is wrong: not empty, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A string as a problem shows it: in quotes, and cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN).collect();
    let dots = if cut.len() < text.len() { "…" } else { "" };
    format!("\"{cut}{dots}\"")
}

/// What would be right in place of a name that is not known: the one that was probably meant, else all there are.
pub(super) fn perhaps(written: &str, candidates: &[&str]) -> String {
    match nearest(written, candidates.iter().copied()) {
        Some(near) => format!("perhaps `{near}`"),
        None if candidates.is_empty() => "leave it out".to_owned(),
        None => format!("one of {}", candidates.join(", ")),
    }
}

/// The candidate nearest to what somebody wrote, if any is near enough to have been meant.
fn nearest<'c>(written: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let written: Vec<char> = written.to_lowercase().chars().take(SHOWN).collect();
    candidates
        .into_iter()
        .map(|candidate| {
            let candidate_chars: Vec<char> = candidate.chars().collect();
            let begun = written.len() > 2 && candidate_chars.starts_with(&written);
            (if begun { 1 } else { distance(&written, &candidate_chars) }, candidate)
        })
        .filter(|(distance, candidate)| *distance <= candidate.len().max(written.len()) / 3 + 1)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Least number of characters to insert, delete or replace (Levenshtein), two swapped neighbours counting as one.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut rows = vec![(0..=right.len()).collect::<Vec<_>>()];
    for (i, l) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, r) in right.iter().enumerate() {
            let mut least = (rows[i][j] + usize::from(l != r)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && left[i - 1] == *r && *l == right[j - 1] {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line() {
        let mut problem = Problem {
            file: "outrigger.toml".into(),
            line: Some(12),
            key: "plugin[0].tier".to_owned(),
            value: Some(quoted("comunity")),
            message: "is not a tier".to_owned(),
            right: "one of bundled, trusted, community, workspace".to_owned(),
        };
        assert_eq!(
            problem.to_string(),
            "outrigger.toml:12: plugin[0].tier: \"comunity\" is not a tier; one of bundled, trusted, community, workspace"
        );
        problem.value = Some(quoted("a\nb\u{1b}[2J\u{202e}"));
        problem.line = None;
        problem.right.clear();
        assert_eq!(
            problem.to_string(),
            "outrigger.toml: plugin[0].tier: \"a\\u{a}b\\u{1b}[2J\\u{202e}\" is not a tier"
        );
        problem.value = Some(quoted(&"é".repeat(100)));
        assert!(problem.to_string().contains(&format!("\"{}…\"", "é".repeat(80))));
    }

    #[test]
    fn what_is_meant_is_near() {
        let keys = ["version", "command", "config_schema", "secrets", "id"];
        assert_eq!(nearest("verison", keys), Some("version"));
        assert_eq!(nearest("Comand", keys), Some("command"));
        assert_eq!(nearest("config-schema", keys), Some("config_schema"));
        assert_eq!(nearest("secret", keys), Some("secrets"));
        assert_eq!(nearest("before_tool", ["before_reset", "before_tool_call"]), Some("before_tool_call"));
        assert_eq!(nearest("homepage", keys), None);
        assert_eq!(nearest("", []), None);
    }
}
