//! `init`: a commented configuration to begin with.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::Context;
use crate::cli::args::InitArgs;
use crate::cli::connection::default_config_path;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::text::safe;

/// The file as it is written.
const TEMPLATE: &str = include_str!("init.toml");

#[derive(Serialize)]
struct Document {
    file: PathBuf,
    overwritten: bool,
}

/// Writes the file, or refuses where there is one.
pub(in crate::cli) fn init(context: &mut Context<'_>, args: &InitArgs) -> Result<Exit, Failure> {
    let file = args.dir.as_ref().map_or_else(default_config_path, |dir| Ok(dir.join("outrigger.toml")))?;
    let overwritten = write(&file, args.force).map_err(|error| {
        let shown = file.display();
        if error.kind() == io::ErrorKind::AlreadyExists {
            Failure::new(Exit::Failed, format!("{shown} is there already"))
                .remedy("`outrigger check` tells whether it is sound; --force overwrites it")
        } else {
            Failure::new(Exit::Failed, format!("{shown} cannot be written: {error}"))
        }
    })?;
    if context.global.json {
        context.document(&Document { file, overwritten })?;
        return Ok(Exit::Done);
    }
    let shown = safe(&file.display().to_string()).into_owned();
    context.line(format!("wrote {shown}"))?;
    let found = default_config_path().is_ok_and(|default| default == file);
    let option = if found { String::new() } else { format!(" --config {shown}") };
    context
        .line(format!("next: name your plugins in it, then `outrigger check {shown}` and `outrigger run{option}`"))?;
    Ok(Exit::Done)
}

/// Writes beside the file and then puts it in its place, so that nobody reads half of it. True: there was one before.
fn write(file: &Path, force: bool) -> io::Result<bool> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    let beside = dir.join(format!(".outrigger.toml.{}", std::process::id()));
    let written = (|| {
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&beside)?;
        new.write_all(TEMPLATE.as_bytes())?;
        new.sync_all()?;
        if force {
            let before = file.symlink_metadata().is_ok();
            fs::rename(&beside, file)?;
            return Ok(before);
        }
        // A link, unlike a rename, refuses to take the place of something.
        fs::hard_link(&beside, file)?;
        fs::remove_file(&beside)?;
        Ok(false)
    })();
    if written.is_err() {
        // Nothing to add where this fails too: the error told is the first one.
        let _ = fs::remove_file(&beside);
    }
    written
}
