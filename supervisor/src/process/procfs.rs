//! What /proc says about processes. Every number read here may be another process's a moment later: who acts on it pins
//! the process first.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read};

/// Processes that one walk takes: a tree with more is far over any limit.
const WALK_MAX: usize = 8_192;

/// One process, from `/proc/PID/stat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) pid: u32,
    /// As the process chose it: any bytes.
    pub(super) name: Vec<u8>,
    pub(super) state: char,
    pub(super) parent: u32,
    /// Its own processor time, clock ticks.
    pub(super) ticks: u64,
    /// That of the children it waited for.
    pub(super) waited_ticks: u64,
    pub(super) threads: u32,
    pub(super) resident_pages: u64,
    /// Bytes of its arguments; 0 where the kernel does not tell.
    pub(super) argument_bytes: u64,
}

/// One process.
///
/// # Errors
/// It is gone, or hidden.
pub(super) fn stat(pid: u32) -> io::Result<Stat> {
    let bytes = read_at_most(&format!("/proc/{pid}/stat"), 4096)?;
    parse_stat(pid, &bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the form of stat is not known"))
}

/// The name stands in brackets and may contain any character, brackets too; numbers follow, from the third field on.
fn parse_stat(pid: u32, bytes: &[u8]) -> Option<Stat> {
    let open = bytes.iter().position(|byte| *byte == b'(')?;
    let close = bytes.iter().rposition(|byte| *byte == b')')?;
    let name = bytes.get(open + 1..close)?.to_vec();
    let rest = std::str::from_utf8(bytes.get(close + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // `field(n)` as proc(5) counts.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let argument_bytes = field(49).zip(field(48)).and_then(|(end, start)| end.checked_sub(start));
    Some(Stat {
        pid,
        name,
        state: fields.first()?.chars().next()?,
        parent: u32::try_from(field(4)?).ok()?,
        ticks: field(14)?.saturating_add(field(15)?),
        // These two are signed in the kernel's text.
        waited_ticks: field(16).unwrap_or(0).saturating_add(field(17).unwrap_or(0)),
        threads: u32::try_from(field(20)?).ok()?,
        resident_pages: field(24).unwrap_or(0),
        argument_bytes: argument_bytes.unwrap_or(0),
    })
}

/// Every process that is visible.
pub(super) fn all() -> impl Iterator<Item = u32> {
    numbers("/proc").unwrap_or_default().into_iter()
}

/// The processes below `root`, without it; at most 8,192. Empty where `root` is gone.
pub(super) fn descendants(root: u32) -> Vec<Stat> {
    match children(root) {
        Some(first) => walk(root, first, |pid| children(pid).unwrap_or_default()),
        // Without the kernel's lists of children, every process has to be asked for its parent.
        None => {
            let mut families: HashMap<u32, Vec<u32>> = HashMap::new();
            for stat in all().filter_map(|pid| stat(pid).ok()) {
                families.entry(stat.parent).or_default().push(stat.pid);
            }
            walk(root, families.remove(&root).unwrap_or_default(), |pid| families.remove(&pid).unwrap_or_default())
        }
    }
}

fn walk(root: u32, first: Vec<u32>, mut children: impl FnMut(u32) -> Vec<u32>) -> Vec<Stat> {
    let mut inside = HashSet::from([root]);
    let mut waiting = VecDeque::from(first);
    let mut found = Vec::new();
    while let Some(pid) = waiting.pop_front() {
        // The parent shows whether the number still belongs to this tree.
        let Some(stat) = stat(pid).ok().filter(|stat| inside.contains(&stat.parent)) else { continue };
        if found.len() >= WALK_MAX || !inside.insert(pid) {
            continue;
        }
        found.push(stat);
        waiting.extend(children(pid));
    }
    found
}

/// Direct children of a process, all its threads'. `None`: the kernel does not list them, or the process is gone.
fn children(pid: u32) -> Option<Vec<u32>> {
    let mut found = Vec::new();
    let mut listed = false;
    for task in tasks(pid).ok()? {
        if let Ok(bytes) = read_at_most(&format!("/proc/{pid}/task/{task}/children"), 1024 * 1024) {
            listed = true;
            found.extend(
                String::from_utf8_lossy(&bytes).split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    listed.then_some(found)
}

/// Direct children of this process.
pub(super) fn own_children() -> Vec<u32> {
    let own = std::process::id();
    children(own).unwrap_or_else(|| all().filter(|pid| stat(*pid).is_ok_and(|stat| stat.parent == own)).collect())
}

/// Threads of a process.
///
/// # Errors
/// It is gone.
pub(super) fn tasks(pid: u32) -> io::Result<Vec<u32>> {
    numbers(&format!("/proc/{pid}/task"))
}

/// Open descriptors of a process, counted.
///
/// # Errors
/// It is gone, or not ours to look into.
pub(super) fn descriptor_count(pid: u32) -> io::Result<u32> {
    let path = format!("/proc/{pid}/fd");
    // Since Linux 6.2 the directory's size is the number; before, it is 0.
    let count = match fs::metadata(&path)?.len() {
        0 => fs::read_dir(&path)?.take(65_536).count() as u64,
        count => count,
    };
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The beginning of a file.
///
/// # Errors
/// It cannot be read.
pub(super) fn read_at_most(path: &str, bytes: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(bytes).read_to_end(&mut content)?;
    Ok(content)
}

fn numbers(directory: &str) -> io::Result<Vec<u32>> {
    let names = fs::read_dir(directory)?.filter_map(Result::ok);
    Ok(names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_disguise_the_numbers() {
        let numbers = (5..=52).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
        let text = format!("7 (a) R 1 (b) S 42 {numbers}\n");
        let stat = parse_stat(7, text.as_bytes()).expect("a sound line");
        assert_eq!((stat.name.as_slice(), stat.state, stat.parent), (b"a) R 1 (b".as_slice(), 'S', 42));
        assert_eq!((stat.ticks, stat.waited_ticks, stat.threads), (14 + 15, 16 + 17, 20));
        assert_eq!((stat.resident_pages, stat.argument_bytes), (24, 1));
    }

    #[test]
    fn what_is_no_stat_is_refused() {
        for text in ["", "7", "7 (a", "7 (a)", "7 (a) S", "7 )a( S 1 2 3", "7 (a) S x 1 1 1"] {
            assert_eq!(parse_stat(7, text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn this_process_is_found() {
        let own = stat(std::process::id()).expect("this process");
        assert_eq!(own.parent, std::os::unix::process::parent_id());
        assert!(own.resident_pages > 0 && own.argument_bytes > 0);
        assert!(all().any(|pid| pid == std::process::id()));
    }
}
