//! The result of a soak.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use crate::{faults::Environment, visitor::Site};

/// Bytes that memory and stored data may gain in the second half of a long run: caches, and the reserve of the
/// allocator.
const SLACK: u64 = 2 << 20;

/// Bytes that they may gain for each request of that half. A leak of the smallest allocation is more.
const SLACK_OF_REQUEST: u64 = 8;

const MEGABYTE: f64 = 1e6;

/// Samples of memory, and the number of faults.
pub(crate) struct Report {
    test: String,
    start: Instant,
    next_sample: Instant,
    samples: Vec<Sample>,
    pub(crate) faults: usize,
}

/// The sizes at one moment.
#[derive(Clone, Copy)]
struct Sample {
    /// The process id of a server.
    server: u32,
    server_memory: u64,
    store_bytes: u64,
    /// Number of requests that were acknowledged before.
    requests: u64,
}

/// A size, and the number of requests, in the second and in the last quarter of some samples.
#[derive(Clone, Copy, Debug)]
struct Growth {
    middle: u64,
    end: u64,
    requests: u64,
}

impl Report {
    pub(crate) fn new(test: &str) -> Self {
        Self {
            test: test.to_owned(),
            start: Instant::now(),
            next_sample: Instant::now(),
            samples: Vec::new(),
            faults: 0,
        }
    }

    /// Takes a sample, at most one a second.
    pub(crate) fn sample(&mut self, environment: &Environment, site: &Site) {
        if Instant::now() < self.next_sample {
            return;
        }
        self.next_sample = Instant::now() + Duration::from_secs(1);
        let (server, server_memory) = environment.server_memory();
        self.samples.push(Sample {
            server,
            server_memory,
            store_bytes: environment.store_bytes(),
            requests: site.acknowledged.load(Relaxed),
        });
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
        let last_server = last_process(&self.samples);
        let server = Growth::new(&last_server, |sample| sample.server_memory);
        let store = Growth::new(&self.samples, |sample| sample.store_bytes);
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
            server.middle as f64 / MEGABYTE,
            server.end as f64 / MEGABYTE,
            store.middle as f64 / MEGABYTE,
            store.end as f64 / MEGABYTE,
        );
        assert!(acknowledged > unknown, "most requests are answered");
        if let Some(max) = max_unknown {
            assert!(unknown <= max, "{unknown} requests failed, limit is {max}");
        }
        if is_long {
            let (samples, all) = (last_server.len(), self.samples.len());
            assert!(samples * 3 > all, "a server ran for {samples} of {all} s");
            assert!(!server.is_leak(), "the server grows: {server:?}");
            assert!(!store.is_leak(), "the store grows: {store:?}");
        }
    }
}

impl Growth {
    fn new(samples: &[Sample], size: fn(&Sample) -> u64) -> Self {
        let quarter = samples.len() / 4;
        let median = |part: &[Sample], value: fn(&Sample) -> u64| {
            let mut part: Vec<u64> = part.iter().map(value).collect();
            part.sort_unstable();
            part.get(part.len() / 2).copied().unwrap_or_default()
        };
        let (middle, end) = (&samples[quarter..2 * quarter], &samples[3 * quarter..]);
        Self {
            middle: median(middle, size),
            end: median(end, size),
            requests: median(end, |it| it.requests) - median(middle, |it| it.requests),
        }
    }

    const fn is_leak(self) -> bool {
        self.end > self.middle + SLACK + SLACK_OF_REQUEST * self.requests
    }
}

/// Returns the samples of the process that the last sample is of.
fn last_process(samples: &[Sample]) -> Vec<Sample> {
    let last = samples.last().map(|sample| sample.server);
    let of_last = samples.iter().filter(|it| Some(it.server) == last);
    of_last.copied().collect()
}

/// A server that restarts often hides a leak, so only one process counts.
#[test]
fn a_leak_of_100_bytes_a_request_is_found_in_ten_minutes_with_restarts() {
    const REQUESTS_OF_SECOND: u64 = 300;
    let sample = |server, second: u64, run: u64, leak: u64| Sample {
        server,
        server_memory: (20 << 20) + run * REQUESTS_OF_SECOND * leak,
        store_bytes: 0,
        requests: second * REQUESTS_OF_SECOND,
    };
    for (leak, is_found) in [(100, true), (0, false)] {
        let first_half =
            (0..300).map(|second| sample(second as u32 / 40, second, second % 40, leak));
        let second_half = (300..600).map(|second| sample(100, second, second - 300, leak));
        let samples: Vec<_> = first_half.chain(second_half).collect();
        let last = last_process(&samples);
        assert_eq!(last.len(), 300);
        let growth = Growth::new(&last, |sample| sample.server_memory);
        assert_eq!(growth.requests, 150 * REQUESTS_OF_SECOND);
        assert_eq!(growth.is_leak(), is_found, "{growth:?}");
    }
}

/// The figures in `benches/README.md`. A quarter of the requests is fewer than there were between the two samples.
#[test]
fn the_recorded_runs_have_no_leak() {
    for (requests, middle, end) in [
        (341_519, 21_800_000, 21_800_000),
        (293_983, 22_900_000, 24_600_000),
        (293_983, 7_700_000, 7_700_000),
        (214_699, 31_600_000, 31_500_000),
        (214_699, 2_100_000, 2_900_000),
        (568_189, 20_900_000, 22_500_000),
        (568_189, 25_200_000, 25_700_000),
    ] {
        let requests = requests / 4;
        let growth = Growth {
            middle,
            end,
            requests,
        };
        assert!(!growth.is_leak(), "{growth:?}");
    }
}
