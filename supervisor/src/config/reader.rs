//! Walking a TOML document: every access checks one thing, and what is wrong is noted while the walk goes on.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::Key;
use super::problem::{Problem, Problems, perhaps, quoted};
use super::units;
use crate::domain::text;

/// Problems kept of one file or entry; what comes after is counted only.
const MOST_PROBLEMS: usize = 100;
/// Syntax errors kept: after the first ones the rest is mostly their consequence.
const MOST_SYNTAX_ERRORS: usize = 10;

/// A file with the places of its lines.
#[derive(Debug)]
pub(super) struct Document<'t> {
    pub(super) file: PathBuf,
    root: Spanned<DeTable<'t>>,
    /// Offsets at which lines begin.
    lines: Vec<usize>,
}

impl<'t> Document<'t> {
    /// Parses a file.
    pub(super) fn parse(file: &Path, text: &'t str) -> Result<Self, Problems> {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let (root, errors) = DeTable::parse_recoverable(text);
        let document = Self { file: file.to_owned(), root, lines };
        if errors.is_empty() {
            return Ok(document);
        }
        let problems = errors.iter().take(MOST_SYNTAX_ERRORS).map(|error| Problem {
            line: error.span().map(|span| document.line(span.start)),
            ..Problem::of_file(file, format!("is not TOML: {}", error.message()), "")
        });
        Err(Problems(problems.collect()))
    }

    /// The line, from 1, of an offset.
    fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|&start| start <= offset)
    }

    /// The outermost table.
    pub(super) fn root<'d>(&'d self, report: &'d Report<'d>) -> Table<'d> {
        Table { report, key: String::new(), span: 0..0, entries: self.root.get_ref(), hidden: false }
    }
}

/// Gathers what is wrong with a file or a part of it.
#[derive(Debug)]
pub(super) struct Report<'d> {
    document: &'d Document<'d>,
    problems: RefCell<Vec<Problem>>,
}

impl<'d> Report<'d> {
    pub(super) fn new(document: &'d Document<'d>) -> Self {
        Self { document, problems: RefCell::default() }
    }

    /// Problems so far.
    pub(super) fn count(&self) -> usize {
        self.problems.borrow().len()
    }

    /// Everything found, by line.
    pub(super) fn finish(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.line);
        if problems.len() > MOST_PROBLEMS {
            let further = problems.split_off(MOST_PROBLEMS).len();
            problems.push(Problem::of_file(&self.document.file, format!("has {further} further problems"), ""));
        }
        problems
    }

    fn add(&self, line: Option<usize>, key: &str, value: Option<String>, message: &str, right: &str) {
        let problem = Problem {
            file: self.document.file.clone(),
            line,
            key: key.to_owned(),
            value,
            message: message.to_owned(),
            right: right.to_owned(),
        };
        self.problems.borrow_mut().push(problem);
    }
}

/// A value and how it was reached.
#[derive(Debug, Clone)]
pub(super) struct Node<'d> {
    report: &'d Report<'d>,
    pub(super) key: String,
    span: Range<usize>,
    pub(super) value: &'d DeValue<'d>,
    hidden: bool,
}

/// A table and how it was reached.
#[derive(Debug, Clone)]
pub(super) struct Table<'d> {
    report: &'d Report<'d>,
    key: String,
    span: Range<usize>,
    entries: &'d DeTable<'d>,
    hidden: bool,
}

impl<'d> Table<'d> {
    /// Refuses keys that are not known.
    pub(super) fn refuse_unknown(&self, known: &[Key]) {
        let names: Vec<_> = known.iter().map(|key| key.name).collect();
        for key in self.entries.keys().filter(|key| !names.contains(&key.get_ref().as_ref())) {
            let line = self.report.document.line(key.span().start);
            let path = join(&self.key, key.get_ref());
            self.report.add(Some(line), &path, None, "is not a known key", &perhaps(key.get_ref(), &names));
        }
    }

    /// Misses the keys that are required.
    pub(super) fn require(&self, known: &[Key]) {
        for key in known.iter().filter(|key| key.required && !self.entries.contains_key(key.name)) {
            self.missing(key.name, &key.form.wanted());
        }
    }

    /// Notes that a key is missing.
    pub(super) fn missing(&self, name: &str, right: &str) {
        self.report.add(self.line(), &join(&self.key, name), None, "is missing", right);
    }

    /// Notes a problem of the table as a whole.
    pub(super) fn fail(&self, message: &str, right: &str) {
        self.report.add(self.line(), &self.key, None, message, right);
    }

    /// The line it begins at. `None`: it is the whole file.
    pub(super) fn line(&self) -> Option<usize> {
        (!self.key.is_empty()).then(|| self.report.document.line(self.span.start))
    }

    pub(super) fn get(&self, name: &str) -> Option<Node<'d>> {
        self.entries.get(name).map(|value| self.node(name, value))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Names and values, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'d str, Node<'d>)> {
        self.entries.iter().map(|(name, value)| (name.get_ref().as_ref(), self.node(name.get_ref(), value)))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn node(&self, name: &str, value: &'d Spanned<DeValue<'d>>) -> Node<'d> {
        Node {
            report: self.report,
            key: join(&self.key, name),
            span: value.span(),
            value: value.get_ref(),
            hidden: self.hidden,
        }
    }
}

impl<'d> Node<'d> {
    /// The same value, which problems do not show.
    pub(super) fn hidden(self) -> Self {
        Self { hidden: true, ..self }
    }

    /// The same value, whose problems are noted elsewhere.
    pub(super) fn reported_to(self, report: &'d Report<'d>) -> Self {
        Self { report, ..self }
    }

    pub(super) fn line(&self) -> usize {
        self.report.document.line(self.span.start)
    }

    /// Notes a problem of this value.
    pub(super) fn fail(&self, message: &str, right: &str) {
        let value = match (self.hidden, self.value) {
            (true, _) => None,
            (_, DeValue::String(text)) => Some(quoted(text)),
            (_, DeValue::Integer(number)) => Some(number.to_string()),
            (_, DeValue::Float(number)) => Some(number.to_string()),
            (_, DeValue::Boolean(flag)) => Some(flag.to_string()),
            (_, DeValue::Datetime(time)) => Some(time.to_string()),
            (_, DeValue::Array(_)) => Some("an array".to_owned()),
            (_, DeValue::Table(_)) => Some("a table".to_owned()),
        };
        self.report.add(Some(self.line()), &self.key, value, message, right);
    }

    /// A string.
    pub(super) fn string(&self) -> Option<&'d str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.fail("is not a string", "text in quotes");
        }
        text
    }

    /// A string of 1 to `longest` characters that can be shown as it is.
    pub(super) fn line_of_text(&self, longest: usize) -> Option<String> {
        let text = self.string()?;
        if text.trim().is_empty() {
            self.fail("is empty", &format!("1 to {longest} characters"));
        } else if text.chars().count() > longest {
            self.fail("is too long", &format!("at most {longest} characters"));
        } else if text.chars().any(text::is_deceptive) {
            self.fail("has a character that cannot be shown", "one line of text");
        } else {
            return Some(text.to_owned());
        }
        None
    }

    /// A string that is handed to the kernel, of at most `longest` bytes.
    pub(super) fn plain_bytes(&self, longest: usize) -> Option<String> {
        let text = self.string()?;
        if text.contains('\0') {
            self.fail("has a zero byte", "text without it");
        } else if text.len() > longest {
            self.fail("is too long", &format!("at most {longest} bytes"));
        } else {
            return Some(text.to_owned());
        }
        None
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        let flag = self.value.as_bool();
        if flag.is_none() {
            self.fail("is not a boolean", "true or false");
        }
        flag
    }

    /// A whole number in a range.
    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let right = || format!("a whole number from {} to {}", range.start(), range.end());
        let Some(number) = self.value.as_integer() else {
            self.fail("is not a whole number", &right());
            return None;
        };
        let number = u64::from_str_radix(number.as_str(), number.radix()).ok().filter(|number| range.contains(number));
        if number.is_none() {
            self.fail("is out of range", &right());
        }
        number
    }

    /// A whole number of 32 bits in a range.
    pub(super) fn count(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let range = u64::from(*range.start())..=u64::from(*range.end());
        self.integer(range).and_then(|number| u32::try_from(number).ok())
    }

    /// A length of time in a range.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let Some(duration) = self.value.as_str().and_then(units::duration) else {
            self.fail("is not a length of time", units::DURATION_FORM);
            return None;
        };
        if !range.contains(&duration) {
            let (least, most) = (units::show_duration(*range.start()), units::show_duration(*range.end()));
            self.fail("is out of range", &format!("{least} to {most}"));
            return None;
        }
        Some(duration)
    }

    /// A size in bytes in a range.
    pub(super) fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let Some(size) = self.value.as_str().and_then(units::size) else {
            self.fail("is not a size", units::SIZE_FORM);
            return None;
        };
        if !range.contains(&size) {
            let (least, most) = (units::show_size(*range.start()), units::show_size(*range.end()));
            self.fail("is out of range", &format!("{least} to {most}"));
            return None;
        }
        Some(size)
    }

    /// One of some words.
    pub(super) fn choice<T>(&self, what: &str, words: &[&str], from_name: impl Fn(&str) -> Option<T>) -> Option<T> {
        let chosen = self.value.as_str().and_then(from_name);
        if chosen.is_none() {
            self.fail(&format!("is not {what}"), &format!("one of {}", words.join(", ")));
        }
        chosen
    }

    /// The elements of an array of at most `most`.
    pub(super) fn list(&self, most: usize) -> Option<Vec<Self>> {
        let Some(items) = self.value.as_array() else {
            self.fail("is not an array", "values in [ ]");
            return None;
        };
        if items.len() > most {
            self.fail(&format!("has {} elements", items.len()), &format!("at most {most}"));
            return None;
        }
        let node = |(index, item): (usize, &'d Spanned<DeValue<'d>>)| Self {
            report: self.report,
            key: format!("{}[{index}]", self.key),
            span: item.span(),
            value: item.get_ref(),
            hidden: self.hidden,
        };
        Some(items.iter().enumerate().map(node).collect())
    }

    /// The elements of an array of at most `most`, each read by `read`, none twice. What is wrong is left out.
    pub(super) fn set<T: Ord>(&self, most: usize, read: impl Fn(&Self) -> Option<T>) -> BTreeSet<T> {
        let mut set = BTreeSet::new();
        for item in self.list(most).unwrap_or_default() {
            if read(&item).is_some_and(|element| !set.insert(element)) {
                item.fail("is there twice", "each once");
            }
        }
        set
    }

    /// A table, whatever its keys.
    pub(super) fn any_table(&self) -> Option<Table<'d>> {
        let Some(entries) = self.value.as_table() else {
            self.fail("is not a table", "keys and values in { }");
            return None;
        };
        let (report, key, span) = (self.report, self.key.clone(), self.span.clone());
        Some(Table { report, key, span, entries, hidden: self.hidden })
    }

    /// A table with these keys.
    pub(super) fn table(&self, known: &[Key]) -> Option<Table<'d>> {
        let table = self.any_table()?;
        table.refuse_unknown(known);
        table.require(known);
        Some(table)
    }
}

/// The path to a key. Keys that are not bare are put in quotes, as in TOML.
fn join(path: &str, name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    let name = if bare && name.len() <= 80 { name.to_owned() } else { quoted(&text::escape(name)) };
    if path.is_empty() { name } else { format!("{path}.{name}") }
}
