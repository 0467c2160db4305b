//! The Python environment of the plugins made from stock stubs: a virtual environment with pinned gRPC packages, and
//! stubs generated from the wire contract that this crate carries.
//!
//! [`ensure`] makes it once in a directory of the caller's choice and is quick when it is there already. It may be called
//! by several threads and processes at once. Making it needs `python3` with its `venv` module and, through pip, a
//! package index; nothing of it is checked in.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process_group};
use sha2::{Digest as _, Sha256};

mod packages;
mod protos;

pub use packages::PYTHON_FAULTS;
use protos::PROTOS;

/// The packages, pinned: the newest that Python 3.9 to 3.14 all can install. The generator refuses to work with an older
/// runtime, so the three go together.
pub const PINS: [&str; 3] = ["grpcio==1.80.0", "grpcio-tools==1.80.0", "protobuf==6.33.6"];
/// The oldest Python that the pinned packages and the scripts work with.
pub const OLDEST: (u32, u32) = (3, 9);

/// Longest time for one step: a slow index may take minutes for the packages' 10 MB.
const STEP_LIMIT: Duration = Duration::from_secs(600);
/// Longest wait for another caller that makes the environment: all of its steps.
const LOCK_LIMIT: Duration = Duration::from_secs(1800);
/// How often a wait looks again; only ever while the environment is made.
const LOOK: Duration = Duration::from_millis(20);
/// Lines of a failed step that an error repeats.
const TOLD_LINES: usize = 12;

/// A ready environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonEnv {
    /// The environment's own interpreter, absolute.
    pub interpreter: PathBuf,
    /// The directory with the generated stubs, as it must be on Python's path: it holds `outrigger/`. Absolute.
    pub stubs: PathBuf,
}

/// Why there is no environment. Reads on from "failed to".
#[derive(Debug, thiserror::Error)]
pub enum PythonError {
    /// There is no interpreter.
    #[error(
        "find python3 in PATH: install Python {}.{} or newer with its venv module (Debian and Ubuntu: `apt install python3 python3-venv`)",
        OLDEST.0, OLDEST.1
    )]
    Missing,
    /// There is one that cannot be run.
    #[error("run `{}`: {reason}", interpreter.display())]
    Broken {
        /// The interpreter.
        interpreter: PathBuf,
        /// What happened.
        reason: String,
    },
    /// There is one and it is too old.
    #[error("use `{}`: it is Python {}.{}, and {}.{} or newer is needed", interpreter.display(), found.0, found.1, OLDEST.0, OLDEST.1)]
    TooOld {
        /// The interpreter.
        interpreter: PathBuf,
        /// Its version.
        found: (u32, u32),
    },
    /// It has no venv module, or one that cannot bring pip along.
    #[error(
        "make a virtual environment with `{}`: its `{module}` module is missing; install it (Debian and Ubuntu: `apt install python3-venv`)",
        interpreter.display()
    )]
    NoVenv {
        /// The interpreter.
        interpreter: PathBuf,
        /// The module.
        module: String,
    },
    /// A step failed.
    #[error("{what}: {reason}\n{output}")]
    Step {
        /// What was done.
        what: &'static str,
        /// How it ended.
        reason: String,
        /// The last lines it wrote.
        output: String,
    },
    /// A file or directory of the environment could not be made.
    #[error("write `{}`: {source}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another caller is making the environment and does not come to an end.
    #[error("wait for whoever holds `{}`: it took longer than {LOCK_LIMIT:?}", path.display())]
    Held {
        /// The lock.
        path: PathBuf,
    },
}

/// Makes the environment below `root`, or finds that it is there, with the first `python3` in `PATH`.
///
/// Blocking: takes some 20 s the first time, some 50 ms later. Safe to call at once from several threads and processes.
///
/// # Errors
/// When Python, its venv module or pip is missing, an installation fails, or `root` cannot be written; the message says
/// what to install. A failed attempt leaves nothing that a later one trips over.
pub fn ensure(root: &Path) -> Result<PythonEnv, PythonError> {
    ensure_with(root, &find().ok_or(PythonError::Missing)?)
}

/// [`ensure`] with an interpreter of the caller's choice.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_with(root: &Path, interpreter: &Path) -> Result<PythonEnv, PythonError> {
    let version = inspect(interpreter)?;
    fs::create_dir_all(root).map_err(|source| PythonError::Write { path: root.to_owned(), source })?;
    let root = fs::canonicalize(root).map_err(|source| PythonError::Write { path: root.to_owned(), source })?;
    let _lock = lock(&root.join("lock"))?;
    let environment = PythonEnv { interpreter: root.join("venv/bin/python"), stubs: root.join("stubs") };
    let stamp = root.join("stamp");
    let wanted = fingerprint(interpreter, version);
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) && environment.interpreter.exists() {
        return Ok(environment);
    }
    // Half of an older or a broken-off one is nothing to build on.
    let _ = fs::remove_file(&stamp);
    make(&root, interpreter, &environment)?;
    write(&stamp, &wanted)?;
    Ok(environment)
}

/// The first program in `PATH` that is called `python3`, else `python`.
fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let places: Vec<_> = env::split_paths(&path).filter(|place| place.is_absolute()).collect();
    ["python3", "python"].iter().find_map(|name| {
        places.iter().map(|place| place.join(name)).find(|program| {
            fs::metadata(program).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        })
    })
}

/// Checks that the interpreter is new enough and can make virtual environments; its version.
fn inspect(interpreter: &Path) -> Result<(u32, u32), PythonError> {
    let broken = |reason: String| PythonError::Broken { interpreter: interpreter.to_owned(), reason };
    let script = "import sys; print(*sys.version_info[:2])\n\
                  for name in ('venv', 'ensurepip'):\n\
                  \ttry: __import__(name)\n\
                  \texcept ImportError: print(name)";
    let mut output = tempfile_in_memory().map_err(|error| broken(error.to_string()))?;
    let status = run(Command::new(interpreter).args(["-c", script]), &output).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => PythonError::Missing,
        _ => broken(error.to_string()),
    })?;
    let told = read_all(&mut output);
    let mut lines = told.lines();
    let version = lines.next().and_then(|line| {
        let (major, minor) = line.split_once(' ')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    match (version, lines.next()) {
        (Some(version), _) if version < OLDEST => {
            Err(PythonError::TooOld { interpreter: interpreter.to_owned(), found: version })
        }
        (Some(_), Some(module)) if status.success() => {
            Err(PythonError::NoVenv { interpreter: interpreter.to_owned(), module: module.to_owned() })
        }
        (Some(version), None) if status.success() => Ok(version),
        _ => Err(broken(format!("{status}: {}", last_lines(&told)))),
    }
}

/// Makes virtual environment and stubs, whatever is there.
fn make(root: &Path, interpreter: &Path, environment: &PythonEnv) -> Result<(), PythonError> {
    let own = &environment.interpreter;
    step(
        "make a virtual environment",
        Command::new(interpreter).args(["-m", "venv", "--clear"]).arg(root.join("venv")),
    )?;
    let pip = ["-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"];
    step("install grpcio with pip", Command::new(own).args(pip).args(PINS))?;

    let protos = root.join("protos");
    for directory in [&protos, &environment.stubs] {
        match fs::remove_dir_all(directory) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(PythonError::Write { path: directory.clone(), source });
            }
            _ => {}
        }
    }
    let made =
        |path: &Path| fs::create_dir_all(path).map_err(|source| PythonError::Write { path: path.to_owned(), source });
    for (path, text) in PROTOS {
        let path = protos.join(path);
        path.parent().map_or(Ok(()), made)?;
        write(&path, text)?;
    }
    made(&environment.stubs)?;
    let mut generate = Command::new(own);
    generate.args(["-m", "grpc_tools.protoc", "-I", "."]).current_dir(&protos);
    for option in ["--python_out", "--grpc_python_out"] {
        generate.arg(option).arg(&environment.stubs);
    }
    step("generate Python stubs", generate.args(PROTOS.iter().map(|(path, _)| path)))
}

/// Runs one step of [`make`].
fn step(what: &'static str, command: &mut Command) -> Result<(), PythonError> {
    let failed = |reason: String, output: String| PythonError::Step { what, reason, output };
    let mut output = tempfile_in_memory().map_err(|error| failed(error.to_string(), String::new()))?;
    match run(command, &output) {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(status.to_string(), last_lines(&read_all(&mut output)))),
        Err(error) => Err(failed(error.to_string(), last_lines(&read_all(&mut output)))),
    }
}

/// Runs a command with its output in a file, away from the caller's Python settings. What it starts ends with it.
fn run(command: &mut Command, output: &File) -> io::Result<ExitStatus> {
    for name in ["PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"] {
        command.env_remove(name);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .process_group(0)
        .spawn()?;
    let limit = Instant::now() + STEP_LIMIT;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() < limit => thread::sleep(LOOK),
            ended => {
                if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                    let _ = kill_process_group(group, Signal::KILL);
                }
                child.wait()?;
                return ended
                    .and(Err(io::Error::new(io::ErrorKind::TimedOut, format!("took longer than {STEP_LIMIT:?}"))));
            }
        }
    }
}

/// Takes the lock; it is given back when the file is closed, by the end of the process too.
fn lock(path: &Path) -> Result<File, PythonError> {
    let failed = |source| PythonError::Write { path: path.to_owned(), source };
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(failed)?;
    let limit = Instant::now() + LOCK_LIMIT;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < limit => thread::sleep(LOOK),
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(PythonError::Held { path: path.to_owned() }),
            Err(error) => return Err(failed(error.into())),
        }
    }
}

/// What the environment depends on.
fn fingerprint(interpreter: &Path, version: (u32, u32)) -> String {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    };
    add(interpreter.as_os_str().as_encoded_bytes());
    add(format!("{version:?}").as_bytes());
    PINS.iter().for_each(|pin| add(pin.as_bytes()));
    for (path, text) in PROTOS {
        add(path.as_bytes());
        add(text.as_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write(path: &Path, text: &str) -> Result<(), PythonError> {
    fs::write(path, text).map_err(|source| PythonError::Write { path: path.to_owned(), source })
}

/// A file without a name, which no crash leaves behind.
fn tempfile_in_memory() -> io::Result<File> {
    Ok(rustix::fs::memfd_create("output", rustix::fs::MemfdFlags::CLOEXEC)?.into())
}

fn read_all(file: &mut File) -> String {
    let mut bytes = Vec::new();
    // What cannot be read is missing from an error's text and nowhere else.
    let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(TOLD_LINES)..].join("\n")
}
