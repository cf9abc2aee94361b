//! How records and id cookies look in bytes.
//!
//! The session and the stores see only [`Format`]; a wire format is one folder here.

pub(crate) mod native;

use std::fmt::Debug;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::{clock::Timestamp, document::Document, id::SessionId};

/// The text of an id cookie's value; one of our own fits without allocating.
pub(crate) type CookieText = SmallVec<[u8; 96]>;

/// A way to write sessions down: the cookie's value and the stored record.
pub(crate) trait Format: Debug + Send + Sync {
    /// Writes the value of an id cookie.
    fn seal_id(&self, cookie: &IdCookie, out: &mut CookieText) -> Result<(), &'static str>;

    /// Reads the value of an id cookie. Nothing but a text that this service issued is accepted.
    fn open_id(&self, text: &[u8]) -> Result<OpenedIdCookie, &'static str>;

    /// When a cookie of this text claims to have been renewed. Nothing is authenticated here: the
    /// claim only tells whether it is worth opening the cookie. `None` where the text claims nothing.
    fn claimed_renewal(&self, text: &[u8]) -> Option<Timestamp>;

    /// Writes the record of a session that began at `created`.
    fn encode(&self, created: Timestamp, data: &Document, flash: &Document) -> Bytes;

    /// Writes the fence that stands under an old id after the session moved on.
    fn fence(&self) -> Bytes;

    /// Reads a record that a store returned into two documents, whose buffers are kept. Never panics,
    /// whatever the bytes. After a failure the documents' contents mean nothing.
    fn decode(
        &self,
        record: &Bytes,
        data: &mut Document,
        flash: &mut Document,
    ) -> Result<RecordHead, DecodeError>;
}

/// What an id cookie holds.
#[derive(Clone, Debug)]
pub(crate) struct IdCookie {
    pub(crate) id: SessionId,
    /// When the session was last renewed in the store: what throttles touches. Whole seconds.
    pub(crate) renewed: Timestamp,
    /// Something was stored under the id. Where nothing is found any more, the id is dead.
    pub(crate) stored: bool,
}

/// An id cookie that was authenticated.
#[derive(Clone, Debug)]
pub(crate) struct OpenedIdCookie {
    pub(crate) cookie: IdCookie,
    /// It was sealed by an older key, so it should be sealed anew.
    pub(crate) outdated: bool,
}

/// What a record says of its session, besides the session's contents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordHead {
    /// When the session began, for the absolute lifetime.
    pub(crate) created: Timestamp,
    /// The session moved to another id: the record is only a fence for slower requests.
    pub(crate) is_fence: bool,
}

/// A stored record is not one of ours, or is damaged, or comes from a newer release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("the record's format version is {0}, newer than this release reads")]
    UnsupportedVersion(u8),
    #[error("the record is damaged or foreign")]
    Damaged,
}
