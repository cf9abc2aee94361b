//! The built-in store `file`, in a program that was built without it.

use super::{ConfigError, FileStoreConfig};
use crate::store::Store;

pub(super) fn open(_: &FileStoreConfig) -> Result<Box<dyn Store>, ConfigError> {
    let why = "the store `file` is not in this program: it takes the feature `file`, on Unix";
    Err(ConfigError::new("store", why))
}

/// What nobody can use is not looked at.
pub(super) const fn check_durability(_: &'static str, _: &str) -> Result<(), ConfigError> {
    Ok(())
}
