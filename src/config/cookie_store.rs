//! The built-in store `cookie`, and its backing stores.

use std::sync::Arc;

use super::{ConfigError, CookieStoreConfig};
use crate::store::{CookieStore, Store, cookie::MAX_CHUNKS};

type BackingStoreResult = Result<Arc<dyn Store>, ConfigError>;

/// Builds the cookie store.
///
/// `open_store` returns a store by its name. It also gets the setting that contains the name, for its
/// errors.
pub(super) fn open(
    config: &CookieStoreConfig,
    mut open_store: impl FnMut(&'static str, &str) -> BackingStoreResult,
) -> Result<CookieStore, ConfigError> {
    let mut store = CookieStore::new();
    if let Some(chunks) = config.max_chunks {
        if !(1..=MAX_CHUNKS).contains(&chunks) {
            let problem =
                format!("{chunks} is out of range; choose a number from 1 to {MAX_CHUNKS}");
            return Err(ConfigError::new("stores.cookie.max_chunks", problem));
        }
        store = store.max_chunks(chunks);
    }
    let mut open_backing = |setting, name: &Option<String>| -> Result<_, ConfigError> {
        let Some(name) = name else {
            return Ok(None);
        };
        if name.eq_ignore_ascii_case("cookie") {
            return Err(client_side_error(setting, name));
        }
        let store = open_store(setting, name)?;
        match store.client_side() {
            Some(_) => Err(client_side_error(setting, name)),
            None => Ok(Some(store)),
        }
    };
    if let Some(overflow) = open_backing("stores.cookie.overflow", &config.overflow)? {
        store = store.with_overflow(overflow);
    }
    if let Some(list) = open_backing("stores.cookie.revocation", &config.revocation)? {
        store = store.with_revocation(list);
    }
    Ok(store)
}

fn client_side_error(setting: &'static str, name: &str) -> ConfigError {
    let problem = format!("store {name:?} keeps its data in cookies; name a store at the server");
    ConfigError::new(setting, problem)
}
