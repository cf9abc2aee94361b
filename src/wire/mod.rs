//! The byte formats of records and id cookies.
//!
//! The session and the stores see only the trait [`Format`]. Each format is one file.

mod lifetime;
pub(crate) mod native;

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

pub(crate) use self::lifetime::{Lifetime, LifetimeChange};
use crate::{
    clock::Timestamp,
    document::Document,
    id::{SessionId, StoreKey},
};

/// The text of an id cookie's value. A value of the native format fits inline, without an allocation.
pub(crate) type CookieText = SmallVec<[u8; 128]>;

/// A format for the value of the id cookie and for stored records.
pub(crate) trait Format: Debug + Send + Sync {
    /// Writes the value of an id cookie.
    fn seal_id(&self, cookie: &IdCookie, out: &mut CookieText) -> Result<(), &'static str>;

    /// Reads the value of an id cookie. Accepts only a value that this service issued.
    fn open_id(&self, text: &[u8]) -> Result<OpenedIdCookie, &'static str>;

    /// Returns the time of the last renewal that the value claims, or `None` if it claims none.
    ///
    /// The claim is not authenticated. Use it only to decide whether to open the cookie.
    fn claimed_renewal(&self, text: &[u8]) -> Option<Timestamp>;

    /// Encodes the record of a session, into `spare` if its capacity fits.
    fn encode(
        &self,
        lifetime: &Lifetime,
        data: &Document,
        flash: &Document,
        spare: Option<BytesMut>,
    ) -> Bytes;

    /// Encodes the fence that replaces the record under the key `from` of an old id. It names the key `to` of
    /// the new id. If `forward` cannot be sealed, the fence does not forward.
    fn fence(&self, from: &StoreKey, to: Option<&StoreKey>, forward: Option<&Forward>) -> Bytes;

    /// Returns `true` if a record is a fence that names this key as that of the new id. Returns `None` if the
    /// record is no fence, or a fence that names no key.
    fn fence_names(&self, record: &[u8], to: &StoreKey) -> Option<bool>;

    /// Adds a pending mark to a record.
    fn mark_pending(&self, record: &[u8], mark: &PendingMark) -> Bytes;

    /// Returns the pending mark of a record.
    fn pending_mark(&self, record: &[u8]) -> Option<PendingMark>;

    /// Opens the new id in a fence that was read under the key `from`. Returns `None` if the record is
    /// not a fence, or does not forward.
    fn open_forward(&self, from: &StoreKey, record: &[u8]) -> Option<Forward>;

    /// Decodes the head of a record. Never panics.
    fn decode_head(&self, record: &[u8]) -> Result<RecordHead, DecodeError>;

    /// Decodes a record from a store into two documents, which keep their buffers. Never panics. After
    /// an error, the content of the documents is undefined.
    fn decode(
        &self,
        record: &Bytes,
        data: &mut Document,
        flash: &mut Document,
    ) -> Result<RecordHead, DecodeError>;
}

/// The content of an id cookie.
#[derive(Clone, Debug)]
pub(crate) struct IdCookie {
    pub(crate) id: SessionId,
    /// The time of the session's last renewal in the store, in whole seconds. It throttles touches.
    pub(crate) renewed: Timestamp,
    /// The lifetime of the session's record. `None` if the cookie was sealed before a record was
    /// stored under the id. The cookie opens no record with another creation time.
    pub(crate) lifetime: Option<Lifetime>,
}

/// The new id to which a fence forwards requests with the old id.
#[derive(Clone, Debug)]
pub(crate) struct Forward {
    pub(crate) id: SessionId,
    /// The end of the grace window.
    pub(crate) until: Timestamp,
    /// The lifetime of the session. Not sealed, as in the session's record.
    pub(crate) lifetime: Lifetime,
}

/// An authenticated id cookie.
#[derive(Clone, Debug)]
pub(crate) struct OpenedIdCookie {
    pub(crate) cookie: IdCookie,
    /// `true` if a previous key sealed the cookie, so it should be sealed again.
    pub(crate) outdated: bool,
}

/// The pending mark of a record that a regeneration stores under the new id. It stays until the next write of
/// the record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingMark {
    /// The key of the old id.
    pub(crate) from: StoreKey,
    /// The time of the write.
    pub(crate) written: Timestamp,
}

/// The fields of a record besides the session's data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordHead {
    pub(crate) lifetime: Lifetime,
    /// `true` if the record is a fence. The session has another id, and the record only stops slower
    /// requests.
    pub(crate) is_fence: bool,
}

/// The error of decoding a stored record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error(
        "record has format version {0}, which this release does not support; upgrade the crate"
    )]
    UnsupportedVersion(u8),
    #[error("record is damaged, or was not written by this crate")]
    Damaged,
}
