//! The commands that wait for the next batch.

use std::time::Duration;

use tokio::sync::oneshot;

use super::{
    command::RedisCommand,
    reply::{AttemptError, Reply},
};
use crate::sync::Instant;

/// The result of a queued command.
pub(super) enum BatchOutcome {
    Completed(Result<Reply, AttemptError>),
    /// The batch gave the command no clear reply and has not executed it. It must be sent alone.
    SendAlone(RedisCommand),
}

/// A command with the receiver of its result and its deadline.
pub(super) struct QueuedCommand {
    pub(super) command: RedisCommand,
    pub(super) sender: oneshot::Sender<BatchOutcome>,
    pub(super) deadline: Instant,
}

/// The queue of a connection: commands that are sent with its next batches.
#[derive(Default)]
pub(super) struct Queue {
    commands: Vec<QueuedCommand>,
    /// The time at which the first of the commands was queued. The command timeout ends before the deadline of
    /// each command.
    since: Option<Instant>,
    /// The end of a pause.
    paused_until: Option<Instant>,
}

impl Queue {
    /// Returns `true` if commands must be sent alone now.
    pub(super) fn is_paused(&self) -> bool {
        self.paused_until.is_some_and(|end| Instant::now() < end)
    }

    /// Pauses for this long. Commands in the queue stay there.
    pub(super) fn pause(&mut self, time: Duration) {
        self.paused_until = Some(Instant::now() + time);
    }

    /// Adds a command. Returns `true` if the queue was empty, so that the caller must send it.
    pub(super) fn push(&mut self, command: QueuedCommand) -> bool {
        let is_first = self.commands.is_empty();
        if is_first {
            self.since = Some(Instant::now());
        }
        // If the runtime is blocked, no batch is sent. Cancelled commands free their space.
        if self.commands.len() == self.commands.capacity() {
            self.commands.retain(|one| !one.sender.is_closed());
        }
        self.commands.push(command);
        is_first
    }

    /// Removes all commands.
    pub(super) fn take(&mut self) -> Vec<QueuedCommand> {
        std::mem::take(&mut self.commands)
    }

    /// Returns the time until the first command has waited for `limit`; `limit` if the queue is
    /// empty.
    pub(super) fn time_left(&self, limit: Duration) -> Duration {
        let since = self.since.filter(|_| !self.commands.is_empty());
        since.map_or(limit, |since| limit.saturating_sub(since.elapsed()))
    }
}
