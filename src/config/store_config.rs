//! The settings of the built-in stores.

use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, Secret};
use crate::duration::DurationSetting;

/// The settings of the built-in stores.
///
/// Only the settings of the selected store and of the stores that it uses have an effect. Settings of a
/// store that the program was built without are allowed.
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
#[serde(default, deny_unknown_fields)]
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
    /// When a write is synced to the disk: `always` before it is acknowledged, `os` when the operating
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
/// Those stores are selected by name and have their own settings. One name is one store. `redis` may
/// hold the overflow, the revocation list and, after a migration, the sessions.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CookieStoreConfig {
    /// The maximum number of cookies of one session, 1 to 8. Default: 1.
    pub max_chunks: Option<usize>,
    /// The name of the store for sessions that do not fit into the cookies. Default: none, so that such
    /// a session is an error.
    pub overflow: Option<String>,
    /// The name of the store for the list of destroyed sessions, whose cookies are rejected. Default:
    /// none.
    pub revocation: Option<String>,
}

/// The server and the keys of the Redis store.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RedisStoreConfig {
    /// The URL: `redis://`, `rediss://`, `redis+unix://`, `redis-sentinel://` or `redis-cluster://`.
    /// Errors never show its password. Default: `redis://127.0.0.1:6379`.
    pub url: Secret,
    /// The prefix of every key. Default: `session:`.
    pub prefix: Option<String>,
    /// The time that [`Sessions::ready`](crate::Sessions::ready) waits for the server. Default: 10
    /// seconds.
    pub startup_timeout: Option<DurationSetting>,
}

impl Default for RedisStoreConfig {
    fn default() -> Self {
        Self {
            url: Secret::new("redis://127.0.0.1:6379"),
            prefix: None,
            startup_timeout: None,
        }
    }
}
