//! The store contract, and the stores that come with the crate.
//!
//! A store keeps opaque bytes under a [`StoreKey`](crate::id::StoreKey), with a [`Version`] and an expiry. It
//! knows neither what the bytes mean nor whose cookie the key came from. Four methods make a store:
//! [`read`](Store::read), [`write`](Store::write), [`destroy`](Store::destroy) and
//! [`touch`](Store::touch). What more a store can do it says by [`capabilities`](Store::capabilities).

mod client_side;
mod contract;
pub mod cookie;
#[cfg(all(feature = "file", unix))]
pub mod file;
mod forward;
mod future;
pub mod memory;
mod migrating;
#[cfg(feature = "redis")]
pub mod redis;

#[cfg(feature = "testing")]
pub mod conformance;

pub use client_side::{
    BoundStore, ClientSideStore, CookieContext, CookieLines, RequestStore, SetCookies,
};
pub use contract::{
    Capabilities, Expected, MAX_TAGS, ReadOutcome, Record, Store, StoreError, Tag, TagError,
    TagStore, TooLarge, Version, WriteOutcome,
};
pub use cookie::CookieStore;
#[cfg(all(feature = "file", unix))]
pub use file::FileStore;
pub use future::StoreFuture;
pub use memory::MemoryStore;
pub use migrating::MigratingStore;
#[cfg(feature = "redis")]
pub use redis::RedisStore;
