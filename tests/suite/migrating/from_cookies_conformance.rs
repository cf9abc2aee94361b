//! Conformance of the migration from cookies to the contract of the new store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http::HeaderValue;
use hyper_session::{
    clock::{Clock, Timestamp},
    cookie::{Attributes, CookieName},
    id::StoreKey,
    store::{
        BoundStore, Capabilities, ClientSideStore, CookieContext, CookieStore, Expected,
        MemoryStore, MigratingStore, ReadOutcome, RequestStore, SetCookies, Store, StoreError,
        StoreFuture, WriteOutcome, WriteRequest,
        conformance::{self, Check, ClientSideHarness, Harness},
    },
};

use crate::support::{GateStore, KEY, bound::key_ring};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A prepared machine, where sessions begin in cookies, and one that migrates them.
struct Machines {
    prepared: MigratingStore,
    migrating: MigratingStore,
}

struct Balancer {
    prepared: Box<dyn BoundStore>,
    migrating: Box<dyn BoundStore>,
}

/// One request, answered by one of the two machines.
struct MachineRequest {
    prepared: Arc<dyn RequestStore>,
    migrating: Arc<dyn RequestStore>,
    is_new: AtomicBool,
}

impl ClientSideStore for Machines {
    fn bind(&self, binding: &CookieContext<'_>) -> Result<Box<dyn BoundStore>, StoreError> {
        let bind = |store: &MigratingStore| store.client_side().unwrap().bind(binding);
        let (prepared, migrating) = (bind(&self.prepared)?, bind(&self.migrating)?);
        Ok(Box::new(Balancer {
            prepared,
            migrating,
        }))
    }
}

impl BoundStore for Balancer {
    fn attach(&self, lines: &[HeaderValue]) -> Arc<dyn RequestStore> {
        Arc::new(MachineRequest {
            prepared: self.prepared.attach(lines),
            migrating: self.migrating.attach(lines),
            is_new: AtomicBool::default(),
        })
    }

    fn cookie_names(&self) -> Vec<CookieName> {
        self.prepared.cookie_names()
    }
}

impl RequestStore for MachineRequest {
    fn set_cookies(&self, clear_with_browser: bool) -> Result<SetCookies, StoreError> {
        match self.is_new.load(Relaxed) {
            true => self.prepared.set_cookies(clear_with_browser),
            false => self.migrating.set_cookies(clear_with_browser),
        }
    }

    fn rejection(&self) -> Option<&'static str> {
        self.migrating.rejection()
    }

    fn remaining_ttl(&self, key: &StoreKey) -> Option<Duration> {
        self.migrating.remaining_ttl(key)
    }
}

impl Store for Balancer {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        self.migrating.read(key, touch)
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        self.migrating.write(request)
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        self.migrating.destroy(key)
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        self.migrating.touch(key, ttl)
    }

    fn capabilities(&self) -> Capabilities {
        self.migrating.capabilities()
    }
}

impl Store for MachineRequest {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        self.migrating.read(key, touch)
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        if request.expected != Expected::Absent {
            return self.migrating.write(request);
        }
        self.is_new.store(true, Relaxed);
        self.prepared.write(request)
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        self.migrating.destroy(key)
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        self.migrating.touch(key, ttl)
    }

    fn capabilities(&self) -> Capabilities {
        self.migrating.capabilities()
    }
}

/// A service that migrates its visitors to a memory store.
struct MigratingService<F> {
    clock: Clock,
    store: F,
}

impl<S: ClientSideStore, F: Fn(MigratingStore, MigratingStore) -> S + Send + Sync> Harness
    for MigratingService<F>
{
    type Store = ClientSideHarness;

    async fn store(&self) -> ClientSideHarness {
        let memory = MemoryStore::builder().clock(self.clock.clone()).build();
        // Other operations run between the steps of an operation.
        let to = GateStore::yielding(memory);
        let cookie = CookieStore::new().clock(self.clock.clone());
        let prepared = MigratingStore::prepare(cookie.clone(), to.clone());
        let store = (self.store)(prepared, MigratingStore::new(cookie, to));
        ClientSideHarness::new(
            &store,
            &CookieContext::new(
                &key_ring(KEY),
                &CookieName::new("session").unwrap(),
                &Attributes::default(),
                DAY,
            ),
        )
        .unwrap()
    }

    async fn advance(&self, time: Duration) {
        self.clock.advance(time);
    }

    fn tombstone_ttl(&self) -> Duration {
        Duration::from_secs(60)
    }
}

fn service<S, F: Fn(MigratingStore, MigratingStore) -> S>(store: F) -> MigratingService<F> {
    let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
    MigratingService { clock, store }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_begins_at_the_server_has_all_promises() {
    let report = conformance::run(&service(|_, migrating| migrating)).await;
    report.assert_passed();
    assert!(report.passed().contains(&Check::NoWriteIsLost), "{report}");
}

/// Checks that cookies cannot pass. Concurrent requests cannot see each other's new session, and the
/// renewal that migrates a session changes its version.
const NOT_IN_COOKIES: [Check; 5] = [
    Check::OneCreatorWins,
    Check::DataIsOpaque,
    Check::TouchesKeepTheRecord,
    Check::TouchSetsTheExpiry,
    Check::MaximumTtlIsKept,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_begins_in_a_cookie_has_them_from_the_first_write_on() {
    let machines = |prepared, migrating| Machines {
        prepared,
        migrating,
    };
    let report = conformance::run(&service(machines)).await;
    for broken in report.violations() {
        assert!(NOT_IN_COOKIES.contains(&broken.check()), "{report}");
    }
    for kept in [
        Check::NoWriteIsLost,
        Check::DestroyedStaysDestroyed,
        Check::WritesOnATombstone,
        Check::WritesCanKeepTheExpiry,
        Check::KeepIsConditional,
        Check::NoTagIsLost,
    ] {
        assert!(report.passed().contains(&kept), "{report}");
    }
}
