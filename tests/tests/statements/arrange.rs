//! Plugins that change their ways from one launch to the next.

use outrigger_fixtures::faults::Phase;
use outrigger_tests::Package;

/// A plugin that runs a script of the shell. Within it, `well` and `ill` become the plugin with and without its fault,
/// and the working directory is the plugin's data directory.
fn scripted(id: &str, fault: &str, when: Phase, script: &str) -> Package {
    let script = format!(
        "well() {{ exec \"$0\" \"$1\" \"$2\"; }}; ill() {{ exec \"$0\" \"$@\"; }}; cd \"$OUTRIGGER_DATA_DIR\"; {script}"
    );
    let mut package = Package::misbehaving(id, fault, when);
    let own = std::mem::take(&mut package.command);
    package.command = vec!["/bin/sh".to_owned(), "-c".to_owned(), script];
    package.command.extend(own);
    package
}

/// The first launch has the fault and a child beside, later ones behave well.
pub(crate) fn at_first(id: &str, fault: &str, when: Phase) -> Package {
    scripted(id, fault, when, "[ -e launched ] && well \"$@\"; : > launched; sleep 60 & ill \"$@\"")
}

/// The first launch behaves well, later ones have the fault.
pub(crate) fn later(id: &str, fault: &str, when: Phase) -> Package {
    scripted(id, fault, when, "[ -e launched ] && ill \"$@\"; : > launched; well \"$@\"")
}

/// Launches have the fault until the data directory has a file `mended`.
pub(crate) fn until_mended(id: &str, fault: &str, when: Phase) -> Package {
    scripted(id, fault, when, "[ -e mended ] && well \"$@\"; ill \"$@\"")
}

/// The plugin behaves well but waits with its first word until the data directory has a file `go`.
pub(crate) fn waiting_for_go(id: &str) -> Package {
    scripted(id, "exit", Phase::Hook, "while [ ! -e go ]; do sleep 0.02; done; well \"$@\"")
}

/// Behaves well until the data directory has a file `token`; then it says Hello with what stands there.
pub(crate) fn with_stolen_token(id: &str) -> Package {
    scripted(id, "foreign-token", Phase::Starting, "[ -e token ] && ill \"$@\" \"token=$(cat token)\"; well \"$@\"")
}

/// Behaves well, and first tells how the launch was set up.
pub(crate) fn telling(id: &str) -> Package {
    let script = "cwd=$(readlink /proc/$$/cwd); exec >&2; echo \"cwd $cwd\"; echo \"umask $(umask)\"; \
                  ls /proc/$$/fd; for fd in 0 1 2; do echo \"fd $fd $(readlink /proc/$$/fd/$fd)\"; done; \
                  echo told; exec \"$0\" \"$@\"";
    let mut package = Package::well_behaved(id);
    let own = std::mem::take(&mut package.command);
    package.command = vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()];
    package.command.extend(own);
    package
}
