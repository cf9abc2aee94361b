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
    config::{EVENTS, TRACKED_EVENTS},
    connection::{AbortOnDropHandle, Connection, Openings, remaining},
    fault::Target,
    replicas::WriteConnection,
    reply::{Answer, AttemptError, Reply},
};
use crate::{
    store::redis::{
        ConnectProblem, RedisError, TransientError,
        outage::{Access, OutageCause, OutageReporter, OutageTracker},
        settings::Settings,
    },
    sync::lock,
};

/// One server with its connections.
pub(in crate::store::redis) struct Node {
    connections: Arc<[Arc<Connection>]>,
    /// The connections for writes, if replicas must confirm them. Else the other connections are for writes
    /// too.
    for_writes: Arc<[Arc<Connection>]>,
    /// The waits on each of the connections `for_writes`.
    waits: Box<[Arc<WriteConnection>]>,
    /// The number of commands so far that chose a connection in turn.
    in_turn: AtomicUsize,
    slots: BatchSlots,
    /// The receiver of changes to the values that are read from this node.
    listener: Option<Arc<dyn InvalidationListener>>,
    outage: Arc<OutageTracker>,
    /// Keys of this node that hold no session. None if no key of the store is in this node.
    test_keys: Arc<Mutex<Vec<Bytes>>>,
    /// The key for tests if there are no others. The server answers that another one has it.
    other_test_key: Bytes,
    openings: Arc<Openings>,
    background: OnceLock<BackgroundTasks>,
}

/// The time in which an operation sends its commands.
#[derive(Clone, Copy)]
pub(in crate::store::redis) struct OperationTime {
    pub(in crate::store::redis) start: Instant,
    pub(in crate::store::redis) deadline: Instant,
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
        let connect = |events| {
            let (config, openings) = (config.clone(), Arc::clone(&openings));
            Arc::new(Connection::new((config, events), settings, slots, openings))
        };
        let pool_size = settings.pool_size.max(1);
        let events = match listener {
            Some(_) => TRACKED_EVENTS,
            None => EVENTS,
        };
        let connections = (0..pool_size).map(|_| connect(events)).collect();
        let for_writes: Arc<[_]> = match settings.replicas {
            0 => Arc::default(),
            _ => (0..pool_size).map(|_| connect(EVENTS)).collect(),
        };
        let wait = |one: &Arc<Connection>| WriteConnection::new(Arc::clone(one), settings.replicas);
        let waits = for_writes.iter().map(|one| Arc::new(wait(one))).collect();
        let outage = OutageTracker::new(name, Arc::clone(reporter), settings.operation_timeout);
        Self {
            connections,
            for_writes,
            waits,
            in_turn: AtomicUsize::new(0),
            slots,
            listener,
            outage: Arc::new(outage),
            test_keys: Arc::new(Mutex::new(vec![test_key.clone()])),
            other_test_key: test_key,
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
        problem(self.all_connections())
    }

    pub(in crate::store::redis) fn open_connections(&self) -> usize {
        let open = self.all_connections().filter(|one| one.is_connected());
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
        let replies = self.all_connections().map(|one| one.replies());
        replies.fold(0, u64::wrapping_add)
    }

    /// Changes the keys of this node that hold no session.
    pub(super) fn update_test_keys(&self, change: impl FnOnce(&mut Vec<Bytes>)) {
        change(&mut lock(&self.test_keys));
    }

    fn all_connections(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.connections.iter().chain(&*self.for_writes)
    }

    /// Returns the connections for commands with this access.
    fn connections_for(&self, access: Access) -> &[Arc<Connection>] {
        match access {
            Access::Write if !self.for_writes.is_empty() => &self.for_writes,
            _ => &self.connections,
        }
    }

    /// Returns the index of the next connection to use for commands with this access. Skips connections that
    /// are down.
    ///
    /// `failed` is the index that a failed attempt used; its connection is tried last. Without it,
    /// consecutive commands share a connection, as many as fit into a batch: spread over the
    /// connections, they would not form batches.
    pub(in crate::store::redis) fn next_connection(
        &self,
        access: Access,
        failed: Option<usize>,
    ) -> usize {
        let next = || self.in_turn.fetch_add(1, Ordering::Relaxed) / batch::MAX_COMMANDS;
        let start = failed.map_or_else(next, |index| index.wrapping_add(1));
        first_connected(self.connections_for(access), start)
    }

    /// Returns the number of replicas that have a write which the server has answered. Waits for the required
    /// number, at most until `until`.
    ///
    /// `connection` is the index of the write's connection, `opening` that of its [`Answer`].
    pub(in crate::store::redis) async fn confirm(
        &self,
        connection: usize,
        opening: u64,
        until: Instant,
    ) -> Result<i64, AttemptError> {
        match connection_at(&self.waits, connection) {
            Some(waits) => waits.confirm(opening, until).await,
            None => Err(AttemptError::NOT_SENT),
        }
    }

    /// Returns `true` if an attempt that starts now and gets no reply shows that the server is silent.
    ///
    /// If the server has replied since the start of the operation, it may only be slow. Then an attempt must wait
    /// for the command timeout. The commands before it may have left less time.
    pub(in crate::store::redis) fn shows_silence(
        &self,
        access: Access,
        time: OperationTime,
    ) -> bool {
        let mut connections = self.connections_for(access).iter();
        connections.all(|one| {
            remaining(time.deadline) >= one.command_timeout() || !one.has_replied_since(time.start)
        })
    }

    /// Sends a command once on one connection; it fails after the command timeout or at the operation's deadline.
    ///
    /// `in_flight` is the number of operations on all connections, including this one.
    pub(in crate::store::redis) async fn attempt(
        &self,
        connection: usize,
        command: RedisCommand,
        time: OperationTime,
        in_flight: usize,
    ) -> Result<Answer, AttemptError> {
        let (deadline, shows_silence) = (time.deadline, self.shows_silence(command.access(), time));
        let connections = self.connections_for(command.access());
        let replies = || {
            connections
                .iter()
                .map(|one| one.replies())
                .fold(0, u64::wrapping_add)
        };
        let (started, before) = (Instant::now(), replies());
        let tracking = || connection_at(&self.connections, connection)?.tracking();
        let source = tracking();
        let waits = match command.access() {
            Access::Write => connection_at(&self.waits, connection),
            _ => None,
        };
        let (result, opening) = match (waits, self.background.get()) {
            (Some(waits), Some(background)) => {
                let in_batch = self.is_batched(&command, deadline, in_flight);
                let runtime = &background.runtime;
                Box::pin(waits.attempt(command, deadline, in_batch, runtime)).await
            }
            _ => (self.send(connection, command, deadline, in_flight).await, 0),
        };
        let cause = result.as_ref().err().and_then(|failure| {
            let reads_work = waits.is_some() && self.is_connected();
            outage_cause(failure, reads_work, || self.problem())
        });
        match cause {
            None => self.outage.record_answer(),
            // Another command was answered meanwhile, or an earlier one of the operation.
            Some(
                OutageCause::Unanswered(TransientError::Timeout, _)
                | OutageCause::WritesUnanswered(TransientError::Timeout, _),
            ) if !shows_silence => {}
            Some(cause) if cause.is_silence() && replies() != before => {}
            Some(cause) => self.outage.suspect(started, cause),
        }
        // If the connection was lost meanwhile, no report covers the reply.
        let source = source.filter(|source| tracking() == Some(*source));
        result.map(|reply| Answer {
            reply,
            source,
            opening,
        })
    }

    async fn send(
        &self,
        connection: usize,
        command: RedisCommand,
        deadline: Instant,
        in_flight: usize,
    ) -> Result<Reply, AttemptError> {
        let (Some(connection), Some(background)) = (
            connection_at(self.connections_for(command.access()), connection),
            self.background.get(),
        ) else {
            return Err(AttemptError::NOT_SENT);
        };
        if !self.is_batched(&command, deadline, in_flight) {
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

    /// Returns `true` if the command is sent in a batch.
    fn is_batched(&self, command: &RedisCommand, deadline: Instant, in_flight: usize) -> bool {
        let Some(connection) = self.connections.first() else {
            return false;
        };
        // With no more operations than connections there is no other command to batch with.
        let is_concurrent = in_flight > self.connections.len()
            && remaining(deadline) >= connection.command_timeout();
        is_concurrent && self.batches(command)
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
            let connections = self.all_connections();
            let mut tasks: Vec<_> = connections.map(|one| one.supervise(runtime)).collect();
            tasks.extend(self.all_connections().map(|one| {
                let watching = Arc::clone(one).watch_queue();
                AbortOnDropHandle(runtime.spawn(watching))
            }));
            tasks.extend(self.waits.iter().map(|one| {
                let waiting = Arc::clone(one).run_waits(Arc::clone(&self.outage));
                AbortOnDropHandle(runtime.spawn(waiting))
            }));
            if let Some(listener) = &self.listener {
                let track =
                    |one: &Arc<Connection>| one.track_changes(runtime, Arc::clone(listener));
                tasks.extend(self.connections.iter().map(track));
            }
            let testing = test_server(
                Arc::clone(&self.outage),
                [Arc::clone(&self.connections), Arc::clone(&self.for_writes)],
                (Arc::clone(&self.test_keys), self.other_test_key.clone()),
                self.slots,
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
fn connection_at<T>(connections: &[Arc<T>], index: usize) -> Option<&Arc<T>> {
    connections.get(index.checked_rem(connections.len())?)
}

/// Returns the index of the first connection from `start` on that is connected, or `start`.
fn first_connected(connections: &[Arc<Connection>], start: usize) -> usize {
    (start..start.saturating_add(connections.len()))
        .find(|index| connection_at(connections, *index).is_some_and(|one| one.is_connected()))
        .unwrap_or(start)
}

/// Returns the reason why none of the connections is open, if it is known.
fn problem<'c>(
    connections: impl IntoIterator<Item = &'c Arc<Connection>>,
) -> Option<ConnectProblem> {
    connections.into_iter().find_map(|one| one.problem())
}

/// Returns the outage that a failed attempt may be part of. `None` if the server is fine. `reads_work` is set if
/// the attempt was a write and the connections for reads are open.
fn outage_cause(
    failure: &AttemptError,
    reads_work: bool,
    problem: impl FnOnce() -> Option<ConnectProblem>,
) -> Option<OutageCause> {
    match failure {
        AttemptError::Transient { error, .. } if reads_work && error.is_silence() => {
            Some(OutageCause::WritesUnanswered(*error, problem()))
        }
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
        _ if error.is_silence() => Some(OutageCause::Unanswered(error, problem())),
        _ => Some(OutageCause::Unanswered(error, None)),
    }
}

/// Tests the server with a write whenever an outage is suspected, until it accepts one.
async fn test_server(
    outage: Arc<OutageTracker>,
    [connections, for_writes]: [Arc<[Arc<Connection>]>; 2],
    (test_keys, other_test_key): (Arc<Mutex<Vec<Bytes>>>, Bytes),
    slots: BatchSlots,
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
            let own_key = {
                let keys = lock(&test_keys);
                let index = (turn as usize).checked_rem(keys.len());
                index.map(|index| keys[index].clone())
            };
            let has_keys = own_key.is_some();
            let key = own_key.unwrap_or_else(|| other_test_key.clone());
            let tested = match for_writes.is_empty() {
                true => &connections,
                false => &for_writes,
            };
            let index = first_connected(tested, turn as usize);
            outage.count_test();
            let is_out = match test_write(tested, index, key).await {
                // The server answers, and no other test is possible.
                Err(error) if !has_keys && is_redirection(&error) => outage.record_test(None),
                // The slot of the key has moved. The server may still reject the writes of its other keys.
                Err(error) if slots == BatchSlots::Many && is_redirection(&error) => {
                    outage.record_answer();
                    outage.is_suspected()
                }
                Err(error) => {
                    let are_open = connections.iter().any(|one| one.is_connected());
                    let reads_work = are_open && !for_writes.is_empty();
                    outage.record_test(outage_cause(&error, reads_work, || problem(&**tested)))
                }
                Ok(()) => outage.record_test(None),
            };
            if !is_out {
                break;
            }
            turn = turn.saturating_add(1);
        }
    }
}

/// Returns `true` if the server says that it does not have the key.
const fn is_redirection(error: &AttemptError) -> bool {
    matches!(error, AttemptError::Moved(_)) || error.is_redirection()
}

/// Writes a key that expires at once.
async fn test_write(
    connections: &[Arc<Connection>],
    index: usize,
    key: Bytes,
) -> Result<(), AttemptError> {
    let connection = connection_at(connections, index).ok_or(AttemptError::NOT_SENT)?;
    let args = [&b"1"[..], b"PX", b"1"].map(Bytes::from_static);
    // The command timeout ends earlier, so that a silent connection is opened again.
    let deadline = Instant::now() + 2 * connection.command_timeout();
    let command = RedisCommand::new("SET", key, args);
    connection.attempt_alone(command, deadline).await.map(drop)
}
