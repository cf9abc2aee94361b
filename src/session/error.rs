//! What can go wrong with a session.

use std::sync::Arc;

use crate::{
    document::{EditError, MalformedDocument, ReadError, SerializeError},
    id::EntropyError,
    patch::ChangeError,
    store::{StoreError, TagError},
};

/// An operation on a session failed; nothing of it was done.
///
/// No variant holds session data, ids or keys.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// A method was called before [`Session::load`](super::Session::load).
    #[error("the session is not loaded yet: call `load().await` first")]
    NotLoaded,
    /// The session was loaded with [`load_read_only`](super::Session::load_read_only), the store
    /// had failed under the read-only policy, or sessions are disabled.
    #[error("the session is read-only: load it with `load()` to change it")]
    ReadOnly,
    /// The response was already sent, or a commit is under way in another task.
    #[error("the session is committed already: change it before the response is returned")]
    Committed,
    /// The store could not answer.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// The stored record cannot be read. It was left as it is.
    #[error("the stored session cannot be used: {0}")]
    Record(&'static str),
    /// The stored document is damaged. It was left as it is.
    #[error(transparent)]
    Malformed(#[from] MalformedDocument),
    /// A change was refused: a limit was reached, or the value there is not a number.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// A value does not read as the type that was asked for.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A value has no JSON form.
    #[error(transparent)]
    Unserializable(#[from] SerializeError),
    /// Other requests changed the session faster than this one could, for as many attempts as the
    /// configuration allows. Nothing was written.
    #[error("the session changed {attempts} times while this request was committing; try again")]
    Contention {
        /// How many times the write was tried.
        attempts: u32,
    },
    /// The session does not fit where it is kept. Nothing was written; make it smaller, or choose a
    /// store with more room.
    #[error(
        "the session is too large for its store: {size} bytes as it is stored, and the limit is \
         {limit}; it holds {}",
        named(largest)
    )]
    TooLarge {
        /// The bytes that it takes as it is stored.
        size: usize,
        /// The most that it may take.
        limit: usize,
        /// The names of the largest root keys and of the largest flash messages (`flash:` before
        /// them), each with the bytes of its JSON text; the largest first.
        largest: Arc<[(Box<str>, usize)]>,
    },
    /// No new session id could be made.
    #[error(transparent)]
    EntropyError(#[from] EntropyError),
    /// The cookie could not be written.
    #[error("the session cookie cannot be written: {0}")]
    Cookie(&'static str),
    /// The URL leads away from this origin, or is not a path.
    #[error("a remembered URL must be a path on this origin, such as `/account?tab=2`")]
    ForeignUrl,
    /// No form input was read in this request.
    #[error("this request has no form input: read it first, or name what to flash")]
    NoInput,
    /// The tag's name is empty or too long.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// The store has no tags.
    #[error("the session store cannot tag sessions: choose one that can")]
    TagsUnsupported,
}

impl SessionError {
    /// Whether the store, not the caller, is at fault; trying again later may help.
    pub const fn is_store_failure(&self) -> bool {
        matches!(self, Self::Store(_) | Self::Record(_) | Self::Malformed(_))
    }

    /// Whether it is one failure of an outage that is told of by itself, once when it begins and once
    /// when it ends; see [`StoreError::is_outage`].
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_outage())
    }

    /// Whether the session does not fit where it is kept.
    pub const fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge { .. })
    }

    /// Whether too many other requests changed the session at the same time.
    pub const fn is_contention(&self) -> bool {
        matches!(self, Self::Contention { .. })
    }

    /// Whether the session was asked to change at a time when it cannot.
    pub const fn is_not_mutable(&self) -> bool {
        matches!(self, Self::NotLoaded | Self::ReadOnly | Self::Committed)
    }
}

/// `cart` (2100 bytes), `flash:errors` (700 bytes)
fn named(largest: &[(Box<str>, usize)]) -> String {
    let parts = largest
        .iter()
        .map(|(name, bytes)| format!("`{name}` ({bytes} bytes)"));
    parts.collect::<Vec<_>>().join(", ")
}

impl From<EditError> for SessionError {
    fn from(error: EditError) -> Self {
        Self::Change(error.into())
    }
}

impl From<StoreError> for SessionError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}
