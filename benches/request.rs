//! What a session adds to a request, in process, on the memory store.
//!
//! Take the raw service's median off the others: see `support`.

use criterion::{Criterion, criterion_group, criterion_main};
use hyper_session::{Sessions, session::CookiePolicy, store::MemoryStore};
use mimalloc::MiMalloc;
use support::{Job, Size, Way};

#[allow(dead_code, unused_imports, reason = "made for several targets")]
mod support;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn raw(criterion: &mut Criterion) {
    let sessions = sessions(CookiePolicy::Rolling);
    let cookie = support::seed(&sessions, Size::Small);
    let mut known = support::raw(support::with_cookie(&cookie));
    let mut plain = support::raw(support::plain());
    let mut group = criterion.benchmark_group("raw");
    group.bench_function("no session", |bencher| bencher.iter(&mut known));
    group.bench_function("no session, no cookie", |bencher| bencher.iter(&mut plain));
    group.finish();
}

fn session(criterion: &mut Criterion) {
    for policy in [CookiePolicy::Rolling, CookiePolicy::WhenUsed] {
        for way in [Way::Extension, Way::Typed] {
            cases(criterion, policy, way);
        }
    }
}

fn cases(criterion: &mut Criterion, policy: CookiePolicy, way: Way) {
    let sessions = sessions(policy);
    let mut group = criterion.benchmark_group(format!("{policy:?}, {way:?}"));
    let mut call = support::call(&sessions, way, Job::Ignore, support::plain());
    group.bench_function("no cookie", |bencher| bencher.iter(&mut call));
    for size in Size::ALL {
        for job in Job::ALL {
            let request = support::with_cookie(&support::seed(&sessions, size));
            let mut call = support::call(&sessions, way, job, request);
            let name = format!("{}, {}", job.label(), size.label());
            group.bench_function(name, |bencher| bencher.iter(&mut call));
        }
    }
    group.finish();
}

/// More visitors than cookies are remembered: every one comes as if for the first time.
fn strangers(criterion: &mut Criterion) {
    const VISITORS: usize = 8192;
    let sessions = sessions(CookiePolicy::WhenUsed);
    let request = |_| support::with_cookie(&support::seed(&sessions, Size::Small));
    let requests: Vec<_> = (0..VISITORS).map(request).collect();
    let mut raw = support::raw_each(requests.clone());
    let mut group = criterion.benchmark_group("strangers");
    group.bench_function("no session", |bencher| bencher.iter(&mut raw));
    for job in Job::ALL {
        let mut call = support::call_each(&sessions, Way::Typed, job, requests.clone());
        group.bench_function(job.label(), |bencher| bencher.iter(&mut call));
    }
    group.finish();
}

fn sessions(policy: CookiePolicy) -> Sessions {
    Sessions::new(support::config(policy), MemoryStore::new()).expect("the settings are right")
}

fn criterion() -> Criterion {
    use std::time::Duration;
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group!(name = benches; config = criterion(); targets = raw, session, strangers);
criterion_main!(benches);
