//! The built-in store `file` in a program that was built without it.

use super::{ConfigError, FileStoreConfig};
use crate::{session::Listeners, store::Store};

pub(super) fn open(_: &FileStoreConfig, _: &Listeners) -> Result<Box<dyn Store>, ConfigError> {
    let problem =
        "store `file` is not part of this program; build it on Unix with the feature `file`";
    Err(ConfigError::new("store", problem))
}

/// Accepts any text, since no store uses it.
pub(super) const fn check_durability(_: &'static str, _: &str) -> Result<(), ConfigError> {
    Ok(())
}

/// Accepts any text, since no store uses it.
pub(super) const fn check_on_damage(_: &'static str, _: &str) -> Result<(), ConfigError> {
    Ok(())
}
