//! Stores by name.

use std::{collections::BTreeMap, fmt};

use super::ConfigError;
use crate::store::{MemoryStore, Store, StoreError};

type Open = Box<dyn FnOnce() -> Result<Box<dyn Store>, StoreError> + Send>;

/// The stores out of which a configuration chooses one by name. `memory` is always among them.
///
/// Only the chosen store is opened.
///
/// ```
/// use hyper_session::{SessionConfig, Sessions, config::Stores, store::MemoryStore};
///
/// let stores = Stores::new().with_opened("small", || {
///     Ok(MemoryStore::builder().max_records(1_000).build())
/// });
/// let config = SessionConfig::default().app_key("a secret of thirty-two characters or more");
/// let sessions = Sessions::builder(config.store("small")).stores(stores).build()?;
/// # Ok::<(), hyper_session::config::ConfigError>(())
/// ```
pub struct Stores(BTreeMap<String, Open>);

impl Stores {
    /// The memory store, with its defaults.
    pub fn new() -> Self {
        Self(BTreeMap::new()).with_opened("memory", || Ok(MemoryStore::new()))
    }

    /// Adds a store, or replaces the one of this name.
    #[must_use]
    pub fn with(self, name: impl Into<String>, store: impl Store) -> Self {
        self.with_opened(name, move || Ok(store))
    }

    /// Adds a store that `open` opens if the configuration chooses it.
    #[must_use]
    pub fn with_opened<S: Store>(
        mut self,
        name: impl Into<String>,
        open: impl FnOnce() -> Result<S, StoreError> + Send + 'static,
    ) -> Self {
        let open: Open = Box::new(|| open().map(|store| Box::new(store) as Box<dyn Store>));
        self.0.insert(name.into(), open);
        self
    }

    pub(super) fn open(mut self, name: &str) -> Result<Box<dyn Store>, ConfigError> {
        let Some(open) = self.0.remove(name) else {
            let known: Vec<_> = self.0.into_keys().collect();
            let known = known.join(", ");
            return Err(ConfigError::new(
                "store",
                format!("no store is called {name:?}: the names are {known}"),
            ));
        };
        open().map_err(|error| ConfigError::caused("store", error))
    }
}

impl Default for Stores {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
