//! A plugin's environment: made anew for each launch, nothing is inherited.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::domain::launch::Plan;

/// Where a plugin finds programs.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The locale of plugins: the same on every machine, and UTF-8.
pub const LANG: &str = "C.UTF-8";
/// Variables with this beginning are the supervisor's.
pub const RESERVED: &str = "OUTRIGGER_";

/// Names the launch in the environment of its processes.
pub(super) const LAUNCH: &str = "OUTRIGGER_LAUNCH";

/// The variables of a launch, as `NAME=value`, in the order of their names. `time_zone`: the supervisor's `TZ`.
///
/// Manifest and operator may set any name but those beginning with `OUTRIGGER_`; such a one is left out.
///
/// # Errors
/// A name that is empty or has `=` or a zero byte in it, or a value with a zero byte.
pub fn variables(plan: &Plan, socket: &Path, time_zone: Option<&OsStr>) -> io::Result<Vec<Vec<u8>>> {
    let mut all: BTreeMap<&str, OsString> = BTreeMap::new();
    all.insert("PATH", PATH.into());
    all.insert("LANG", LANG.into());
    all.insert("HOME", home(&plan.data_dir).into());
    all.insert("TMPDIR", temporary(&plan.data_dir).into());
    if let Some(zone) = time_zone {
        all.insert("TZ", zone.into());
    }
    for (name, value) in plan.environment.iter().filter(|(name, _)| !name.starts_with(RESERVED)) {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            let text = format!("`{}` cannot be a variable of the environment", name.escape_debug());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        all.insert(name, value.into());
    }
    // Relative to the private directory, for stubs that send the path as the authority.
    let mut target = OsString::from("unix:");
    target.push(socket.file_name().unwrap_or_default());
    all.insert("OUTRIGGER_TARGET", target);
    all.insert("OUTRIGGER_SOCKET", socket.into());
    all.insert("OUTRIGGER_TOKEN", plan.token.as_str().into());
    all.insert(LAUNCH, plan.nonce.as_str().into());
    all.insert("OUTRIGGER_PACKAGE_DIR", plan.package_dir.as_os_str().into());
    all.insert("OUTRIGGER_DATA_DIR", plan.data_dir.as_os_str().into());
    Ok(all
        .into_iter()
        .map(|(name, value)| {
            let mut variable = Vec::from(name);
            variable.push(b'=');
            variable.extend(value.into_vec());
            variable
        })
        .collect())
}

/// Makes the directories that the variables name (0700), with the data directory where it is not there yet.
///
/// # Errors
/// The path that could not be made, and why.
pub fn make_directories(data: &Path) -> Result<(), (PathBuf, io::Error)> {
    for path in [home(data), temporary(data)] {
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        let made = match builder.create(&path) {
            // Only the first launch of a plugin finds no data directory.
            Err(error) if error.kind() == io::ErrorKind::NotFound => builder.recursive(true).create(&path),
            // Whatever a plugin put there instead is its own loss.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        };
        made.map_err(|error| (path, error))?;
    }
    Ok(())
}

fn home(data: &Path) -> PathBuf {
    data.join("home")
}

fn temporary(data: &Path) -> PathBuf {
    data.join("tmp")
}

/// Whether the text of an environment, as /proc shows it, has the nonce of a launch.
pub(super) fn names_launch(environment: &[u8], nonce: &str) -> bool {
    environment.split(|byte| *byte == 0).any(|variable| {
        let value = variable.strip_prefix(LAUNCH.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
        value.is_some_and(|value| OsStr::from_bytes(value) == nonce)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::domain::ids::Generation;
    use crate::domain::launch::{Connect, FIXED_VARIABLES};
    use crate::domain::spec::PluginLimits;

    fn plan(environment: &[(&str, &str)]) -> Plan {
        Plan {
            plugin: "p".parse().expect("a plugin id"),
            generation: Generation(1),
            nonce: "00ff".to_owned(),
            token: "secret".to_owned(),
            command: vec!["/bin/true".to_owned()],
            connect: Connect::Relative,
            package_dir: "/package".into(),
            data_dir: "/data".into(),
            environment: environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            limits: PluginLimits::default(),
        }
    }

    fn texts(environment: &[(&str, &str)], zone: Option<&str>) -> io::Result<Vec<String>> {
        let variables = variables(&plan(environment), Path::new("/run/x/host.sock"), zone.map(OsStr::new))?;
        Ok(variables.into_iter().map(|variable| String::from_utf8(variable).expect("text")).collect())
    }

    #[test]
    fn the_list_is_closed() {
        let expected = [
            "HOME=/data/home",
            "LANG=C.UTF-8",
            "MODE=fast",
            "OUTRIGGER_DATA_DIR=/data",
            "OUTRIGGER_LAUNCH=00ff",
            "OUTRIGGER_PACKAGE_DIR=/package",
            "OUTRIGGER_SOCKET=/run/x/host.sock",
            "OUTRIGGER_TARGET=unix:host.sock",
            "OUTRIGGER_TOKEN=secret",
            &format!("PATH={PATH}"),
            "TMPDIR=/data/tmp",
            "TZ=Europe/Vienna",
        ];
        assert_eq!(texts(&[("MODE", "fast")], Some("Europe/Vienna")).expect("sound variables"), expected);
    }

    #[test]
    fn what_operators_are_told_is_what_is_set() {
        let texts = texts(&[], None).expect("sound variables");
        let names: Vec<_> = texts.iter().filter_map(|text| text.split_once('=')).map(|(name, _)| name).collect();
        assert_eq!(names, FIXED_VARIABLES);
    }

    #[test]
    fn the_supervisors_names_cannot_be_set() {
        let set = [("OUTRIGGER_TOKEN", "mine"), ("OUTRIGGER_NEW", "x"), ("PATH", "/opt/bin")];
        let texts = texts(&set, None).expect("sound variables");
        assert!(texts.contains(&"OUTRIGGER_TOKEN=secret".to_owned()));
        assert!(texts.contains(&"PATH=/opt/bin".to_owned()));
        assert!(!texts.iter().any(|text| text.starts_with("OUTRIGGER_NEW") || text.starts_with("TZ")));
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0y")] {
            assert!(texts(&[(name, value)], None).is_err(), "{name:?}={value:?}");
        }
    }

    #[test]
    fn directories_are_made_once_and_private() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data = directory.path().join("a/b");
        for _ in 0..2 {
            make_directories(&data).expect("directories");
        }
        for made in [data.clone(), data.join("home"), data.join("tmp")] {
            let mode = made.metadata().expect("a directory").permissions().mode();
            assert_eq!(mode & 0o7777, 0o700, "{}", made.display());
        }
    }

    #[test]
    fn a_launch_is_known_by_its_whole_variable() {
        assert!(names_launch(b"A=1\0OUTRIGGER_LAUNCH=00ff\0", "00ff"));
        assert!(names_launch(b"OUTRIGGER_LAUNCH=00ff", "00ff"));
        for other in
            [b"OUTRIGGER_LAUNCH=00ffa\0".as_slice(), b"XOUTRIGGER_LAUNCH=00ff\0", b"A=OUTRIGGER_LAUNCH=00ff", b""]
        {
            assert!(!names_launch(other, "00ff"));
        }
    }
}
