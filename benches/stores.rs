//! The same session requests on every store there is, side by side.
//!
//! Take the raw service's median off the others: see `support`. With the feature `redis`, a
//! `redis-server` is started on a free port for the time of the run. Its figures are those of one
//! request after another, so of the way there and back; `benches/redis.rs` has many at once. The
//! cookie store's visitor sends the same cookies over and over: `benches/data_cookie.rs` has cold visitors.

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

/// Every store, under the name that the report gives it. A new one needs a line here.
fn stores(redis: Option<&redis::Server>) -> Vec<(&'static str, Sessions)> {
    let mut stores = vec![("memory", sessions(MemoryStore::new()))];
    stores.extend(file::store().map(|store| ("file", sessions(store))));
    stores.extend(redis.map(|server| ("redis", sessions(server.store()))));
    // 4 KB take two cookies.
    stores.push(("cookie", sessions(CookieStore::new().max_chunks(2))));
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

#[cfg(feature = "redis")]
mod redis {
    use std::process::Command;

    use hyper_session::store::RedisStore;

    use crate::redis_servers;

    /// It ends with this.
    pub(super) struct Server(redis_servers::Server);

    impl Server {
        /// `None` where there is no `redis-server`.
        pub(super) fn start() -> Option<Self> {
            let version = Command::new("redis-server").arg("--version").output();
            if version.is_err() {
                println!("redis: there is no redis-server here, so it is left out");
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
    /// There is none.
    pub(super) enum Server {}

    impl Server {
        pub(super) fn start() -> Option<Self> {
            println!("redis: left out, since the feature `redis` is off");
            None
        }

        pub(super) fn store(&self) -> hyper_session::store::MemoryStore {
            match *self {}
        }
    }
}

fn sessions(store: impl Store) -> Sessions {
    Sessions::new(support::config(CookiePolicy::WhenUsed), store).expect("the settings are right")
}

fn all(criterion: &mut Criterion) {
    let _inside = support::enter();
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
