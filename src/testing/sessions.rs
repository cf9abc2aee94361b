//! Sessions in memory, with a manual clock.

use std::time::Duration;

use super::TestStore;
use crate::{clock::Clock, config::SessionConfig, service::Sessions, store::MemoryStore};

/// The application key of sessions whose configuration has none.
const APP_KEY: &str = "the key of the testing kit, for no other use";

/// [`Sessions`] for a test, with a [`TestStore`] in memory and a manual clock.
///
/// The clock begins at the system's time and moves only with [`advance`](Self::advance) and [`Clock::set`]. So a
/// handler may take the `Expires` of a cookie from the system's clock.
///
/// ```
/// use hyper_session::testing::{StoreCall, TestSessions};
/// use std::time::Duration;
///
/// let test = TestSessions::new();
/// test.advance(Duration::from_secs(3600));
/// test.store().fail(StoreCall::Read);
/// # let _ = test.sessions();
/// ```
///
/// For another store or for listeners, build [`Sessions`] with [`Sessions::builder`].
#[derive(Clone, Debug)]
pub struct TestSessions {
    sessions: Sessions,
    store: TestStore<MemoryStore>,
    clock: Clock,
}

impl TestSessions {
    /// Creates sessions with the default configuration and a fixed application key.
    pub fn new() -> Self {
        Self::with_config(SessionConfig::default())
    }

    /// Creates sessions with this configuration. If it has no application key, they get a fixed one. The names of
    /// stores in the configuration are ignored.
    ///
    /// # Panics
    /// If a setting is invalid.
    #[track_caller]
    pub fn with_config(mut config: SessionConfig) -> Self {
        if config.app_key.is_none() {
            config = config.app_key(APP_KEY);
        }
        let clock = Clock::manual(Clock::system().now());
        let store = TestStore::new(MemoryStore::builder().clock(clock.clone()).build());
        let builder = Sessions::builder(config).store(store.clone());
        let sessions = match builder.clock(clock.clone()).build() {
            Ok(sessions) => sessions,
            Err(error) => panic!("configuration is invalid: {error}"),
        };
        Self {
            sessions,
            store,
            clock,
        }
    }

    /// Returns the sessions, to wrap the service under test.
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Returns the store.
    pub const fn store(&self) -> &TestStore<MemoryStore> {
        &self.store
    }

    /// Returns the clock of the sessions and of the store.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Advances the clock of the sessions, the store and the cookies of the clients.
    pub fn advance(&self, time: Duration) {
        self.clock.advance(time);
    }
}

impl Default for TestSessions {
    fn default() -> Self {
        Self::new()
    }
}
