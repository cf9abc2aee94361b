//! The median time of a call.

use std::{
    env,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

/// Returns the median time of a call in ns. With the environment variable `BENCH_QUICK`, it is not reliable.
pub(crate) fn time(mut call: impl FnMut()) -> f64 {
    let (samples, sample) = match env::var_os("BENCH_QUICK") {
        None => (15, Duration::from_millis(8)),
        Some(_) => (3, Duration::from_millis(1)),
    };
    let mut count = 1_u32;
    // As many calls as take a sample, which is the warm-up too.
    let each = loop {
        if time_of(count, &mut call) >= sample {
            break count;
        }
        count *= 2;
    };
    median(
        (0..samples)
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

/// Calls a function on each of two threads, which prepare it. Returns the median of the wall time in ns divided by the calls
/// of both.
#[allow(dead_code, reason = "not for every benchmark")]
pub(crate) fn time_pair<C: FnMut()>(prepare: [impl FnOnce() -> C + Send; 2]) -> f64 {
    const ROUNDS: usize = 7;
    let (warm_up, length) = match env::var_os("BENCH_QUICK") {
        None => (Duration::from_millis(10), Duration::from_millis(50)),
        Some(_) => (Duration::ZERO, Duration::from_millis(1)),
    };
    let runtime = tokio::runtime::Handle::current();
    let start = Barrier::new(2);
    let rates = thread::scope(|scope| {
        let threads = prepare.map(|prepare| {
            let (runtime, start) = (runtime.clone(), &start);
            scope.spawn(move || {
                let _entered = runtime.enter();
                let mut call = prepare();
                let mut round = || {
                    calls_in(warm_up, &mut call);
                    start.wait();
                    calls_in(length, &mut call)
                };
                (0..ROUNDS).map(|_| round()).collect::<Vec<f64>>()
            })
        });
        threads.map(|thread| thread.join().expect("the call does not panic"))
    });
    let [first, second] = rates;
    let both = first
        .iter()
        .zip(second)
        .map(|(first, second)| first + second);
    median(both.map(|rate| 1.0 / rate).collect())
}

/// Calls the function for this time, and returns the calls in a ns.
fn calls_in(length: Duration, call: &mut impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut calls = 0.0;
    loop {
        // A look at the clock takes time, too.
        for _ in 0..16 {
            call();
            calls += 1.0;
        }
        let passed = start.elapsed();
        if passed >= length {
            return calls / passed.as_nanos() as f64;
        }
    }
}
