//! The stores.

pub(crate) mod file;
mod memory;
pub(crate) mod redis;

pub(crate) use hyper_session::store::{
    Expected, Expiry, ReadOutcome, Record, Store, StoreError, StoreFuture, Tag, Tags, Version,
    WriteOutcome, WriteRequest,
};
