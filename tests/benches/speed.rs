//! How fast, and how small: the rows of the budget, each against its comparator in the same run.
//!
//! `cargo bench -p outrigger-tests`; with `OUTRIGGER_BENCH=short`, a look in less than a minute. With names of groups the
//! same variable chooses these alone: `OUTRIGGER_BENCH=spread,loud`, or `short,spread`. Groups: `calls`; `beside`, guards
//! side by side; `large`, calls of 256 KiB; `spread`, events to many; `loud`, hooks among events; `publisher`, with bad
//! subscribers; `lives`, starts and crashes; `memory`. The text goes to standard output, the rows also to
//! `target/bench/rows.json`. Timings decide no test: the exit status is 0 whatever they are.
//!
//! What was measured is checked: a call that is not answered by every guard, an event that does not come where it should,
//! comes twice or in disorder, or a gap whose count is not exact, ends the benchmark with an error.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use serde_json::json;
use support::groups::{self, MANY, Setting};
use support::rows::Bound::Shown;
use support::rows::{Missed, Row, Table};
use support::samples::Samples;
use support::supervised::RAISED;
use support::{Result, host, hosts, machine};

fn main() -> ExitCode {
    outrigger::keeper_main();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.as_slice() {
        [first, role, directory] if first == host::ROLE => hosts::run(role, Path::new(directory)),
        arguments if arguments.iter().any(|argument| argument == "--bench") => bench(),
        _ => {
            println!("timings are no test: `cargo bench -p outrigger-tests` measures");
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> Result<()> {
    let (extent, chosen) = groups::wanted(&std::env::var("OUTRIGGER_BENCH").unwrap_or_default())?;
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().ok_or("no target directory")?.to_owned();
    let go = if chosen.iter().any(|group| group.go) { go_plugin(&target) } else { Err("not asked for".into()) };
    let (begin, load) = (Instant::now(), machine::load());
    // A short path: sockets lie below it.
    let directory = tempfile::Builder::new().prefix("ob").tempdir()?;
    let mut samples = Samples::default();
    let setting = Setting { extent, directory: directory.path(), go: go.as_ref().ok().map(PathBuf::as_path) };
    for group in &chosen {
        (group.measure)(&setting, &mut samples)?;
    }

    let mut header = machine::describe();
    header.push(("duration", format!("{:.0} s", begin.elapsed().as_secs_f64())));
    header.push((
        "rounds",
        format!(
            "{}, windows of {:?}, fewer and shorter in groups with many; {MANY} calls in flight where it is many",
            extent.rounds, extent.window
        ),
    ));
    header.push((
        "load",
        format!("{load} before, {} after (1 min); the benchmark itself keeps 2 cores busy", machine::load()),
    ));
    for (name, value, why) in RAISED {
        header.push(("raised", format!("{name} = {value}: {why}")));
    }
    header.push((
        "bare stream",
        "the frame of a call over one tonic stream, and the same frame back; callers by id, nothing else".to_owned(),
    ));
    header.push(("short answer", "the same, but that an answer of a few bytes comes back, as a guard's is".to_owned()));
    header.push(("relay", "two bare streams, and a third process between that passes each frame on".to_owned()));
    header.push((
        "burst writer",
        "each event encoded once and written to all streams; readers that only count, and acknowledge nothing"
            .to_owned(),
    ));
    header.push((
        "acknowledged",
        "the same by 32 events, as many as a plugin has credits; each reader acknowledges before the next".to_owned(),
    ));
    if let Err(why) = &go {
        header.push(("go-plugin", why.to_string()));
    }
    let mut rows: Vec<Row> = chosen.iter().flat_map(|group| (group.rows)(&samples)).collect();
    // The budget first, then what is printed beside it.
    rows.sort_by_key(|row| matches!(row.bound, Shown));
    for (name, value) in &header {
        println!("{name:<12} {value}");
    }
    println!("\n{}", Table(&rows));
    println!("{}", Missed(&rows));
    let header: Vec<_> = header.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let all = json!({ "header": header, "rows": rows.iter().map(Row::json).collect::<Vec<_>>() });
    let file = target.join("bench/rows.json");
    std::fs::create_dir_all(target.join("bench"))?;
    std::fs::write(&file, format!("{all:#}\n"))?;
    println!("rows for programs: {}", file.strip_prefix(target.parent().unwrap_or(&target))?.display());
    Ok(())
}

/// Builds the go-plugin program, where Go is present.
fn go_plugin(target: &Path) -> Result<PathBuf> {
    let program = target.join("go-plugin/bench");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("go-plugin");
    let mut build = Command::new("go");
    build.current_dir(source).args(["build", "-o"]).arg(&program).arg(".");
    match build.status() {
        Ok(status) if status.success() => Ok(program),
        Ok(status) => Err(format!("`go build` ended with {status}").into()),
        Err(error) => Err(format!("Go is not present: {error}").into()),
    }
}
