//! What an operator may choose.
//!
//! A [`SessionConfig`] is plain data: made in code, read with serde, overridden by environment
//! variables. It is checked as a whole when [`Sessions`](crate::Sessions) are built from it, and a
//! wrong value is refused with the name of the setting and what would be right.
//!
//! # Which one counts
//!
//! The last one that was set. Where a service reads all three, that is commonly, from the weakest to
//! the strongest: the defaults, a file, the environment, and what the program insists on.
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
mod keys;
#[cfg(feature = "redis")]
mod redis_store;
#[cfg(not(feature = "redis"))]
#[path = "no_redis_store.rs"]
mod redis_store;
mod secret;
mod sections;
mod settings;
mod stores;

pub use assurance::AssuranceLevel;
pub use error::ConfigError;
pub use secret::Secret;
pub use sections::{
    CookieStoreConfig, FileStoreConfig, MemoryStoreConfig, RedisStoreConfig, StoreConfigs,
};
pub use settings::SessionConfig;
pub use stores::StoreRegistry;

pub use crate::duration::{DurationSetting, ParseDurationError};
