//! The registry of stores by name.

use std::{fmt, sync::Arc};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    ConfigError, MemoryStoreConfig, StoreConfigs, cookie_store, cookie_store::BackingUse,
    file_store, nearest_name::nearest_name, redis_store, section::find_problem,
};
use crate::{
    seal::KeyRing,
    session::Listeners,
    store::{MemoryStore, MigratingStore, Store, StoreError, memory::MemoryStoreBuilder},
};

type OpenResult = Result<Box<dyn Store>, ConfigError>;
/// A function that opens a store. It may open other stores, by name.
type StoreFactory = Box<dyn FnOnce(&mut OpenContext<'_>) -> OpenResult + Send>;

/// A function that opens a store for a revocation list.
type ListFactory = fn(&StoreConfigs) -> Arc<dyn Store>;

/// The names of the built-in stores, which are the names of their sections.
const BUILT_IN: [&str; 4] = ["memory", "file", "cookie", "redis"];

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
pub struct StoreRegistry {
    stores: Vec<RegisteredStore>,
}

struct RegisteredStore {
    name: String,
    factory: StoreFactory,
    /// The store reads a section of the configuration with its name.
    has_section: bool,
    /// Opens the store of a revocation list, if the list needs another one.
    list_factory: Option<ListFactory>,
}

impl StoreRegistry {
    /// Returns a registry of the built-in stores.
    pub fn new() -> Self {
        let mut registry = Self { stores: Vec::new() };
        let mut add = |name: &str, factory| registry.add(name.to_owned(), factory, false);
        add(
            "memory",
            Box::new(|context| Ok(Box::new(memory_builder(&context.configs.memory).build()))),
        );
        add(
            "file",
            Box::new(|context| file_store::open(&context.configs.file, context.listeners)),
        );
        add(
            "cookie",
            Box::new(|context| {
                let config = &context.configs.cookie;
                let store = cookie_store::open(config, |usage, setting, name| match usage {
                    BackingUse::Overflow => context.open_shared(setting, name),
                    BackingUse::RevocationList => context.open_list(setting, name),
                })?;
                Ok(Box::new(store))
            }),
        );
        add(
            "redis",
            Box::new(|context| {
                let fingerprints = context.keys.fingerprints();
                redis_store::open(&context.configs.redis, context.listeners, fingerprints)
            }),
        );
        let memory = registry.stores.iter_mut().find(|it| it.name == "memory");
        if let Some(memory) = memory {
            memory.list_factory = Some(open_memory_list);
        }
        registry
    }

    /// Adds a store, or replaces the store with that name.
    fn add(&mut self, name: String, factory: StoreFactory, has_section: bool) {
        self.stores.retain(|store| store.name != name);
        self.stores.push(RegisteredStore {
            name,
            factory,
            has_section,
            list_factory: None,
        });
    }

    /// Returns the names of the stores that `filter` accepts, sorted.
    fn names(&self, filter: impl Fn(&RegisteredStore) -> bool) -> Vec<&str> {
        let stores = self.stores.iter().filter(|store| filter(store));
        let mut names: Vec<&str> = stores.map(|store| &*store.name).collect();
        names.sort_unstable();
        names
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
        self.add(name.into(), open, false);
        self
    }

    /// Adds a store with a section `[stores.NAME]` in the configuration, or replaces the store with that
    /// name. `open` gets the section; without one, it gets the section of no settings.
    ///
    /// If the section does not fit `C`, or `open` returns an error, building the sessions fails. It also fails if
    /// `name` is the name of a built-in store, whose section has the settings of that store.
    ///
    /// ```
    /// use hyper_session::{SessionConfig, Sessions, config::StoreRegistry, store::MemoryStore};
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize)]
    /// #[serde(deny_unknown_fields)]
    /// struct SmallConfig {
    ///     records: u64,
    /// }
    ///
    /// let config: SessionConfig = toml::from_str(r#"
    ///     store = "small"
    ///     [stores.small]
    ///     records = 1000
    /// "#)?;
    /// let stores = StoreRegistry::new().register_with_config("small", |config: SmallConfig| {
    ///     Ok(MemoryStore::builder().max_records(config.records).build())
    /// });
    /// let config = config.app_key("a secret of thirty-two characters or more");
    /// let sessions = Sessions::builder(config).stores(stores).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn register_with_config<S: Store, C: DeserializeOwned>(
        mut self,
        name: impl Into<String>,
        open: impl FnOnce(C) -> Result<S, StoreError> + Send + 'static,
    ) -> Self {
        let name = name.into();
        let section = name.clone();
        let open: StoreFactory = Box::new(move |context| {
            if BUILT_IN.contains(&&*section) {
                let problem = format!(
                    "the section {section:?} is that of a built-in store; register yours with another name"
                );
                return Err(ConfigError::new("stores", problem));
            }
            let custom = context.configs.custom.get(&section).cloned();
            let settings = custom.map_or_else(|| Value::Object(Map::new()), |custom| custom.0);
            // The text of this error may contain a value, and a value may be a secret.
            let Ok(config) = serde_json::from_value(settings.clone()) else {
                let problem = find_problem::<C>(settings);
                return Err(
                    ConfigError::new("stores", problem).context(format!("section {section:?}"))
                );
            };
            match open(config) {
                Ok(store) => Ok(Box::new(store)),
                Err(error) => Err(ConfigError::with_source("store", error)),
            }
        });
        self.add(name, open, true);
        self
    }

    /// Checks that a store reads each section of the configuration.
    fn check_sections(&self, configs: &StoreConfigs) -> Result<(), ConfigError> {
        let configured = self.names(|store| store.has_section);
        let mut sections = configs.custom.keys();
        let Some(unknown) = sections.find(|name| !configured.contains(&name.as_str())) else {
            return Ok(());
        };
        let names = [&BUILT_IN[..], &configured].concat();
        let problem = format!(
            "no store has the section {unknown:?}{} the sections are {}",
            suggestion(unknown, &names),
            names.join(", ")
        );
        Err(ConfigError::new("stores", problem))
    }

    /// Opens the selected store, or the pair of stores of a migration.
    pub(super) fn open(self, selection: StoreSelection<'_>) -> OpenResult {
        self.check_sections(selection.configs)?;
        let lists = self.stores.iter();
        let lists = lists.filter_map(|it| Some((it.name.clone(), it.list_factory?)));
        let mut context = OpenContext {
            lists: lists.collect(),
            stores: self.stores,
            shared: Vec::new(),
            configs: selection.configs,
            listeners: selection.listeners,
            keys: selection.keys,
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
    stores: Vec<RegisteredStore>,
    shared: Vec<(String, Arc<dyn Store>)>,
    /// The functions that open the stores of revocation lists, by the names of the stores that they replace.
    lists: Vec<(String, ListFactory)>,
    configs: &'c StoreConfigs,
    listeners: &'c Listeners,
    keys: &'c KeyRing,
}

impl OpenContext<'_> {
    /// Returns the store with this name. Opens it on the first call.
    fn open_shared(
        &mut self,
        setting: &'static str,
        name: &str,
    ) -> Result<Arc<dyn Store>, ConfigError> {
        let name = self.registered_name(setting, name)?;
        if let Some((_, store)) = self.shared.iter().find(|(known, _)| *known == name) {
            return Ok(store.clone());
        }
        let store: Arc<dyn Store> = self.take_factory(setting, &name)?(self)?.into();
        self.shared.push((name, store.clone()));
        Ok(store)
    }

    /// Returns the store with this name for a revocation list.
    fn open_list(
        &mut self,
        setting: &'static str,
        name: &str,
    ) -> Result<Arc<dyn Store>, ConfigError> {
        let name = self.registered_name(setting, name)?;
        match self.lists.iter().find(|(known, _)| *known == name) {
            Some((_, open)) => Ok(open(self.configs)),
            None => self.open_shared(setting, &name),
        }
    }

    fn take_factory(
        &mut self,
        setting: &'static str,
        name: &str,
    ) -> Result<StoreFactory, ConfigError> {
        let name = self.registered_name(setting, name)?;
        match self.stores.iter().position(|store| store.name == name) {
            Some(index) => Ok(self.stores.swap_remove(index).factory),
            None => Err(ConfigError::new(
                setting,
                format!("store {name:?} is open already"),
            )),
        }
    }

    /// Returns the name of a store that is not being opened, as it was registered. `name` may have
    /// other cases.
    fn registered_name(&self, setting: &'static str, name: &str) -> Result<String, ConfigError> {
        let closed = self.stores.iter().map(|store| &*store.name);
        let open = self.shared.iter().map(|(name, _)| &**name);
        let mut names: Vec<&str> = closed.chain(open).collect();
        names.sort_unstable();
        let exact = names.iter().find(|known| **known == name);
        let found = exact.or_else(|| names.iter().find(|known| known.eq_ignore_ascii_case(name)));
        if let Some(found) = found {
            return Ok((*found).to_owned());
        }
        let problem = format!(
            "no store is named {name:?}{} the names are {}",
            suggestion(name, &names),
            names.join(", ")
        );
        Err(ConfigError::new(setting, problem))
    }
}

/// Returns the end of a sentence about an unknown name: the nearest known one, if there is one.
fn suggestion(name: &str, known: &[&str]) -> String {
    nearest_name(name, known).map_or_else(
        || ";".to_owned(),
        |nearest| format!("; did you mean {nearest:?}?"),
    )
}

/// The store settings of a configuration.
pub(super) struct StoreSelection<'c> {
    pub(super) store: &'c str,
    pub(super) migrate_from: Option<&'c str>,
    pub(super) migrate_to: Option<&'c str>,
    pub(super) configs: &'c StoreConfigs,
    /// The listeners for outages and problems of a store.
    pub(super) listeners: &'c Listeners,
    /// The application keys.
    pub(super) keys: &'c KeyRing,
}

/// Opens a store of its own, which sessions in the memory store do not fill.
fn open_memory_list(configs: &StoreConfigs) -> Arc<dyn Store> {
    let builder = memory_builder(&configs.memory);
    Arc::new(builder.refuse_when_full(true).build())
}

fn memory_builder(config: &MemoryStoreConfig) -> MemoryStoreBuilder {
    let mut builder = MemoryStore::builder();
    if let Some(records) = config.max_records {
        builder = builder.max_records(records);
    }
    if let Some(bytes) = config.max_bytes {
        builder = builder.max_bytes(bytes);
    }
    builder
}

impl Default for StoreRegistry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for StoreRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names(|_| true)).finish()
    }
}
