//! What counts as dangerous, and the operator's own rules.
//!
//! A guard against accidents and clumsy tricks, not a sandbox: a program can still do what its name does not tell.

use crate::feed::Feed;
use crate::paths::{change, is_device, is_precious, seen_from};
use crate::shell::{Simple, parse};
use crate::words::{base, effective, is};

/// Longest command that is looked through, in bytes. A longer one is blocked.
const MOST_COMMAND: usize = 64 * 1024;
/// Scripts within scripts that are looked through. What is deeper is blocked.
const MOST_DEPTH: usize = 8;

const SHELLS: [&str; 6] = ["sh", "bash", "dash", "zsh", "ksh", "ash"];
const INTERPRETERS: [&str; 7] = ["python", "python3", "perl", "ruby", "node", "php", "eval"];
const FETCHERS: [&str; 4] = ["curl", "wget", "fetch", "aria2c"];
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
        self.script(line, &Place::default())
    }

    /// The same for a program with its arguments, of which no shell makes anything else.
    pub(crate) fn check_words(&self, words: &[String]) -> Option<String> {
        let simple = Simple { words: words.to_vec(), ..Simple::default() };
        self.call(&simple, &Place::default(), Feed::Unseen)
    }

    fn script(&self, script: &str, place: &Place) -> Option<String> {
        if place.depth > MOST_DEPTH {
            return Some("the command is nested too deeply to be looked through".to_owned());
        }
        if is_fork_bomb(script) {
            return Some("a fork bomb".to_owned());
        }
        let (mut place, mut feed, mut fetched) = (place.clone(), Feed::Unseen, false);
        for simple in parse(script) {
            let call = effective(&simple.words);
            let program = call.program();
            fetched &= simple.piped;
            let fetches =
                |script: &String| parse(script).iter().any(|call| is(&FETCHERS, effective(&call.words).program()));
            let runs = is(&SHELLS, program) || is(&INTERPRETERS, program) || matches!(program, "source" | ".");
            if runs && (fetched || simple.nested.iter().any(fetches)) {
                return Some(format!("`{program}` would run what was just downloaded"));
            }
            fetched |= is(&FETCHERS, program);
            if let Some(reason) = self.call(&simple, &place, feed.into(&simple)) {
                return Some(reason);
            }
            feed = feed.out_of(&simple, place.directory.as_deref());
            // That a directory is left at the end of a subshell is not seen: rather too much is blocked than too little.
            match program {
                "cd" | "pushd" => place.directory = change(place.directory.as_deref(), &call.words[1..]),
                "popd" => place.directory = None,
                _ => {}
            }
        }
        None
    }

    fn call(&self, simple: &Simple, place: &Place, feed: Feed) -> Option<String> {
        if let Some(reason) = simple.nested.iter().find_map(|script| self.script(script, &place.within(None))) {
            return Some(reason);
        }
        let call = effective(&simple.words);
        let texts = texts(simple, call.words);
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
        let place = place.within(call.directory);
        if let Some(line) = call.line {
            return self.script(&format!("{line} {}", call.words.join(" ")), &place);
        }
        let (_, arguments) = call.words.split_first()?;
        let (program, directory) = (call.program(), place.directory.as_deref());
        let unseen = call.fed && (feed == Feed::Unseen || call.from_file);
        if let Some(script) = script_of(program, arguments) {
            let script = if unseen { with_unseen(&script) } else { script };
            return self.script(&script, &place);
        }
        // What is not seen may be anything.
        let with_root = || harm(program, &[arguments, &["/".to_owned()]].concat(), directory);
        if unseen && harm(program, arguments, directory).is_none() && with_root().is_some() {
            return Some(format!("`{program}` would be given paths that cannot be seen here, and lose all of them"));
        }
        harm(program, arguments, directory)
    }
}

/// Where a script runs, as far as it is known.
#[derive(Clone, Default)]
struct Place {
    directory: Option<String>,
    /// Scripts it is within.
    depth: usize,
}

impl Place {
    /// The place of a script within this one, perhaps in a directory of its own.
    fn within(&self, directory: Option<&str>) -> Self {
        let directory =
            directory.map_or_else(|| self.directory.clone(), |to| Some(seen_from(self.directory.as_deref(), to)));
        Self { directory, depth: self.depth + 1 }
    }
}

/// The first of these patterns that a program call of the command line is of, calls within scripts included.
pub(crate) fn find<'a>(patterns: &'a [String], line: &str) -> Option<&'a String> {
    find_in(patterns, parse(line), 0)
}

/// The same for a program with its arguments.
pub(crate) fn find_words<'a>(patterns: &'a [String], words: &[String]) -> Option<&'a String> {
    find_in(patterns, vec![Simple { words: words.to_vec(), ..Simple::default() }], 0)
}

/// What is nested more deeply than is looked through is blocked anyway.
fn find_in(patterns: &[String], calls: Vec<Simple>, depth: usize) -> Option<&String> {
    if depth > MOST_DEPTH {
        return None;
    }
    calls.iter().find_map(|simple| {
        let call = effective(&simple.words);
        let texts = texts(simple, call.words);
        let found = patterns.iter().find(|pattern| texts.iter().any(|text| glob(pattern.trim(), text)));
        let own = call.words.split_first().and_then(|(program, arguments)| script_of(base(program), arguments));
        let line = call.line.map(|line| format!("{line} {}", call.words.join(" ")));
        let mut scripts = simple.nested.iter().chain(&own).chain(&line);
        found.or_else(|| scripts.find_map(|script| find_in(patterns, parse(script), depth + 1)))
    })
}

/// A program call as the operator's patterns see it: whole, and without what only runs another program.
fn texts(simple: &Simple, words: &[String]) -> [String; 2] {
    [simple.words.join(" "), words.join(" ")]
}

/// The script a shell is given among its arguments.
fn script_of(program: &str, arguments: &[String]) -> Option<String> {
    if program == "eval" {
        return Some(arguments.join(" "));
    }
    let at = arguments.iter().position(|word| is_short(word, 'c')).filter(|_| is(&SHELLS, program))?;
    arguments.get(at + 1).cloned()
}

/// A script whose own arguments are not seen, with the worst in their place.
fn with_unseen(script: &str) -> String {
    let names = ["${@}", "${*}", "${1}", "${0}", "$@", "$*", "$1", "$0", "{}"];
    names.iter().fold(script.to_owned(), |script, name| script.replace(name, "/"))
}

/// What a program would do to the system with these arguments, in this directory if it is known.
fn harm(program: &str, arguments: &[String], directory: Option<&str>) -> Option<String> {
    let long = |name: &str| arguments.iter().any(|word| word == name);
    let recursive = long("--recursive") || arguments.iter().any(|word| is_short(word, 'r') || is_short(word, 'R'));
    let precious = |word: &&String| !word.starts_with('-') && is_precious(&seen_from(directory, word));
    let target = arguments.iter().find(precious);
    match (program, target) {
        ("rm", _) if long("--no-preserve-root") => Some("`rm` is told not to spare `/`".to_owned()),
        ("rm", Some(target)) if recursive => {
            Some(format!("`rm` would delete all of `{}`", seen_from(directory, target)))
        }
        ("find", _) if long("-delete") || long("rm") => {
            // Where it looks stands before its first condition; nowhere is here.
            let places = arguments.iter().take_while(|word| !word.starts_with(['-', '(', '!']));
            let places: Vec<_> = places.map(|word| seen_from(directory, word)).collect();
            let here = directory.filter(|_| places.is_empty()).map(str::to_owned);
            let place = places.into_iter().chain(here).find(|place| is_precious(place))?;
            Some(format!("`find` would delete all of `{place}`"))
        }
        ("chmod", Some(target)) if recursive && arguments.iter().any(|word| opens_to_all(word)) => {
            Some(format!("`chmod` would open all of `{}` to everyone", seen_from(directory, target)))
        }
        ("chown", Some(target)) if recursive => {
            Some(format!("`chown` would give away all of `{}`", seen_from(directory, target)))
        }
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
