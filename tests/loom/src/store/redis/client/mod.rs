//! The batches of a connection, over a server of the model.

#[path = "../../../../../../src/store/redis/client/batch.rs"]
mod batch;
#[path = "../../../../../../src/store/redis/client/queue.rs"]
mod queue;
mod tests;

/// Commands.
mod command {
    /// The slots of the commands in a batch.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(super) enum BatchSlots {
        One,
        Many,
    }

    /// A command whose reply is its number.
    #[derive(Clone, Copy)]
    pub(super) struct RedisCommand(pub(super) i64);

    impl RedisCommand {
        pub(super) const fn size(&self) -> usize {
            1
        }

        pub(super) const fn is_get(&self) -> bool {
            false
        }

        pub(super) const fn batches_with(&self, _: &Self) -> bool {
            true
        }
    }
}

/// Replies.
mod reply {
    use super::command::{BatchSlots, RedisCommand};
    use crate::store::redis::TransientError;

    #[derive(Debug, PartialEq, Eq)]
    pub(super) enum Reply {
        Nil,
        Integer(i64),
    }

    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) enum AttemptError {
        Transient { error: TransientError, sent: bool },
    }

    impl AttemptError {
        pub(super) const NOT_SENT: Self = Self::Transient {
            error: TransientError::NotSent,
            sent: false,
        };

        pub(super) const CONNECTION_LOST: Self = Self::Transient {
            error: TransientError::ConnectionLost,
            sent: true,
        };

        pub(super) const fn is_redirection(&self) -> bool {
            false
        }
    }

    pub(super) fn must_send_alone(_: &[RedisCommand], _: &(), _: BatchSlots) -> bool {
        false
    }

    pub(super) fn split_batch(
        commands: &[RedisCommand],
        (): (),
    ) -> Vec<Result<Reply, AttemptError>> {
        let reply = |command: &RedisCommand| Ok(Reply::Integer(command.0));
        commands.iter().map(reply).collect()
    }
}

/// Connections.
mod connection {
    use std::time::Duration;

    use super::{
        command::{BatchSlots, RedisCommand},
        queue::Queue,
        reply::{AttemptError, Reply},
    };
    use crate::sync::{Instant, Mutex, MutexGuard, lock};

    /// A connection to a server that lists the commands that it executes.
    #[derive(Default)]
    pub(super) struct Connection {
        queue: Mutex<Queue>,
        executed: Mutex<Vec<i64>>,
        pub(super) command_timeout: Duration,
    }

    impl Connection {
        pub(super) fn slots(&self) -> BatchSlots {
            BatchSlots::One
        }

        pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
            lock(&self.queue)
        }

        pub(super) fn command_timeout(&self) -> Duration {
            self.command_timeout
        }

        pub(super) fn executed(&self) -> Vec<i64> {
            lock(&self.executed).clone()
        }

        pub(super) async fn request(
            &self,
            commands: &[RedisCommand],
            _: Duration,
        ) -> Result<(), AttemptError> {
            lock(&self.executed).extend(commands.iter().map(|command| command.0));
            Ok(())
        }

        pub(super) async fn attempt_alone(
            &self,
            command: RedisCommand,
            _: Instant,
        ) -> Result<Reply, AttemptError> {
            lock(&self.executed).push(command.0);
            Ok(Reply::Integer(command.0))
        }
    }

    pub(super) fn remaining(deadline: Instant) -> Duration {
        deadline.saturating_duration_since(Instant::now())
    }
}
