//! The parser of replies, and the types that it names.

pub use hyper_session::store::redis::{RedisError, ServerRejection, TransientError};

pub mod client;

/// Tracking of outages.
pub mod outage {
    /// The kind of a command. The parser of replies ignores it.
    #[derive(Clone, Copy)]
    #[allow(dead_code, reason = "the target makes no such command")]
    pub enum Access {
        Read,
        ReadAndTouch,
        Write,
    }
}
