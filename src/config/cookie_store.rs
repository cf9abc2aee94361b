//! The built-in store `cookie`, and its backing stores.

use std::sync::Arc;

use super::{ConfigError, CookieStoreConfig};
use crate::store::{
    CookieStore, Store,
    cookie::{CookieStoreError, MAX_CHUNKS},
};

/// The setting with the name of the revocation list's store.
const REVOCATION: &str = "stores.cookie.revocation";

/// The use of a backing store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum BackingUse {
    Overflow,
    RevocationList,
}

type BackingStoreResult = Result<Arc<dyn Store>, ConfigError>;

/// Builds the cookie store.
///
/// `open_store` returns a store by its name. It also gets its use, and the setting that contains the name, for
/// its errors.
pub(super) fn open(
    config: &CookieStoreConfig,
    mut open_store: impl FnMut(BackingUse, &'static str, &str) -> BackingStoreResult,
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
    let mut open_backing = |usage, setting, name: &Option<String>| -> Result<_, ConfigError> {
        let Some(name) = name else {
            return Ok(None);
        };
        if name.eq_ignore_ascii_case("cookie") {
            return Err(client_side_error(setting, name));
        }
        let store = open_store(usage, setting, name)?;
        match store.client_side() {
            Some(_) => Err(client_side_error(setting, name)),
            None => Ok(Some(store)),
        }
    };
    let (usage, setting) = (BackingUse::Overflow, "stores.cookie.overflow");
    if let Some(overflow) = open_backing(usage, setting, &config.overflow)? {
        store = store.with_overflow(overflow);
    }
    let usage = BackingUse::RevocationList;
    if let Some(list) = open_backing(usage, REVOCATION, &config.revocation)? {
        check_list(&*list)?;
        store = store.with_revocation(list);
    }
    Ok(store)
}

/// Checks that the store of the revocation list does not evict entries.
fn check_list(list: &dyn Store) -> Result<(), ConfigError> {
    match list.capabilities().evicts {
        true => {
            let error = CookieStoreError::EvictingRevocationList(list.name());
            Err(ConfigError::with_source(REVOCATION, error))
        }
        false => Ok(()),
    }
}

fn client_side_error(setting: &'static str, name: &str) -> ConfigError {
    let problem = format!("store {name:?} keeps its data in cookies; name a store at the server");
    ConfigError::new(setting, problem)
}
