//! The same session requests on every store.
//!
//! Subtract the median of the raw service from the others: see `support`. With the feature `redis`, the
//! bench starts a `redis-server` on a free port. Requests run one after the other, so the figures of
//! Redis are round-trip times; `benches/redis.rs` measures concurrent requests. The visitor of the
//! cookie store always sends the same cookies; `benches/data_cookie.rs` measures cookies that the server
//! has not seen.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use hyper_session::{
    Sessions,
    session::CookiePolicy,
    store::{CookieStore, MemoryStore, Store},
};
use mimalloc::MiMalloc;
use support::{Access, Job, Size};

#[cfg(feature = "redis")]
#[path = "../tests/support/redis_servers/mod.rs"]
mod redis_servers;
#[allow(dead_code, unused_imports, reason = "made for several targets")]
mod support;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Returns every store with its name in the report. Add new stores here.
fn stores(redis: Option<&redis::Server>) -> Vec<(&'static str, Sessions)> {
    let mut stores = vec![("memory", sessions(MemoryStore::new()))];
    stores.extend(file::store().map(|store| ("file", sessions(store))));
    stores.extend(redis.map(|server| ("redis", sessions(server.store()))));
    // 4 KB need two cookies.
    stores.push(("cookie", sessions(CookieStore::new().max_chunks(2))));
    stores
}

#[cfg(all(feature = "file", unix))]
mod file {
    use hyper_session::store::FileStore;

    /// Opens a store in a new temporary directory, which the system cleans up.
    pub(super) fn store() -> Option<FileStore> {
        let folder = format!("hyper-session-bench-{}", std::process::id());
        let store = FileStore::open(std::env::temp_dir().join(folder));
        Some(store.expect("the temporary directory is writable"))
    }
}

#[cfg(not(all(feature = "file", unix)))]
mod file {
    pub(super) fn store() -> Option<hyper_session::store::MemoryStore> {
        None
    }
}

#[cfg(feature = "redis")]
mod redis {
    use std::process::Command;

    use hyper_session::store::RedisStore;

    use crate::redis_servers;

    /// A server that stops when this is dropped.
    pub(super) struct Server(redis_servers::Server);

    impl Server {
        /// Returns `None` if there is no `redis-server`.
        pub(super) fn start() -> Option<Self> {
            let version = Command::new("redis-server").arg("--version").output();
            if version.is_err() {
                println!("redis: skipped, since there is no redis-server");
                return None;
            }
            Some(Self(redis_servers::Server::start()))
        }

        pub(super) fn store(&self) -> RedisStore {
            let store = RedisStore::builder(&self.0.url()).build();
            store.expect("the address is valid")
        }
    }
}

#[cfg(not(feature = "redis"))]
mod redis {
    /// A server that cannot exist without the feature `redis`.
    pub(super) enum Server {}

    impl Server {
        pub(super) fn start() -> Option<Self> {
            println!("redis: skipped, since the feature `redis` is off");
            None
        }

        pub(super) fn store(&self) -> hyper_session::store::MemoryStore {
            match *self {}
        }
    }
}

fn sessions(store: impl Store) -> Sessions {
    Sessions::new(support::config(CookiePolicy::WhenUsed), store).expect("the settings are valid")
}

fn all(criterion: &mut Criterion) {
    let _runtime = support::enter();
    let redis = redis::Server::start();
    let stores = stores(redis.as_ref());
    let mut raw = support::raw(support::plain());
    criterion.bench_function("raw", |bencher| bencher.iter(&mut raw));
    for size in Size::ALL {
        for job in Job::ALL {
            let mut group = criterion.benchmark_group(format!("{}, {}", job.label(), size.label()));
            for (name, sessions) in &stores {
                let request = support::with_cookie(&support::seed(sessions, size));
                let mut call = support::call(sessions, Access::Typed, job, request);
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
