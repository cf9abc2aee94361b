//! The error of a session.

use std::{sync::Arc, time::Duration};

use http::StatusCode;

use super::MaxAgeError;
use crate::{
    document::{
        Document, EditError, MalformedDocument, ReadError, SerializeError, name_for_display,
    },
    id::EntropyError,
    patch::ChangeError,
    store::{StoreError, TagError, TooLarge, TooManyTags},
};

/// Maximum number of keys that [`SessionError::TooLarge`] names.
const MAX_NAMED_KEYS: usize = 5;

/// Maximum length of a key's name in [`SessionError::TooLarge`], in characters.
const MAX_NAME_CHARS: usize = 64;

/// A failed operation on a session. It has changed nothing, except that a failed
/// [`commit`](super::Session::commit) may have stored its changes.
///
/// No variant holds session data, ids or keys of records. [`TooLarge`](Self::TooLarge) names keys
/// of the session's data.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The session is not loaded. Call [`Session::load`](super::Session::load) first. After a load that failed,
    /// the methods fail with the error of that load instead.
    #[error("session is not loaded; call `load().await` first")]
    NotLoaded,
    /// The session is read-only.
    #[error("session is read-only: {0}")]
    ReadOnly(ReadOnlyReason),
    /// The response has been produced, or a commit is running in another task.
    #[error("session is already committed; change it before the response is returned")]
    Committed,
    /// The store failed.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// The stored record cannot be decoded, because a newer release wrote it, or because it was damaged
    /// during the request. It was not changed.
    #[error("stored session is unreadable: {0}")]
    Record(&'static str),
    /// The stored document is damaged. It was not changed.
    #[error(transparent)]
    Malformed(#[from] MalformedDocument),
    /// A change was rejected. It exceeds a limit, or it adds to a value that is not a number.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// A value cannot be deserialized as the requested type.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A value cannot be serialized as JSON.
    #[error(transparent)]
    Serialize(#[from] SerializeError),
    /// Too many requests change the session at once. Nothing was written.
    #[error("session was not stored: {0}; try again")]
    Contention(ContentionReason),
    /// A change of the request does not fit a change that another request stored first, for example
    /// an increment of a value that is now a text. None of the request's changes were written.
    #[error(
        "change of \"{path}\" conflicts with a change of another request; load the session again and \
         repeat the change"
    )]
    Conflict {
        /// The path of the change, or `tags`.
        path: Box<str>,
        /// The reason.
        #[source]
        reason: ConflictReason,
    },
    /// An explicit commit was dropped, failed or is still running when the response is ready, or the task
    /// that stores the changes of a hot session has ended or did not answer in time. The changes may be
    /// stored or not.
    #[error(
        "session commit has an unknown outcome: it was interrupted, or its task did not answer in time; \
         load the session again"
    )]
    OutcomeUnknown,
    /// The session is over a size limit. Nothing was written. Remove data; or use a store with a higher limit, or raise
    /// `limits.document`.
    ///
    /// A single change that exceeds `limits.document` is a [`Change`](Self::Change) error instead. A commit
    /// exceeds it only together with changes of other requests.
    #[error("{}", describe_too_large(*exceeded, *size, *limit, largest))]
    TooLarge {
        /// The limit that the session exceeds.
        exceeded: SizeLimit,
        /// Size in bytes, as the limit counts it.
        size: usize,
        /// Maximum size, in bytes.
        limit: usize,
        /// The largest root keys and flash messages (`flash:` before their name), with the size of
        /// their JSON text in bytes; the largest first, at most 5.
        largest: Arc<[(Box<str>, usize)]>,
    },
    /// No session id could be generated.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The session cookie cannot be written.
    #[error("session cookie cannot be written: {0}")]
    Cookie(&'static str),
    /// The URL is not a path on this origin.
    #[error("redirect URL is not a path on this origin; pass a path such as `/account?tab=2`")]
    ForeignUrl,
    /// No form input was read in this request.
    #[error("request has no form input; read the input first, or pass the values to flash")]
    NoInput,
    /// A session cannot have this timeout of its own.
    #[error(transparent)]
    MaxAge(#[from] MaxAgeError),
    /// The tag is empty or too long.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// The session would have too many tags.
    #[error(transparent)]
    TooManyTags(#[from] TooManyTags),
    /// The store has no index of tags.
    #[error("session store does not support tags; use a store with `Store::tags`")]
    TagsUnsupported,
    /// The store cannot list all its sessions.
    #[error(
        "session store cannot list its sessions; use a store with `Store::scan`, or list by tag"
    )]
    ScanUnsupported,
}

impl SessionError {
    /// Returns `true` if the store failed, not the caller. A retry may succeed.
    pub const fn is_store_failure(&self) -> bool {
        matches!(self, Self::Store(_) | Self::Record(_) | Self::Malformed(_))
    }

    /// Returns the outcome of a commit that fails with this error, in spans and metrics.
    pub(super) const fn outcome(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "conflict",
            Self::Contention(_) => "contention",
            Self::TooLarge { .. } => "too_large",
            _ => "failed",
        }
    }

    /// Returns `true` if [`Event::StoreFailed`](super::Event::StoreFailed) reports the error.
    pub(super) const fn is_caused_by_store(&self) -> bool {
        let is_over_limit = matches!(
            self,
            Self::TooLarge {
                exceeded: SizeLimit::Store,
                ..
            }
        );
        self.is_store_failure() || is_over_limit
    }

    /// Returns `true` if this failure is part of an outage. An outage has its own events,
    /// [`StoreUnavailable`](super::Event::StoreUnavailable) and
    /// [`StoreRecovered`](super::Event::StoreRecovered). See [`StoreError::is_outage`].
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_outage())
    }

    /// Returns the time after which a retry is worthwhile, if the store knows it. See
    /// [`StoreError::retry_after`].
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Store(error) => error.retry_after(),
            _ => None,
        }
    }

    /// Returns the status of the response to a request that fails with this error: 503 if a retry may
    /// succeed, 409 for a conflict, and 500 for all others.
    ///
    /// A service that cannot load or store a session sends a response with this status, and has this
    /// error in the response's [extensions](http::Response::extensions).
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Conflict { .. } => StatusCode::CONFLICT,
            Self::Store(_)
            | Self::Record(_)
            | Self::Malformed(_)
            | Self::Contention(_)
            | Self::OutcomeUnknown
            | Self::Entropy(_)
            | Self::ReadOnly(ReadOnlyReason::StoreFailed) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns `true` if the session is over a [size limit](SizeLimit).
    pub const fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge { .. })
    }

    /// Returns `true` if too many requests change the session at once.
    pub const fn is_contention(&self) -> bool {
        matches!(self, Self::Contention(_))
    }

    /// Returns `true` if a change does not fit a change that another request stored first.
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }

    /// Returns `true` if the session cannot be changed now: it is not loaded, read-only, or
    /// committed.
    pub const fn is_not_mutable(&self) -> bool {
        matches!(self, Self::NotLoaded | Self::ReadOnly(_) | Self::Committed)
    }

    /// Creates the error for a session over a limit, with its largest keys.
    pub(super) fn too_large(
        exceeded: SizeLimit,
        limit: TooLarge,
        data: &Document,
        flash: Option<&Document>,
    ) -> Self {
        let mut sizes = key_sizes(data, "");
        if let Some(flash) = flash {
            sizes.append(&mut key_sizes(flash, "flash:"));
        }
        sizes.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        sizes.truncate(MAX_NAMED_KEYS);
        Self::TooLarge {
            exceeded,
            size: limit.size,
            limit: limit.limit,
            largest: Arc::from(sizes),
        }
    }
}

/// A limit that a session exceeds with [`SessionError::TooLarge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SizeLimit {
    /// The setting `limits.document`, for the data and the flash messages. The changes of several requests exceed it
    /// together.
    Document,
    /// The limit of the store, for the session as stored.
    Store,
}

/// The reason for [`SessionError::ReadOnly`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadOnlyReason {
    /// Sessions are disabled by the setting `enabled`.
    #[error("sessions are disabled; turn on the setting `enabled`")]
    Disabled,
    /// The session was loaded with [`load_read_only`](super::Session::load_read_only).
    #[error("it was loaded with `load_read_only`; load it with `load` to change it")]
    LoadedReadOnly,
    /// The store failed, and the setting `on_store_failure` is
    /// [`OnStoreFailure::ReadOnly`](super::OnStoreFailure::ReadOnly).
    #[error("its store failed when it was loaded; try again when the store is available")]
    StoreFailed,
}

/// The reason for [`SessionError::Contention`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentionReason {
    /// Other requests changed the session until the commit timeout, or the queue of its commits made no
    /// progress.
    #[error("other requests changed it until the commit timeout of {limit:?}")]
    Timeout {
        /// The setting `commit_timeout`.
        limit: Duration,
    },
    /// A request is giving the session a new id, and had not ended at the commit timeout. Only a
    /// [`SessionCollection`](super::SessionCollection) fails with it.
    #[error(
        "it is getting a new id, and the request had not ended at the commit timeout of {limit:?}; try again"
    )]
    NewId {
        /// The setting `commit_timeout`.
        limit: Duration,
    },
    /// The record of the new id that a request gives to the session was written by something else.
    #[error("the record of its new id was written by something else; repeat the request")]
    NewRecord,
    /// Too many commits of the session wait in this process.
    #[error("{limit} commits of it wait already, which is the limit")]
    Commits {
        /// The maximum number of waiting commits.
        limit: usize,
    },
    /// The waiting changes of the session are too large.
    #[error("the changes that wait already would exceed the limit of {limit} bytes")]
    Bytes {
        /// The maximum size of all waiting changes, in bytes.
        limit: usize,
    },
}

/// The reason for [`SessionError::Conflict`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConflictReason {
    /// The change of a value does not fit the newer data.
    #[error(transparent)]
    Edit(EditError),
    /// The session would have too many tags.
    #[error(transparent)]
    Tags(TooManyTags),
}

/// Returns the message of [`SessionError::TooLarge`].
fn describe_too_large(
    exceeded: SizeLimit,
    size: usize,
    limit: usize,
    largest: &[(Box<str>, usize)],
) -> String {
    let keys = list_keys(largest);
    match exceeded {
        SizeLimit::Document => format!(
            "session takes {size} bytes together with changes of other requests, limit is {limit}; remove data \
             or raise `limits.document`; largest keys: {keys}"
        ),
        SizeLimit::Store => format!(
            "session takes {size} bytes as stored, limit of its store is {limit}; remove data or use another \
             store; largest keys: {keys}"
        ),
    }
}

/// Returns the root keys, each with its size in bytes including the value.
fn key_sizes(document: &Document, prefix: &str) -> Vec<(Box<str>, usize)> {
    let members = document.members().flatten();
    let sizes = members.map(|(key, value)| {
        let name = format!("{prefix}{}", name_for_display(&key, MAX_NAME_CHARS));
        (name.into(), key.len() + value.as_bytes().len())
    });
    sizes.collect()
}

/// Returns a list such as "`cart` (2100 bytes), `flash:errors` (700 bytes)".
fn list_keys(keys: &[(Box<str>, usize)]) -> String {
    let parts = keys
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
