//! Configuration of sessions: settings, environment variables and named stores.
//!
//! A [`SessionConfig`] is plain data. Set it in code, read it with serde, and override it with
//! environment variables. Building [`Sessions`](crate::Sessions) from it checks all settings. A wrong
//! value is a [`ConfigError`] with the setting, the problem and the remedy.
//!
//! # Precedence
//!
//! Later values win. Services usually combine, from the weakest to the strongest: the defaults, a file,
//! the environment, and the program's own calls.
//!
//! ```
//! use hyper_session::{SessionConfig, Sessions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let file = r#"
//!     age = "30 minutes"
//!     cookie_name = "shop"
//! "#;
//! # let key = hyper_session::seal::SealKey::generate_text()?;
//! # let environment = |name| Ok((name == "APP_KEY").then(|| key.clone()));
//! let config = toml::from_str::<SessionConfig>(file)?
//!     .with_env()?
//! #   .with_variables(environment)?
//!     .host_cookie();
//! let sessions = Sessions::builder(config).build()?;
//! # Ok(()) }
//! ```

mod app_key;
mod assurance;
mod build;
mod cookie_store;
mod env;
mod error;
#[cfg(all(feature = "file", unix))]
mod file_store;
#[cfg(not(all(feature = "file", unix)))]
#[path = "no_file_store.rs"]
mod file_store;
mod nearest_name;
mod range;
#[cfg(feature = "redis")]
mod redis_store;
#[cfg(not(feature = "redis"))]
#[path = "no_redis_store.rs"]
mod redis_store;
mod registry;
mod secret;
mod section;
mod session_config;
mod store_config;

pub use assurance::AssuranceLevel;
pub use error::ConfigError;
pub use registry::StoreRegistry;
pub use secret::Secret;
pub use session_config::SessionConfig;
pub use store_config::{
    CookieStoreConfig, CustomStoreConfig, FileStoreConfig, MemoryStoreConfig, NearCacheConfig,
    RedisStoreConfig, StoreConfigs,
};

pub use crate::duration::{DurationSetting, ParseDurationError};
