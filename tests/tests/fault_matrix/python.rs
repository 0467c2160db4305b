//! Cells of the stock Python plugin.

use std::fs;

use outrigger_fixtures::faults::{Applicability, Fault, Phase};
use outrigger_fixtures::python::PYTHON_FAULTS;
use tempfile::TempDir;

use crate::cell::Cell;

/// Writes a package for each cell; the packages, which go with the value, and the cells.
pub(crate) async fn cells() -> (TempDir, Vec<Cell>) {
    let environment = outrigger_tests::python::environment().await;
    let packages = outrigger_tests::python::packages();
    let mut cells = Vec::new();
    for name in PYTHON_FAULTS {
        let fault = Fault::named(name).expect("faults of the script are in the table");
        for phase in Phase::ALL {
            if let Applicability::NotApplicable(reason) = fault.at(phase) {
                println!("python:{name}/{phase}: n/a: {reason}");
                continue;
            }
            let directory = packages.path().join(format!("{name}-{phase}"));
            environment
                .write_misbehave(&directory, &["--fault", name, "--when", phase.name()])
                .expect("write the package");
            let cell = Cell::of_python(fault, phase, &directory);
            // Each guards a tool of its own, as all of them share a world.
            for (file, from, to) in [
                ("stock_gate.py", "tool_names=[\"exec\"]", format!("tool_names=[\"{}\"]", cell.id())),
                ("plugin.toml", "tools = [\"exec\"]", format!("tools = [\"{}\"]", cell.id())),
                ("plugin.toml", "id = \"python-misbehave\"", format!("id = \"{}\"", cell.id())),
            ] {
                let path = directory.join(file);
                let text = fs::read_to_string(&path).expect("read what was written");
                assert!(text.contains(from), "{file} has no {from}");
                fs::write(&path, text.replace(from, &to)).expect("write it again");
            }
            cells.push(cell);
        }
    }
    (packages, cells)
}
