//! Every fault of the fixtures, in every phase of a launch: what the runtime's call came to, what the supervisor names as
//! the cause, that nothing of the plugin is left, and that a well-behaved plugin beside it noticed nothing.
//!
//! Some ten faulty plugins share one world with the well-behaved one. Each cell prints a line. `OUTRIGGER_MATRIX=TEXT`
//! runs only the cells whose name (`FAULT/PHASE`) contains the text.

mod cell;
mod expect;
mod python;
mod table;

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use outrigger_fixtures::faults::{Applicability, FAULTS, Phase};
use outrigger_tests::{Neighbour, Package, Setup, World};

use cell::Cell;

/// Faulty plugins in one world.
const CELLS_IN_A_WORLD: usize = 10;
/// For all of it; it takes about a third of this on two idle cores.
const LIMIT: Duration = Duration::from_secs(600);
/// The supervisor's memory may grow so much by all faulty plugins of a world together; the bound is for each.
const MEMORY_GROWTH: u64 = 32 << 20;
/// The plugin that behaves.
const NEIGHBOUR: &str = "neighbour";

/// A world's cells and the plugins they need.
async fn run_world(cells: Vec<Cell>) -> Vec<String> {
    // A failure is followed by a wait that outlasts the world, so that each cell sees its first one. Cells are in the
    // way of each other at the start only.
    let mut setup = Setup::new().await.set("backoff_first", "10m").set("backoff_max", "10m");
    setup = setup.set_raw("starts_at_once", "4").plugin(Package::well_behaved(NEIGHBOUR));
    for cell in &cells {
        let package = cell.package(&setup);
        setup = setup.plugin(package);
    }
    let world = setup.start().await;
    let before = world.memory();
    // The call before anybody can serve: a declared guard holds from the first moment.
    let early = join_all(cells.iter().map(|cell| cell.call_early(&world))).await;
    world.ready(NEIGHBOUR).await;
    let neighbour = Neighbour::watch(&world.runtime(), NEIGHBOUR);
    let memory = Memory::watch(&world);
    let runs = cells.iter().zip(early).map(|(cell, early)| async {
        // A panic of one cell is that cell's, and the others are told of as well.
        let run = std::panic::AssertUnwindSafe(cell.run(&world, early)).catch_unwind();
        run.await.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map_or("panicked", String::as_str);
            println!("{}: WRONG {text}", cell.name());
            Some(format!("{}: {text}", cell.name()))
        })
    });
    let mut wrong: Vec<String> = join_all(runs).await.into_iter().flatten().collect();

    let report = neighbour.finish().await;
    let names: Vec<_> = cells.iter().map(Cell::name).collect();
    if report.calls == 0 || !report.wrong.is_empty() {
        wrong.push(format!("the neighbour of {names:?}: {report:?}"));
    }
    let grown = memory.finish().await.saturating_sub(before);
    if grown > MEMORY_GROWTH {
        wrong.push(format!("the supervisor grew by {grown} bytes with {names:?}"));
    }
    println!(
        "world: {} calls of the neighbour, the slowest {:?}; supervisor grew by {} KiB",
        report.calls,
        report.slowest,
        grown / 1024
    );
    if !wrong.is_empty() {
        println!("its log:\n{}", world.log_tail());
    }
    wrong
}

/// Watches how much memory the supervisor has at most.
struct Memory {
    stop: tokio::sync::oneshot::Sender<()>,
    peak: tokio::task::JoinHandle<u64>,
}

impl Memory {
    fn watch(world: &World) -> Self {
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let pid = world.pid();
        let peak = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            let mut peak = 0;
            loop {
                tokio::select! {
                    _ = ticks.tick() => peak = peak.max(outrigger_tests::processes::memory(pid)),
                    _ = &mut stopped => return peak,
                }
            }
        });
        Self { stop, peak }
    }

    async fn finish(self) -> u64 {
        let _ = self.stop.send(());
        self.peak.await.expect("memory was watched to the end")
    }
}

/// Runs cells in worlds side by side, and fails with everything that was wrong.
async fn run(cells: Vec<Cell>) {
    let filter = std::env::var("OUTRIGGER_MATRIX").unwrap_or_default();
    let cells: Vec<_> = cells.into_iter().filter(|cell| cell.name().contains(&filter)).collect();
    let worlds = cells.len().div_ceil(CELLS_IN_A_WORLD).max(1);
    // Dealt out, so that cells of one fault, which are alike in what they need, lie in different worlds.
    let mut dealt: Vec<Vec<Cell>> = (0..worlds).map(|_| Vec::new()).collect();
    for (index, cell) in cells.into_iter().enumerate() {
        dealt[index % worlds].push(cell);
    }
    let wrong = join_all(dealt.into_iter().map(run_world)).await;
    let wrong: Vec<_> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{} cells came out wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn every_fault_in_every_phase() {
    let mut cells = Vec::new();
    for fault in FAULTS {
        for phase in Phase::ALL {
            match fault.at(phase) {
                Applicability::Applies => cells.push(Cell::of(fault, phase)),
                Applicability::NotApplicable(reason) => println!("{}/{phase}: n/a: {reason}", fault.name),
            }
        }
    }
    outrigger_tests::within(LIMIT, run(cells)).await;
}

#[tokio::test]
async fn every_fault_of_a_stock_python_plugin() {
    outrigger_tests::within(LIMIT * 2, async {
        let (_packages, cells) = python::cells().await;
        run(cells).await;
    })
    .await;
}
