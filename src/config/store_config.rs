//! The settings of the built-in stores.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::Deserialize;

use super::{ConfigError, Secret};
use crate::duration::DurationSetting;

/// The settings of the built-in stores.
///
/// Only the settings of the selected store and of the stores that it uses have an effect. Settings of a
/// store that the program was built without are allowed.
///
/// A store of your own may have a section under its name; see
/// [`StoreRegistry::register_with_config`](super::StoreRegistry::register_with_config).
///
/// ```
/// use hyper_session::SessionConfig;
///
/// let config: SessionConfig = toml::from_str(r#"
///     store = "redis"
///     [stores.file]
///     location = "/var/lib/shop/sessions"
///     durability = "always"
///     [stores.redis]
///     url = "redis://sessions.internal:6379/0"
///     prefix = "shop:"
/// "#)?;
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct StoreConfigs {
    /// The settings of the store `memory`.
    pub memory: MemoryStoreConfig,
    /// The settings of the store `file`.
    pub file: FileStoreConfig,
    /// The settings of the store `cookie`.
    pub cookie: CookieStoreConfig,
    /// The settings of the store `redis`.
    pub redis: RedisStoreConfig,
    /// The sections of other stores, by name. Building sessions fails if no store is registered with a
    /// configuration under such a name.
    #[serde(flatten)]
    pub custom: BTreeMap<String, CustomStoreConfig>,
}

/// The section of a store of the program's own. `Debug` does not show it, since it may be secret.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct CustomStoreConfig(pub(super) serde_json::Value);

impl CustomStoreConfig {
    /// Returns a section with these settings.
    pub const fn new(settings: serde_json::Value) -> Self {
        Self(settings)
    }
}

impl fmt::Debug for CustomStoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// The limits of the [memory store](crate::store::MemoryStore#limits).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MemoryStoreConfig {
    /// The maximum number of sessions. Default: 1,000,000.
    pub max_records: Option<u64>,
    /// The maximum size of data and tags, in bytes. Default: 512 MiB.
    pub max_bytes: Option<u64>,
}

/// The directory, the durability and the reaction to damage of the file store.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FileStoreConfig {
    /// The directory. It is created if it is missing. Only one process may use it at a time. Default:
    /// `tmp/sessions`, relative to the working directory. A path in quotes, or one that begins with
    /// `~`, is an error.
    pub location: PathBuf,
    /// The time at which a write is synced to the disk: `always` before it is acknowledged, `os` when the operating
    /// system does so, or within a duration such as `200ms`, which must not be zero. Default: `200ms`.
    pub durability: Option<String>,
    /// The reaction to damage in durable data: `refuse` to open, `drop_uncertain` to open without the
    /// sessions that may have an older state, or `allow_data_loss`. Default: `refuse`.
    pub on_damage: Option<String>,
}

impl FileStoreConfig {
    /// Checks that the location is a path, not the text that a shell would turn into one. `setting` is the
    /// setting that contains it.
    pub(super) fn check_location(&self, setting: &'static str) -> Result<(), ConfigError> {
        let text = self.location.to_string_lossy();
        let problem = if text.starts_with(['"', '\'']) {
            "the quotes would be part of the name; remove them"
        } else if text.starts_with('~') {
            "`~` is not expanded; write the whole path, or `./~` for such a name"
        } else {
            return Ok(());
        };
        Err(ConfigError::new(setting, problem).context(format!("{text:?}")))
    }
}

impl Default for FileStoreConfig {
    fn default() -> Self {
        Self {
            location: PathBuf::from("tmp/sessions"),
            durability: None,
            on_damage: None,
        }
    }
}

/// The settings of the [cookie store](crate::store::CookieStore): its size, and the stores at the
/// server that it uses.
///
/// Those stores are selected by name and have their own settings. One name is one store, except for a list in
/// `memory`. `redis` may hold the overflow, the revocation list and, after a migration, the sessions.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CookieStoreConfig {
    /// The maximum number of cookies of one session, 1 to 8. Default: 1.
    pub max_chunks: Option<usize>,
    /// The name of the store for sessions that do not fit into the cookies. Default: none, so that such
    /// a session is an error.
    pub overflow: Option<String>,
    /// The name of the store for the list of destroyed sessions, whose cookies are rejected. The store must
    /// not evict records. Default: none.
    ///
    /// For `memory`, the list is a store of its own with the limits of that section. It ends with the process.
    /// When it is full, sign-outs fail until entries expire, and are not acknowledged.
    pub revocation: Option<String>,
}

/// The server, the keys and the limits of the [Redis store](crate::store#stores).
///
/// ```
/// use hyper_session::SessionConfig;
///
/// let config: SessionConfig = toml::from_str(r#"
///     store = "redis"
///     [stores.redis]
///     url = "rediss://shop:secret@sessions.internal:6380/0"
///     prefix = "shop:"
///     pool_size = 4
///     operation_timeout = "2s"
///     wait_for_replicas = 1
///     [stores.redis.near_cache]
///     max_records = 50_000
///     max_age = "5s"
/// "#)?;
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RedisStoreConfig {
    /// The URL: `redis://`, `rediss://`, `redis+unix://`, `redis-sentinel://` or `redis-cluster://`.
    /// Special characters of the password are percent-encoded. Errors never show it. Default:
    /// `redis://127.0.0.1:6379`.
    pub url: Secret,
    /// The prefix of every key. Each application needs a prefix of its own. Default: `session:`.
    pub prefix: Option<String>,
    /// The number of connections to each server, 1 to 1,000. Default: 2.
    pub pool_size: Option<usize>,
    /// The timeout for opening a connection and for each step of its setup. Default: 2 seconds.
    pub connect_timeout: Option<DurationSetting>,
    /// The timeout of one attempt at one command. Default: 1 second.
    pub command_timeout: Option<DurationSetting>,
    /// The timeout of a whole operation, with its retries. Default: 3 seconds.
    pub operation_timeout: Option<DurationSetting>,
    /// The time that an operation waits during a known outage. Default: 250 milliseconds.
    pub outage_timeout: Option<DurationSetting>,
    /// The time that [`Sessions::ready`](crate::Sessions::ready) waits for the server. Default: 10
    /// seconds.
    pub startup_timeout: Option<DurationSetting>,
    /// The maximum number of operations in flight, 1 to 10,000,000. Default: 10,000.
    pub max_in_flight: Option<usize>,
    /// The number of replicas that must confirm a write. Default: 0.
    pub wait_for_replicas: Option<u32>,
    /// The near cache: copies of records in this process. Default: none. An empty section switches it
    /// on with its defaults.
    pub near_cache: Option<NearCacheConfig>,
}

impl Default for RedisStoreConfig {
    fn default() -> Self {
        Self {
            url: Secret::new("redis://127.0.0.1:6379"),
            prefix: None,
            pool_size: None,
            connect_timeout: None,
            command_timeout: None,
            operation_timeout: None,
            outage_timeout: None,
            startup_timeout: None,
            max_in_flight: None,
            wait_for_replicas: None,
            near_cache: None,
        }
    }
}

/// The limits of the near cache of the Redis store.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct NearCacheConfig {
    /// The maximum number of copies. Default: 10,000.
    pub max_records: Option<usize>,
    /// The maximum size of the data and tags of all copies, in bytes. Default: 64 MiB.
    pub max_bytes: Option<usize>,
    /// The maximum age of a copy, 1 millisecond to 1 hour. Default: 10 seconds.
    pub max_age: Option<DurationSetting>,
}
