//! Cost of a session in a request, in process, with the memory store.
//!
//! Subtract the median of the raw service from the others; see `support`.

use criterion::{Criterion, criterion_group, criterion_main};
use hyper_session::{Sessions, session::CookiePolicy, store::MemoryStore};
use mimalloc::MiMalloc;
use support::{Access, Job, Size};

#[allow(dead_code, unused_imports, reason = "each target uses a part")]
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
        for access in [Access::Extension, Access::Typed] {
            cases(criterion, policy, access);
        }
    }
}

fn cases(criterion: &mut Criterion, policy: CookiePolicy, access: Access) {
    let sessions = sessions(policy);
    let mut group = criterion.benchmark_group(format!("{policy:?}, {access:?}"));
    let mut call = support::call(&sessions, access, Job::Ignore, support::plain());
    group.bench_function("no cookie", |bencher| bencher.iter(&mut call));
    for size in Size::ALL {
        for job in Job::ALL {
            let request = support::with_cookie(&support::seed(&sessions, size));
            let mut call = support::call(&sessions, access, job, request);
            let name = format!("{}, {}", job.label(), size.label());
            group.bench_function(name, |bencher| bencher.iter(&mut call));
        }
    }
    group.finish();
}

/// Measures more visitors than the processor's caches hold. The cookie cache holds most of their cookies.
fn cold_visitors(criterion: &mut Criterion) {
    const VISITORS: usize = 8192;
    let sessions = sessions(CookiePolicy::WhenUsed);
    let request = |_| support::with_cookie(&support::seed(&sessions, Size::Small));
    let requests: Vec<_> = (0..VISITORS).map(request).collect();
    let mut raw = support::raw_each(requests.clone());
    let mut group = criterion.benchmark_group("cold visitors");
    group.bench_function("no session", |bencher| bencher.iter(&mut raw));
    for job in Job::ALL {
        let mut call = support::call_each(&sessions, Access::Typed, job, requests.clone());
        group.bench_function(job.label(), |bencher| bencher.iter(&mut call));
    }
    group.finish();
}

fn sessions(policy: CookiePolicy) -> Sessions {
    Sessions::new(support::config(policy), MemoryStore::new()).expect("the configuration is valid")
}

fn criterion() -> Criterion {
    use std::time::Duration;
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group!(name = benches; config = criterion(); targets = raw, session, cold_visitors);
criterion_main!(benches);
