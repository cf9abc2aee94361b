//! A configuration, an event log, and both with a store and a clock: a house to test in.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper_session::{
    SessionConfig, Sessions,
    clock::{Clock, Timestamp},
    config::StoreRegistry,
    id::StoreKey,
    session::Event,
    store::MemoryStore,
};
use serde_json::Value;

use super::{Browser, GateStore};

pub const KEY: &str = "the first secret of thirty-two characters";

/// Plain HTTP, everything else as it comes.
pub fn config() -> SessionConfig {
    SessionConfig::default().secure(false).app_key(KEY)
}

/// What a listener heard.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<Mutex<Vec<Told>>>);

/// One event, in its own words.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub name: &'static str,
    pub keys: Vec<StoreKey>,
    pub text: String,
}

impl Seen {
    pub fn listener(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let seen = self.0.clone();
        move |event| seen.lock().unwrap().push(Told::of(event))
    }

    pub fn names(&self) -> Vec<&'static str> {
        self.all().iter().map(|told| told.name).collect()
    }

    pub fn all(&self) -> Vec<Told> {
        self.0.lock().unwrap().clone()
    }

    pub fn of(&self, name: &str) -> Vec<Told> {
        let mut all = self.all();
        all.retain(|told| told.name == name);
        all
    }

    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

impl Told {
    fn of(event: &Event<'_>) -> Self {
        let (keys, text) = match event {
            Event::Initiated { key, fresh } => (vec![*key], format!("fresh={fresh}")),
            Event::Committed { key } | Event::Destroyed { key } => (vec![*key], String::new()),
            Event::Regenerated { from, to } => (vec![*from, *to], String::new()),
            Event::ConflictResolved { key, attempts } => (vec![*key], format!("{attempts}")),
            Event::WriteDropped { key, reason } => (vec![*key], (*reason).to_owned()),
            Event::CookieRejected { reason }
            | Event::CsrfFailed { reason }
            | Event::ConfigAdjusted { reason } => (vec![], (*reason).to_owned()),
            Event::StoreFailed { error } => (vec![], error.to_string()),
            Event::StoreUnavailable { store, reason } => (vec![], format!("{store}: {reason}")),
            Event::StoreRecovered { store, failed, .. } => (vec![], format!("{store}: {failed}")),
            other => (
                vec![],
                format!("an event that the tests do not know: {other:?}"),
            ),
        };
        Self {
            name: event.name(),
            keys,
            text,
        }
    }
}

/// Sessions on a memory store that can be held up, with a clock that stands still.
pub struct House {
    pub sessions: Sessions,
    pub store: GateStore,
    pub memory: MemoryStore,
    pub clock: Clock,
    pub seen: Seen,
}

/// A house after this configuration.
pub fn house(config: SessionConfig) -> House {
    let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let memory = MemoryStore::builder().clock(clock.clone()).build();
    let store = GateStore::new(memory.clone());
    let seen = Seen::default();
    let sessions = Sessions::builder(config.store("gate"))
        .stores(StoreRegistry::new().with("gate", store.clone()))
        .listener(seen.listener())
        .clock(clock.clone())
        .build()
        .unwrap();
    House {
        sessions,
        store,
        memory,
        clock,
        seen,
    }
}

impl House {
    pub fn browser(&self) -> Browser {
        Browser::new(&self.sessions)
    }

    pub fn later(&self, by: Duration) {
        self.clock.advance(by);
    }
}

/// A JSON object out of a snapshot, to compare with.
pub fn object(session: &hyper_session::Session) -> Value {
    session.all().unwrap()
}
