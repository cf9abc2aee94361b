//! Sessions in their visitors' cookies, to test in.

use std::time::Duration;

use hyper_session::{
    SessionConfig, Sessions,
    clock::{Clock, Timestamp},
    config::StoreRegistry,
    store::{CookieStore, MemoryStore},
};

use super::{Browser, Seen, config};

/// Sessions on a cookie store, with a clock that stands still.
pub struct Sealed {
    pub sessions: Sessions,
    pub clock: Clock,
    pub seen: Seen,
    /// What may be behind the store: nothing unless `make` puts it there.
    pub behind: MemoryStore,
}

/// A cookie store as `make` makes it, which is handed a memory store to put behind it.
pub fn sealed_with(
    config: SessionConfig,
    make: impl FnOnce(CookieStore, MemoryStore) -> CookieStore,
) -> Sealed {
    let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    sealed_at(config, clock, make)
}

/// The same at a given time.
pub fn sealed_at(
    config: SessionConfig,
    clock: Clock,
    make: impl FnOnce(CookieStore, MemoryStore) -> CookieStore,
) -> Sealed {
    let behind = MemoryStore::builder().clock(clock.clone()).build();
    let store = make(CookieStore::new().clock(clock.clone()), behind.clone());
    let seen = Seen::default();
    let sessions = Sessions::builder(config.store("cookie"))
        .stores(StoreRegistry::new().with("cookie", store))
        .listener(seen.listener())
        .clock(clock.clone())
        .build()
        .unwrap();
    Sealed {
        sessions,
        clock,
        seen,
        behind,
    }
}

/// A cookie store with nothing behind it.
pub fn sealed() -> Sealed {
    sealed_with(config(), |store, _| store)
}

impl Sealed {
    pub fn browser(&self) -> Browser {
        Browser::new(&self.sessions)
    }

    pub fn advance(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Why data cookies were refused since the last time this was asked.
    pub fn rejected(&self) -> Vec<String> {
        let told = self.seen.of("cookie_rejected");
        self.seen.clear();
        told.into_iter().map(|told| told.text).collect()
    }
}

/// A text of this many characters, to fill sessions with.
pub fn text(len: usize) -> String {
    "abcdefghij".chars().cycle().take(len).collect()
}
