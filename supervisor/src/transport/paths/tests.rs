use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn env(uid: u32, vars: &[(&str, &str)]) -> Env {
    Env { uid, vars: vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect() }
}

fn all(env: &Env) -> [String; 3] {
    let show = |path: Result<PathBuf, PathError>| {
        path.map_or_else(|error| error.to_string(), |path| path.display().to_string())
    };
    [show(runtime_dir(env)), show(state_dir(env)), show(config_file(env, None))]
}

#[test]
fn places_are_looked_for_in_order() {
    let own = [("OUTRIGGER_RUNTIME_DIR", "/r"), ("OUTRIGGER_STATE_DIR", "/s"), ("OUTRIGGER_CONFIG", "c.toml")];
    let xdg =
        [("XDG_RUNTIME_DIR", "/run/user/7"), ("XDG_STATE_HOME", "/xs"), ("XDG_CONFIG_HOME", "/xc"), ("HOME", "/h")];
    let both: Vec<_> = own.iter().chain(&xdg).copied().collect();
    let root = ["/run/outrigger", "/var/lib/outrigger", "/etc/outrigger/outrigger.toml"];
    for (uid, vars, expected) in [
        (0, &[][..], root),
        (0, &xdg[..], root),
        (0, &both[..], ["/r", "/s", "c.toml"]),
        (7, &both[..], ["/r", "/s", "c.toml"]),
        (7, &xdg[..], ["/run/user/7/outrigger", "/xs/outrigger", "/xc/outrigger/outrigger.toml"]),
        (
            7,
            &[("HOME", "/h")][..],
            ["/tmp/outrigger-7", "/h/.local/state/outrigger", "/h/.config/outrigger/outrigger.toml"],
        ),
        // Empty ones count as absent, relative ones of the specification's too.
        (
            7,
            &[("HOME", "/h"), ("OUTRIGGER_STATE_DIR", ""), ("XDG_STATE_HOME", "x"), ("XDG_RUNTIME_DIR", "")][..],
            ["/tmp/outrigger-7", "/h/.local/state/outrigger", "/h/.config/outrigger/outrigger.toml"],
        ),
    ] {
        assert_eq!(all(&env(uid, vars)), expected, "{uid} {vars:?}");
    }
}

#[test]
fn what_cannot_be_told_is_said() {
    assert_eq!(state_dir(&env(7, &[])), Err(PathError::NoHome { variable: "XDG_STATE_HOME" }));
    let relative = env(0, &[("OUTRIGGER_STATE_DIR", "s")]);
    assert_eq!(
        state_dir(&relative).map_err(|error| error.to_string()),
        Err("use OUTRIGGER_STATE_DIR: `s` is not absolute".to_owned())
    );
    let named = config_file(&env(0, &[("OUTRIGGER_CONFIG", "/e")]), Some(Path::new("named.toml")));
    assert_eq!(named, Ok("named.toml".into()));
}

#[test]
fn a_directory_is_made_private_or_checked() {
    let base = tempfile::tempdir().expect("a temporary directory");
    let path = base.path().join("a/b");
    ensure_private_dir(&path).expect("it can be made");
    ensure_private_dir(&path).expect("it is as it should be");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o7777;
    assert_eq!((mode(&path), mode(&base.path().join("a"))), (0o700, 0o700));

    for (open, refused) in [(0o755, false), (0o711, false), (0o720, true), (0o702, true), (0o1777, true)] {
        fs::set_permissions(&path, Permissions::from_mode(open)).expect("it is ours");
        let outcome = ensure_private_dir(&path);
        assert_eq!(matches!(outcome, Err(DirError::Writable { mode, .. }) if mode == open), refused, "{open:o}");
        assert_eq!(outcome.is_err(), refused);
        assert_eq!(mode(&path), open, "a mode that is there is kept");
    }

    fs::set_permissions(&path, Permissions::from_mode(0o700)).expect("it is ours");
    let link = base.path().join("link");
    std::os::unix::fs::symlink(&path, &link).expect("a link can be made");
    ensure_private_dir(&link).expect("a link of our own is followed");
    let file = base.path().join("file");
    fs::write(&file, "").expect("a file can be made");
    assert!(matches!(ensure_private_dir(&file), Err(DirError::Io { .. })));
}

#[test]
fn a_directory_of_someone_else_is_refused() {
    let base = tempfile::tempdir().expect("a temporary directory");
    let own = rustix::process::geteuid().as_raw();
    let foreign = if own == 0 {
        let path = base.path().join("foreign");
        fs::create_dir(&path).expect("a directory can be made");
        std::os::unix::fs::chown(&path, Some(12_345), None).expect("root can give it away");
        let link = base.path().join("link");
        std::os::unix::fs::symlink(base.path(), &link).expect("a link can be made");
        std::os::unix::fs::lchown(&link, Some(12_345), None).expect("root can give it away");
        assert!(matches!(ensure_private_dir(&link), Err(DirError::Link { owner: 12_345, .. })));
        path
    } else {
        "/usr".into()
    };
    let refused = ensure_private_dir(&foreign).expect_err("it belongs to someone else");
    assert!(matches!(refused, DirError::Owner { expected, .. } if expected == own), "{refused}");
}
