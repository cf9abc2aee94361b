//! The stores that `SESSION_DRIVER` chooses from.

use hyper_session::{
    config::Stores,
    store::{CookieStore, StoreError},
};

#[cfg(all(feature = "file", unix))]
mod file {
    use hyper_session::store::{FileStore, StoreError};

    /// In `SESSION_FILE_LOCATION`, as durable as `SESSION_FILE_DURABILITY` says.
    pub(super) fn open() -> Result<FileStore, StoreError> {
        let location = std::env::var("SESSION_FILE_LOCATION");
        let mut builder = FileStore::builder(location.as_deref().unwrap_or("tmp/sessions"));
        if let Ok(text) = std::env::var("SESSION_FILE_DURABILITY") {
            let durability = text.parse().map_err(|error| {
                let why = format!("SESSION_FILE_DURABILITY={text}: {error}");
                StoreError::new("file", "open", why)
            })?;
            builder = builder.durability(durability);
        }
        builder
            .open()
            .map_err(|error| StoreError::new("file", "open", error))
    }
}

#[cfg(not(all(feature = "file", unix)))]
mod file {
    pub(super) fn open() -> Result<hyper_session::store::MemoryStore, super::StoreError> {
        Err(super::missing("file"))
    }
}

#[cfg(feature = "redis")]
mod redis {
    use hyper_session::store::{RedisStore, StoreError};

    /// At `REDIS_URL`; the connection is made by the first request.
    pub(super) fn open() -> Result<RedisStore, StoreError> {
        let url = std::env::var("REDIS_URL");
        RedisStore::builder(url.as_deref().unwrap_or("redis://127.0.0.1:6379")).build()
    }
}

#[cfg(not(feature = "redis"))]
mod redis {
    pub(super) fn open() -> Result<hyper_session::store::MemoryStore, super::StoreError> {
        Err(super::missing("redis"))
    }
}

pub(crate) fn all() -> Stores {
    Stores::new()
        .with_opened("file", file::open)
        .with_opened("redis", redis::open)
        .with("cookie", CookieStore::new())
}

#[allow(dead_code, reason = "unused where every feature is on")]
fn missing(name: &'static str) -> StoreError {
    let why = format!("the playground was built without it: add `--features {name}`");
    StoreError::new(name, "open", why)
}
