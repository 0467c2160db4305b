//! How fast, and how small: the rows of the budget, each against its comparator in the same run.
//!
//! `cargo bench -p outrigger-tests`; with `OUTRIGGER_BENCH=short`, a look in less than a minute. The text goes to standard
//! output, the rows also to `target/bench/rows.json`. Timings decide no test: the exit status is 0 whatever they are.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use serde_json::json;
use support::rounds::{self, Extent, MANY, Samples};
use support::rows::Bound::{AtLeast, AtMost, Shown};
use support::rows::{Missed, Row, Table, Unit};
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
    let short = std::env::var_os("OUTRIGGER_BENCH").is_some_and(|extent| extent == "short");
    let extent = if short {
        Extent { rounds: 3, window: Duration::from_millis(150), starts: 1 }
    } else {
        Extent { rounds: 11, window: Duration::from_millis(300), starts: 5 }
    };
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().ok_or("no target directory")?.to_owned();
    let go = go_plugin(&target);
    let (begin, load) = (Instant::now(), machine::load());
    // A short path: sockets lie below it.
    let directory = tempfile::Builder::new().prefix("ob").tempdir()?;
    let mut samples = Samples::default();
    let go_program = go.as_ref().ok().map(PathBuf::as_path);
    rounds::calls(extent, directory.path(), go_program, &mut samples)?;
    rounds::lives(extent, directory.path(), go_program, &mut samples)?;
    rounds::memory(directory.path(), &mut samples)?;

    let mut header = machine::describe();
    header.push(("duration", format!("{:.0} s", begin.elapsed().as_secs_f64())));
    header.push((
        "rounds",
        format!("{}, windows of {:?}, {MANY} calls in flight where it is many", extent.rounds, extent.window),
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
    if let Err(why) = &go {
        header.push(("go-plugin", why.to_string()));
    }
    let rows = rows(&samples);
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

/// The rows of the budget, and what is printed beside them.
fn rows(samples: &Samples) -> Vec<Row> {
    let bare = "bare stream";
    let (short, relay) = ("short answer", "relay");
    let go = "go-plugin";
    let ratio = |what, unit, ours, against, bound| samples.ratio(what, unit, ours, against, bound);
    let alone = |what, unit, ours, bound| samples.alone(what, unit, ours, bound);
    let (nanos, rate, bytes) = (Unit::Nanos, Unit::Rate, Unit::Bytes);
    let kib = 1024.0;
    vec![
        ratio("one hop, p50", nanos, "one hop latency p50", (bare, "bare latency p50"), AtMost(1.1, 1.35)),
        ratio("two hops, p50", nanos, "two hops latency p50", (bare, "bare latency p50"), AtMost(2.2, 2.8)),
        ratio("one hop, rate", rate, "one hop rate rate", (bare, "bare rate rate"), AtLeast(0.8, 0.5)),
        ratio("two hops, rate", rate, "two hops rate rate", (bare, "bare rate rate"), AtLeast(0.45, 0.25)),
        ratio("CPU a call, one hop, many", nanos, "one hop rate cpu", (bare, "bare rate cpu"), AtMost(1.4, 2.5)),
        ratio("one hop, p50", nanos, "one hop latency p50", (go, "go-plugin latency p50"), AtMost(0.3, 0.4)),
        ratio("two hops, p50", nanos, "two hops latency p50", (go, "go-plugin latency p50"), AtMost(0.6, 0.8)),
        ratio("one hop, rate", rate, "one hop rate rate", (go, "go-plugin rate rate"), AtLeast(10.0, 5.0)),
        ratio("start to first answer", nanos, "our start  answer", (go, "go-plugin start  answer"), AtMost(0.4, 0.7)),
        ratio("start to ready", nanos, "our start  ready", ("start + 1 byte", "floor start  ready"), AtMost(1.7, 2.2)),
        ratio("kill -9 to calls ended", nanos, "our kill  ended", ("own pidfd", "our kill  pidfd"), AtMost(1.3, 2.0)),
        alone("memory an idle plugin", bytes, "idle memory bytes", AtMost(128.0 * kib, 256.0 * kib)),
        alone("memory a plugin after large calls", bytes, "used memory bytes", AtMost(1024.0 * kib, 2048.0 * kib)),
        ratio(
            "memory after 2nd cycle of 64",
            bytes,
            "second cycle memory bytes",
            ("1st cycle", "first cycle memory bytes"),
            AtMost(1.05, 1.15),
        ),
        alone("keeper, private", bytes, "keeper image memory bytes", AtMost(64.0 * kib, 256.0 * kib)),
        alone(
            "keeper, private, fallback form",
            bytes,
            "keeper program memory bytes",
            AtMost(1024.0 * kib, 2048.0 * kib),
        ),
        // Beside them.
        ratio("bare stream, p50", nanos, "bare latency p50", ("raw ping-pong", "raw latency p50"), Shown),
        ratio("bare call and short answer, p50", nanos, "short latency p50", (bare, "bare latency p50"), Shown),
        ratio("bare call and short answer, rate", rate, "short rate rate", (bare, "bare rate rate"), Shown),
        ratio("one hop, p50", nanos, "one hop latency p50", (short, "short latency p50"), Shown),
        ratio("two hops, p50", nanos, "two hops latency p50", (short, "short latency p50"), Shown),
        ratio("one hop, rate", rate, "one hop rate rate", (short, "short rate rate"), Shown),
        ratio("two hops, rate", rate, "two hops rate rate", (short, "short rate rate"), Shown),
        ratio("relay of two bare streams, p50", nanos, "relay latency p50", (bare, "bare latency p50"), Shown),
        ratio("relay of two bare streams, rate", rate, "relay rate rate", (bare, "bare rate rate"), Shown),
        ratio("two hops, p50", nanos, "two hops latency p50", (relay, "relay latency p50"), Shown),
        ratio("two hops, rate", rate, "two hops rate rate", (relay, "relay rate rate"), Shown),
        ratio("tonic unary, p50", nanos, "unary latency p50", (bare, "bare latency p50"), Shown),
        ratio("tonic unary, rate", rate, "unary rate rate", (bare, "bare rate rate"), Shown),
        ratio("one hop, p99", nanos, "one hop latency p99", (bare, "bare latency p99"), Shown),
        ratio("two hops, p99", nanos, "two hops latency p99", (bare, "bare latency p99"), Shown),
        ratio("CPU a call, one hop, one", nanos, "one hop latency cpu", (bare, "bare latency cpu"), Shown),
        ratio("CPU a call, two hops, many", nanos, "two hops supervisor cpu", (bare, "bare rate cpu"), Shown),
        ratio(
            "memory after 3rd cycle of 64",
            bytes,
            "third cycle memory bytes",
            ("2nd cycle", "second cycle memory bytes"),
            Shown,
        ),
        ratio(
            "memory after 4th cycle of 64",
            bytes,
            "fourth cycle memory bytes",
            ("3rd cycle", "third cycle memory bytes"),
            Shown,
        ),
        alone("start asked to ready", nanos, "our start  asked", Shown),
    ]
}
