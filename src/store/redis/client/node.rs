//! A node: one server with its connections and its outages.
//!
//! A single server is one node, and so is the master that Sentinel chooses. In a cluster each master is
//! a node of its own. So a node that is away does not delay the commands of the others.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use fred::types::config::Config;
use tokio::{
    runtime::Handle,
    time::{timeout, timeout_at},
};

use super::{
    InvalidationListener, batch,
    command::{BatchSlots, RedisCommand},
    connection::{AbortOnDropHandle, Connection, Openings, remaining},
    fault::Target,
    reply::{Answer, AttemptError, Reply},
};
use crate::{
    store::redis::{
        ConnectProblem, RedisError, TransientError,
        outage::{OutageCause, OutageReporter, OutageTracker},
        settings::Settings,
    },
    sync::lock,
};

/// One server with its connections.
pub(in crate::store::redis) struct Node {
    connections: Arc<[Arc<Connection>]>,
    /// The number of commands so far that chose a connection in turn.
    in_turn: AtomicUsize,
    slots: BatchSlots,
    /// The receiver of changes to the values that are read from this node.
    listener: Option<Arc<dyn InvalidationListener>>,
    outage: Arc<OutageTracker>,
    test_key: Arc<Mutex<Bytes>>,
    openings: Arc<Openings>,
    background: OnceLock<BackgroundTasks>,
}

/// The background tasks of a node; they end when it is dropped.
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

impl Node {
    /// Makes a node. `test_key` is a key of this node that holds no session.
    pub(super) fn new(
        config: &Config,
        settings: &Settings,
        reporter: &Arc<OutageReporter>,
        listener: Option<Arc<dyn InvalidationListener>>,
        (slots, test_key): (BatchSlots, Bytes),
    ) -> Self {
        let name = Arc::clone(Target::new(config).name());
        let openings = Arc::new(Openings::default());
        let connections = (0..settings.pool_size.max(1)).map(|_| {
            Arc::new(Connection::new(
                config.clone(),
                settings,
                slots,
                Arc::clone(&openings),
            ))
        });
        let outage = OutageTracker::new(name, Arc::clone(reporter), settings.operation_timeout);
        Self {
            connections: connections.collect(),
            in_turn: AtomicUsize::new(0),
            slots,
            listener,
            outage: Arc::new(outage),
            test_key: Arc::new(Mutex::new(test_key)),
            openings,
            background: OnceLock::new(),
        }
    }

    pub(in crate::store::redis) const fn outage(&self) -> &Arc<OutageTracker> {
        &self.outage
    }

    /// Returns the host and port of the server.
    pub(in crate::store::redis) fn server(&self) -> &Arc<str> {
        self.outage.server()
    }

    /// Returns the reason why there is no connection, if it is known.
    pub(in crate::store::redis) fn problem(&self) -> Option<ConnectProblem> {
        problem(&self.connections)
    }

    pub(in crate::store::redis) fn open_connections(&self) -> usize {
        let open = self.connections.iter().filter(|one| one.is_connected());
        open.count()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connections.iter().any(|one| one.is_connected())
    }

    pub(super) fn is_tracked(&self) -> bool {
        self.connections.iter().all(|one| one.tracking().is_some())
    }

    /// Reports that changes to all values that were read from this node so far may have been missed.
    pub(super) fn drop_copies(&self) {
        let Some(listener) = &self.listener else {
            return;
        };
        let sources = self.connections.iter().filter_map(|one| one.tracking());
        sources.for_each(|source| listener.on_tracking_lost(source));
    }

    /// Returns the number of replies so far. If it does not change, the server is silent.
    pub(in crate::store::redis) fn replies(&self) -> u64 {
        let replies = self.connections.iter().map(|one| one.replies());
        replies.fold(0, u64::wrapping_add)
    }

    pub(super) fn set_test_key(&self, key: Bytes) {
        *lock(&self.test_key) = key;
    }

    /// Returns the index of the next connection to use, which skips connections that are down.
    ///
    /// `failed` is the index that a failed attempt used; its connection is tried last. Without it,
    /// consecutive commands share a connection, as many as fit into a batch: spread over the
    /// connections, they would not form batches.
    pub(in crate::store::redis) fn next_connection(&self, failed: Option<usize>) -> usize {
        let next = || self.in_turn.fetch_add(1, Ordering::Relaxed) / batch::MAX_COMMANDS;
        let start = failed.map_or_else(next, |index| index.wrapping_add(1));
        first_connected(&self.connections, start)
    }

    /// Sends a command once on one connection; it fails after the command timeout or at `deadline`.
    ///
    /// `in_flight` is the number of operations on all connections, including this one.
    pub(in crate::store::redis) async fn attempt(
        &self,
        connection: usize,
        command: RedisCommand,
        deadline: Instant,
        in_flight: usize,
    ) -> Result<Answer, AttemptError> {
        let (started, before) = (Instant::now(), self.replies());
        let tracking = || connection_at(&self.connections, connection)?.tracking();
        let source = tracking();
        let result = self.send(connection, command, deadline, in_flight).await;
        let failure = result.as_ref().err();
        let cause = failure.and_then(|failure| outage_cause(failure, || self.problem()));
        match cause {
            None => self.outage.record_answer(),
            // Another command was answered meanwhile.
            Some(OutageCause::Unanswered(error, _))
                if is_silence(error) && self.replies() != before => {}
            Some(cause) => self.outage.suspect(started, cause),
        }
        // If the connection was lost meanwhile, no report covers the reply.
        let source = source.filter(|source| tracking() == Some(*source));
        result.map(|reply| Answer { reply, source })
    }

    async fn send(
        &self,
        connection: usize,
        command: RedisCommand,
        deadline: Instant,
        in_flight: usize,
    ) -> Result<Reply, AttemptError> {
        let (Some(connection), Some(background)) = (
            connection_at(&self.connections, connection),
            self.background.get(),
        ) else {
            return Err(AttemptError::NOT_SENT);
        };
        // With no more operations than connections there is no other command to batch with.
        let is_concurrent = in_flight > self.connections.len()
            && remaining(deadline) >= connection.command_timeout();
        if !(is_concurrent && self.batches(&command)) {
            return connection.attempt_alone(command, deadline).await;
        }
        let attempt = connection.attempt_in_batch(command, deadline, &background.runtime);
        if background.on_client_runtime() {
            return attempt.await;
        }
        timeout_at(deadline.into(), attempt)
            .await
            .unwrap_or(Err(AttemptError::TIMEOUT))
    }

    /// Returns `true` if the command can be part of a batch.
    fn batches(&self, command: &RedisCommand) -> bool {
        // Before Redis 7.0.9, a server does not report changes to keys that a script got as arguments.
        let must_report = self.listener.is_some() && command.reads();
        command.is_batchable() && !(self.slots == BatchSlots::Many && must_report)
    }

    /// Starts the background tasks, unless they run already. Must be called before any attempt.
    pub(super) fn start(&self, runtime: &Handle) {
        self.background.get_or_init(|| {
            let connections = self.connections.iter();
            let mut tasks: Vec<_> = connections.map(|one| one.supervise(runtime)).collect();
            tasks.extend(self.connections.iter().map(|one| {
                let watching = Arc::clone(one).watch_queue();
                AbortOnDropHandle(runtime.spawn(watching))
            }));
            if let Some(listener) = &self.listener {
                let track =
                    |one: &Arc<Connection>| one.track_changes(runtime, Arc::clone(listener));
                tasks.extend(self.connections.iter().map(track));
            }
            let testing = test_server(
                Arc::clone(&self.outage),
                Arc::clone(&self.connections),
                Arc::clone(&self.test_key),
                Arc::clone(&self.openings),
            );
            tasks.push(AbortOnDropHandle(runtime.spawn(testing)));
            BackgroundTasks {
                runtime: runtime.clone(),
                _tasks: tasks,
            }
        });
    }
}

/// Returns the connection with this index, which may exceed the number of connections.
fn connection_at(connections: &[Arc<Connection>], index: usize) -> Option<&Arc<Connection>> {
    connections.get(index.checked_rem(connections.len())?)
}

/// Returns the index of the first connection from `start` on that is connected, or `start`.
fn first_connected(connections: &[Arc<Connection>], start: usize) -> usize {
    (start..start.saturating_add(connections.len()))
        .find(|index| connection_at(connections, *index).is_some_and(|one| one.is_connected()))
        .unwrap_or(start)
}

/// Returns the reason why none of the connections is open, if it is known.
fn problem(connections: &[Arc<Connection>]) -> Option<ConnectProblem> {
    connections.iter().find_map(|one| one.problem())
}

/// Returns `true` if the failure is not an answer of the server.
const fn is_silence(error: TransientError) -> bool {
    use TransientError::{ConnectionLost, Disconnected, Timeout};
    matches!(error, ConnectionLost | Disconnected | Timeout)
}

/// Returns the outage that a failed attempt may be part of. `None` if the server is fine.
fn outage_cause(
    failure: &AttemptError,
    problem: impl FnOnce() -> Option<ConnectProblem>,
) -> Option<OutageCause> {
    match failure {
        AttemptError::Transient { error, .. } => transient_cause(*error, problem),
        AttemptError::Final(RedisError::Connect { problem, .. }) => {
            let problem = Some(problem.clone());
            Some(OutageCause::Unanswered(
                TransientError::Disconnected,
                problem,
            ))
        }
        AttemptError::Final(RedisError::Rejected(rejection)) if rejection.rejects_writes() => {
            Some(OutageCause::WritesRejected(rejection.clone()))
        }
        AttemptError::Final(_) | AttemptError::Moved(_) => None,
    }
}

/// Returns the outage that a transient failure may be part of.
fn transient_cause(
    error: TransientError,
    problem: impl FnOnce() -> Option<ConnectProblem>,
) -> Option<OutageCause> {
    match error {
        TransientError::Redirected => None,
        _ if is_silence(error) => Some(OutageCause::Unanswered(error, problem())),
        _ => Some(OutageCause::Unanswered(error, None)),
    }
}

/// Tests the server with a write whenever an outage is suspected, until it accepts one.
async fn test_server(
    outage: Arc<OutageTracker>,
    connections: Arc<[Arc<Connection>]>,
    test_key: Arc<Mutex<Bytes>>,
    openings: Arc<Openings>,
) {
    loop {
        outage.wait_for_suspicion().await;
        let mut turn = 0;
        loop {
            // A connection that was just opened is tested at once.
            let _elapsed = timeout(outage.test_pause(turn), openings.notify.notified()).await;
            if !outage.is_suspected() {
                break;
            }
            let key = lock(&test_key).clone();
            let index = first_connected(&connections, turn as usize);
            outage.count_test();
            let failure = test_write(&connections, index, key).await;
            if !outage.record_test(failure) {
                break;
            }
            turn = turn.saturating_add(1);
        }
    }
}

/// Writes a key that expires at once. Returns the cause of the outage if the server does not accept it.
async fn test_write(
    connections: &[Arc<Connection>],
    index: usize,
    key: Bytes,
) -> Option<OutageCause> {
    let connection = connection_at(connections, index)?;
    let args = [&b"1"[..], b"PX", b"1"].map(Bytes::from_static);
    let deadline = Instant::now() + connection.command_timeout();
    let command = RedisCommand::new("SET", key, args);
    // The server has answered if it rejected the test for a reason that is no outage.
    let failure = connection.attempt_alone(command, deadline).await.err()?;
    outage_cause(&failure, || problem(connections))
}
