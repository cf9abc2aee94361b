//! Errors between this process and Redis.

use std::{sync::Arc, time::Duration};

/// The error of a Redis operation, the source of the [`StoreError`](crate::store::StoreError) that
/// the store's methods return.
///
/// Its text contains no session data, session keys or passwords. Of a server's error message to a
/// command, it contains only the code, the name of a denied command, and no more than the start of the message if
/// the server does not know the command or is not part of a cluster.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisError {
    /// The store cannot use the URL.
    #[error("Redis URL is invalid: {0}")]
    InvalidUrl(String),
    /// The cursor of a scan is not one of this store.
    #[error("scan cursor is not one of this store; begin the scan again without a cursor")]
    InvalidCursor,
    /// The operation ran outside a tokio runtime.
    #[error("Redis store needs a tokio runtime; call it inside a runtime with I/O and time")]
    NoRuntime,
    /// The server cannot be used with this URL, user or password. A retry would fail the same way.
    ///
    /// Only a server that has not accepted the store before gives this error, or one that has become a node of a
    /// cluster. If a server stops accepting the store later, that is an outage.
    #[error("cannot connect to Redis at {server}: {problem}")]
    Connect {
        /// The host and port of the server, or the path of its socket.
        server: Arc<str>,
        /// The problem.
        problem: ConnectProblem,
    },
    /// No reply arrived within the operation timeout. The operation may or may not have been applied.
    #[error(
        "no reply from Redis at {server} within {after:?} (last attempt: {}); {}, or raise the timeout",
        describe(*last, problem.as_ref()),
        last.remedy()
    )]
    TimedOut {
        /// The host and port of the server, or the path of its socket.
        server: Arc<str>,
        /// The timeout of the operation.
        after: Duration,
        /// The failure of the last attempt.
        last: TransientError,
        /// The reason why there is no connection, if it is known.
        problem: Option<ConnectProblem>,
    },
    /// The operation failed during an outage of the server: it waited for the outage timeout, or it was
    /// one of the operations that began the outage. It may or may not have been applied.
    #[error(
        "Redis at {server} does not answer{} since {} ms ({}); {}",
        scope.clause(),
        lasted.as_millis(),
        describe(*last, problem.as_ref()),
        last.remedy()
    )]
    Outage {
        /// The host and port of the server, or the path of its socket. The hosts in the URL for slots of a
        /// cluster that have no node.
        server: Arc<str>,
        /// The commands that the server does not answer.
        scope: OutageScope,
        /// The time since the outage began.
        lasted: Duration,
        /// The failure that is the cause.
        last: TransientError,
        /// The reason why there is no connection, if it is known.
        problem: Option<ConnectProblem>,
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
    /// A server rejected a command of the check at the start.
    #[error("Redis at {server} rejected the command: {rejection}")]
    RejectedByNode {
        /// The host and port of the server, or the path of its socket.
        server: Arc<str>,
        /// The reason.
        rejection: ServerRejection,
    },
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
    /// The master has acknowledged the write, but too few replicas confirmed it in time. If the connection was
    /// lost meanwhile, a new master may not have the write.
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
    /// Returns `true` if the bytes under the key are damaged or foreign.
    pub(super) const fn is_unreadable(&self) -> bool {
        matches!(self, Self::ForeignValue | Self::DamagedRecord(_))
    }

    /// Returns how long the outage has lasted that this error is part of. Zero if that is unknown, because the
    /// server has just rejected the write.
    ///
    /// An `UnknownOutcome` is part of no outage. The server may be available again, and the error
    /// concerns one particular write.
    pub(super) const fn outage_age(&self) -> Option<Duration> {
        match self {
            Self::Outage { lasted, .. } => Some(*lasted),
            Self::Rejected(rejection) | Self::RejectedByNode { rejection, .. }
                if rejection.rejects_writes() =>
            {
                Some(Duration::ZERO)
            }
            _ => None,
        }
    }

    /// Returns `true` if the server is up and rejects writes only.
    pub(super) const fn rejects_writes(&self) -> bool {
        match self {
            Self::Rejected(rejection) => rejection.rejects_writes(),
            Self::Outage { scope, .. } => matches!(scope, OutageScope::Writes),
            Self::TimedOut { last, .. } => matches!(last, TransientError::ReadOnly),
            _ => false,
        }
    }
}

/// Joins the failure of an attempt and the reason why there is no connection.
fn describe(last: TransientError, problem: Option<&ConnectProblem>) -> String {
    match problem {
        Some(problem) => format!("{last}: {problem}"),
        None => last.to_string(),
    }
}

/// The commands that a server does not answer during an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutageScope {
    /// All commands.
    All,
    /// Writes. The server answers reads.
    Writes,
}

impl OutageScope {
    const fn clause(self) -> &'static str {
        match self {
            Self::All => "",
            Self::Writes => " writes",
        }
    }
}

/// The reason why the store has no connection to a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectProblem {
    /// The resolver does not know the host.
    #[error("host is unknown; check the host in the URL")]
    UnknownHost,
    /// The socket cannot be opened, or was closed. Holds the text of the operating system.
    #[error("{0}")]
    Socket(Box<str>),
    /// The server accepted the connection and did not answer.
    #[error("no answer to a new connection")]
    Silent,
    /// The URL requires TLS, and the server does not use it.
    #[error("server does not use TLS; write the scheme of the URL without TLS, such as `redis://`")]
    NoTls,
    /// The server requires TLS, and the URL does not.
    #[error("server requires TLS; write the scheme of the URL with TLS, such as `rediss://`")]
    NeedsTls,
    /// TLS failed. Holds the text of the TLS library.
    #[error("TLS failed: {0}; check the host in the URL and the trusted certificate authorities")]
    Tls(Box<str>),
    /// A server of another protocol listens on the port.
    #[error("server speaks {0}, not the protocol of Redis; check the port in the URL")]
    NotRedis(&'static str),
    /// The server rejected the user or password. Holds the server's text.
    #[error("server rejected the user or password ({0}); check the URL and the server's ACL")]
    Denied(Box<str>),
    /// The server is a node of a cluster, and the URL is that of one server.
    #[error("server is a node of a cluster; write the scheme `redis-cluster://`")]
    ClusterNode,
    /// The server is not part of a cluster, and the URL is that of a cluster.
    #[error("server is not part of a cluster; write the scheme `redis://`")]
    NoCluster,
    /// The server does not run `GET`. A Sentinel does not, for example.
    #[error(
        "server does not run `GET`, like a Sentinel; write the scheme `redis-sentinel://`, or check the port"
    )]
    NoGet,
    /// The server rejected the new connection. Holds the server's text.
    #[error("server rejected the connection ({0}); check the URL and the server's settings")]
    Rejected(Box<str>),
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
    /// The cluster has no master for the key, because it is down (`CLUSTERDOWN`) or its slot has no node.
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

impl TransientError {
    const fn remedy(self) -> &'static str {
        match self {
            Self::ClusterDown => "check that each slot of the cluster has a node",
            _ => "check that the server is reachable",
        }
    }

    /// Returns `true` if the failure is not an answer of the server.
    pub(super) const fn is_silence(self) -> bool {
        matches!(
            self,
            Self::ConnectionLost | Self::Disconnected | Self::Timeout
        )
    }
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
    /// The user lacks a permission (`NOPERM`), or the password is missing (`NOAUTH`).
    #[error("{}; check the URL and the server's ACL", denied_text(code, command.as_deref()))]
    Denied {
        /// The code at the start of the server's message.
        code: Box<str>,
        /// The command that the user may not run. `None` if the server names none, for example because
        /// the user may not use keys with this prefix.
        command: Option<Box<str>>,
    },
    /// Any other rejection: the code at the start of the server's message. Or more of it, if the server does
    /// not know the command (`ERR unknown command`) or is not part of a cluster.
    #[error("{0}")]
    Other(Box<str>),
}

impl ServerRejection {
    /// Returns `true` if the server rejects all writes for this reason, whatever they write.
    pub(super) const fn rejects_writes(&self) -> bool {
        matches!(
            self,
            Self::OutOfMemory | Self::Misconfigured | Self::NoReplicas
        )
    }
}

fn denied_text(code: &str, command: Option<&str>) -> String {
    match command {
        Some(command) => format!("user may not run the command `{command}` ({code})"),
        None if code == "NOPERM" => {
            format!("user may not use keys with this prefix, or a command in a script ({code})")
        }
        None => format!("user or password is wrong ({code})"),
    }
}
