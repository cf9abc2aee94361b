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
pub use hyper_session::store::redis::RedisError;

/// The result of parsing a reply, without its private types.
pub enum Parsed {
    Nil,
    Integer(i64),
    Bytes(Vec<u8>),
    Array(Vec<Parsed>),
    Transient,
    Moved,
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
    let commands: Vec<_> = (0..reads)
        .map(|_| command::RedisCommand::get(bytes::Bytes::from_static(b"key")))
        .collect();
    let _ = (
        reply::is_no_script(&frame),
        reply::must_send_alone(&commands, &frame, command::BatchSlots::One),
        reply::must_send_alone(&commands, &frame, command::BatchSlots::Many),
    );
    let replies = reply::split_batch(&commands, frame).into_iter();
    let parsed = |reply| match reply {
        Ok(reply) => Parsed::from(reply),
        Err(error) => Parsed::from(error),
    };
    replies.map(parsed).collect()
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
            reply::AttemptError::Transient { .. } => Self::Transient,
            reply::AttemptError::Moved(_) => Self::Moved,
            reply::AttemptError::Final(error) => Self::Final(error),
        }
    }
}
