//! Conformance of the cookie store to the store contract, as far as its capabilities promise.

use std::time::Duration;

use hyper_session::{
    clock::{Clock, Timestamp},
    cookie::{Attributes, CookieName},
    seal::{KeyRing, SealKey},
    store::{
        CookieContext, CookieStore, MemoryStore,
        conformance::{self, Check, ClientSideHarness, Harness},
    },
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The number of cookies that the maximum of tags takes. Tags do not overflow.
const ROOM_FOR_TAGS: usize = 6;

struct Jars<F> {
    clock: Clock,
    make: F,
    tombstone: Duration,
}

impl<F: Fn(CookieStore, &Clock) -> CookieStore + Send + Sync> Harness for Jars<F> {
    type Store = ClientSideHarness;

    async fn store(&self) -> ClientSideHarness {
        let store = (self.make)(CookieStore::new().clock(self.clock.clone()), &self.clock);
        let key = SealKey::from_text("the first secret of thirty-two characters").unwrap();
        ClientSideHarness::new(
            &store,
            &CookieContext::new(
                &KeyRing::new(key),
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
        self.tombstone
    }
}

fn jars<F: Fn(CookieStore, &Clock) -> CookieStore>(make: F) -> Jars<F> {
    Jars {
        clock: Clock::manual(Timestamp::from_millis(1_700_000_000_000)),
        make,
        // A revocation outlives every cookie by one minute.
        tombstone: DAY + Duration::from_secs(60),
    }
}

fn memory(clock: &Clock) -> MemoryStore {
    MemoryStore::builder().clock(clock.clone()).build()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_in_cookies_keeps_what_needs_no_server() {
    let report = conformance::run(&jars(|store, _| store)).await;
    let [data, tags] = report.violations() else {
        panic!("{report}");
    };
    assert_eq!(data.check(), Check::DataIsOpaque);
    assert_eq!(tags.check(), Check::MaximumTagsAreKept);
    for too_large in [data, tags] {
        let observed = too_large.observed();
        assert!(observed.contains("limit is 4096"), "{too_large}");
    }
    assert!(report.skipped().contains(&Check::NoWriteIsLost));
    assert!(report.passed().contains(&Check::MaximumTtlIsKept));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_an_overflow_a_megabyte_fits_too() {
    let jars = jars(|store: CookieStore, clock: &Clock| {
        store.max_chunks(ROOM_FOR_TAGS).with_overflow(memory(clock))
    });
    let report = conformance::run(&jars).await;
    report.assert_passed();
    assert!(report.passed().contains(&Check::DataIsOpaque));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_revocation_what_was_destroyed_stays_so() {
    let jars = jars(|store: CookieStore, clock: &Clock| {
        let backing = MemoryStore::builder().clock(clock.clone());
        let backing = backing.refuse_when_full(true).build();
        store
            .max_chunks(ROOM_FOR_TAGS)
            .with_overflow(backing.clone())
            .with_revocation(backing)
    });
    let report = conformance::run(&jars).await;
    report.assert_passed();
    for check in [
        Check::DestroyedStaysDestroyed,
        Check::WritesOnATombstone,
        Check::DestroyFencesAnAbsentKey,
        Check::FenceOutlastsTheRecord,
        Check::FenceEnds,
    ] {
        assert!(report.passed().contains(&check), "{report}");
    }
}
