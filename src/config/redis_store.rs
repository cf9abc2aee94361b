//! The built-in store `redis`.

use super::{ConfigError, RedisStoreConfig};
use crate::{
    session::{Event, Listeners},
    store::{RedisStore, Store, redis::Outage},
};

/// The connection is made by the first request, or by whoever waits for it to be ready. `listeners`
/// are told of outages.
pub(super) fn open(
    section: &RedisStoreConfig,
    listeners: &Listeners,
) -> Result<Box<dyn Store>, ConfigError> {
    let url = section.url.expose();
    let mut builder = RedisStore::builder(url);
    if let Some(prefix) = &section.prefix {
        builder = builder.prefix(prefix);
    }
    if let Some(time) = section.startup_timeout {
        builder = builder.startup_timeout(time.duration());
    }
    if !listeners.is_empty() {
        let listeners = listeners.clone();
        builder = builder.on_outage(move |outage| tell(&listeners, outage));
    }
    let built = builder
        .build()
        .map_err(|error| ConfigError::caused("stores.redis.url", error).of(masked(url)))?;
    Ok(Box::new(built))
}

fn tell(listeners: &Listeners, outage: &Outage) {
    let store = "redis";
    match *outage {
        Outage::Started { fault } => listeners.emit(&Event::StoreUnavailable {
            store,
            reason: &fault.to_string(),
        }),
        Outage::Ended { lasted, failed } => listeners.emit(&Event::StoreRecovered {
            store,
            lasted,
            failed,
        }),
    }
}

/// An address without what may be secret in it: user, password and query. What is no address is
/// not shown at all, since nobody knows what it is.
fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "…".to_owned();
    };
    // A password that was not escaped may hold any character: the last `@` counts, before anything
    // else is looked at.
    let (user, place) = match rest.rsplit_once('@') {
        Some((_, place)) => ("…@", place),
        // Without a host behind it, this may be a user with a password.
        None if rest.contains(':') => return format!("{scheme}://…"),
        None => ("", rest),
    };
    match place.split_once(['?', '#']) {
        Some((place, _)) => format!("{scheme}://{user}{place}?…"),
        None => format!("{scheme}://{user}{place}"),
    }
}
