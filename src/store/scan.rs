//! The optional extension of stores that can list all their sessions.

use bytes::Bytes;

use super::StoreFuture;
use crate::id::StoreKey;

/// A store that lists all its sessions, page by page.
///
/// # The contract
///
/// 1. A session that is live from the first to the last page is on at least one of them. It may be on several.
/// 2. A key that was never written is on none. A session that begins or ends meanwhile may be on one.
/// 3. The last page has no next one. A scan ends if the number of sessions does not grow without limit.
/// 4. A cursor stays valid, in other processes that use the same records too.
///
/// `SessionCollection::scan` reads each session that it finds, so a page needs no check of its own.
pub trait ScanStore: Send + Sync {
    /// Returns a page of keys: the first one without a cursor, otherwise the one that `from` names. A page may
    /// be empty.
    ///
    /// # Errors
    /// If the store cannot answer, or `from` is not one of its cursors.
    fn scan_page(&self, from: Option<&ScanCursor>) -> StoreFuture<ScanPage>;
}

/// The position of a page in a scan. Only the store that made it knows its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanCursor(Bytes);

impl ScanCursor {
    /// Returns a cursor with this content.
    pub fn new(content: impl Into<Bytes>) -> Self {
        Self(content.into())
    }

    /// Returns the content.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns a cursor with a number as its content.
    pub fn from_number(number: u64) -> Self {
        Self(Bytes::copy_from_slice(&number.to_be_bytes()))
    }

    /// Returns the number in a cursor of [`from_number`](Self::from_number), or `None` for another cursor.
    pub fn number(&self) -> Option<u64> {
        Some(u64::from_be_bytes((*self.0).try_into().ok()?))
    }
}

/// A part of the sessions of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScanPage {
    /// The keys of the sessions, in no particular order.
    pub keys: Vec<StoreKey>,
    /// The next page, or `None` if this is the last one.
    pub next: Option<ScanCursor>,
}

impl ScanPage {
    /// Returns a page.
    pub const fn new(keys: Vec<StoreKey>, next: Option<ScanCursor>) -> Self {
        Self { keys, next }
    }
}

/// The error of a cursor that is not one of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("scan cursor is not one of this store; begin the scan again without a cursor")]
pub(crate) struct InvalidCursor;
