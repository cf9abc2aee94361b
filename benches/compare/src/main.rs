//! The same request cases on every session middleware, in one run.
//!
//! Each contender answers the same requests, in process, around a service that does next to
//! nothing, and is measured against that same service without a session around it. To add a
//! contender, write a file in `peers/` that implements [`Peer`], and name it in [`peers::all`].

mod allocations;
mod case;
mod document;
mod drive;
mod peer;
mod peers;
mod request;
mod table;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use criterion::Criterion;

use crate::{
    peer::{Call, Peer},
    table::Table,
};

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

/// Calls between two tidyings, which are not timed.
const CHUNK: u64 = 10_000;

fn main() {
    let _inside = drive::enter();
    let estimates = output_directory();
    // What an earlier run left there must not be taken for this run's.
    let _ = std::fs::remove_dir_all(&estimates);
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(50)
        .output_directory(&estimates)
        .configure_from_args();
    let mut table = Table::new(estimates);
    for peer in peers::all() {
        run(&mut criterion, peer.as_ref(), &mut table);
    }
    criterion.final_summary();
    print!("{table}");
}

fn output_directory() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compare")
}

fn run(criterion: &mut Criterion, peer: &dyn Peer, table: &mut Table) {
    let mut group = criterion.benchmark_group(peer.name());
    for (case, mut call) in peer::calls(peer) {
        peer::check(peer.name(), case, &mut call);
        table.add(peer.name(), case, allocations::of(&mut call.run));
        group.bench_function(case.label(), |bencher| {
            bencher.iter_custom(|times| timed(&mut call, times));
        });
    }
    group.finish();
}

/// The time that `times` calls take, without the tidying between them.
fn timed(call: &mut Call, times: u64) -> Duration {
    let mut taken = Duration::ZERO;
    let mut left = times;
    while left > 0 {
        let chunk = left.min(CHUNK);
        let start = Instant::now();
        for _ in 0..chunk {
            (call.run)();
        }
        taken += start.elapsed();
        (call.tidy)();
        left -= chunk;
    }
    taken
}
