//! The result of a soak.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use crate::{faults::Environment, visitor::Site};

/// Memory that a process may gain in the second half of a long run beyond a quarter: caches and the
/// allocator's reserve.
const MEMORY_SLACK: u64 = 8 << 20;

const MEGABYTE: f64 = 1e6;

/// Samples of memory, and the number of faults.
pub(crate) struct Report {
    test: String,
    start: Instant,
    next_sample: Instant,
    server_memory: Vec<u64>,
    store_bytes: Vec<u64>,
    pub(crate) faults: usize,
}

impl Report {
    pub(crate) fn new(test: &str) -> Self {
        Self {
            test: test.to_owned(),
            start: Instant::now(),
            next_sample: Instant::now(),
            server_memory: Vec::new(),
            store_bytes: Vec::new(),
            faults: 0,
        }
    }

    /// Takes a sample, at most one a second.
    pub(crate) fn sample(&mut self, environment: &Environment) {
        if Instant::now() < self.next_sample {
            return;
        }
        self.next_sample = Instant::now() + Duration::from_secs(1);
        self.server_memory.push(environment.server_memory());
        self.store_bytes.push(environment.store_bytes());
    }

    /// Prints the result. In a long run, memory and stored bytes must not grow once it is under way.
    pub(crate) fn finish(self, site: &Site, is_long: bool) {
        let mut times = std::mem::take(&mut *site.times.lock().unwrap());
        times.sort_unstable();
        let percentile = |part: f64| {
            let at = (times.len() as f64 * part) as usize;
            f64::from(times[at.min(times.len() - 1)]) / 1e3
        };
        let [server, store] =
            [&self.server_memory, &self.store_bytes].map(|samples| halves(samples));
        println!(
            "| {} | {:.1} min | {} | {} | {} | {} | {:.1} ms | {:.1} ms | {} ms | {:.1} > {:.1} MB | {:.1} > {:.1} MB |",
            self.test,
            self.start.elapsed().as_secs_f64() / 60.0,
            self.faults,
            site.acknowledged.load(Relaxed),
            site.unknown.load(Relaxed),
            site.ended.load(Relaxed),
            percentile(0.5),
            percentile(0.99),
            site.slowest.load(Relaxed),
            server.0 as f64 / MEGABYTE,
            server.1 as f64 / MEGABYTE,
            store.0 as f64 / MEGABYTE,
            store.1 as f64 / MEGABYTE,
        );
        if is_long {
            for (name, (middle, end)) in [("the server", server), ("the store", store)] {
                let limit = middle + middle / 4 + MEMORY_SLACK;
                assert!(end <= limit, "{name} grows: {middle} to {end} bytes");
            }
        }
    }
}

/// Returns the median of the second quarter of the samples, and of the last one.
fn halves(samples: &[u64]) -> (u64, u64) {
    let quarter = samples.len() / 4;
    let median = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part.get(part.len() / 2).copied().unwrap_or_default()
    };
    (
        median(&samples[quarter..2 * quarter]),
        median(&samples[3 * quarter..]),
    )
}
