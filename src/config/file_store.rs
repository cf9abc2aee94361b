//! The built-in store `file`.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::{ConfigError, FileStoreConfig};
use crate::{
    session::{Event, Listeners},
    store::{
        FileStore, Store,
        file::{Durability, FileEvent, OnDamage},
    },
};

#[cfg(test)]
mod tests;

/// The name of the store in events.
const NAME: &str = "file";

/// Opens the store. It reports its problems to `listeners`.
pub(super) fn open(
    config: &FileStoreConfig,
    listeners: &Listeners,
) -> Result<Box<dyn Store>, ConfigError> {
    config.check_location("stores.file.location")?;
    let mut builder = FileStore::builder(&config.location);
    if let Some(text) = &config.durability {
        builder = builder.durability(parse_durability("stores.file.durability", text)?);
    }
    if let Some(text) = &config.on_damage {
        builder = builder.on_damage(parse_on_damage("stores.file.on_damage", text)?);
    }
    if !listeners.is_empty() {
        let (listeners, failing) = (listeners.clone(), AtomicBool::new(false));
        builder =
            builder.listener(move |event: &FileEvent<'_>| report(&listeners, &failing, event));
    }
    match builder.open() {
        Ok(store) => Ok(Box::new(store)),
        Err(error) => Err(ConfigError::with_source("stores.file.location", error)),
    }
}

/// Passes an event on if an operator must know it. `failing` is set while compactions fail, which is
/// reported once.
fn report(listeners: &Listeners, failing: &AtomicBool, event: &FileEvent<'_>) {
    match event {
        FileEvent::Poisoned { .. } => listeners.emit(&Event::StoreStopped {
            store: NAME,
            reason: &event.to_string(),
        }),
        FileEvent::Compacted { .. } => failing.store(false, Ordering::Relaxed),
        FileEvent::CompactionFailed { .. } if failing.swap(true, Ordering::Relaxed) => {}
        FileEvent::ClockBehind { .. }
        | FileEvent::CompactionFailed { .. }
        | FileEvent::Damaged { .. }
        | FileEvent::DirectoryNotLocked { .. }
        | FileEvent::SegmentSkipped { .. } => listeners.emit(&Event::StoreProblem {
            store: NAME,
            problem: event.name(),
            message: &event.to_string(),
        }),
        _ => {}
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
