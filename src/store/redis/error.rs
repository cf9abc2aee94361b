//! Errors between this process and Redis.

use std::time::Duration;

/// The error of a Redis operation, the source of the [`StoreError`](crate::store::StoreError) that
/// the store's methods return.
///
/// Its text contains no session data, session keys or passwords. Of a server's error message, it
/// contains only the code.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisError {
    /// The store cannot use the URL.
    #[error("Redis URL is invalid: {0}")]
    InvalidUrl(String),
    /// A near cache was requested in front of a cluster.
    #[error("near cache does not support a Redis cluster; use the store without `with_near_cache`")]
    CacheInCluster,
    /// The operation ran outside a tokio runtime.
    #[error("Redis store needs a tokio runtime; call it inside a runtime with I/O and time")]
    NoRuntime,
    /// No reply arrived within the operation timeout. The operation may or may not have been applied.
    #[error(
        "no reply from Redis within {after:?} (last attempt: {last}); \
         check that the server is reachable, or raise the timeout"
    )]
    TimedOut {
        /// The timeout of the operation.
        after: Duration,
        /// The failure of the last attempt.
        last: TransientError,
    },
    /// The reply to a write was lost, and a retry is not safe or found a changed record. The write
    /// may or may not have been applied.
    #[error(
        "reply to a Redis write was lost ({last}), so its outcome is unknown; \
         read the session again"
    )]
    UnknownOutcome {
        /// The failure that lost the reply.
        last: TransientError,
    },
    /// The store's limit of operations in flight is reached. This operation was not started.
    #[error(
        "{limit} Redis operations are in flight, the limit; raise `max_in_flight` or shed load"
    )]
    Overloaded {
        /// The store's limit, `max_in_flight`.
        limit: usize,
    },
    /// The server rejected the command, and a retry would not help.
    #[error("Redis rejected the command: {0}")]
    Rejected(ServerRejection),
    /// The value under the session's key was not written by this store.
    #[error(
        "value under the session's key in Redis is not a session record; \
         check that no other program uses the same prefix"
    )]
    ForeignValue,
    /// A newer release of this crate wrote the value under the session's key.
    #[error("session record in Redis has a newer format; upgrade hyper-session on this machine")]
    NewerFormat,
    /// The record under the session's key does not match its checksum, or belongs to another key.
    #[error("session record in Redis is damaged: {0}; destroy the session")]
    DamagedRecord(&'static str),
    /// The write is on the master, but too few replicas confirmed it in time.
    #[error(
        "{confirmed} of {required} Redis replicas confirmed the write in time; \
         a failover may lose it"
    )]
    Unreplicated {
        /// The number of replicas that confirmed.
        confirmed: i64,
        /// The number of replicas that must confirm.
        required: u32,
    },
    /// The server's reply has a type that the command does not return.
    #[error("unexpected reply from Redis; check that the server is Redis 6.2 or later")]
    UnexpectedReply,
}

impl RedisError {
    /// Returns the failure of the last attempt if the server did not answer. Such errors count as
    /// an outage.
    pub(super) const fn transient_cause(&self) -> Option<TransientError> {
        match self {
            Self::TimedOut { last, .. } | Self::UnknownOutcome { last } => Some(*last),
            _ => None,
        }
    }

    /// Returns `true` if the bytes under the key are damaged or foreign.
    pub(super) const fn is_unreadable(&self) -> bool {
        matches!(self, Self::ForeignValue | Self::DamagedRecord(_))
    }

    /// Returns `true` if an outage is reported instead of this error.
    ///
    /// `UnknownOutcome` is not covered. The server may be available again, and the error concerns one
    /// particular write.
    pub(super) const fn is_covered_by_outage(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }
}

/// A transient failure of one attempt; a retry may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransientError {
    /// There is no connection at the moment.
    #[error("not connected")]
    Disconnected,
    /// The connection was lost before the reply arrived.
    #[error("connection lost before the reply")]
    ConnectionLost,
    /// The server did not reply in time.
    #[error("no reply from the server")]
    Timeout,
    /// The server is loading its data (`LOADING`).
    #[error("server is loading its data")]
    Loading,
    /// The server is a replica (`READONLY`). A failover is in progress.
    #[error("server is a read-only replica")]
    ReadOnly,
    /// The cluster has no master for the key (`CLUSTERDOWN`).
    #[error("cluster cannot serve the key")]
    ClusterDown,
    /// The cluster has moved the key (`MOVED`), or is moving it (`ASK`, `TRYAGAIN`).
    #[error("cluster is moving the key")]
    Redirected,
    /// A replica lost its master (`MASTERDOWN`).
    #[error("replica has lost its master")]
    MasterDown,
    /// A script blocks the server (`BUSY`).
    #[error("server is busy with a script")]
    Busy,
}

/// The reason why the server rejected a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerRejection {
    /// `maxmemory` is reached and nothing may be evicted (`OOM`).
    #[error("its memory is full (OOM); raise `maxmemory` or choose an eviction policy")]
    OutOfMemory,
    /// The server cannot save its snapshot and is configured to reject writes then (`MISCONF`).
    #[error("it cannot save its snapshot and rejects writes (MISCONF); read the server's log")]
    Misconfigured,
    /// Fewer replicas are connected than the server requires (`NOREPLICAS`).
    #[error("it has too few replicas to accept writes (NOREPLICAS); check its replicas")]
    NoReplicas,
    /// The user or password is wrong or missing, or the user lacks a permission.
    #[error(
        "user or password is wrong, or the user lacks a permission ({0}); check the URL and ACL"
    )]
    Denied(Box<str>),
    /// Any other rejection: the code at the start of the server's message.
    #[error("{0}")]
    Other(Box<str>),
}
