//! The built-in store `cookie`, and what may be behind it.

use std::sync::Arc;

use super::{ConfigError, CookieStoreConfig};
use crate::store::{CookieStore, Store, cookie::MAX_CHUNKS};

type Behind = Result<Arc<dyn Store>, ConfigError>;

/// `open` gives the store of a name, for the setting that is told.
pub(super) fn open(
    section: &CookieStoreConfig,
    mut open: impl FnMut(&'static str, &str) -> Behind,
) -> Result<CookieStore, ConfigError> {
    let mut store = CookieStore::new();
    if let Some(chunks) = section.max_chunks {
        if !(1..=MAX_CHUNKS).contains(&chunks) {
            let why = format!("{chunks} is out of range: choose a number from 1 to {MAX_CHUNKS}");
            return Err(ConfigError::new("stores.cookie.max_chunks", why));
        }
        store = store.max_chunks(chunks);
    }
    let mut behind = |setting, name: &Option<String>| -> Result<_, ConfigError> {
        let Some(name) = name else {
            return Ok(None);
        };
        if name == "cookie" {
            return Err(with_visitors(setting, name));
        }
        let store = open(setting, name)?;
        match store.client_side() {
            Some(_) => Err(with_visitors(setting, name)),
            None => Ok(Some(store)),
        }
    };
    if let Some(overflow) = behind("stores.cookie.overflow", &section.overflow)? {
        store = store.with_overflow(overflow);
    }
    if let Some(list) = behind("stores.cookie.revocation", &section.revocation)? {
        store = store.with_revocation(list);
    }
    Ok(store)
}

fn with_visitors(setting: &'static str, name: &str) -> ConfigError {
    let why = format!("{name:?} keeps nothing at the server: name a store that does");
    ConfigError::new(setting, why)
}
