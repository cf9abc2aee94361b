//! The same session requests on every store there is, side by side.
//!
//! Take the raw service's median off the others: see `support`.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use hyper_session::{
    Sessions,
    session::CookiePolicy,
    store::{MemoryStore, Store},
};
use mimalloc::MiMalloc;
use support::{Job, Size, Way};

#[allow(dead_code, unused_imports, reason = "made for several targets")]
mod support;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Every store, under the name that the report gives it. A new one needs a line here.
fn stores() -> Vec<(&'static str, Sessions)> {
    let mut stores = vec![("memory", sessions(MemoryStore::new()))];
    stores.extend(file::store().map(|store| ("file", sessions(store))));
    stores
}

#[cfg(all(feature = "file", unix))]
mod file {
    use hyper_session::store::FileStore;

    /// In a folder of its own, which is left to the system's cleaning of temporary files.
    pub(super) fn store() -> Option<FileStore> {
        let folder = format!("hyper-session-bench-{}", std::process::id());
        let store = FileStore::open(std::env::temp_dir().join(folder));
        Some(store.expect("the folder for temporary files can be written"))
    }
}

#[cfg(not(all(feature = "file", unix)))]
mod file {
    pub(super) fn store() -> Option<hyper_session::store::MemoryStore> {
        None
    }
}

fn sessions(store: impl Store) -> Sessions {
    Sessions::new(support::config(CookiePolicy::WhenUsed), store).expect("the settings are right")
}

fn all(criterion: &mut Criterion) {
    let stores = stores();
    let mut raw = support::raw(support::plain());
    criterion.bench_function("raw", |bencher| bencher.iter(&mut raw));
    for size in Size::ALL {
        for job in Job::ALL {
            let mut group = criterion.benchmark_group(format!("{}, {}", job.label(), size.label()));
            for (name, sessions) in &stores {
                let request = support::with_cookie(&support::seed(sessions, size));
                let mut call = support::call(sessions, Way::Typed, job, request);
                group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                    bencher.iter(&mut call);
                });
            }
            group.finish();
        }
    }
}

fn criterion() -> Criterion {
    use std::time::Duration;
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group!(name = benches; config = criterion(); targets = all);
criterion_main!(benches);
