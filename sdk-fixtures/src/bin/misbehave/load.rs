//! Takes what the machine has: output, memory, processor time. All of it bounded.

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::report::report;
use crate::strike::After;

/// Bytes of the one line of `long-stderr-line`.
const LONG_LINE: usize = 100_000_000;
/// Longest time of a flood of output.
const FLOOD_TIME: Duration = Duration::from_secs(15);
/// Most memory of `leak`, MiB.
const MAX_LEAK: usize = 256;

/// Strikes, in threads of its own where the session goes on.
pub(crate) fn strike(arguments: &Arguments, fault: &str) -> After {
    match fault {
        "flood-stdout" => {
            let mib = arguments.number("mib", 64_usize, 1024);
            thread::spawn(move || flood_stdout(mib << 20));
        }
        "long-stderr-line" => {
            thread::spawn(long_line);
        }
        "leak" => {
            let mib = arguments.number("mib", MAX_LEAK, MAX_LEAK);
            thread::spawn(move || leak(mib));
        }
        _ => {
            let threads = thread::available_parallelism().map_or(2, usize::from).min(16);
            for _ in 0..threads {
                thread::spawn(spin);
            }
            report!("{threads} threads spin");
            if !arguments.flag("speak") {
                spin();
            }
        }
    }
    After::Continue
}

/// Ends with the process.
fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

fn flood_stdout(bytes: usize) {
    let line = [b"misbehave floods its output ".repeat(8).as_slice(), b"\n"].concat();
    let block = line.repeat(256);
    let begin = Instant::now();
    let mut out = std::io::stdout().lock();
    let mut written = 0;
    while written < bytes && begin.elapsed() < FLOOD_TIME {
        if let Err(error) = out.write_all(&block) {
            report!("wrote {written} bytes to standard output, then: {error}");
            return;
        }
        written += block.len();
    }
    report!("wrote {written} bytes to standard output");
}

fn long_line() {
    let block = [b'x'; 65_536];
    let mut left = LONG_LINE;
    let end = {
        // Held all the time, so that no report cuts the line.
        let mut err = std::io::stderr().lock();
        loop {
            let len = left.min(block.len());
            match err.write_all(&block[..len]) {
                Ok(()) => left -= len,
                Err(error) => break Err(error),
            }
            if left == 0 {
                break err.write_all(b"\n");
            }
        }
    };
    match end {
        Ok(()) => report!("wrote a line of {LONG_LINE} bytes"),
        Err(error) => report!("wrote {} bytes of a line, then: {error}", LONG_LINE - left),
    }
}

fn leak(mib: usize) {
    let mut kept = Vec::with_capacity(mib);
    for taken in 1..=mib {
        // Not zero, so that every page is written and there.
        kept.push(vec![taken as u8 | 1; 1 << 20]);
        thread::sleep(Duration::from_millis(2));
    }
    report!("took {mib} MiB");
    loop {
        thread::park();
        std::hint::black_box(&kept);
    }
}
