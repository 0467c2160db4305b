//! The Python environment of the stock plugins, made once for all tests of a build.

use std::path::{Path, PathBuf};

use outrigger_fixtures::python::{PythonEnv, ensure};
use tokio::sync::OnceCell;

use crate::programs;

/// The environment, made by the first test that asks.
///
/// # Panics
/// There is no Python, or it cannot be made; the message says what to install.
pub async fn environment() -> &'static PythonEnv {
    static ENVIRONMENT: OnceCell<PythonEnv> = OnceCell::const_new();
    let make = || ensure(&root()).unwrap_or_else(|error| unreachable!("failed to {error}"));
    ENVIRONMENT.get_or_init(|| async { tokio::task::spawn_blocking(make).await.expect("it is made or told why") }).await
}

/// Below the build directory where that may be written, so that many runs share it; else in a place of this user's own.
fn root() -> PathBuf {
    let target = programs::directory().parent().map(Path::to_owned).unwrap_or_default();
    if rustix::fs::access(&target, rustix::fs::Access::WRITE_OK).is_ok() {
        return target.join("python");
    }
    std::env::temp_dir().join(format!("outrigger-python-{}", rustix::process::getuid().as_raw()))
}

/// A directory for packages that several worlds copy from; it goes with the value.
///
/// # Panics
/// There is no room for files.
#[must_use]
pub fn packages() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("or-py-").tempdir().expect("make a directory")
}
