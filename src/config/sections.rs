//! What may be chosen about the stores that come with the crate.

use std::path::PathBuf;

use serde::Deserialize;

use super::Secret;
use crate::duration::DurationSetting;

/// The sections of the built-in stores. Only that of the chosen store is used, with those of the
/// stores that it names, and those of the
/// features that the program was built without may be there.
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
pub struct StoreConfigs {
    /// The store `memory`.
    pub memory: MemoryStoreConfig,
    /// The store `file`.
    pub file: FileStoreConfig,
    /// The store `cookie`.
    pub cookie: CookieStoreConfig,
    /// The store `redis`.
    pub redis: RedisStoreConfig,
}

/// The memory store's limits; see [`MemoryStore`](crate::store::MemoryStore).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryStoreConfig {
    /// How many sessions there may be. Default: that of the store.
    pub max_records: Option<u64>,
    /// How many bytes their data and tags may take. Default: that of the store.
    pub max_bytes: Option<u64>,
}

/// Where the file store is, and how durable.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileStoreConfig {
    /// The directory, which is made where it is missing. One process at a time may use it. Default:
    /// `tmp/sessions`, below the process's own directory.
    pub location: PathBuf,
    /// When a write is acknowledged: `always` once the disk has it, `os` at once, or a time such as
    /// `200ms` within which the disk has it, longer than nothing. Default: `200ms`.
    pub durability: Option<String>,
}

impl Default for FileStoreConfig {
    fn default() -> Self {
        Self {
            location: PathBuf::from("tmp/sessions"),
            durability: None,
        }
    }
}

/// What the store in cookies may take, and what is behind it; see
/// [`CookieStore`](crate::store::CookieStore).
///
/// The stores behind it are named like the store itself, and have their own sections. One name is
/// one store, whatever it is used for: `redis` may have overflow, revocation list and, after a
/// migration, the sessions.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CookieStoreConfig {
    /// How many cookies one session may be spread over, 1 to 8. Default: 1.
    pub max_chunks: Option<usize>,
    /// The name of the store that keeps what does not fit. Default: none, so that it is an error.
    pub overflow: Option<String>,
    /// The name of the store that keeps which sessions were ended, so that their cookies are
    /// refused when they come back. Default: none.
    pub revocation: Option<String>,
}

/// Where Redis is.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisStoreConfig {
    /// The address: `redis://`, `rediss://`, `redis+unix://`, `redis-sentinel://`,
    /// `redis-cluster://`. It is never shown with its password. Default: `redis://127.0.0.1:6379`.
    pub url: Secret,
    /// What every key begins with. Default: `session:`.
    pub prefix: Option<String>,
    /// How long [`Sessions::ready`](crate::Sessions::ready) waits for the server. Default: 10 seconds.
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
