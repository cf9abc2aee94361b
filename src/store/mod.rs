//! The store contract, and the built-in stores.
//!
//! A store keeps opaque bytes under a [`StoreKey`](crate::id::StoreKey), with [`Tags`], a [`Version`]
//! and an expiry. It does not know the format of the bytes, nor the visitor that the key belongs to.
//!
//! | store | records are kept in | feature |
//! | --- | --- | --- |
//! | [`MemoryStore`] | this process | |
//! | [`CookieStore`] | the visitor's cookies, sealed | |
//! | `FileStore` | a directory of this machine | `file` (Unix) |
//! | `RedisStore` | Redis or Valkey | `redis` |
//! | [`MigratingStore`] | two stores, while sessions migrate from one to the other | |
//!
//! To write your own, implement [`Store`]: four methods are required. Its documentation is the
//! contract, and the module `conformance` (feature `testing`) tests a store against it.

mod arc;
mod client_side;
mod contract;
pub mod cookie;
mod error;
#[cfg(all(feature = "file", unix))]
pub mod file;
mod future;
pub mod memory;
mod migrating;
mod record;
#[cfg(feature = "redis")]
pub mod redis;
mod scan;
mod tag;

#[cfg(feature = "testing")]
pub mod conformance;

pub(crate) use client_side::CookieLines;
pub use client_side::{
    BoundStore, ClientSideStore, CookieContext, RequestStore, SetCookies, SetCookiesIntoIter,
};
pub use contract::{Capabilities, Store, StoreStat};
pub use cookie::CookieStore;
pub use error::{StoreError, TooLarge};
#[cfg(all(feature = "file", unix))]
pub use file::FileStore;
pub use future::StoreFuture;
pub use memory::MemoryStore;
pub use migrating::MigratingStore;
pub use record::{Expected, Expiry, ReadOutcome, Record, Version, WriteOutcome, WriteRequest};
#[cfg(feature = "redis")]
pub use redis::RedisStore;
pub(crate) use scan::InvalidCursor;
pub use scan::{ScanCursor, ScanPage, ScanStore};
pub use tag::{MAX_TAGS, Tag, TagError, TagStore, Tags, TagsIter, TooManyTags};
