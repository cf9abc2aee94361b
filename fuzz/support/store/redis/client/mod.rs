//! Commands and replies.

#[path = "../../../../../src/store/redis/client/command.rs"]
#[allow(dead_code, reason = "the target sends no command")]
mod command;
// rustfmt would look for its unit tests beside this file.
#[rustfmt::skip]
#[path = "../../../../../src/store/redis/client/reply.rs"]
#[allow(dead_code, reason = "the target calls a part of it")]
mod reply;

use fred::types::Resp3Frame;
pub use hyper_session::store::redis::{RedisError, ServerRejection, TransientError};

/// The result of parsing a reply, without its private types. Two are equal if their `Debug` texts are.
#[derive(Debug)]
#[allow(dead_code, reason = "`Debug` reads the fields")]
pub enum Parsed {
    Nil,
    Integer(i64),
    Bytes(Vec<u8>),
    Array(Vec<Parsed>),
    /// The server did not execute the command.
    Transient(TransientError),
    /// With the address of another node.
    Moved(String),
    Final(RedisError),
}

/// Parses a reply.
pub fn parse(frame: Resp3Frame) -> Parsed {
    match reply::parse_reply(frame) {
        Ok(reply) => reply.into(),
        Err(error) => error.into(),
    }
}

/// Splits the reply to a batch of reads.
pub fn split(reads: usize, frame: Resp3Frame) -> Vec<Parsed> {
    let replies = reply::split_batch(&commands(reads), frame).into_iter();
    let parsed = |reply| match reply {
        Ok(reply) => Parsed::from(reply),
        Err(error) => Parsed::from(error),
    };
    replies.map(parsed).collect()
}

/// Returns `true` if the server has not cached the script.
pub fn is_no_script(frame: &Resp3Frame) -> bool {
    reply::is_no_script(frame)
}

/// Returns `true` if each read of a batch must be sent alone, without a cluster and in one.
pub fn must_send_alone(reads: usize, frame: &Resp3Frame) -> [bool; 2] {
    [command::BatchSlots::One, command::BatchSlots::Many]
        .map(|slots| reply::must_send_alone(&commands(reads), frame, slots))
}

fn commands(reads: usize) -> Vec<command::RedisCommand> {
    let read = |_| command::RedisCommand::get(bytes::Bytes::from_static(b"key"));
    (0..reads).map(read).collect()
}

impl From<reply::Reply> for Parsed {
    fn from(reply: reply::Reply) -> Self {
        match reply {
            reply::Reply::Nil => Self::Nil,
            reply::Reply::Integer(int) => Self::Integer(int),
            reply::Reply::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
            reply::Reply::Array(items) => Self::Array(items.into_iter().map(Self::from).collect()),
        }
    }
}

impl From<reply::AttemptError> for Parsed {
    fn from(error: reply::AttemptError) -> Self {
        match error {
            reply::AttemptError::Transient { error, sent } => {
                assert!(!sent, "an error is a reply of a server that did nothing");
                Self::Transient(error)
            }
            reply::AttemptError::Moved(address) => Self::Moved(address.into()),
            reply::AttemptError::Final(error) => Self::Final(error),
        }
    }
}
