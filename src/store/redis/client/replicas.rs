//! Writes that replicas must confirm.
//!
//! `WAIT` blocks its connection, and it waits for what the same connection wrote. So these writes have
//! connections of their own. No write is sent while a `WAIT` blocks its connection. One `WAIT` serves all
//! writes that the server has answered before.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use fred::{interfaces::EventInterface, types::config::Server};
use tokio::{
    runtime::Handle,
    sync::{
        Notify, RwLock,
        broadcast::{Receiver, error::TryRecvError},
        oneshot,
    },
    time::timeout_at,
};

use super::{
    command::RedisCommand,
    connection::{AbortOnDropHandle, Connection, remaining},
    reply::{AttemptError, Reply},
};
use crate::{
    store::redis::{
        RedisError,
        outage::{OutageCause, OutageTracker},
    },
    sync::lock,
};

/// A connection for writes that replicas must confirm.
pub(super) struct WriteConnection {
    connection: Arc<Connection>,
    /// The number of replicas that a `WAIT` waits for.
    replicas: u32,
    /// Shared by the writes in flight, and exclusive to a `WAIT`.
    gate: RwLock<()>,
    requests: Mutex<Vec<ConfirmRequest>>,
    /// Notified when there is a request.
    requested: Notify,
    openings: Mutex<OpeningCounter>,
}

/// A write that waits for its confirmation.
struct ConfirmRequest {
    /// The number of openings of the connection at the time of the write.
    opening: u64,
    /// The end of the wait.
    until: Instant,
    sender: oneshot::Sender<Result<i64, AttemptError>>,
}

struct OpeningCounter {
    events: Receiver<Server>,
    count: u64,
}

impl WriteConnection {
    pub(super) fn new(connection: Arc<Connection>, replicas: u32) -> Self {
        let events = connection.fred().reconnect_rx();
        Self {
            connection,
            replicas,
            gate: RwLock::new(()),
            requests: Mutex::default(),
            requested: Notify::new(),
            openings: Mutex::new(OpeningCounter { events, count: 0 }),
        }
    }

    /// Attempts a write until `deadline`, once no `WAIT` blocks the connection. Also returns the number of
    /// openings of the connection.
    ///
    /// It runs in a task. A caller that is not polled then does not delay the next `WAIT`.
    pub(super) async fn attempt(
        self: &Arc<Self>,
        command: RedisCommand,
        deadline: Instant,
        in_batch: bool,
        runtime: &Handle,
    ) -> (Result<Reply, AttemptError>, u64) {
        let (this, client) = (Arc::clone(self), runtime.clone());
        let write = async move {
            let Ok(_guard) = timeout_at(deadline.into(), this.gate.read()).await else {
                return (Err(AttemptError::NOT_SENT_IN_TIME), 0);
            };
            let opening = this.opening();
            let result = match in_batch {
                true => {
                    this.connection
                        .attempt_in_batch(command, deadline, &client)
                        .await
                }
                false => this.connection.attempt_alone(command, deadline).await,
            };
            // `fred` holds a command while it opens a lost connection again. A retry finds out which
            // connection is that of the write.
            match result.is_ok() && this.opening() != opening {
                true => (Err(AttemptError::CONNECTION_LOST), opening),
                false => (result, opening),
            }
        };
        let mut task = AbortOnDropHandle(runtime.spawn(write));
        match timeout_at(deadline.into(), &mut task.0).await {
            Ok(Ok(answer)) => answer,
            // The runtime has ended.
            Ok(Err(_)) => (Err(AttemptError::CONNECTION_LOST), 0),
            Err(_) => (Err(AttemptError::TIMEOUT), 0),
        }
    }

    /// Returns how often the connection was opened so far.
    ///
    /// `fred` sends the event of an opening before the first command.
    fn opening(&self) -> u64 {
        let mut openings = lock(&self.openings);
        loop {
            openings.count += match openings.events.try_recv() {
                Ok(_) => 1,
                Err(TryRecvError::Lagged(missed)) => missed,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return openings.count,
            };
        }
    }

    /// Returns the number of replicas that have a write which the server has answered. Waits for the required
    /// number, at most until `until`.
    ///
    /// `opening` is the number of openings at the time of the write. If the connection was opened again since,
    /// `WAIT` does not wait for the write.
    pub(super) async fn confirm(&self, opening: u64, until: Instant) -> Result<i64, AttemptError> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.requests).push(ConfirmRequest {
            opening,
            until,
            sender,
        });
        self.requested.notify_one();
        receiver.await.unwrap_or(Err(AttemptError::NOT_SENT))
    }

    /// Sends a `WAIT` whenever a write waits for its confirmation. Reports to `outage` that a `WAIT` was not
    /// answered.
    pub(super) async fn run_waits(self: Arc<Self>, outage: Arc<OutageTracker>) {
        loop {
            self.requested.notified().await;
            let exclusive = self.gate.write().await;
            let mut requests = std::mem::take(&mut *lock(&self.requests));
            requests.retain(|request| !request.sender.is_closed());
            let Some(until) = requests.iter().map(|request| request.until).max() else {
                continue;
            };
            let started = Instant::now();
            let confirmed = self.wait(until).await;
            if let Err(AttemptError::Transient { error, .. }) = &confirmed {
                outage.suspect(started, OutageCause::Unanswered(*error, None));
            }
            let opening = self.opening();
            drop(exclusive);
            for request in requests {
                let result = match request.opening == opening {
                    true => confirmed.clone(),
                    false => Err(AttemptError::CONNECTION_LOST),
                };
                // The receiver may have been dropped; ignore the error.
                let _cancelled = request.sender.send(result);
            }
        }
    }

    async fn wait(&self, until: Instant) -> Result<i64, AttemptError> {
        let millis = remaining(until).as_millis().max(1);
        let command = RedisCommand::wait(self.replicas, millis);
        // The command timeout ends earlier.
        let deadline = Instant::now() + 2 * self.connection.command_timeout();
        match self.connection.attempt_alone(command, deadline).await? {
            Reply::Integer(confirmed) => Ok(confirmed),
            _ => Err(AttemptError::Final(RedisError::UnexpectedReply)),
        }
    }
}
