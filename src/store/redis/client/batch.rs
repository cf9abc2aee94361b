//! Batches: commands of one kind that are sent as one command.
//!
//! `fred` writes each command to the socket separately, and the server replies to each separately.
//! With many concurrent requests, most of the work on both sides is system calls. Hence commands of
//! one kind that arrive at about the same time are sent as one command.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::{runtime::Handle, sync::oneshot, task::yield_now, time::sleep};

use super::{
    command::{BatchSlots, RedisCommand},
    connection::{Connection, remaining},
    queue::{BatchOutcome, QueuedCommand},
    reply::{AttemptError, Reply, must_send_alone, split_batch},
};
use crate::sync::Instant;

/// Maximum number of commands in a batch. The server does nothing else while it runs a batch.
pub(super) const MAX_COMMANDS: usize = 64;

/// Maximum size of a batch in bytes, not counting its last command.
const MAX_BYTES: usize = 64 << 10;

/// Bounds of the time after which a queued command is overdue, whatever the command timeout is.
const MIN_DELAY: Duration = Duration::from_millis(10);
const MAX_DELAY: Duration = Duration::from_secs(60);

/// The time for which commands are sent alone after a server of a cluster has rejected a batch of commands
/// that it may accept alone.
const REJECTION_PAUSE: Duration = Duration::from_secs(10);

/// Commands that batch with each other.
struct Batch {
    commands: Vec<RedisCommand>,
    senders: Vec<oneshot::Sender<BatchOutcome>>,
    size: usize,
    /// The earliest deadline of the commands.
    deadline: Instant,
}

impl Batch {
    fn new(first: QueuedCommand) -> Self {
        let mut batch = Self {
            commands: Vec::new(),
            senders: Vec::new(),
            size: 0,
            deadline: first.deadline,
        };
        batch.push(first);
        batch
    }

    /// Returns `true` if the command batches with this batch and there is room for it.
    fn accepts(&self, command: &RedisCommand) -> bool {
        let has_room = self.commands.len() < MAX_COMMANDS && self.size < MAX_BYTES;
        let first = self.commands.first();
        has_room && first.is_some_and(|first| first.batches_with(command))
    }

    fn push(&mut self, queued: QueuedCommand) {
        self.deadline = self.deadline.min(queued.deadline);
        self.size += queued.command.size();
        self.commands.push(queued.command);
        self.senders.push(queued.sender);
    }
}

impl Connection {
    /// Attempts a command in a batch with other concurrent commands, until `deadline`. The caller
    /// ensures that the command timeout ends before the deadline.
    pub(super) async fn attempt_in_batch(
        self: &Arc<Self>,
        command: RedisCommand,
        deadline: Instant,
        runtime: &Handle,
    ) -> Result<Reply, AttemptError> {
        if self.slots() == BatchSlots::Many && self.queue().is_paused() {
            return Box::pin(self.attempt_alone(command, deadline)).await;
        }
        let (sender, receiver) = oneshot::channel();
        let is_first = self.queue().push(QueuedCommand {
            command,
            sender,
            deadline,
        });
        if is_first {
            runtime.spawn(send_queue(QueueGuard(Some(Arc::clone(self)))));
        }
        match receiver.await {
            Ok(BatchOutcome::Completed(reply)) => reply,
            Ok(BatchOutcome::SendAlone(command)) => {
                Box::pin(self.attempt_alone(command, deadline)).await
            }
            Err(_) => Err(AttemptError::CONNECTION_LOST),
        }
    }

    /// Fails queued commands whose batch is not sent in time, so that they are retried before their
    /// operation times out.
    ///
    /// A task that blocks its worker thread also blocks the batches that this thread has to send,
    /// while the other threads run.
    pub(super) async fn watch_queue(self: Arc<Self>) {
        loop {
            sleep(self.fail_overdue()).await;
        }
    }

    /// Fails the queued commands if they are overdue. Returns the time until the commands that are
    /// queued then, or at once, are overdue.
    fn fail_overdue(&self) -> Duration {
        let max_delay = self.command_timeout().clamp(MIN_DELAY, MAX_DELAY);
        let mut queue = self.queue();
        let time_left = queue.time_left(max_delay);
        if !time_left.is_zero() {
            return time_left;
        }
        let overdue = queue.take();
        drop(queue);
        fail_unsent(overdue);
        max_delay
    }

    async fn send_batch(&self, batch: Batch) {
        let time_limit = remaining(batch.deadline).min(self.command_timeout());
        let Batch {
            commands,
            mut senders,
            ..
        } = batch;
        let (is_merged, mut rejected) = (commands.len() > 1, false);
        let requested = tokio::select! {
            biased;
            requested = self.request(&commands, time_limit) => requested,
            // Dropping the request marks the connection: it may still have these commands.
            () = all_closed(&mut senders) => return,
        };
        let replies = match requested {
            Ok(frame) => {
                rejected = is_merged && must_send_alone(&commands, &frame, self.slots());
                split_batch(&commands, frame)
            }
            Err(error) => commands.iter().map(|_| Err(error.clone())).collect(),
        };
        if rejected && self.slots() == BatchSlots::Many {
            self.queue().pause(REJECTION_PAUSE);
        }
        for ((command, sender), reply) in commands.into_iter().zip(senders).zip(replies) {
            let is_unclear = is_merged
                && match &reply {
                    // `MGET` returns nil for an absent key as well as for a value of another type.
                    Ok(Reply::Nil) => command.is_get() && self.slots() == BatchSlots::One,
                    Ok(_) => false,
                    Err(error) => error.is_redirection(),
                };
            complete(
                sender,
                match rejected || is_unclear {
                    true => BatchOutcome::SendAlone(command),
                    false => BatchOutcome::Completed(reply),
                },
            );
        }
    }
}

/// Waits until no caller waits for a reply.
async fn all_closed(senders: &mut [oneshot::Sender<BatchOutcome>]) {
    for sender in senders {
        sender.closed().await;
    }
}

fn complete(sender: oneshot::Sender<BatchOutcome>, outcome: BatchOutcome) {
    // The receiver may have been dropped; ignore the error.
    let _cancelled = sender.send(outcome);
}

fn fail_unsent(commands: Vec<QueuedCommand>) {
    for queued in commands {
        let error = Err(AttemptError::NOT_SENT);
        complete(queued.sender, BatchOutcome::Completed(error));
    }
}

/// The duty to send a connection's queue. If the task is dropped before it sends the queue, because
/// the runtime has ended, this fails the queued commands.
struct QueueGuard(Option<Arc<Connection>>);

impl QueueGuard {
    /// Returns the connection and the commands to send.
    fn take_queue(mut self) -> Option<(Arc<Connection>, Vec<QueuedCommand>)> {
        let connection = self.0.take()?;
        let commands = connection.queue().take();
        Some((connection, commands))
    }
}

impl Drop for QueueGuard {
    fn drop(&mut self) {
        let Some(connection) = self.0.take() else {
            return;
        };
        let commands = connection.queue().take();
        fail_unsent(commands);
    }
}

/// Sends a connection's queue.
///
/// It is a task of its own, so that it does not depend on how the first command's task is polled.
async fn send_queue(guard: QueueGuard) {
    // After these two yields, every task that was ready has run and may have queued a command, and so
    // have the tasks that the latest replies woke.
    yield_now().await;
    yield_now().await;
    let Some((connection, commands)) = guard.take_queue() else {
        return;
    };
    let mut batches: Vec<Batch> = Vec::new();
    for queued in commands {
        if queued.sender.is_closed() {
            continue;
        }
        let mut candidates = batches.iter_mut().rev();
        match candidates.find(|batch| batch.accepts(&queued.command)) {
            Some(batch) => batch.push(queued),
            None => batches.push(Batch::new(queued)),
        }
    }
    join_all(
        batches
            .into_iter()
            .map(|batch| connection.send_batch(batch)),
    )
    .await;
}
