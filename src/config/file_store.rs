//! The built-in store `file`.

use std::time::Duration;

use super::{ConfigError, FileStoreConfig};
use crate::store::{
    FileStore, Store,
    file::{Durability, OnDamage},
};

pub(super) fn open(config: &FileStoreConfig) -> Result<Box<dyn Store>, ConfigError> {
    config.check_location("stores.file.location")?;
    let mut builder = FileStore::builder(&config.location);
    if let Some(text) = &config.durability {
        builder = builder.durability(parse_durability("stores.file.durability", text)?);
    }
    if let Some(text) = &config.on_damage {
        builder = builder.on_damage(parse_on_damage("stores.file.on_damage", text)?);
    }
    match builder.open() {
        Ok(store) => Ok(Box::new(store)),
        Err(error) => Err(ConfigError::with_source("stores.file.location", error)),
    }
}

/// Checks that `text` is a durability. `setting` is the setting that contains it.
pub(super) fn check_durability(setting: &'static str, text: &str) -> Result<(), ConfigError> {
    parse_durability(setting, text).map(drop)
}

/// Checks that `text` is a reaction to damage. `setting` is the setting that contains it.
pub(super) fn check_on_damage(setting: &'static str, text: &str) -> Result<(), ConfigError> {
    parse_on_damage(setting, text).map(drop)
}

fn parse_on_damage(setting: &'static str, text: &str) -> Result<OnDamage, ConfigError> {
    text.parse()
        .map_err(|error| ConfigError::with_source(setting, error))
}

fn parse_durability(setting: &'static str, text: &str) -> Result<Durability, ConfigError> {
    match text.parse() {
        Ok(Durability::Interval(Duration::ZERO)) => {
            let problem = "interval is zero; use `always` to lose no write";
            Err(ConfigError::new(setting, problem).context(format!("{text:?}")))
        }
        Ok(durability) => Ok(durability),
        Err(error) => {
            let problem = format!("{text:?} is not `always`, `os` or a duration");
            Err(ConfigError::with_source(setting, error).context(problem))
        }
    }
}
