//! Sessions with a memory store, an event log and a manual clock.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper_session::{
    SessionConfig, Sessions,
    clock::{Clock, Timestamp},
    id::StoreKey,
    session::Event,
    store::{MemoryStore, Store},
    testing::TestStore,
};
use serde_json::Value;

use super::Browser;

pub const KEY: &str = "the first secret of thirty-two characters";

/// Returns the default configuration, for plain HTTP.
pub fn config() -> SessionConfig {
    SessionConfig::default().secure(false).app_key(KEY)
}

/// A listener that keeps every event.
#[derive(Clone, Debug, Default)]
pub struct EventLog(Arc<Mutex<Vec<LoggedEvent>>>);

/// An event, with its keys and its other fields as text.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedEvent {
    pub name: &'static str,
    pub keys: Vec<StoreKey>,
    pub text: String,
}

impl EventLog {
    pub fn listener(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let events = self.0.clone();
        move |event| events.lock().unwrap().push(LoggedEvent::new(event))
    }

    pub fn names(&self) -> Vec<&'static str> {
        self.all().iter().map(|event| event.name).collect()
    }

    pub fn all(&self) -> Vec<LoggedEvent> {
        self.0.lock().unwrap().clone()
    }

    pub fn with_name(&self, name: &str) -> Vec<LoggedEvent> {
        let mut all = self.all();
        all.retain(|event| event.name == name);
        all
    }

    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

impl LoggedEvent {
    fn new(event: &Event<'_>) -> Self {
        let (keys, text) = match event {
            Event::Initiated { key, fresh } => (vec![*key], format!("fresh={fresh}")),
            Event::Committed { key }
            | Event::Destroyed { key }
            | Event::RecordUnreadable { key } => (vec![*key], String::new()),
            Event::Regenerated { from, to } => (vec![*from, *to], String::new()),
            Event::ConflictResolved { key, attempts } => (vec![*key], format!("{attempts}")),
            Event::Conflict { key, path } => (vec![*key], (*path).to_owned()),
            Event::WriteDropped { key, reason } => (vec![*key], (*reason).to_owned()),
            Event::CookieRejected { reason }
            | Event::CsrfFailed { reason }
            | Event::ConfigAdjusted { reason } => (vec![], (*reason).to_owned()),
            Event::PrefixShared {
                prefix,
                other_started,
                ..
            } => (vec![], format!("{prefix} {}", other_started.as_millis())),
            Event::LayerConflict { cookie_name } => (vec![], (*cookie_name).to_owned()),
            Event::StoreFailed { key, error } => (key.iter().copied().collect(), error.to_string()),
            Event::StoreUnavailable { store, reason, .. } => (vec![], format!("{store}: {reason}")),
            Event::StoreStopped { store, reason } => (vec![], format!("{store}: {reason}")),
            Event::StoreProblem {
                store,
                problem,
                message,
            } => (vec![], format!("{store}: {problem}: {message}")),
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

/// A memory store whose calls wait or fail on request.
pub type GateStore = TestStore<MemoryStore>;

/// Sessions on a memory store behind a gate, with a manual clock.
pub struct TestServer {
    pub sessions: Sessions,
    pub store: GateStore,
    pub memory: MemoryStore,
    pub clock: Clock,
    pub events: EventLog,
}

/// Creates a test server with this configuration.
pub fn test_server(config: SessionConfig) -> TestServer {
    let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let memory = MemoryStore::builder().clock(clock.clone()).build();
    let store = GateStore::new(memory.clone());
    let events = EventLog::default();
    let sessions = Sessions::builder(config)
        .store(store.clone())
        .listener(events.listener())
        .clock(clock.clone())
        .build()
        .unwrap();
    TestServer {
        sessions,
        store,
        memory,
        clock,
        events,
    }
}

impl TestServer {
    pub fn browser(&self) -> Browser {
        Browser::new(&self.sessions)
    }

    pub fn advance(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Returns the sessions of another process with the same store.
    pub fn another_process(&self) -> Sessions {
        self.with_store(self.store.clone())
    }

    /// Returns the sessions of another process with this store.
    pub fn with_store(&self, store: impl Store) -> Sessions {
        Sessions::builder(config())
            .store(store)
            .clock(self.clock.clone())
            .build()
            .unwrap()
    }
}

/// Returns all data of the session of this browser.
pub async fn data(browser: &mut Browser) -> Value {
    browser.visit(async |session| object(session)).await
}

/// Returns all data of a session, to compare with.
pub fn object(session: &hyper_session::Session) -> Value {
    session.all().unwrap()
}
