//! Sessions in cookies, with an event log and a manual clock.

use std::time::Duration;

use hyper_session::{
    SessionConfig, Sessions,
    clock::{Clock, Timestamp},
    store::{CookieStore, MemoryStore},
};

use super::{Browser, EventLog, config};

/// Sessions on a cookie store, with a manual clock.
pub struct CookieServer {
    pub sessions: Sessions,
    pub clock: Clock,
    pub events: EventLog,
    /// The server-side store, if `make` used it.
    pub server_side: MemoryStore,
}

/// Creates sessions on the cookie store that `make` returns. Its second argument is a store that it
/// may use on the server side.
pub fn cookie_server_with(
    config: SessionConfig,
    make: impl FnOnce(CookieStore, MemoryStore) -> CookieStore,
) -> CookieServer {
    let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    cookie_server_at(config, clock, make)
}

/// Creates the same with this clock.
pub fn cookie_server_at(
    config: SessionConfig,
    clock: Clock,
    make: impl FnOnce(CookieStore, MemoryStore) -> CookieStore,
) -> CookieServer {
    let server_side = MemoryStore::builder().clock(clock.clone());
    let server_side = server_side.refuse_when_full(true).build();
    let store = make(CookieStore::new().clock(clock.clone()), server_side.clone());
    let events = EventLog::default();
    let sessions = Sessions::builder(config)
        .store(store)
        .listener(events.listener())
        .clock(clock.clone())
        .build()
        .unwrap();
    CookieServer {
        sessions,
        clock,
        events,
        server_side,
    }
}

/// Creates sessions on a cookie store without a server-side store.
pub fn cookie_server() -> CookieServer {
    cookie_server_with(config(), |store, _| store)
}

impl CookieServer {
    pub fn browser(&self) -> Browser {
        Browser::new(&self.sessions)
    }

    pub fn advance(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Returns why cookies were rejected since the last time this method was called.
    pub fn rejections(&self) -> Vec<String> {
        let rejected = self.events.with_name("cookie_rejected");
        self.events.clear();
        rejected.into_iter().map(|event| event.text).collect()
    }
}

/// Returns a string of this many characters.
pub fn text(len: usize) -> String {
    "abcdefghij".chars().cycle().take(len).collect()
}
