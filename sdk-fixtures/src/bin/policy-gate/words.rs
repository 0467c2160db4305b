//! The words of a program call: which program really runs, and how.

/// A program that runs another one.
struct Wrapper {
    name: &'static str,
    /// How many of its own arguments are no options.
    own: usize,
    /// Its short options that take a word of their own.
    with_value: &'static str,
}

const fn wrapper(name: &'static str, own: usize, with_value: &'static str) -> Wrapper {
    Wrapper { name, own, with_value }
}

const WRAPPERS: [Wrapper; 15] = [
    wrapper("sudo", 0, "ugCDhpRrtTU"),
    wrapper("doas", 0, "uC"),
    wrapper("env", 0, "uCS"),
    wrapper("nohup", 0, ""),
    wrapper("time", 0, "fo"),
    wrapper("nice", 0, "n"),
    wrapper("ionice", 0, "cnpPu"),
    wrapper("exec", 0, "a"),
    wrapper("command", 0, ""),
    wrapper("builtin", 0, ""),
    wrapper("setsid", 0, ""),
    wrapper("stdbuf", 0, "ioe"),
    wrapper("xargs", 0, "adEILnPs"),
    wrapper("parallel", 0, "adIjLnNPS"),
    wrapper("timeout", 1, "ks"),
];
/// Long options of those that take a word of their own.
const LONG_WITH_VALUE: [&str; 22] = [
    "--user",
    "--group",
    "--chdir",
    "--unset",
    "--split-string",
    "--signal",
    "--kill-after",
    "--adjustment",
    "--class",
    "--classdata",
    "--max-args",
    "--max-procs",
    "--max-chars",
    "--delimiter",
    "--arg-file",
    "--jobs",
    "--host",
    "--prompt",
    "--input",
    "--output",
    "--error",
    "--format",
];
/// Words of the shell's grammar before a command.
const KEYWORDS: [&str; 10] = ["!", "{", "if", "then", "else", "elif", "do", "while", "until", "function"];

/// A program call without `sudo`, `env X=1`, `timeout 5` and the shell's keywords before it.
#[derive(Default)]
pub(crate) struct Effective<'a> {
    /// The program and its arguments.
    pub(crate) words: &'a [String],
    /// The directory an option names that it runs in.
    pub(crate) directory: Option<&'a str>,
    /// More arguments come from what it reads, or from a file.
    pub(crate) fed: bool,
    /// They come from a file.
    pub(crate) from_file: bool,
    /// A command line in one word, before the words.
    pub(crate) line: Option<&'a str>,
}

impl Effective<'_> {
    /// The program's name. Empty: there is none.
    pub(crate) fn program(&self) -> &str {
        self.words.first().map(|word| base(word)).unwrap_or_default()
    }
}

/// Takes off what only runs another program.
pub(crate) fn effective(mut words: &[String]) -> Effective<'_> {
    let mut found = Effective::default();
    while let Some((first, rest)) = words.split_first() {
        let is_assignment =
            first.split_once('=').is_some_and(|(name, _)| !name.is_empty() && name.chars().all(is_name));
        let wrapper = WRAPPERS.iter().find(|wrapper| wrapper.name == base(first));
        if is_assignment || is(&KEYWORDS, first) {
            words = rest;
        } else if let Some(wrapper) = wrapper {
            found.fed |= matches!(wrapper.name, "xargs" | "parallel");
            words = rest;
            while let Some((option, rest)) = words.split_first().filter(|(word, _)| word.starts_with('-')) {
                words = rest;
                if option == "--" {
                    break;
                }
                let (name, value) = split_option(option, wrapper.with_value);
                let value = match value {
                    Value::None => continue,
                    Value::Attached(value) => value,
                    Value::Next => {
                        let Some((value, rest)) = words.split_first() else { continue };
                        words = rest;
                        value
                    }
                };
                match (wrapper.name, name) {
                    ("env", "C") | ("sudo", "D") | (_, "--chdir") => found.directory = Some(value),
                    ("env", "S" | "--split-string") => found.line = Some(value),
                    ("xargs" | "parallel", "a" | "--arg-file") => found.from_file = true,
                    _ => {}
                }
            }
            words = words.get(wrapper.own..).unwrap_or_default();
        } else {
            break;
        }
    }
    found.words = words;
    found
}

enum Value<'a> {
    None,
    Attached(&'a str),
    Next,
}

/// An option's name, for a short one its letter, and where its value is.
fn split_option<'a>(option: &'a str, with_value: &str) -> (&'a str, Value<'a>) {
    if option.starts_with("--") {
        return match option.split_once('=') {
            Some((name, value)) => (name, Value::Attached(value)),
            None if is(&LONG_WITH_VALUE, option) => (option, Value::Next),
            None => (option, Value::None),
        };
    }
    // Of letters in one word the first that takes a value takes the rest, or else the next word.
    let found = option.char_indices().skip(1).find(|(_, letter)| with_value.contains(*letter));
    let Some((at, letter)) = found else { return (option, Value::None) };
    let (name, rest) = option[at..].split_at(letter.len_utf8());
    (name, if rest.is_empty() { Value::Next } else { Value::Attached(rest) })
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// A program's name without its directory.
pub(crate) fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or_default()
}

pub(crate) fn is(list: &[&str], word: &str) -> bool {
    list.contains(&word)
}
