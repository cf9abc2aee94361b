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
    /// The process id of a server and its memory.
    server_memory: Vec<(u32, u64)>,
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

    /// Prints the result. At most `max_unknown` requests may end without success; without a maximum, fewer
    /// than half. In a long run, memory and stored bytes must not grow once it is under way.
    pub(crate) fn finish(self, site: &Site, max_unknown: Option<u64>, is_long: bool) {
        let mut times = std::mem::take(&mut *site.times.lock().unwrap());
        times.sort_unstable();
        let percentile = |part: f64| {
            let at = (times.len() as f64 * part) as usize;
            f64::from(times[at.min(times.len() - 1)]) / 1e3
        };
        let last_server = last_process(&self.server_memory);
        let [server, store] = [&last_server, &self.store_bytes].map(|samples| halves(samples));
        let (acknowledged, unknown) = (site.acknowledged.load(Relaxed), site.unknown.load(Relaxed));
        println!(
            "| {} | {:.1} min | {} | {} | {} | {} | {:.1} ms | {:.1} ms | {} ms | {:.1} > {:.1} MB | {:.1} > {:.1} MB |",
            self.test,
            self.start.elapsed().as_secs_f64() / 60.0,
            self.faults,
            acknowledged,
            unknown,
            site.ended.load(Relaxed),
            percentile(0.5),
            percentile(0.99),
            site.slowest.load(Relaxed),
            server.0 as f64 / MEGABYTE,
            server.1 as f64 / MEGABYTE,
            store.0 as f64 / MEGABYTE,
            store.1 as f64 / MEGABYTE,
        );
        assert!(acknowledged > unknown, "most requests are answered");
        if let Some(max) = max_unknown {
            assert!(unknown <= max, "{unknown} requests failed, limit is {max}");
        }
        if is_long {
            let (samples, all) = (last_server.len(), self.server_memory.len());
            assert!(samples * 3 > all, "a server ran for {samples} of {all} s");
            assert!(!has_grown(server), "the server grows: {server:?} bytes");
            assert!(!has_grown(store), "the store grows: {store:?} bytes");
        }
    }
}

/// Returns the memory of the process that the last sample is of.
fn last_process(samples: &[(u32, u64)]) -> Vec<u64> {
    let last = samples.last().map(|(id, _)| *id);
    let of_last = samples.iter().filter(|(id, _)| Some(*id) == last);
    of_last.map(|(_, bytes)| *bytes).collect()
}

/// Returns `true` if the median of the last quarter is too far above that of the second.
const fn has_grown((middle, end): (u64, u64)) -> bool {
    end > middle + middle / 4 + MEMORY_SLACK
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

/// A server that restarts often hides a leak, so only one process counts.
#[test]
fn a_leak_of_1_mb_a_second_is_found_in_ten_minutes_with_restarts() {
    let bytes = |second: u64, leak: u64| (20 << 20) + second * leak;
    for (leak, is_found) in [(1 << 20, true), (0, false)] {
        let first_half = (0..300).map(|second| (second / 40, bytes(u64::from(second % 40), leak)));
        let second_half = (0..300).map(|second| (100, bytes(second, leak)));
        let samples: Vec<_> = first_half.chain(second_half).collect();
        let last = last_process(&samples);
        assert_eq!(last.len(), 300);
        assert_eq!(has_grown(halves(&last)), is_found, "{leak}");
    }
}
