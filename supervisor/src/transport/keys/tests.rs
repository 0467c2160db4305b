use std::os::unix::fs::symlink;

use super::*;

fn state() -> (tempfile::TempDir, PathBuf) {
    let base = tempfile::tempdir().expect("a temporary directory");
    let path = base.path().join("state");
    (base, path)
}

fn id(text: &str) -> RuntimeId {
    text.parse().expect("an id")
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").mode() & 0o7777
}

fn line(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("it can be read");
    text.strip_suffix('\n').expect("one line").to_owned()
}

#[test]
fn the_first_start_makes_two_keys() {
    let (_base, state) = state();
    let keys = Keys::open(&state).expect("they can be made");
    let (admin, default) = (state.join("admin.key"), state.join("keys/default.key"));
    assert_eq!([mode(&state), mode(&state.join("keys"))], [0o700, 0o700]);
    assert_eq!([mode(&admin), mode(&default)], [0o600, 0o600]);
    let (admin, default) = (line(&admin), line(&default));
    let secret = admin.strip_prefix("admin:").expect("its form");
    assert!(secret.len() == 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", secret.len());
    assert_ne!(secret, default.strip_prefix("default:").expect("its form"));

    assert!(keys.is_admin(admin.as_bytes()));
    assert_eq!(keys.runtime(default.as_bytes()), Some(&id("default")));
    assert!(!keys.is_admin(default.as_bytes()) && keys.runtime(admin.as_bytes()).is_none());
    let mut almost = default.clone().into_bytes();
    *almost.last_mut().expect("not empty") ^= 1;
    for bad in [&almost[..], b"", b":", b"default:", b"default", b"\xff:1", &default.as_bytes()[..40]] {
        assert_eq!(keys.runtime(bad), None);
    }
    assert!(!format!("{keys:?}").contains(secret), "a secret is never printed");
    drop(keys);

    let again = Keys::open(&state).expect("they are there");
    assert!(again.is_admin(admin.as_bytes()) && again.runtime(default.as_bytes()).is_some(), "secrets are kept");
}

#[test]
fn a_default_key_that_was_removed_stays_away() {
    let (_base, state) = state();
    let mut keys = Keys::open(&state).expect("they can be made");
    let default = line(&state.join("keys/default.key"));
    assert!(keys.remove(&id("default")).expect("it can be removed"));
    assert!(!keys.remove(&id("default")).expect("it is gone"));
    assert_eq!(keys.runtime(default.as_bytes()), None, "at once");
    drop(keys);
    assert_eq!(Keys::open(&state).expect("it can be opened").list().count(), 0);
}

#[test]
fn a_first_start_that_was_cut_short_is_done_again() {
    let (_base, state) = state();
    fs::create_dir_all(state.join(".keys.new")).expect("a directory can be made");
    fs::write(state.join(".keys.new/.default.key.new"), "default:12").expect("a file can be made");
    fs::write(state.join(".admin.key.new"), "admin:12").expect("a file can be made");
    let keys = Keys::open(&state).expect("they can be made");
    assert_eq!(keys.list().map(|info| info.runtime.as_str()).collect::<Vec<_>>(), ["default"]);
    let mut names: Vec<_> =
        fs::read_dir(&state).expect("it is there").flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    assert_eq!(names, ["admin.key", "keys"]);
}

#[test]
fn keys_are_added_shared_and_listed() {
    let (_base, state) = state();
    let mut keys = Keys::open(&state).expect("they can be made");
    let (info, created) = keys.add(&id("studio"), None).expect("it can be made");
    assert!(created && info.group.is_none() && info.path == state.join("keys/studio.key"));
    assert_eq!([mode(&info.path), mode(&state)], [0o600, 0o700]);
    let secret = line(&info.path);

    let gid = rustix::process::getegid().as_raw();
    let (info, created) = keys.add(&id("studio"), Some(&gid.to_string())).expect("it can be shared");
    assert!(!created);
    let name = sys::group_name(gid).expect("groups can be read").unwrap_or_else(|| gid.to_string());
    assert_eq!(info.group.as_deref(), Some(name.as_str()));
    assert_eq!([mode(&info.path), mode(&state), mode(&state.join("keys"))], [0o640, 0o711, 0o711]);
    assert_eq!(line(&info.path), secret, "it keeps its secret");
    assert_eq!(keys.runtime(secret.as_bytes()), Some(&id("studio")));
    let (by_name, _) = keys.add(&id("other"), Some(&name)).expect("a group has a name");
    assert_eq!(by_name.group.as_deref(), Some(name.as_str()));
    let listed: Vec<_> = keys.list().map(|info| info.runtime.as_str()).collect();
    assert_eq!(listed, ["default", "other", "studio"]);

    let (info, _) = keys.add(&id("studio"), None).expect("it can be taken back");
    assert_eq!((mode(&info.path), info.group), (0o600, None));
    let error = keys.add(&id("new"), Some("no-such-group")).expect_err("there is none");
    assert!(matches!(error, KeysError::Group(GroupError::Unknown(_))), "{error}");
    assert!(!state.join("keys/new.key").exists());
}

#[test]
fn files_are_read_again_when_asked() {
    let (_base, state) = state();
    let mut keys = Keys::open(&state).expect("they can be made");
    let mut other = Keys::open(&state).expect("they are there");
    let (info, _) = other.add(&id("studio"), None).expect("it can be made");
    let secret = line(&info.path);
    assert_eq!(keys.runtime(secret.as_bytes()), None);
    keys.reload().expect("they can be read");
    assert_eq!(keys.runtime(secret.as_bytes()), Some(&id("studio")));
    fs::write(state.join("keys/studio.key"), "nonsense").expect("it is ours");
    assert!(matches!(keys.reload(), Err(KeysError::Key(KeyError::Malformed(_)))));
    assert!(keys.runtime(secret.as_bytes()).is_some(), "they stay as they were");
}

#[test]
fn files_that_cannot_be_trusted_are_refused() {
    let (_base, state) = state();
    drop(Keys::open(&state).expect("they can be made"));
    let default = state.join("keys/default.key");
    let good = line(&default);
    let open = || Keys::open(&state).map(drop).expect_err("it is refused").to_string();

    for exposed in [0o604, 0o602, 0o601, 0o666] {
        fs::set_permissions(&default, Permissions::from_mode(exposed)).expect("it is ours");
        let text = open();
        assert!(text.contains(&format!("mode {exposed:04o}")) && text.contains("default.key"), "{text}");
        assert!(!text.contains(&good[8..]), "the message holds no secret");
    }
    fs::set_permissions(&default, Permissions::from_mode(0o600)).expect("it is ours");

    for bad in [String::new(), good.clone() + "\n\n", good[..70].to_owned(), good.to_uppercase(), "x".repeat(1 << 20)] {
        fs::write(&default, bad).expect("it is ours");
        assert!(open().contains("one line `HOLDER:SECRET`"));
    }
    fs::write(&default, good.replace("default", "other")).expect("it is ours");
    assert!(open().contains("does not begin with `default:`"));

    fs::remove_file(&default).expect("it is ours");
    symlink(state.join("admin.key"), &default).expect("a link can be made");
    assert!(open().contains("default.key"), "no link is followed");
    fs::remove_file(&default).expect("it is ours");

    fs::copy(state.join("admin.key"), state.join("keys/Default.key")).expect("it is ours");
    assert!(open().contains("its name is not a runtime id"));
    fs::remove_file(state.join("keys/Default.key")).expect("it is ours");
    fs::write(state.join("keys/default.key~"), "").expect("it is ours");
    Keys::open(&state).expect("other files are left alone");

    fs::set_permissions(state.join("keys"), Permissions::from_mode(0o770)).expect("it is ours");
    assert!(open().contains("can write to it"));
    fs::set_permissions(state.join("keys"), Permissions::from_mode(0o700)).expect("it is ours");

    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(state.join("admin.key"), Some(12_345), None).expect("root can give it away");
        assert!(open().contains("belongs to user 12345"));
    }
}
