//! What can go wrong between this process and Redis, and what to do about it.

use std::time::Duration;

/// Why the Redis store could not answer. It is the source of the
/// [`StoreError`](crate::store::StoreError) that the store's methods give.
///
/// No text here holds session data, keys of sessions, or passwords: of what the server said, only
/// the code at the head of its error is kept.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisError {
    /// The address is not one that the store understands.
    #[error("the Redis URL is not valid: {0}")]
    Url(String),
    /// A local cache was asked for in front of a cluster.
    #[error("a local cache in front of a Redis cluster is not supported: use the store without it")]
    CacheInCluster,
    /// The store's methods were called outside a tokio runtime.
    #[error("the Redis store works inside a tokio runtime only, and there is none here")]
    NoRuntime,
    /// No answer came within the total time. The work may have been done or not.
    #[error(
        "no answer from Redis within {after:?}, last: {last}; \
         check that the server is reachable, or allow more time"
    )]
    TimedOut {
        /// The time that was waited.
        after: Duration,
        /// What the last attempt met.
        last: TransientError,
    },
    /// A write's answer was lost, and the record has changed since: whether the write is part of
    /// it cannot be told, so it was not tried again.
    #[error(
        "the answer to a write was lost ({last}) and the record has changed since: \
         it is unknown whether the write is part of it"
    )]
    Unknown {
        /// How the answer was lost.
        last: TransientError,
    },
    /// More operations are under way than the store allows; this one was not begun.
    #[error("{limit} Redis operations are under way already: raise max_in_flight, or shed load")]
    Overloaded {
        /// The store's limit, `max_in_flight`.
        limit: usize,
    },
    /// The server refused, and trying again would not help.
    #[error("Redis refused: {0}")]
    Refused(ServerRejection),
    /// What stands under the session's key was not written by this store.
    #[error(
        "the value under the session's key is not a session record: does something else use the prefix?"
    )]
    Foreign,
    /// The record under the session's key does not match its checksum, or belongs to another key.
    #[error("the session's record is damaged: {0}")]
    Damaged(&'static str),
    /// The write is on the master, but fewer replicas than asked for have confirmed it in time.
    #[error(
        "the write was confirmed by {confirmed} of {wanted} replicas in time; it may be lost in a failover"
    )]
    Unreplicated {
        /// How many replicas confirmed.
        confirmed: i64,
        /// How many were asked for.
        wanted: u32,
    },
    /// The session would carry more than [`MAX_TAGS`](crate::store::MAX_TAGS) tags.
    #[error("the session would have more than {max} tags: untag it first", max = crate::store::MAX_TAGS)]
    TooManyTags,
    /// The server's answer is not one that the store's commands can have.
    #[error("Redis gave an answer that the command cannot have; is it Redis 6.2 or later?")]
    Unexpected,
}

impl RedisError {
    /// What was met last, where the server was not heard: such failures together are an outage.
    pub(super) const fn outage(&self) -> Option<TransientError> {
        match self {
            Self::TimedOut { last, .. } | Self::Unknown { last } => Some(*last),
            _ => None,
        }
    }

    /// Whether nothing is lost with this error where somebody is told of the outage. It is with
    /// `Unknown`: it may come from a server that answers again, and says what became of one write.
    pub(super) const fn is_told(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }
}

/// What one attempt met. Another attempt may fare better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransientError {
    /// There is no connection at the moment.
    #[error("not connected")]
    Disconnected,
    /// The connection broke before the answer was there.
    #[error("the connection broke")]
    Broken,
    /// The server did not answer in time.
    #[error("the server did not answer")]
    Silent,
    /// The server is still loading its data (`LOADING`).
    #[error("the server is loading its data")]
    Loading,
    /// The server is a replica (`READONLY`): a failover is under way.
    #[error("the server is a read-only replica")]
    ReadOnly,
    /// The cluster has no master for the key (`CLUSTERDOWN`).
    #[error("the cluster cannot serve the key")]
    ClusterDown,
    /// The cluster has moved the key (`MOVED`), or is moving it (`ASK`, `TRYAGAIN`).
    #[error("the cluster is moving the key")]
    Redirected,
    /// A replica lost its master (`MASTERDOWN`).
    #[error("the server has lost its master")]
    MasterDown,
    /// Somebody's script occupies the server (`BUSY`).
    #[error("the server is busy with a script")]
    Busy,
}

/// Why the server refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerRejection {
    /// `maxmemory` is reached and nothing may be evicted (`OOM`).
    #[error("its memory is full (OOM): raise maxmemory or choose an eviction policy")]
    OutOfMemory,
    /// The server cannot save, and is set to refuse writes then (`MISCONF`).
    #[error("it cannot write its snapshot and so takes no writes (MISCONF): see its log")]
    Misconfigured,
    /// Fewer replicas are connected than the server is set to demand (`NOREPLICAS`).
    #[error("it has too few good replicas to take writes (NOREPLICAS)")]
    NoReplicas,
    /// User or password are wrong or missing, or may not do this.
    #[error("the user or password is wrong, or lacks a permission ({0})")]
    Denied(Box<str>),
    /// Anything else, by the code at the head of the server's message.
    #[error("{0}")]
    Other(Box<str>),
}
