//! The programs under test, as the same build made them.

use std::path::{Path, PathBuf};

/// A program of the build that this test belongs to.
///
/// # Panics
/// It was not built; the message says what to run.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = directory().join(name);
    assert!(
        path.is_file(),
        "`{}` is not there: run the tests with `cargo test --workspace`, or `cargo build -p outrigger -p outrigger-fixtures` first",
        path.display()
    );
    path
}

/// `target/PROFILE`: test programs lie in its `deps`.
pub(crate) fn directory() -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own program");
    let deps = own.parent().expect("a program lies in a directory");
    deps.parent().map_or_else(|| deps.to_owned(), Path::to_owned)
}

/// A directory of the fixtures' sources, for recorded traces.
#[must_use]
pub fn traces() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk-fixtures/traces");
    ["plain", "exec", "fail", "files", "multi"].map(|name| directory.join(name).with_extension("jsonl")).to_vec()
}
