//! What counts as dangerous, and the operator's own rules.
//!
//! A guard against accidents and clumsy tricks, not a sandbox: a program can still do what its name does not tell.

use crate::shell::{Simple, parse};

/// Longest command that is looked through, in bytes. A longer one is blocked.
const MOST_COMMAND: usize = 64 * 1024;
/// Scripts within scripts that are looked through. What is deeper is blocked.
const MOST_DEPTH: usize = 8;

/// Programs that run another one, with the number of their own arguments that are no options.
const WRAPPERS: [(&str, usize); 14] = [
    ("sudo", 0),
    ("doas", 0),
    ("env", 0),
    ("nohup", 0),
    ("time", 0),
    ("nice", 0),
    ("ionice", 0),
    ("exec", 0),
    ("command", 0),
    ("builtin", 0),
    ("setsid", 0),
    ("stdbuf", 0),
    ("xargs", 0),
    ("timeout", 1),
];
/// Options of those that take a word of their own.
const WITH_VALUE: [&str; 8] = ["-u", "-g", "-n", "-c", "-I", "-s", "-k", "-S"];
/// Words of the shell's grammar before a command.
const KEYWORDS: [&str; 10] = ["!", "{", "if", "then", "else", "elif", "do", "while", "until", "function"];
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "zsh", "ksh", "ash"];
const INTERPRETERS: [&str; 7] = ["python", "python3", "perl", "ruby", "node", "php", "eval"];
const FETCHERS: [&str; 4] = ["curl", "wget", "fetch", "aria2c"];
/// Directories whose loss is the loss of the system, besides `/` and homes.
const SYSTEM: [&str; 13] =
    ["bin", "boot", "dev", "etc", "home", "lib", "lib64", "opt", "proc", "root", "sbin", "usr", "var"];
/// Devices that take anything and lose nothing.
const HARMLESS: [&str; 7] = ["null", "zero", "full", "stdout", "stderr", "tty", "fd"];

/// The operator's rules. A pattern is for one whole program call, words parted by one space; `*` is any text.
pub(crate) struct Rules {
    pub(crate) deny: Vec<String>,
    pub(crate) allow: Vec<String>,
}

impl Rules {
    /// Why a command line must not run; `None` if nothing speaks against it.
    pub(crate) fn check(&self, line: &str) -> Option<String> {
        if line.len() > MOST_COMMAND {
            return Some(format!("the command is longer than the {MOST_COMMAND} bytes that are looked through"));
        }
        self.script(line, 0)
    }

    /// The same for a program with its arguments, of which no shell makes anything else.
    pub(crate) fn check_words(&self, words: &[String]) -> Option<String> {
        let simple = Simple { words: words.to_vec(), ..Simple::default() };
        self.call(&simple, 0)
    }

    fn script(&self, script: &str, depth: usize) -> Option<String> {
        if depth > MOST_DEPTH {
            return Some("the command is nested too deeply to be looked through".to_owned());
        }
        if is_fork_bomb(script) {
            return Some("a fork bomb".to_owned());
        }
        let mut fetched = false;
        for simple in parse(script) {
            let program = effective(&simple.words).first().map(|word| base(word)).unwrap_or_default();
            fetched &= simple.piped;
            let fetches = |script: &String| {
                parse(script).iter().any(|call| effective(&call.words).first().is_some_and(|w| is(&FETCHERS, base(w))))
            };
            let runs = is(&SHELLS, program) || is(&INTERPRETERS, program) || matches!(program, "source" | ".");
            if runs && (fetched || simple.nested.iter().any(fetches)) {
                return Some(format!("`{program}` would run what was just downloaded"));
            }
            fetched |= is(&FETCHERS, program);
            if let Some(reason) = self.call(&simple, depth) {
                return Some(reason);
            }
        }
        None
    }

    fn call(&self, simple: &Simple, depth: usize) -> Option<String> {
        if let Some(reason) = simple.nested.iter().find_map(|script| self.script(script, depth + 1)) {
            return Some(reason);
        }
        let words = effective(&simple.words);
        let texts = [simple.words.join(" "), words.join(" ")];
        let matches = |pattern: &&String| texts.iter().any(|text| glob(pattern.trim(), text));
        if let Some(pattern) = self.deny.iter().find(matches) {
            return Some(format!("the operator denies `{pattern}`"));
        }
        if self.allow.iter().any(|pattern| matches(&pattern)) {
            return None;
        }
        if let Some(device) = simple.outputs.iter().find(|path| is_device(path)) {
            return Some(format!("it would write over the device `{device}`"));
        }
        let (program, arguments) = words.split_first()?;
        let program = base(program);
        if is(&SHELLS, program) {
            let script = arguments.iter().position(|word| is_short(word, 'c')).and_then(|at| arguments.get(at + 1));
            return script.and_then(|script| self.script(script, depth + 1));
        }
        if program == "eval" {
            return self.script(&arguments.join(" "), depth + 1);
        }
        harm(program, arguments)
    }
}

/// What a program would do to the system with these arguments.
fn harm(program: &str, arguments: &[String]) -> Option<String> {
    let long = |name: &str| arguments.iter().any(|word| word == name);
    let recursive = long("--recursive") || arguments.iter().any(|word| is_short(word, 'r') || is_short(word, 'R'));
    let target = arguments.iter().find(|word| !word.starts_with('-') && is_precious(word));
    match (program, target) {
        ("rm", _) if long("--no-preserve-root") => Some("`rm` is told not to spare `/`".to_owned()),
        ("rm", Some(target)) if recursive => Some(format!("`rm` would delete all of `{target}`")),
        ("find", Some(target)) if long("-delete") || long("rm") => {
            Some(format!("`find` would delete all of `{target}`"))
        }
        ("chmod", Some(target)) if recursive && arguments.iter().any(|word| opens_to_all(word)) => {
            Some(format!("`chmod` would open all of `{target}` to everyone"))
        }
        ("chown", Some(target)) if recursive => Some(format!("`chown` would give away all of `{target}`")),
        ("dd", _) => {
            let device = arguments.iter().filter_map(|word| word.strip_prefix("of=")).find(|path| is_device(path))?;
            Some(format!("`dd` would write over the device `{device}`"))
        }
        ("shred" | "wipefs" | "blkdiscard" | "tee" | "cp", _) => {
            let device = arguments.iter().find(|word| is_device(word))?;
            (program != "cp" || arguments.last() == Some(device))
                .then(|| format!("`{program}` would write over the device `{device}`"))
        }
        _ if program == "mkfs" || program.starts_with("mkfs.") || program == "mke2fs" => {
            Some(format!("`{program}` would make a new file system over what is there"))
        }
        _ => None,
    }
}

/// The program call within `sudo`, `env X=1`, `timeout 5` and the shell's keywords.
fn effective(mut words: &[String]) -> &[String] {
    while let Some((first, rest)) = words.split_first() {
        let is_assignment =
            first.split_once('=').is_some_and(|(name, _)| !name.is_empty() && name.chars().all(is_name));
        let wrapper = WRAPPERS.iter().find(|(name, _)| *name == base(first));
        if is_assignment || is(&KEYWORDS, first) {
            words = rest;
        } else if let Some((_, own)) = wrapper {
            words = rest;
            while let Some((option, rest)) = words.split_first().filter(|(word, _)| word.starts_with('-')) {
                let skipped = usize::from(is(&WITH_VALUE, option));
                words = rest.get(skipped..).unwrap_or_default();
            }
            words = words.get(*own..).unwrap_or_default();
        } else {
            break;
        }
    }
    words
}

/// A path whose loss is the loss of the system or of someone's home. Patterns count as what they can stand for.
fn is_precious(path: &str) -> bool {
    let home = ["~", "$HOME", "${HOME}"].iter().find_map(|home| path.strip_prefix(home));
    if let Some(rest) = home {
        // `~`, `~/`, `~/*`, `~someone`, but not `~/project`.
        return parts(rest.trim_start_matches(|c| c != '/')).is_none_or(|parts| parts.iter().all(|part| is_glob(part)));
    }
    if !path.starts_with('/') {
        return false;
    }
    match parts(path).as_deref() {
        None | Some([]) => true,
        Some([first, rest @ ..]) => match (*first, rest) {
            (first, []) => is_glob(first) || is(&SYSTEM, first),
            // A home, or all that is in a directory of the system.
            ("home", [_] | [_, _]) => rest.get(1).is_none_or(|part| is_glob(part)),
            (first, [rest]) => is(&SYSTEM, first) && is_glob(rest),
            _ => false,
        },
    }
}

/// The parts of a path; `None` if it leads above where it began.
fn parts(path: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match part {
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts)
}

fn is_device(path: &str) -> bool {
    path.strip_prefix("/dev/").is_some_and(|name| !is(&HARMLESS, name.split('/').next().unwrap_or_default()))
}

fn opens_to_all(mode: &str) -> bool {
    let digits = mode.trim_start_matches('0');
    digits == "777" || digits == "666" || matches!(mode, "a+rwx" | "+rwx" | "a=rwx" | "o+w" | "a+w" | "ugo+rwx")
}

/// `NAME(){ NAME|NAME& };NAME`, however it is spaced.
fn is_fork_bomb(script: &str) -> bool {
    let tight: String = script.chars().filter(|c| !c.is_whitespace()).collect();
    tight.match_indices("(){").any(|(at, open)| {
        let name = tight[..at].rsplit([';', '&', '|', '{', '(']).next().unwrap_or_default();
        !name.is_empty() && tight[at + open.len()..].starts_with(&format!("{name}|{name}&"))
    })
}

/// A word of short options that has this one.
fn is_short(word: &str, option: char) -> bool {
    word.strip_prefix('-').is_some_and(|options| !options.starts_with('-') && options.contains(option))
}

fn is_glob(part: &str) -> bool {
    part.contains(['*', '?', '[', '{'])
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// A program's name without its directory.
fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or_default()
}

fn is(list: &[&str], word: &str) -> bool {
    list.contains(&word)
}

/// Whether a text is of a pattern in which `*` stands for any text. Takes time in proportion to both lengths.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|start| text.strip_prefix(start)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
#[path = "danger_tests.rs"]
mod tests;
