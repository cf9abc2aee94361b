//! Replies and errors of the server.

use std::{
    num::NonZeroU64,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use fred::types::Resp3Frame;

use super::command::{BatchSlots, RedisCommand};
use crate::store::redis::{RedisError, ServerRejection, TransientError};

/// A reply of the server.
#[derive(Debug)]
pub(in crate::store::redis) enum Reply {
    Nil,
    Integer(i64),
    Bytes(Bytes),
    Array(Vec<Reply>),
}

/// A reply, and the connection that it came from.
#[derive(Debug)]
pub(in crate::store::redis) struct Answer {
    pub(in crate::store::redis) reply: Reply,
    /// The tracked connection that reports changes of the values in the reply.
    pub(in crate::store::redis) source: Option<TrackingId>,
    /// The number of openings of the connection so far. Zero unless it is one for writes that replicas must
    /// confirm.
    pub(in crate::store::redis) opening: u64,
}

/// The number under which a connection reports changes. Each time that tracking is switched on, it gets a new
/// number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::redis) struct TrackingId(NonZeroU64);

impl TrackingId {
    /// Returns a number that is not in use.
    pub(super) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NonZeroU64::new(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU64::MAX))
    }

    /// Returns the number for an atomic; `None` is zero.
    pub(super) fn to_number(id: Option<Self>) -> u64 {
        id.map_or(0, |id| id.0.get())
    }

    pub(super) fn from_number(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }
}

/// The failure of one attempt.
#[derive(Clone, Debug)]
pub(in crate::store::redis) enum AttemptError {
    /// A retry may succeed. If `sent`, the server may have executed the command.
    Transient { error: TransientError, sent: bool },
    /// Another node of the cluster has the key. Holds its host and port as the server wrote them.
    Moved(Box<str>),
    /// A retry would fail the same way.
    Final(RedisError),
}

impl AttemptError {
    /// Returns `true` if the command was not executed, and a reply to it alone says more.
    pub(super) const fn is_redirection(&self) -> bool {
        matches!(
            self,
            Self::Transient {
                error: TransientError::Redirected,
                sent: false
            }
        )
    }

    /// The command was not sent.
    pub(super) const NOT_SENT: Self = Self::Transient {
        error: TransientError::Disconnected,
        sent: false,
    };

    /// The command was sent, and its connection was lost.
    pub(super) const CONNECTION_LOST: Self = Self::Transient {
        error: TransientError::ConnectionLost,
        sent: true,
    };

    /// The command was not sent within its time.
    pub(super) const NOT_SENT_IN_TIME: Self = Self::Transient {
        error: TransientError::Timeout,
        sent: false,
    };

    /// The server does not have the key, and the script in a cluster could not say which one has it.
    pub(super) const NOT_SERVED: Self = Self::Transient {
        error: TransientError::Redirected,
        sent: false,
    };

    /// The command was sent and no reply came in time.
    pub(super) const TIMEOUT: Self = Self::Transient {
        error: TransientError::Timeout,
        sent: true,
    };
}

/// Splits the reply to a batch into the replies to its `commands`.
pub(super) fn split_batch(
    commands: &[RedisCommand],
    frame: Resp3Frame,
) -> Vec<Result<Reply, AttemptError>> {
    let for_each = commands.len() > 1 || commands.iter().any(RedisCommand::is_for_each);
    match frame {
        Resp3Frame::Array { data, .. } if for_each && data.len() == commands.len() => {
            data.into_iter().map(parse_reply).collect()
        }
        frame => commands
            .iter()
            .map(|_| parse_reply(frame.clone()))
            .collect(),
    }
}

/// Returns `true` if the server has not cached the script, and so has not executed it.
pub(super) fn is_no_script(frame: &Resp3Frame) -> bool {
    matches!(frame, Resp3Frame::SimpleError { data, .. } if error_code(data) == "NOSCRIPT")
}

/// Returns `true` if the server has rejected a batch without executing any of it, but may accept each
/// command alone.
///
/// That is a server that is part of a cluster, or one whose user may not run `MGET`. In a cluster, it may
/// also be a proxy that requires the keys of a script.
pub(super) fn must_send_alone(
    commands: &[RedisCommand],
    frame: &Resp3Frame,
    slots: BatchSlots,
) -> bool {
    let Resp3Frame::SimpleError { data, .. } = frame else {
        return false;
    };
    match error_code(data) {
        "CROSSSLOT" => true,
        "ERR" => slots == BatchSlots::Many,
        "NOPERM" => commands.iter().all(RedisCommand::is_get),
        _ => false,
    }
}

/// Converts a frame into a reply.
pub(super) fn parse_reply(frame: Resp3Frame) -> Result<Reply, AttemptError> {
    Ok(match frame {
        Resp3Frame::Null => Reply::Nil,
        // The `false` of a script in RESP3.
        Resp3Frame::Boolean { data: false, .. } => Reply::Nil,
        Resp3Frame::Number { data, .. } => Reply::Integer(data),
        Resp3Frame::BlobString { data, .. } | Resp3Frame::SimpleString { data, .. } => {
            Reply::Bytes(data)
        }
        Resp3Frame::Array { data, .. } => Reply::Array(
            data.into_iter()
                .map(parse_reply)
                .collect::<Result<_, _>>()?,
        ),
        Resp3Frame::Map { data, .. } => Reply::Array(
            data.into_iter()
                .flat_map(|(key, value)| [key, value])
                .map(parse_reply)
                .collect::<Result<_, _>>()?,
        ),
        Resp3Frame::SimpleError { data, .. } => return Err(parse_error(&data)),
        Resp3Frame::BlobError { data, .. } => {
            return Err(parse_error(&String::from_utf8_lossy(&data)));
        }
        _ => return Err(AttemptError::Final(RedisError::UnexpectedReply)),
    })
}

/// Converts an error that the server returned. The command was not executed.
fn parse_error(message: &str) -> AttemptError {
    let code = error_code(message);
    if let Some(address) = moved_address(message) {
        return AttemptError::Moved(address.into());
    }
    if let Some(error) = transient_error(code) {
        return AttemptError::Transient { error, sent: false };
    }
    if NOT_SERVED.iter().any(|text| message.contains(text)) {
        return AttemptError::NOT_SERVED;
    }
    let rejection = match code {
        "WRONGTYPE" | "HSFOREIGN" => return AttemptError::Final(RedisError::ForeignValue),
        "OOM" => ServerRejection::OutOfMemory,
        "MISCONF" => ServerRejection::Misconfigured,
        "NOREPLICAS" => ServerRejection::NoReplicas,
        code if auth_error_code(code) => ServerRejection::Denied {
            code: code.into(),
            command: denied_command(message).map(Into::into),
        },
        // In a script, servers report a missing permission without the code.
        _ if SCRIPT_DENIALS.iter().any(|text| message.contains(text)) => ServerRejection::Denied {
            code: "NOPERM".into(),
            command: denied_command(message).map(Into::into),
        },
        code => {
            let known = KNOWN_ERRORS.iter().find(|text| message.starts_with(**text));
            ServerRejection::Other((*known.unwrap_or(&code)).into())
        }
    };
    AttemptError::Final(RedisError::Rejected(rejection))
}

/// Parts of the messages about a key that a script in a cluster uses, if the server does not have its slot
/// or the cluster is down. Valkey 9 has messages of its own.
const NOT_SERVED: [&str; 3] = [
    "ttempted to access a non local key",
    "ttempted to access keys that do not hash to the same slot",
    " while the cluster is down",
];

/// Parts of the messages of Redis 6 and 7, and of newer servers.
const SCRIPT_DENIALS: [&str; 2] = [
    "The user executing the script can't",
    "ACL failure in script",
];

/// The start of the message about a command that the server does not know.
pub(in crate::store::redis) const UNKNOWN_COMMAND: &str = "ERR unknown command";

/// The message of a server that is not part of a cluster.
pub(in crate::store::redis) const NO_CLUSTER: &str =
    "ERR This instance has cluster support disabled";

/// The starts of messages that say more than their code and repeat no argument.
const KNOWN_ERRORS: [&str; 2] = [UNKNOWN_COMMAND, NO_CLUSTER];

/// Returns the new address in `MOVED 3999 127.0.0.1:6381`.
fn moved_address(message: &str) -> Option<&str> {
    let mut words = message.strip_prefix("MOVED ")?.split([' ', '\r', '\n']);
    words.nth(1)
}

/// Returns the command in a message such as `NOPERM User u has no permissions to run the 'eval'
/// command`. The message of a denied key names no command.
fn denied_command(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("to run the '")?;
    let (command, _) = rest.split_once('\'')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"|_-.".contains(&byte);
    command.bytes().all(is_name).then_some(command)
}

/// Returns the code at the start of an error message. The rest may hold arguments, so session data.
///
/// For an error inside a script, Redis 6.2 puts the place in the script first:
/// `@user_script: 12: -OOM …`. If the error ended the script, `ERR Error running script …` precedes
/// even that.
pub(super) fn error_code(message: &str) -> &str {
    let script_prefixes = ["@user_script: ", "ERR Error running script "];
    let message = match message.split_once("@user_script: ") {
        Some((_, place))
            if script_prefixes
                .iter()
                .any(|prefix| message.starts_with(prefix)) =>
        {
            place.split_once(": -").map_or(message, |(_, error)| error)
        }
        _ => message,
    };
    let word = message.split([' ', '\r', '\n']).next().unwrap_or_default();
    let is_code = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    if word.bytes().all(is_code) {
        word
    } else {
        "ERR"
    }
}

/// Returns the transient error of a code.
pub(super) fn transient_error(code: &str) -> Option<TransientError> {
    Some(match code {
        "LOADING" => TransientError::Loading,
        "READONLY" => TransientError::ReadOnly,
        "CLUSTERDOWN" => TransientError::ClusterDown,
        "TRYAGAIN" | "MOVED" | "ASK" => TransientError::Redirected,
        "MASTERDOWN" => TransientError::MasterDown,
        "BUSY" => TransientError::Busy,
        _ => return None,
    })
}

/// Returns `true` for the codes of a wrong user or password and of a missing permission.
pub(super) fn auth_error_code(code: &str) -> bool {
    matches!(code, "NOAUTH" | "WRONGPASS" | "NOPERM")
}

#[cfg(test)]
mod tests;
