//! Paths whose loss is a great one, and where a relative one leads.

use crate::words::is;

/// Directories whose loss is the loss of the system, besides `/` and homes.
const SYSTEM: [&str; 13] =
    ["bin", "boot", "dev", "etc", "home", "lib", "lib64", "opt", "proc", "root", "sbin", "usr", "var"];
/// Devices that take anything and lose nothing.
const HARMLESS: [&str; 7] = ["null", "zero", "full", "stdout", "stderr", "tty", "fd"];

/// A path whose loss is the loss of the system or of someone's home. Patterns count as what they can stand for.
pub(crate) fn is_precious(path: &str) -> bool {
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

/// A path as it is seen from a directory, if that is known.
pub(crate) fn seen_from(directory: Option<&str>, path: &str) -> String {
    match directory {
        Some(directory) if !path.starts_with(['/', '~', '$']) => format!("{directory}/{path}"),
        _ => path.to_owned(),
    }
}

/// Where `cd` with these arguments leads. `None`: not known.
pub(crate) fn change(directory: Option<&str>, arguments: &[String]) -> Option<String> {
    let mut targets = arguments.iter().filter(|word| *word == "-" || !word.starts_with('-'));
    let Some(target) = targets.next() else { return Some("~".to_owned()) };
    let home = ["$HOME", "${HOME}"].iter().any(|home| target.starts_with(home));
    let known = target.starts_with(['/', '~']) || home || (directory.is_some() && !target.starts_with('$'));
    (known && target != "-").then(|| seen_from(directory, target))
}

pub(crate) fn is_device(path: &str) -> bool {
    path.strip_prefix("/dev/").is_some_and(|name| !is(&HARMLESS, name.split('/').next().unwrap_or_default()))
}

fn is_glob(part: &str) -> bool {
    part.contains(['*', '?', '[', '{'])
}
