//! Errors of stores.

use std::{error::Error as StdError, fmt, time::Duration};

use crate::error_chain::ErrorChain;

/// A failed operation of a store.
///
/// `Display` names the store and the operation; [`source`](StdError::source) is the cause. `Debug`
/// writes both on one line.
#[derive(thiserror::Error)]
#[error("session store {store}: {operation} failed")]
pub struct StoreError {
    store: &'static str,
    operation: &'static str,
    is_outage: bool,
    is_unreadable: bool,
    retry_after: Option<Duration>,
    source: Box<dyn StdError + Send + Sync>,
}

impl StoreError {
    /// Returns the error of `operation` (a verb such as "read") in the store named `store`.
    ///
    /// Use "read" for [`Store::read`](super::Store::read) only. A log derives from it which operation shows that
    /// the store works again.
    ///
    /// Logs show the text of `source`. It must not contain session data, ids or passwords.
    pub fn new(
        store: &'static str,
        operation: &'static str,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            store,
            operation,
            is_outage: false,
            is_unreadable: false,
            retry_after: None,
            source: source.into(),
        }
    }

    /// Marks the error as part of an outage. The store reports the outage itself, once when it begins
    /// and once when it ends.
    #[must_use]
    pub const fn with_outage(mut self) -> Self {
        self.is_outage = true;
        self
    }

    /// Returns `true` if the error is part of an outage that the store reports itself. A log needs no
    /// line for each such error.
    pub const fn is_outage(&self) -> bool {
        self.is_outage
    }

    /// Sets the time after which a retry is worthwhile.
    #[must_use]
    pub const fn with_retry_after(mut self, time: Duration) -> Self {
        self.retry_after = Some(time);
        self
    }

    /// Returns the time after which a retry is worthwhile, if the store knows it. The 503 response of a
    /// request that failed for this reason has it as `Retry-After`.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Marks the error as permanent: the bytes under the key are damaged, or no session store wrote
    /// them. The visitor then gets a new session. Do not use it if another release or another key
    /// could read the bytes.
    #[must_use]
    pub const fn with_unreadable(mut self) -> Self {
        self.is_unreadable = true;
        self
    }

    /// Returns `true` if the bytes under the key are damaged, or no session store wrote them.
    pub const fn is_unreadable(&self) -> bool {
        self.is_unreadable
    }

    /// Returns the store's name.
    pub const fn store(&self) -> &'static str {
        self.store
    }

    /// Returns the operation that failed.
    pub const fn operation(&self) -> &'static str {
        self.operation
    }

    /// Returns the size and the limit if the store rejected a record for its size. Nothing was stored
    /// then.
    pub fn too_large(&self) -> Option<TooLarge> {
        self.source.downcast_ref().copied()
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&ErrorChain(self), f)
    }
}

/// The source of a [`StoreError`] that rejects a record for its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record is {size} bytes as stored, limit is {limit}; store less data")]
#[non_exhaustive]
pub struct TooLarge {
    /// The size of the record as stored, in bytes.
    pub size: usize,
    /// The maximum size of a record as stored, in bytes.
    pub limit: usize,
}

impl TooLarge {
    /// Returns the error for a record of `size` bytes in a store whose limit is `limit`.
    pub const fn new(size: usize, limit: usize) -> Self {
        Self { size, limit }
    }
}
