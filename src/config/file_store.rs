//! The built-in store `file`.

use std::time::Duration;

use super::{ConfigError, FileStoreConfig};
use crate::store::{FileStore, Store, file::Durability};

pub(super) fn open(section: &FileStoreConfig) -> Result<Box<dyn Store>, ConfigError> {
    let mut builder = FileStore::builder(&section.location);
    if let Some(text) = &section.durability {
        builder = builder.durability(durability("stores.file.durability", text)?);
    }
    match builder.open() {
        Ok(store) => Ok(Box::new(store)),
        Err(error) => Err(ConfigError::caused("stores.file.location", error)),
    }
}

/// Whether `text` is a durability, for the setting that is told.
pub(super) fn check_durability(setting: &'static str, text: &str) -> Result<(), ConfigError> {
    durability(setting, text).map(drop)
}

fn durability(setting: &'static str, text: &str) -> Result<Durability, ConfigError> {
    match text.parse() {
        Ok(Durability::Interval(Duration::ZERO)) => {
            let why = "an interval is longer than nothing: say `always` for no loss at all";
            Err(ConfigError::new(setting, why).of(format!("{text:?}")))
        }
        Ok(durability) => Ok(durability),
        Err(error) => {
            let what = format!("{text:?} is none of `always`, `os` or a time");
            Err(ConfigError::caused(setting, error).of(what))
        }
    }
}
