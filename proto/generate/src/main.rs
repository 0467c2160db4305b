//! Makes the code of `outrigger-proto` from the `.proto` files, with a protobuf compiler written in Rust.
//!
//! `cargo run -p outrigger-proto-generate` writes `proto/src/gen/`; with `--check` it writes nothing and fails when a
//! file there is not what the `.proto` files give.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs, process};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let check = env::args().skip(1).any(|argument| argument == "--check");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = root.join("src/gen");
    let made = env::temp_dir().join(format!("outrigger-proto-generate-{}", process::id()));
    fs::create_dir_all(&made)?;
    let outcome =
        generate(&root, &made).and_then(|()| if check { compare(&made, &target) } else { replace(&made, &target) });
    fs::remove_dir_all(&made)?;
    outcome
}

/// Writes the code of every package and the descriptors into `out`.
fn generate(root: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let mut files = Vec::new();
    collect(&root.join("outrigger"), &mut files)?;
    files.sort();
    let descriptors = protox::compile(&files, [root])?;
    let mut without_source = descriptors.clone();
    for file in &mut without_source.file {
        file.source_code_info = None;
    }
    fs::write(out.join("descriptor.binpb"), without_source.encode_to_vec())?;
    tonic_prost_build::configure()
        .out_dir(out)
        .bytes(".")
        .btree_map(".")
        // Rare and large members would make every message that could have one as large.
        .boxed(".outrigger.plugin.v1.SessionResponse.control.welcome")
        .boxed(".outrigger.runtime.v1.HookOutcome.result")
        .boxed(".outrigger.runtime.v1.HookOutcome.decided_by")
        .boxed(".outrigger.runtime.v1.HookOutcome.approval")
        // It goes through many hands.
        .boxed(".outrigger.runtime.v1.HookStreamRequest.Call.invocation")
        // Clients and servers bring their own transport.
        .build_transport(false)
        // An RPC the supervisor does not serve yet answers UNIMPLEMENTED, as gRPC has it for older servers.
        .generate_default_stubs(true)
        .compile_fds(descriptors)?;
    // Without source comments rustdoc has nothing to misread.
    Ok(())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}

fn names(directory: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn replace(made: &Path, target: &Path) -> Result<(), Box<dyn Error>> {
    if target.exists() {
        fs::remove_dir_all(target)?;
    }
    fs::create_dir_all(target)?;
    for name in names(made)? {
        fs::copy(made.join(&name), target.join(&name))?;
        println!("wrote proto/src/gen/{name}");
    }
    Ok(())
}

fn compare(made: &Path, target: &Path) -> Result<(), Box<dyn Error>> {
    let expected = names(made)?;
    if names(target)? != expected {
        return Err("proto/src/gen has other files; run `cargo run -p outrigger-proto-generate`".into());
    }
    for name in expected {
        if fs::read(made.join(&name))? != fs::read(target.join(&name))? {
            return Err(
                format!("proto/src/gen/{name} is not fresh; run `cargo run -p outrigger-proto-generate`").into()
            );
        }
    }
    println!("proto/src/gen is fresh");
    Ok(())
}
