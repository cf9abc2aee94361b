//! The client: connections, and one attempt at one command. Only this folder uses the crate `fred`.
//!
//! Restrictions on `fred`, with their reasons:
//!
//! - Every command fails at once while its connection is down (`fail_fast`), and `fred` never resends
//!   one: only this store's own check makes it safe to repeat a write whose reply was lost. Hence
//!   nothing queues up in `fred` while the server is unreachable.
//! - Commands are sent with `custom_raw` on a [`WithOptions`](fred::clients::WithOptions), since
//!   `evalsha` of `WithOptions` would silently use the plain client, without the options.
//! - `fred` writes each of these commands to the socket separately, so commands of many tasks are
//!   merged into one command before `fred` gets them: see [`batch`].
//! - `fred` follows no redirection of a cluster. When it follows `ASK`, it takes the reply to its
//!   `ASKING` for another command's reply, and from then on gives every reply to the wrong command.
//!   After `MOVED` it has stored the new node of the slot, so that our retry reaches it. A command
//!   that is answered with `ASK` is retried until the slot has moved.
//! - Every command has a timeout of ours, and so have connecting and its setup commands. The command
//!   timeout of `fred` is off. It would be a second timer for each command.
//! - If a connection gave no reply at all while a command ran into its timeout, it is dropped with
//!   its router task, and opened again. `fred` would not notice: its own check restarts with every
//!   write, and a router that waits for a full socket runs no checks.
//! - A router task that has ended is started again; some errors make `fred` end it permanently.
//! - The longest pause between attempts to connect is different for each connection, since `fred`
//!   applies no jitter once it has reached the longest pause.

mod batch;
mod command;
mod config;
mod connection;
mod invalidation;
mod queue;
mod reply;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::{runtime::Handle, time::timeout_at};

use self::connection::{AbortOnDropHandle, Connection, remaining};
pub(super) use self::{
    command::{RedisCommand, Script},
    invalidation::InvalidationListener,
    reply::{AttemptError, Reply},
};
use super::{RedisError, settings::Settings};

/// A pool of connections to one server, cluster or Sentinel group.
pub(super) struct Client {
    connections: Box<[Arc<Connection>]>,
    /// The number of commands so far that chose a connection in turn.
    in_turn: AtomicUsize,
    listener: Option<Arc<dyn InvalidationListener>>,
    /// Set by the first command, since only then is a runtime certain.
    background: OnceLock<BackgroundTasks>,
}

/// The background tasks of a client; they end when it is dropped.
struct BackgroundTasks {
    runtime: Handle,
    _tasks: Vec<AbortOnDropHandle>,
}

impl BackgroundTasks {
    /// Returns `true` if the caller is polled by the runtime of the background tasks.
    ///
    /// The timeouts of those tasks then suffice. If the runtime does not run, the caller does not run
    /// either. If only one of its threads is blocked, another one fails the overdue commands
    /// ([`Connection::watch_queue`]).
    fn on_client_runtime(&self) -> bool {
        Handle::try_current().is_ok_and(|current| current.id() == self.runtime.id())
    }
}

impl Client {
    pub(super) fn new(url: &str, settings: &Settings) -> Result<Self, RedisError> {
        let config = config::parse_url(url)?;
        let connections = 0..settings.pool_size.max(1);
        Ok(Self {
            connections: connections
                .map(|_| Arc::new(Connection::new(config.clone(), settings)))
                .collect(),
            in_turn: AtomicUsize::new(0),
            listener: None,
            background: OnceLock::new(),
        })
    }

    /// Reports changes to values that are read from now on to `listener`. Not for clusters.
    pub(super) fn listen(
        &mut self,
        listener: Arc<dyn InvalidationListener>,
    ) -> Result<(), RedisError> {
        if self.connections.iter().any(|one| one.is_clustered()) {
            return Err(RedisError::CacheInCluster);
        }
        self.listener = Some(listener);
        Ok(())
    }

    /// Returns `true` if the listener is informed of changes to any value that is read now.
    ///
    /// When tracking is lost, this turns `false`, then the listener is called, and only then can it
    /// turn `true` again.
    pub(super) fn is_tracked(&self) -> bool {
        self.connections.iter().all(|one| one.is_tracked())
    }

    /// Returns the index of the next connection to use, which skips connections that are down.
    ///
    /// `failed` is the index that a failed attempt used; its connection is tried last. Without it,
    /// consecutive commands share a connection, as many as fit into a batch: spread over the
    /// connections, they would not form batches.
    pub(super) fn next_connection(&self, failed: Option<usize>) -> usize {
        let next = || self.in_turn.fetch_add(1, Ordering::Relaxed) / batch::MAX_COMMANDS;
        let start = failed.map_or_else(next, |index| index.wrapping_add(1));
        (start..start.saturating_add(self.connections.len()))
            .find(|index| {
                self.connection(*index)
                    .is_some_and(|one| one.is_connected())
            })
            .unwrap_or(start)
    }

    /// Returns the connection with this index, which may exceed the number of connections.
    fn connection(&self, index: usize) -> Option<&Arc<Connection>> {
        self.connections
            .get(index.checked_rem(self.connections.len())?)
    }

    /// Sends a command once on one connection; it fails after the command timeout or at `deadline`.
    ///
    /// `in_flight` is the number of operations on all connections, including this one.
    pub(super) async fn attempt(
        &self,
        connection: usize,
        command: RedisCommand,
        deadline: Instant,
        in_flight: usize,
    ) -> Result<Reply, AttemptError> {
        let (Some(connection), Some(background)) =
            (self.connection(connection), self.background.get())
        else {
            return Err(AttemptError::NOT_SENT);
        };
        // With no more operations than connections there is no other command to batch with.
        let is_concurrent = in_flight > self.connections.len()
            && remaining(deadline) >= connection.command_timeout();
        if !(is_concurrent && command.is_batchable() && !connection.is_clustered()) {
            return Box::pin(connection.attempt_alone(command, deadline)).await;
        }
        let attempt = connection.attempt_in_batch(command, deadline, &background.runtime);
        if background.on_client_runtime() {
            return attempt.await;
        }
        timeout_at(deadline.into(), attempt)
            .await
            .unwrap_or(Err(AttemptError::TIMEOUT))
    }

    /// Starts the background tasks, unless they run already. Must be called before any attempt.
    pub(super) fn start(&self) -> Result<(), RedisError> {
        if self.background.get().is_some() {
            return Ok(());
        }
        let runtime = Handle::try_current().map_err(|_| RedisError::NoRuntime)?;
        self.background.get_or_init(|| {
            let connections = self.connections.iter();
            let mut tasks: Vec<_> = connections.map(|one| one.supervise(&runtime)).collect();
            let batching = self.connections.iter().filter(|one| !one.is_clustered());
            tasks.extend(batching.map(|one| {
                let watching = Arc::clone(one).watch_queue();
                AbortOnDropHandle(runtime.spawn(watching))
            }));
            if let Some(listener) = &self.listener {
                let track =
                    |one: &Arc<Connection>| one.track_changes(&runtime, Arc::clone(listener));
                tasks.extend(self.connections.iter().map(track));
            }
            BackgroundTasks {
                runtime,
                _tasks: tasks,
            }
        });
        Ok(())
    }
}
