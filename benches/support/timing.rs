//! The median time of a call.

use std::time::{Duration, Instant};

const SAMPLES: usize = 15;
const SAMPLE: Duration = Duration::from_millis(8);

/// Returns the median time of a call in ns.
pub(crate) fn time(mut call: impl FnMut()) -> f64 {
    let mut count = 1_u32;
    // As many calls as take a sample, which is the warm-up too.
    let each = loop {
        if time_of(count, &mut call) >= SAMPLE {
            break count;
        }
        count *= 2;
    };
    median(
        (0..SAMPLES)
            .map(|_| per_call(time_of(each, &mut call), each))
            .collect(),
    )
}

fn time_of(count: u32, call: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..count).for_each(|_| call());
    start.elapsed()
}

/// Returns the time of one of `calls` calls in ns.
pub(crate) fn per_call(time: Duration, calls: u32) -> f64 {
    time.as_nanos() as f64 / f64::from(calls)
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
