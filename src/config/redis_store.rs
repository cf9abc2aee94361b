//! The built-in store `redis`.

use std::{ops::RangeInclusive, time::Duration};

use super::{ConfigError, NearCacheConfig, RedisStoreConfig, range::check_range};
use crate::{
    duration::DurationSetting,
    session::{Event, Listeners},
    store::{
        RedisStore, Store, StoreError,
        redis::{Application, CachedRedisStoreBuilder, Outage, RedisStoreBuilder, SCHEMES},
    },
};

/// The name of the store in events.
const NAME: &str = "redis";

/// The limits of a timeout.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);

/// Builds the store without connecting. The first operation or [`Store::ready`] connects. The store
/// reports outages to `listeners`. `fingerprints` are those of the application's keys.
pub(super) fn open(
    config: &RedisStoreConfig,
    listeners: &Listeners,
    fingerprints: Vec<[u8; 16]>,
) -> Result<Box<dyn Store>, ConfigError> {
    let mut builder = limits(RedisStore::builder(config.url.expose()), config)?;
    let (outages, prefixes) = (listeners.clone(), listeners.clone());
    if !listeners.is_empty() {
        builder = builder.on_outage(move |outage| report_outage(&outages, outage));
    }
    let report = move |prefix: &str, other_started| {
        prefixes.emit(&Event::PrefixShared {
            store: NAME,
            prefix,
            other_started,
        });
    };
    let builder = builder.application(Application::new(fingerprints, report));
    let built: Result<Box<dyn Store>, StoreError> = match &config.near_cache {
        None => builder.build().map(|store| Box::new(store) as _),
        Some(cache) => near_cache(builder, cache)?
            .build()
            .map(|store| Box::new(store) as _),
    };
    built.map_err(|error| {
        let url = redact_url(config.url.expose());
        ConfigError::with_source("stores.redis.url", error).context(url)
    })
}

/// Sets the pool size, the timeouts and the other limits.
fn limits(
    mut builder: RedisStoreBuilder,
    config: &RedisStoreConfig,
) -> Result<RedisStoreBuilder, ConfigError> {
    if let Some(prefix) = &config.prefix {
        builder = builder.prefix(prefix);
    }
    if let Some(connections) = config.pool_size {
        let connections = check_number("stores.redis.pool_size", connections, 1..=1_000)?;
        builder = builder.pool_size(connections);
    }
    if let Some(operations) = config.max_in_flight {
        let operations = check_number("stores.redis.max_in_flight", operations, 1..=10_000_000)?;
        builder = builder.max_in_flight(operations);
    }
    if let Some(replicas) = config.wait_for_replicas {
        builder = builder.wait_for_replicas(replicas);
    }
    let timeout = |setting, value: Option<DurationSetting>, limits| {
        value
            .map(|value| check_range(setting, value, limits))
            .transpose()
    };
    if let Some(time) = timeout(
        "stores.redis.connect_timeout",
        config.connect_timeout,
        TIMEOUTS,
    )? {
        builder = builder.connect_timeout(time);
    }
    if let Some(time) = timeout(
        "stores.redis.command_timeout",
        config.command_timeout,
        TIMEOUTS,
    )? {
        builder = builder.command_timeout(time);
    }
    let setting = "stores.redis.operation_timeout";
    if let Some(time) = timeout(setting, config.operation_timeout, TIMEOUTS)? {
        builder = builder.operation_timeout(time);
    }
    if let Some(time) = timeout(
        "stores.redis.outage_timeout",
        config.outage_timeout,
        TIMEOUTS,
    )? {
        builder = builder.outage_timeout(time);
    }
    if let Some(time) = timeout(
        "stores.redis.startup_timeout",
        config.startup_timeout,
        TIMEOUTS,
    )? {
        builder = builder.startup_timeout(time);
    }
    Ok(builder)
}

fn near_cache(
    builder: RedisStoreBuilder,
    config: &NearCacheConfig,
) -> Result<CachedRedisStoreBuilder, ConfigError> {
    let mut builder = builder.with_near_cache();
    if let Some(records) = config.max_records {
        builder = builder.max_entries(records);
    }
    if let Some(bytes) = config.max_bytes {
        builder = builder.max_bytes(bytes);
    }
    if let Some(age) = config.max_age {
        let age = check_range("stores.redis.near_cache.max_age", age, TIMEOUTS)?;
        builder = builder.max_age(age);
    }
    Ok(builder)
}

fn report_outage(listeners: &Listeners, outage: &Outage) {
    let store = NAME;
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
/// that is not a URL of Redis.
fn redact_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "…".to_owned();
    };
    // A user and a password may precede a separator that only looks like that of the scheme.
    if !SCHEMES.contains(&scheme) {
        return "…".to_owned();
    }
    // An unescaped password may contain any character. So the last `@` ends it, whatever separators
    // precede it.
    let (user, address) = match rest.rsplit_once('@') {
        // The last `@` may be in a parameter.
        Some((user, _)) if user.contains(['?', '#']) => return format!("{scheme}://…"),
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

/// Returns the number if it is within `range`.
fn check_number(
    setting: &'static str,
    value: usize,
    range: RangeInclusive<usize>,
) -> Result<usize, ConfigError> {
    let (min, max) = (range.start(), range.end());
    let problem = || format!("{value} is out of range; choose a number from {min} to {max}");
    match range.contains(&value) {
        true => Ok(value),
        false => Err(ConfigError::new(setting, problem())),
    }
}
