//! What the supervisor put into the environment, and how the token leaves it.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, Result};

const SOCKET: &str = "OUTRIGGER_SOCKET";
const TARGET: &str = "OUTRIGGER_TARGET";
const TOKEN: &str = "OUTRIGGER_TOKEN";
const PACKAGE_DIR: &str = "OUTRIGGER_PACKAGE_DIR";
const DATA_DIR: &str = "OUTRIGGER_DATA_DIR";

/// Where the supervisor is, and how to be let in.
///
/// [`Plugin::run`](crate::Plugin::run) takes it by itself. Take it first thing in `main`, and give it to
/// [`Plugin::run_in`](crate::Plugin::run_in), if the program starts threads before.
#[derive(Clone, PartialEq, Eq)]
pub struct Environment {
    pub(crate) socket: PathBuf,
    pub(crate) token: String,
    pub(crate) package_dir: PathBuf,
    pub(crate) data_dir: PathBuf,
}

impl Environment {
    /// Reads the launch's variables and removes the token, so that no child process inherits it.
    ///
    /// The environment can be changed safely only while no other thread may read it. With one thread in the process
    /// (a `main` without threads, `#[tokio::main(flavor = "current_thread")]`) the token is removed. Otherwise it stays:
    /// the first hello of the process uses it up, so it opens nothing afterwards.
    ///
    /// # Errors
    /// [`Error::Environment`] if the process was not started by a supervisor.
    pub fn take() -> Result<Self> {
        let environment = Self::read(|name| env::var_os(name))?;
        if has_one_thread() {
            remove(TOKEN);
        }
        Ok(environment)
    }

    fn read(get: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let present = |name| get(name).filter(|value| !value.is_empty());
        let token = present(TOKEN).ok_or(Error::Environment { variable: TOKEN, problem: "is not set" })?;
        let token =
            token.into_string().map_err(|_| Error::Environment { variable: TOKEN, problem: "is not readable" })?;
        let socket = match (present(SOCKET), present(TARGET)) {
            (Some(socket), _) => PathBuf::from(socket),
            (None, Some(target)) => socket_of_target(&target)?,
            (None, None) => return Err(Error::Environment { variable: SOCKET, problem: "is not set" }),
        };
        let directory = |name| present(name).map(PathBuf::from).unwrap_or_default();
        Ok(Self { socket, token, package_dir: directory(PACKAGE_DIR), data_dir: directory(DATA_DIR) })
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// The path of a target: `unix:host.sock`, `unix:/path` or `unix:///path`.
fn socket_of_target(target: &OsString) -> Result<PathBuf> {
    let problem = "is not of the form `unix:PATH`";
    let path = target.to_str().and_then(|target| target.strip_prefix("unix:"));
    let path = path.map(|path| path.strip_prefix("//").unwrap_or(path)).filter(|path| !path.is_empty());
    path.map(PathBuf::from).ok_or(Error::Environment { variable: TARGET, problem })
}

/// Whether this is the process's only thread. An answer that cannot be had is a no.
fn has_one_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

#[expect(unsafe_code, reason = "the standard library's only way to change the environment")]
fn remove(name: &str) {
    // SAFETY: the caller has seen that this thread is the only one, so no other can read the environment meanwhile, and
    // none can be started while this one is here.
    unsafe { env::remove_var(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment> {
        Environment::read(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_absolute_socket_is_preferred() {
        let both = [(TOKEN, "t"), (SOCKET, "/run/a/host.sock"), (TARGET, "unix:host.sock")];
        assert_eq!(read(&both).expect("complete").socket, PathBuf::from("/run/a/host.sock"));
    }

    #[test]
    fn a_target_is_read_in_its_three_forms() {
        for (target, path) in
            [("unix:host.sock", "host.sock"), ("unix:/a/host.sock", "/a/host.sock"), ("unix:///a/b", "/a/b")]
        {
            let environment = read(&[(TOKEN, "t"), (TARGET, target)]).expect("complete");
            assert_eq!(environment.socket, PathBuf::from(path), "{target}");
        }
        for target in ["tcp:1.2.3.4:5", "unix:"] {
            assert!(read(&[(TOKEN, "t"), (TARGET, target)]).is_err(), "{target}");
        }
    }

    #[test]
    fn a_process_started_by_hand_is_told_so() {
        let error = read(&[(SOCKET, "/x")]).expect_err("no token");
        assert!(format!("{error:?}").contains("OUTRIGGER_TOKEN is not set"), "{error:?}");
        assert!(read(&[(TOKEN, ""), (SOCKET, "/x")]).is_err());
        assert!(read(&[(TOKEN, "t")]).is_err());
    }

    #[test]
    fn the_token_is_not_printed() {
        let environment = read(&[(TOKEN, "s3cret"), (SOCKET, "/x")]).expect("complete");
        assert!(!format!("{environment:?}").contains("s3cret"));
    }
}
