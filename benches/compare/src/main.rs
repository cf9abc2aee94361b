//! Measures the same request cases on every session middleware, in one run.
//!
//! Each contender answers the same requests, in process, around a service that returns a constant. The
//! same service without the middleware is measured too. To add a contender, write a file in `peers/`
//! that implements [`Peer`], and add it to [`peers::all`].

mod allocations;
mod case;
mod document;
mod drive;
mod peer;
mod peers;
mod request;
#[path = "../../support/results.rs"]
mod results;
mod table;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use criterion::Criterion;

use crate::{
    peer::{Call, Peer},
    results::Results,
    table::Table,
};

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

/// The number of calls between two cleanups, which are not timed.
const CHUNK: u64 = 10_000;

fn main() {
    let _guard = drive::enter();
    let mut results = Results::open("requests");
    let estimates = output_directory();
    // The table must not show the results of an earlier run.
    let _ = std::fs::remove_dir_all(&estimates);
    let (warm_up, measurement, samples) = match std::env::var_os("BENCH_QUICK") {
        None => (Duration::from_millis(500), Duration::from_secs(2), 50),
        Some(_) => (Duration::from_millis(1), Duration::from_millis(10), 10),
    };
    let mut criterion = Criterion::default()
        .warm_up_time(warm_up)
        .measurement_time(measurement)
        .sample_size(samples)
        .output_directory(&estimates)
        .configure_from_args();
    let mut table = Table::new(estimates);
    for peer in peers::all() {
        run(&mut criterion, peer.as_ref(), &mut table);
    }
    criterion.final_summary();
    print!("{table}");
    table.record(&mut results);
}

fn output_directory() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compare")
}

fn run(criterion: &mut Criterion, peer: &dyn Peer, table: &mut Table) {
    let mut group = criterion.benchmark_group(peer.name());
    for (case, mut call) in peer::calls(peer) {
        peer::check(peer.name(), case, &mut call);
        table.add(peer.name(), case, allocations::count_in(&mut call.run));
        group.bench_function(case.label(), |bencher| {
            bencher.iter_custom(|iterations| measure(&mut call, iterations));
        });
    }
    group.finish();
}

/// Returns the time of `iterations` calls, without the cleanups between them.
fn measure(call: &mut Call, iterations: u64) -> Duration {
    let mut taken = Duration::ZERO;
    let mut left = iterations;
    while left > 0 {
        let chunk = left.min(CHUNK);
        let start = Instant::now();
        for _ in 0..chunk {
            (call.run)();
        }
        taken += start.elapsed();
        (call.cleanup)();
        left -= chunk;
    }
    taken
}
