//! The registry of stores by name.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{
    ConfigError, MemoryStoreConfig, StoreConfigs, cookie_store, file_store,
    nearest_name::nearest_name, redis_store,
};
use crate::{
    session::Listeners,
    store::{MemoryStore, MigratingStore, Store, StoreError},
};

type OpenResult = Result<Box<dyn Store>, ConfigError>;
/// A function that opens a store. It may open other stores, by name.
type StoreFactory = Box<dyn FnOnce(&mut OpenContext<'_>) -> OpenResult + Send>;

/// The stores that a configuration can select by name.
///
/// Contains the built-in stores `memory`, `file`, `cookie` and `redis`, configured by
/// [`SessionConfig::stores`](super::SessionConfig::stores). Only the selected store is opened, with
/// the stores that it uses. A name is found in any case of its letters (`Redis`), unless another
/// store has exactly that name.
///
/// ```
/// use hyper_session::{SessionConfig, Sessions, config::StoreRegistry, store::MemoryStore};
///
/// let stores = StoreRegistry::new().register_with("small", || {
///     Ok(MemoryStore::builder().max_records(1_000).build())
/// });
/// let config = SessionConfig::default().app_key("a secret of thirty-two characters or more");
/// let sessions = Sessions::builder(config.store("small")).stores(stores).build()?;
/// # Ok::<(), hyper_session::config::ConfigError>(())
/// ```
pub struct StoreRegistry(BTreeMap<String, StoreFactory>);

impl StoreRegistry {
    /// Returns a registry of the built-in stores.
    pub fn new() -> Self {
        let mut stores = BTreeMap::<String, StoreFactory>::new();
        stores.insert(
            "memory".into(),
            Box::new(|context| Ok(open_memory(&context.configs.memory))),
        );
        stores.insert(
            "file".into(),
            Box::new(|context| file_store::open(&context.configs.file)),
        );
        stores.insert(
            "cookie".into(),
            Box::new(|context| {
                let config = &context.configs.cookie;
                let store =
                    cookie_store::open(config, |setting, name| context.open_shared(setting, name))?;
                Ok(Box::new(store))
            }),
        );
        stores.insert(
            "redis".into(),
            Box::new(|context| redis_store::open(&context.configs.redis, context.listeners)),
        );
        Self(stores)
    }

    /// Adds a store under `name`, or replaces the store with that name.
    #[must_use]
    pub fn register(self, name: impl Into<String>, store: impl Store) -> Self {
        self.register_with(name, move || Ok(store))
    }

    /// Adds a store that `open` opens if the configuration selects it, or replaces the store with that
    /// name.
    ///
    /// If `open` returns an error, building the sessions fails.
    #[must_use]
    pub fn register_with<S: Store>(
        mut self,
        name: impl Into<String>,
        open: impl FnOnce() -> Result<S, StoreError> + Send + 'static,
    ) -> Self {
        let open: StoreFactory = Box::new(|_| match open() {
            Ok(store) => Ok(Box::new(store)),
            Err(error) => Err(ConfigError::with_source("store", error)),
        });
        self.0.insert(name.into(), open);
        self
    }

    /// Opens the selected store, or the pair of stores of a migration.
    pub(super) fn open(self, selection: StoreSelection<'_>) -> OpenResult {
        let mut context = OpenContext {
            factories: self.0,
            shared: BTreeMap::new(),
            configs: selection.configs,
            listeners: selection.listeners,
        };
        let (setting, other) = match (selection.migrate_from, selection.migrate_to) {
            (None, None) => return context.take_factory("store", selection.store)?(&mut context),
            (Some(name), None) => ("migrate_from", name),
            (None, Some(name)) => ("migrate_to", name),
            (Some(_), Some(_)) => {
                let problem = "`migrate_from` and `migrate_to` are both set; unset one of them";
                return Err(ConfigError::new("migrate_from", problem));
            }
        };
        let other = &*context.registered_name(setting, other)?;
        if other == context.registered_name("store", selection.store)? {
            let problem = format!("{other:?} is the same as `store`; name the other store");
            return Err(ConfigError::new(setting, problem));
        }
        let other = context.open_shared(setting, other)?;
        let store = context.open_shared("store", selection.store)?;
        Ok(Box::new(match selection.migrate_from {
            Some(_) => MigratingStore::new(other, store),
            None => MigratingStore::prepare(store, other),
        }))
    }
}

/// The stores during opening. Each is opened at most once.
struct OpenContext<'c> {
    factories: BTreeMap<String, StoreFactory>,
    shared: BTreeMap<String, Arc<dyn Store>>,
    configs: &'c StoreConfigs,
    listeners: &'c Listeners,
}

impl OpenContext<'_> {
    /// Returns the store with this name. Opens it on the first call.
    fn open_shared(
        &mut self,
        setting: &'static str,
        name: &str,
    ) -> Result<Arc<dyn Store>, ConfigError> {
        let name = self.registered_name(setting, name)?;
        if let Some(store) = self.shared.get(&name) {
            return Ok(store.clone());
        }
        let store: Arc<dyn Store> = self.take_factory(setting, &name)?(self)?.into();
        self.shared.insert(name, store.clone());
        Ok(store)
    }

    fn take_factory(
        &mut self,
        setting: &'static str,
        name: &str,
    ) -> Result<StoreFactory, ConfigError> {
        let name = self.registered_name(setting, name)?;
        let factory = self.factories.remove(&name);
        factory.ok_or_else(|| ConfigError::new(setting, format!("store {name:?} is open already")))
    }

    /// Returns the name of a store that is not being opened, as it was registered. `name` may have
    /// other cases.
    fn registered_name(&self, setting: &'static str, name: &str) -> Result<String, ConfigError> {
        let names = self.factories.keys().chain(self.shared.keys());
        let mut names: Vec<&str> = names.map(String::as_str).collect();
        names.sort_unstable();
        let exact = names.iter().find(|known| **known == name);
        let found = exact.or_else(|| names.iter().find(|known| known.eq_ignore_ascii_case(name)));
        if let Some(found) = found {
            return Ok((*found).to_owned());
        }
        let nearest =
            nearest_name(name, &names).map(|nearest| format!("; did you mean {nearest:?}?"));
        let problem = format!(
            "no store is named {name:?}{} the names are {}",
            nearest.as_deref().unwrap_or(";"),
            names.join(", ")
        );
        Err(ConfigError::new(setting, problem))
    }
}

/// The store settings of a configuration.
pub(super) struct StoreSelection<'c> {
    pub(super) store: &'c str,
    pub(super) migrate_from: Option<&'c str>,
    pub(super) migrate_to: Option<&'c str>,
    pub(super) configs: &'c StoreConfigs,
    /// The listeners for outages of a store.
    pub(super) listeners: &'c Listeners,
}

fn open_memory(config: &MemoryStoreConfig) -> Box<dyn Store> {
    let mut builder = MemoryStore::builder();
    if let Some(records) = config.max_records {
        builder = builder.max_records(records);
    }
    if let Some(bytes) = config.max_bytes {
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
