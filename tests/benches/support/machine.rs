//! What the numbers were measured on, and the memory of processes.

use std::fs;
use std::process::Command;

use super::Result;

/// The machine, line by line.
pub(crate) fn describe() -> Vec<(&'static str, String)> {
    let commit = output("git", &["rev-parse", "--short=12", "HEAD"]);
    let changed = !output("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
    let commit = if changed { format!("{commit}, with changes") } else { commit };
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("not told");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    vec![
        ("commit", commit),
        ("machine", format!("{}, {cores} cores", cpu.trim_start_matches(['\t', ' ', ':']))),
        ("kernel", read("/proc/sys/kernel/osrelease")),
        ("date", output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
    ]
}

/// Runnable processes on average over the last minute: above 2 or so, others were at work, too.
pub(crate) fn load() -> String {
    read("/proc/loadavg").split_whitespace().next().unwrap_or_default().to_owned()
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// Resident memory of a process that is no file's.
pub(crate) fn anonymous_bytes(process: &str) -> Result<u64> {
    sum(&format!("/proc/{process}/status"), &["RssAnon:"])
}

/// Resident memory of a process that is no other's.
pub(crate) fn private_bytes(process: u32) -> Result<u64> {
    sum(&format!("/proc/{process}/smaps_rollup"), &["Private_Clean:", "Private_Dirty:"])
}

fn sum(path: &str, names: &[&str]) -> Result<u64> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let mut bytes = 0;
    for name in names {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| format!("{path}: no {name}"))?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        bytes += kib * 1024;
    }
    Ok(bytes)
}
