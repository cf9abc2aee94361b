//! Sessions that leave their cookies keep the contract of the store that they go to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::HeaderValue;
use hyper_session::{
    clock::{Clock, Timestamp},
    cookie::{Attributes, CookieName},
    id::StoreKey,
    store::{
        BoundStore, Capabilities, ClientSideStore, CookieContext, CookieStore, Expected,
        MemoryStore, MigratingStore, ReadOutcome, RequestStore, SetCookies, Store, StoreError,
        StoreFuture, WriteOutcome,
        conformance::{self, Check, ClientSideHarness, Harness},
    },
};

use crate::support::{GateStore, KEY, bound::key_ring};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A machine that is prepared, where sessions begin in cookies, and one that moves them.
struct Machines {
    prepared: MigratingStore,
    moving: MigratingStore,
}

struct Balancer {
    prepared: Box<dyn BoundStore>,
    moving: Box<dyn BoundStore>,
}

/// One request, which one of the two answers.
struct Visit {
    prepared: Arc<dyn RequestStore>,
    moving: Arc<dyn RequestStore>,
    begins: AtomicBool,
}

impl ClientSideStore for Machines {
    fn bind(&self, binding: &CookieContext<'_>) -> Result<Box<dyn BoundStore>, StoreError> {
        let bind = |store: &MigratingStore| store.client_side().unwrap().bind(binding);
        let (prepared, moving) = (bind(&self.prepared)?, bind(&self.moving)?);
        Ok(Box::new(Balancer { prepared, moving }))
    }
}

impl BoundStore for Balancer {
    fn attach(&self, lines: &[HeaderValue]) -> Arc<dyn RequestStore> {
        Arc::new(Visit {
            prepared: self.prepared.attach(lines),
            moving: self.moving.attach(lines),
            begins: AtomicBool::default(),
        })
    }
}

impl RequestStore for Visit {
    fn set_cookies(&self) -> Result<SetCookies, StoreError> {
        match self.begins.load(Relaxed) {
            true => self.prepared.set_cookies(),
            false => self.moving.set_cookies(),
        }
    }

    fn rejection(&self) -> Option<&'static str> {
        self.moving.rejection()
    }

    fn contains(&self, key: &StoreKey) -> bool {
        self.moving.contains(key)
    }
}

impl Store for Balancer {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        self.moving.read(key, touch)
    }

    fn write(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> StoreFuture<WriteOutcome> {
        self.moving.write(key, data, ttl, expected)
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        self.moving.destroy(key)
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        self.moving.touch(key, ttl)
    }

    fn capabilities(&self) -> Capabilities {
        self.moving.capabilities()
    }
}

impl Store for Visit {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        self.moving.read(key, touch)
    }

    fn write(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> StoreFuture<WriteOutcome> {
        if expected != Expected::Absent {
            return self.moving.write(key, data, ttl, expected);
        }
        self.begins.store(true, Relaxed);
        self.prepared.write(key, data, ttl, expected)
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        self.moving.destroy(key)
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        self.moving.touch(key, ttl)
    }

    fn capabilities(&self) -> Capabilities {
        self.moving.capabilities()
    }
}

/// Visitors of a service that moves them to a memory store.
struct Service<F> {
    clock: Clock,
    store: F,
}

impl<S: ClientSideStore, F: Fn(MigratingStore, MigratingStore) -> S + Send + Sync> Harness
    for Service<F>
{
    type Store = ClientSideHarness;

    async fn store(&self) -> ClientSideHarness {
        let memory = MemoryStore::builder().clock(self.clock.clone()).build();
        // Others run between the steps of an operation.
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

fn service<S, F: Fn(MigratingStore, MigratingStore) -> S>(store: F) -> Service<F> {
    let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
    Service { clock, store }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_begins_at_the_server_has_all_promises() {
    let report = conformance::run(&service(|_, moving| moving)).await;
    report.assert_passed();
    assert!(report.passed().contains(&Check::NoWriteIsLost), "{report}");
}

/// What cookies cannot keep: nobody sees who else begins a session, and a session's first renewal,
/// which brings it to the server, gives it another version.
const OF_COOKIES: [Check; 5] = [
    Check::OneCreatorWins,
    Check::DataIsOpaque,
    Check::TouchesKeepTheRecord,
    Check::TouchSetsTheExpiry,
    Check::MaximumTtlIsKept,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_begins_in_a_cookie_has_them_from_the_first_write_on() {
    let machines = |prepared, moving| Machines { prepared, moving };
    let report = conformance::run(&service(machines)).await;
    for broken in report.violations() {
        assert!(OF_COOKIES.contains(&broken.check()), "{report}");
    }
    for kept in [
        Check::NoWriteIsLost,
        Check::DestroyedStaysDestroyed,
        Check::WritesOnATombstone,
    ] {
        assert!(report.passed().contains(&kept), "{report}");
    }
}
