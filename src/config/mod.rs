//! What an operator may choose.
//!
//! A [`SessionConfig`] is plain data: made in code, read with serde, overridden by environment
//! variables. It is checked as a whole when [`Sessions`](crate::Sessions) are built from it, and a
//! wrong value is refused with the name of the setting and what would be right.

mod build;
mod env;
mod error;
mod secret;
mod settings;
mod stores;

pub use error::ConfigError;
pub use secret::Secret;
pub use settings::SessionConfig;
pub use stores::Stores;
