//! Compiles the keeper as a static program, which the library then carries.
//!
//! A machine or target for which that does not work still builds: the image is empty then, and the library runs its own
//! program as the keeper instead.

use std::path::Path;
use std::process::Command;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=keeper");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    let directory = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    let image = Path::new(&directory).join("keeper");
    if let Err(reason) = compile(&image) {
        println!("cargo::warning=no static keeper, launches will use the slower form: {reason}");
        fs::write(&image, [])?;
    }
    Ok(())
}

/// Compiles `keeper/main.rs` into `image`.
fn compile(image: &Path) -> Result<(), String> {
    let variable = |name| env::var(name).map_err(|error| format!("{name}: {error}"));
    if variable("CARGO_CFG_TARGET_OS")? != "linux" {
        return Err("the target is not Linux".to_owned());
    }
    let mut command = Command::new(variable("RUSTC")?);
    command.args(["--edition=2024", "--crate-type=bin", "--crate-name=outrigger_keeper", "--cap-lints=allow"]);
    command.arg("--target").arg(variable("TARGET")?);
    // Small and with nothing to relocate or to load: what is spent here is spent at every launch.
    for option in ["panic=abort", "opt-level=s", "codegen-units=1", "relocation-model=static", "strip=symbols"] {
        command.arg("-C").arg(option);
    }
    command.args(["-C", "target-feature=+crt-static", "-C", "force-unwind-tables=no"]);
    for option in
        ["-nostartfiles", "-nostdlib", "-static", "-Wl,--build-id=none", "-Wl,-z,norelro", "-Wl,--gc-sections"]
    {
        command.arg(format!("-Clink-arg={option}"));
    }
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        command.arg(format!("-Clinker={linker}"));
    }
    let output = command.arg("-o").arg(image).arg("keeper/main.rs").output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(errors.lines().find(|line| line.contains("error")).unwrap_or("the compiler gave no reason").to_owned())
}
