//! From a manifest's command to what is executed.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::problem::quoted;

/// Where a program without a slash is searched. Also the `PATH` of every plugin, whatever the supervisor's is.
pub const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a command cannot be executed: the part of it, what is wrong, what would be right.
#[derive(Debug)]
pub(super) struct NotExecutable {
    pub(super) value: String,
    pub(super) message: String,
    pub(super) right: String,
}

/// Makes the program absolute, and replaces `{package}` and `{data}` in the arguments.
pub(super) fn resolve(command: &[String], package: &Path, data: &Path) -> Result<Vec<String>, NotExecutable> {
    let package_text = text(package)?;
    let data_text = text(data)?;
    let Some((program, arguments)) = command.split_first() else {
        // The manifest was checked to have one.
        return Err(failure("", "names no program", "a program"));
    };
    let mut resolved = vec![text(&find(program, package)?)?.to_owned()];
    resolved.extend(arguments.iter().map(|argument| replace(argument, package_text, data_text)));
    Ok(resolved)
}

fn find(program: &str, package: &Path) -> Result<PathBuf, NotExecutable> {
    if !program.contains('/') {
        let found = SEARCH_PATH.split(':').map(|directory| Path::new(directory).join(program));
        return found.into_iter().find(|path| check(path).is_ok()).ok_or_else(|| {
            let right = format!("one in {SEARCH_PATH}, or \"./{program}\" for one in the package");
            failure(program, "is not a program on the PATH", &right)
        });
    }
    let path = package.components().chain(Path::new(program).components()).collect::<PathBuf>();
    match check(&path) {
        Ok(()) => Ok(path),
        Err(message) => Err(failure(program, &format!("{message} ({})", path.display()), "an executable file")),
    }
}

/// Whether this process may execute a file.
fn check(path: &Path) -> Result<(), &'static str> {
    let metadata = path.metadata().map_err(|_| "does not exist")?;
    if !metadata.is_file() {
        return Err("is not a file");
    }
    access(path, Access::EXEC_OK).map_err(|_| "is not executable")
}

fn text(path: &Path) -> Result<&str, NotExecutable> {
    path.to_str().ok_or_else(|| failure(&path.to_string_lossy(), "is not UTF-8", "a path in UTF-8"))
}

fn failure(value: &str, message: &str, right: &str) -> NotExecutable {
    NotExecutable { value: quoted(value), message: message.to_owned(), right: right.to_owned() }
}

/// Replaces both placeholders in one pass, so that a path that looks like one stays as it is.
fn replace(argument: &str, package: &str, data: &str) -> String {
    let mut replaced = String::new();
    let mut rest = argument;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        replaced += before;
        let (text, after) = if let Some(after) = from.strip_prefix("{package}") {
            (package, after)
        } else if let Some(after) = from.strip_prefix("{data}") {
            (data, after)
        } else {
            from.split_at(1)
        };
        replaced += text;
        rest = after;
    }
    replaced + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_replaced_once() {
        let cases = [
            ("--dir={package}/x:{data}", "--dir=/p/{data}/x:/d"),
            ("{package}", "/p/{data}"),
            ("{ {other} {{data}}", "{ {other} {/d}"),
            ("plain", "plain"),
            ("{", "{"),
        ];
        for (argument, expected) in cases {
            assert_eq!(replace(argument, "/p/{data}", "/d"), expected);
        }
    }

    #[test]
    fn programs_without_a_slash_are_on_the_fixed_path() {
        let resolved = resolve(&["sh".to_owned(), "-c".to_owned()], Path::new("/"), Path::new("/")).expect("sh exists");
        assert!(Path::new(&resolved[0]).is_absolute() && resolved[0].ends_with("/sh"), "{resolved:?}");
        let missing =
            resolve(&["no-such-program-here".to_owned()], Path::new("/"), Path::new("/")).expect_err("missing");
        assert_eq!(missing.message, "is not a program on the PATH");
    }
}
