//! Where this process is among the control groups, and which of them is its to divide.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::process::geteuid;

use super::files;
use crate::process::procfs;

/// Name of the leaf that the supervisor itself runs in.
const LEAF: &str = "supervisor";
/// Bytes of the list of mounts that are read.
const MOUNTS_MAX: u64 = 4 * 1024 * 1024;

/// A group of the cgroup2 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Where the hierarchy, or the part of it that is visible, is mounted.
    pub(super) mount: PathBuf,
    /// The group as a directory; `mount` or below.
    pub(super) directory: PathBuf,
    /// As `/proc/PID/cgroup` names it.
    pub(super) path: PathBuf,
}

/// What says that a group was given away.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    /// Groups are divided by systemd, which marks those that it leaves to others.
    pub(super) is_systemd: bool,
    /// This process's user.
    pub(super) user: u32,
}

impl Owner {
    pub(super) fn current() -> Self {
        // As sd_booted(3) finds it.
        Self { is_systemd: Path::new("/run/systemd/system").is_dir(), user: geteuid().as_raw() }
    }
}

/// Moves this process out of its control group into a leaf of it, `supervisor`, where the group was given to this
/// process (systemd: `Delegate=yes`) and no other is in it: only then can groups of plugins have limits. Where it is not
/// possible nothing changes, and [`super::Groups`] tells why.
///
/// For a program that is a supervisor and nothing else, before it starts another process.
pub fn step_aside() {
    // What is in the way is found again, and told, by who looks for the place then.
    let _ = Place::own().and_then(|place| place.leave(Owner::current(), std::process::id()));
}

impl Place {
    /// This process's group.
    ///
    /// # Errors
    /// In words: there is no such hierarchy, or the group is not visible.
    pub(super) fn own() -> Result<Self, String> {
        let read = |path| procfs::read_at_most(path, MOUNTS_MAX).map_err(|error| format!("{path}: {error}"));
        Self::find(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)
    }

    fn find(mounts: &[u8], groups: &[u8]) -> Result<Self, String> {
        let path = path_of(groups).ok_or("the kernel has no cgroup v2")?;
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(format!("its group, `{}`, is outside its namespace", path.display()));
        }
        // What was mounted last covers what was mounted there before.
        let mounts = mounts.split(|byte| *byte == b'\n').rev().filter_map(parse_mount);
        let mut found = mounts.filter_map(|(root, mount)| {
            let below = path.strip_prefix(root).ok()?;
            // Joining nothing would leave a slash behind.
            let directory = if below.as_os_str().is_empty() { mount.clone() } else { mount.join(below) };
            Some(Self { mount, directory, path: path.clone() })
        });
        found.next().ok_or_else(|| "cgroup v2 is not mounted here".to_owned())
    }

    /// A directory as if the hierarchy were mounted there.
    #[cfg(test)]
    pub(super) fn root(mount: &Path) -> Self {
        Self { mount: mount.to_owned(), directory: mount.to_owned(), path: "/".into() }
    }

    pub(super) fn child(&self, name: &str) -> Self {
        Self { mount: self.mount.clone(), directory: self.directory.join(name), path: self.path.join(name) }
    }

    fn parent(&self) -> Option<Self> {
        if self.directory == self.mount {
            return None;
        }
        let (directory, path) = (self.directory.parent()?.to_owned(), self.path.parent()?.to_owned());
        Some(Self { mount: self.mount.clone(), directory, path })
    }

    /// The root of the whole hierarchy, which alone may have processes and give controllers: it has no such file.
    fn is_root(&self) -> bool {
        !self.directory.join("cgroup.events").exists()
    }

    /// The group that this process, being in `self`, may divide.
    ///
    /// # Errors
    /// In words.
    pub(super) fn base(self, owner: Owner) -> Result<Self, String> {
        if self.is_root() {
            return Ok(self);
        }
        if let Some(parent) = self.parent_of_leaf(owner) {
            return Ok(parent);
        }
        let place = self.directory.display();
        Err(if self.is_delegated(owner) {
            format!(
                "processes are in `{place}` itself, which so cannot give controllers to groups below; the supervisor \
                 has to be alone in it, or in a leaf `{LEAF}` of it"
            )
        } else {
            format!("the group `{place}` was not given to the supervisor (in a unit of systemd: Delegate=yes)")
        })
    }

    /// The group above, where this one is the supervisor's leaf of it.
    fn parent_of_leaf(&self, owner: Owner) -> Option<Self> {
        let is_leaf = self.path.file_name().is_some_and(|name| name == LEAF);
        self.parent().filter(|parent| is_leaf && !parent.is_root() && parent.is_delegated(owner))
    }

    /// Whoever divides the groups of this machine leaves this one to us.
    fn is_delegated(&self, owner: Owner) -> bool {
        if !owner.is_systemd {
            return true;
        }
        let marked = ["user.delegate", "trusted.delegate"].into_iter().any(|name| {
            let mut value = [0; 8];
            matches!(rustix::fs::getxattr(&self.directory, name, &mut value), Ok(1)) && value[0] == b'1'
        });
        // Before systemd 251 only root could read the mark; an ordinary user sees whose the directory is, and that the
        // one above is another's: below a group that was given to him, all are his, and his systemd's.
        let user_of = |place: &Self| fs::metadata(&place.directory).map(|data| data.uid()).ok();
        let is_handed_over = || {
            owner.user != 0
                && user_of(self) == Some(owner.user)
                && self.parent().is_some_and(|parent| user_of(&parent) != Some(owner.user))
        };
        marked || is_handed_over()
    }

    /// Moves the process into the leaf, where that makes a base of its group. Whether it did.
    fn leave(&self, owner: Owner, pid: u32) -> Result<bool, String> {
        if self.is_root() || self.parent_of_leaf(owner).is_some() || !self.is_delegated(owner) {
            return Ok(false);
        }
        let inside = files::read(&self.directory, "cgroup.procs").map_err(|error| error.to_string())?;
        if inside.split_ascii_whitespace().collect::<Vec<_>>() != [pid.to_string()] {
            return Ok(false);
        }
        let leaf = self.child(LEAF).directory;
        match fs::create_dir(&leaf) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.to_string()),
            _ => files::write(&leaf, "cgroup.procs", &pid.to_string()).map(|()| true),
        }
    }
}

/// The path in the cgroup2 hierarchy that a `/proc/PID/cgroup` says.
pub(super) fn path_of(groups: &[u8]) -> Option<PathBuf> {
    let path = groups.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    // The process has ended or its group was removed.
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    path.starts_with(b"/").then(|| PathBuf::from(OsString::from_vec(path.to_vec())))
}

/// Root and place of a cgroup2 mount, from a line of `mountinfo`; `None` for any other.
fn parse_mount(line: &[u8]) -> Option<(PathBuf, PathBuf)> {
    let mut fields = line.split(|byte| *byte == b' ').skip(3);
    let (root, mount) = (fields.next()?, fields.next()?);
    // Options, and as many further fields as there are, up to a dash.
    fields.find(|field| *field == b"-")?;
    (fields.next()? == b"cgroup2").then(|| (unescape(root), unescape(mount)))
}

/// A path as the kernel writes it in a list of fields: space, tab, line end and backslash as three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustix::fs::{XattrFlags, setxattr};

    use super::*;

    const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 master:1 - cgroup2 cgroup2 rw\n";
    const NOBODYS: Owner = Owner { is_systemd: true, user: 0 };
    const FREE: Owner = Owner { is_systemd: false, user: 0 };

    fn find(mounts: &str, groups: &str) -> Result<(String, String), String> {
        let text = |path: PathBuf| path.to_str().expect("text").to_owned();
        Place::find(mounts.as_bytes(), groups.as_bytes()).map(|place| (text(place.directory), text(place.path)))
    }

    fn found(directory: &str, path: &str) -> Result<(String, String), String> {
        Ok((directory.to_owned(), path.to_owned()))
    }

    #[test]
    fn the_own_group_is_found_below_its_mount() {
        let groups = "9:name=systemd:/x\n4:memory:/other\n0::/\n";
        assert_eq!(find(HYBRID, groups), found("/sys/fs/cgroup/unified", "/"));
        assert_eq!(find(HYBRID, "0::/a.slice/b c\n"), found("/sys/fs/cgroup/unified/a.slice/b c", "/a.slice/b c"));
        let part = "50 1 0:38 /a\\040b /mnt/a\\134\\040c ro - cgroup2 cgroup2 rw\n";
        assert_eq!(find(part, "0::/a b/c\n"), found("/mnt/a\\ c/c", "/a b/c"));
        // The part that is mounted does not hold the group.
        assert_eq!(find(part, "0::/a\n"), Err("cgroup v2 is not mounted here".to_owned()));
        assert_eq!(find(&format!("{HYBRID}{part}"), "0::/a\n"), found("/sys/fs/cgroup/unified/a", "/a"));
        assert_eq!(find("", "0::/\n"), Err("cgroup v2 is not mounted here".to_owned()));
        assert_eq!(find(HYBRID, "4:memory:/other\n"), Err("the kernel has no cgroup v2".to_owned()));
        let outside = find(HYBRID, "0::/../b\n").expect_err("not visible");
        assert_eq!(outside, "its group, `/../b`, is outside its namespace");
    }

    proptest! {
        #[test]
        fn whatever_the_files_hold_is_taken(mounts in "([0-9 /\\\\a-z:-]|cgroup2|\n){0,200}", groups in "(0::|/|[.a-z]|\n){0,40}") {
            if let Ok(place) = Place::find(mounts.as_bytes(), groups.as_bytes()) {
                prop_assert!(place.directory.starts_with(&place.mount));
            }
        }
    }

    #[test]
    fn a_group_that_was_removed_still_names_its_path() {
        assert_eq!(path_of(b"0::/a/b (deleted)\n"), Some("/a/b".into()));
        assert_eq!((path_of(b""), path_of(b"0::\n"), path_of(b"1:memory:/a\n")), (None, None, None));
    }

    /// A group with the files that the kernel gives to one that is not the root, and a mount above it.
    fn place(mount: &Path, below: &str) -> Place {
        let directory = mount.join(below);
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join("cgroup.events"), "populated 1\n").expect("a file");
        Place { mount: mount.to_owned(), directory, path: Path::new("/").join(below) }
    }

    #[test]
    fn the_root_of_the_hierarchy_is_divided_as_it_is() {
        let mount = tempfile::tempdir().expect("a temporary directory");
        let root = Place::root(mount.path());
        assert_eq!(root.leave(NOBODYS, 7), Ok(false));
        assert_eq!(root.clone().base(NOBODYS), Ok(root));
    }

    #[test]
    fn a_process_alone_in_a_group_of_its_own_moves_into_a_leaf() {
        let mount = tempfile::tempdir().expect("a temporary directory");
        let unit = place(mount.path(), "unit");
        fs::write(unit.directory.join("cgroup.procs"), "7\n8\n").expect("a file");
        assert_eq!(unit.leave(FREE, 7), Ok(false), "another process is in it");
        let why = unit.clone().base(FREE).expect_err("no base");
        assert!(why.starts_with("processes are in `") && why.contains("/unit` itself"), "{why}");
        fs::write(unit.directory.join("cgroup.procs"), "7\n").expect("a file");
        assert_eq!(unit.leave(NOBODYS, 7), Ok(false), "it belongs to systemd");
        assert!(!unit.child(LEAF).directory.exists());

        assert_eq!(unit.leave(FREE, 7), Ok(true));
        let leaf = place(mount.path(), "unit/supervisor");
        assert_eq!(files::read(&leaf.directory, "cgroup.procs").expect("a file"), "7");
        assert_eq!(leaf.leave(FREE, 7), Ok(false), "once is enough");
        assert_eq!(leaf.base(FREE), Ok(unit));
    }

    #[test]
    fn a_group_that_was_not_given_away_is_left_alone() {
        let mount = tempfile::tempdir().expect("a temporary directory");
        let unit = place(mount.path(), "unit");
        let leaf = place(mount.path(), "unit/supervisor");
        let why = leaf.clone().base(NOBODYS).expect_err("no base");
        assert!(why.contains("unit/supervisor` was not given to the supervisor"), "{why}");
        assert!(unit.clone().base(NOBODYS).is_err());
        // The owner's own, but so is the one above: his systemd divides it.
        let user = geteuid().as_raw();
        let owner = Owner { is_systemd: true, user };
        assert!(user == 0 || leaf.clone().base(owner).is_err());
        let marks = ["user.delegate", "trusted.delegate"];
        let Some(mark) =
            marks.into_iter().find(|name| setxattr(&unit.directory, *name, b"1", XattrFlags::empty()).is_ok())
        else {
            println!("not shown: the temporary directory's file system has no such marks");
            return;
        };
        assert_eq!(leaf.clone().base(NOBODYS), Ok(unit.clone()));
        setxattr(&unit.directory, mark, b"0", XattrFlags::empty()).expect("a mark");
        assert!(leaf.base(NOBODYS).is_err());
    }
}
