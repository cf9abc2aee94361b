//! Stores by name.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{ConfigError, MemoryStoreConfig, StoreConfigs, cookie_store, file_store, redis_store};
use crate::{
    session::Listeners,
    store::{MemoryStore, MigratingStore, Store, StoreError},
};

type Opened = Result<Box<dyn Store>, ConfigError>;
/// It may have others opened, which it names.
type Open = Box<dyn FnOnce(&mut Opening<'_>) -> Opened + Send>;

/// The stores out of which a configuration chooses one by name.
///
/// `memory`, `file`, `cookie` and `redis` are always among them, as their
/// [sections](super::SessionConfig::stores) of the configuration say. Only the chosen store is opened.
///
/// ```
/// use hyper_session::{SessionConfig, Sessions, config::Stores, store::MemoryStore};
///
/// let stores = Stores::new().register_with("small", || {
///     Ok(MemoryStore::builder().max_records(1_000).build())
/// });
/// let config = SessionConfig::default().app_key("a secret of thirty-two characters or more");
/// let sessions = Sessions::builder(config.store("small")).stores(stores).build()?;
/// # Ok::<(), hyper_session::config::ConfigError>(())
/// ```
pub struct StoreRegistry(BTreeMap<String, Open>);

impl StoreRegistry {
    /// The stores that come with the crate.
    pub fn new() -> Self {
        let mut stores = BTreeMap::<String, Open>::new();
        stores.insert(
            "memory".into(),
            Box::new(|of| Ok(memory(&of.sections.memory))),
        );
        stores.insert(
            "file".into(),
            Box::new(|of| file_store::open(&of.sections.file)),
        );
        stores.insert(
            "cookie".into(),
            Box::new(|of| {
                let section = &of.sections.cookie;
                let store = cookie_store::open(section, |setting, name| of.share(setting, name))?;
                Ok(Box::new(store))
            }),
        );
        stores.insert(
            "redis".into(),
            Box::new(|of| redis_store::open(&of.sections.redis, of.listeners)),
        );
        Self(stores)
    }

    /// Adds a store, or replaces the one of this name.
    #[must_use]
    pub fn with(self, name: impl Into<String>, store: impl Store) -> Self {
        self.register_with(name, move || Ok(store))
    }

    /// Adds a store that `open` opens if the configuration chooses it.
    #[must_use]
    pub fn register_with<S: Store>(
        mut self,
        name: impl Into<String>,
        open: impl FnOnce() -> Result<S, StoreError> + Send + 'static,
    ) -> Self {
        let open: Open = Box::new(|_| match open() {
            Ok(store) => Ok(Box::new(store)),
            Err(error) => Err(ConfigError::caused("store", error)),
        });
        self.0.insert(name.into(), open);
        self
    }

    /// Opens what `choice` names.
    pub(super) fn open(self, choice: Choice<'_>) -> Opened {
        let mut opening = Opening {
            stores: self.0,
            shared: BTreeMap::new(),
            sections: choice.sections,
            listeners: choice.listeners,
        };
        let (setting, other) = match (choice.migrate_from, choice.migrate_to) {
            (None, None) => return opening.take("store", choice.store)?(&mut opening),
            (Some(name), None) => ("migrate_from", name),
            (None, Some(name)) => ("migrate_to", name),
            (Some(_), Some(_)) => {
                let why = "this and `migrate_to` cannot both be set: see `store::MigratingStore`";
                return Err(ConfigError::new("migrate_from", why));
            }
        };
        if other == choice.store {
            let why = format!("{other:?} is the same as `store`: name the other one of the two");
            return Err(ConfigError::new(setting, why));
        }
        let other = opening.share(setting, other)?;
        let store = opening.share("store", choice.store)?;
        Ok(Box::new(match choice.migrate_from {
            Some(_) => MigratingStore::new(other, store),
            None => MigratingStore::prepare(store, other),
        }))
    }
}

/// Stores while those that are needed are opened, each of them once.
struct Opening<'c> {
    stores: BTreeMap<String, Open>,
    shared: BTreeMap<String, Arc<dyn Store>>,
    sections: &'c StoreConfigs,
    listeners: &'c Listeners,
}

impl Opening<'_> {
    /// The store of this name, opened for whoever names it first.
    fn share(&mut self, setting: &'static str, name: &str) -> Result<Arc<dyn Store>, ConfigError> {
        if let Some(store) = self.shared.get(name) {
            return Ok(store.clone());
        }
        let store: Arc<dyn Store> = self.take(setting, name)?(self)?.into();
        self.shared.insert(name.to_owned(), store.clone());
        Ok(store)
    }

    fn take(&mut self, setting: &'static str, name: &str) -> Result<Open, ConfigError> {
        if let Some(open) = self.stores.remove(name) {
            return Ok(open);
        }
        let names = self.stores.keys().chain(self.shared.keys());
        let mut names: Vec<&str> = names.map(String::as_str).collect();
        names.sort_unstable();
        let names = names.join(", ");
        let why = format!("no store is called {name:?}: the names are {names}");
        Err(ConfigError::new(setting, why))
    }
}

/// What a configuration says of its store.
pub(super) struct Choice<'c> {
    pub(super) store: &'c str,
    pub(super) migrate_from: Option<&'c str>,
    pub(super) migrate_to: Option<&'c str>,
    pub(super) sections: &'c StoreConfigs,
    /// Who is told of a store's outages.
    pub(super) listeners: &'c Listeners,
}

fn memory(section: &MemoryStoreConfig) -> Box<dyn Store> {
    let mut builder = MemoryStore::builder();
    if let Some(records) = section.max_records {
        builder = builder.max_records(records);
    }
    if let Some(bytes) = section.max_bytes {
        builder = builder.max_bytes(bytes);
    }
    Box::new(builder.build())
}

impl Default for StoreRegistry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for StoreRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
