//! The built-in store `redis`.

use super::{ConfigError, RedisStoreConfig};
use crate::{
    session::{Event, Listeners},
    store::{RedisStore, Store, redis::Outage},
};

/// Builds the store without connecting. The first operation or [`Store::ready`] connects. The store
/// reports outages to `listeners`.
pub(super) fn open(
    config: &RedisStoreConfig,
    listeners: &Listeners,
) -> Result<Box<dyn Store>, ConfigError> {
    let url = config.url.expose();
    let mut builder = RedisStore::builder(url);
    if let Some(prefix) = &config.prefix {
        builder = builder.prefix(prefix);
    }
    if let Some(timeout) = config.startup_timeout {
        builder = builder.startup_timeout(timeout.duration());
    }
    if !listeners.is_empty() {
        let listeners = listeners.clone();
        builder = builder.on_outage(move |outage| report_outage(&listeners, outage));
    }
    let store = builder.build().map_err(|error| {
        ConfigError::with_source("stores.redis.url", error).context(redact_url(url))
    })?;
    Ok(Box::new(store))
}

fn report_outage(listeners: &Listeners, outage: &Outage) {
    let store = "redis";
    match outage {
        Outage::Started { server, reason, .. } => listeners.emit(&Event::StoreUnavailable {
            store,
            server,
            reason,
        }),
        Outage::Ended {
            server,
            lasted,
            failed,
        } => listeners.emit(&Event::StoreRecovered {
            store,
            server,
            lasted: *lasted,
            failed: *failed,
        }),
    }
}

/// Returns a URL without its user, password and query, which may be secret. Returns `…` for a string
/// that is not a URL.
fn redact_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "…".to_owned();
    };
    // An unescaped password may contain any character. So the last `@` ends it, whatever separators
    // precede it.
    let (user, address) = match rest.rsplit_once('@') {
        Some((_, address)) => ("…@", address),
        // Without a host, this may be a user with a password.
        None if rest.contains(':') => return format!("{scheme}://…"),
        None => ("", rest),
    };
    match address.split_once(['?', '#']) {
        Some((address, _)) => format!("{scheme}://{user}{address}?…"),
        None => format!("{scheme}://{user}{address}"),
    }
}
