//! Runs commands with retries, until a reply arrives, the time is over, or a retry could do harm.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout_at};

use super::{
    RedisError, RedisStats, ServerRejection, TransientError,
    client::{Answer, AttemptError, Client, Node, OperationTime, RedisCommand, Reply, TrackingId},
    key_names::KeyNames,
    outage::{Access, OutageCause, OutageReporter, OutageTracker},
    settings::Settings,
    version_gen::VersionGenerator,
};
use crate::{id::StoreKey, store::Expected};

/// The state that all clones of a store share.
pub(super) struct CommandRunner {
    pub(super) settings: Settings,
    pub(super) names: KeyNames,
    pub(super) versions: VersionGenerator,
    pub(super) client: Client,
    /// The number of operations in flight; at most `settings.max_in_flight`.
    in_flight: AtomicUsize,
    retries: AtomicU64,
    outages: Arc<OutageReporter>,
}

/// The decision if a command is sent again when the server may have executed it already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Idempotency {
    /// A second execution is detected or leaves the same record. It may renew the expiry.
    Idempotent,
    /// A second execution could overwrite changes that others made in between.
    NotIdempotent,
}

impl Idempotency {
    /// Returns the idempotency of a write that expects this state.
    pub(super) const fn for_write(expected: Expected) -> Self {
        match expected {
            Expected::Any => Self::NotIdempotent,
            Expected::Absent | Expected::Version(_) => Self::Idempotent,
        }
    }
}

/// The result of an operation's command.
pub(super) struct CommandOutcome {
    pub(super) reply: Reply,
    /// The tracked connection that reports changes of the values in the reply.
    pub(super) source: Option<TrackingId>,
    /// The failure that lost the reply of an earlier attempt, if the server may have executed it.
    pub(super) lost_reply: Option<TransientError>,
    /// The deadline of the operation.
    deadline: Instant,
    /// The node that replied, and the index of its connection.
    node: Arc<Node>,
    connection: usize,
    /// The number of openings of that connection; see [`Answer`].
    opening: u64,
}

/// The time that an operation may take.
#[derive(Clone, Copy)]
pub(super) struct TimeLimit {
    timeout: Duration,
    deadline: Instant,
    /// The end of the wait for the end of a known outage.
    outage_deadline: Instant,
    /// Set if no caller depends on the result. Then a failure starts no outage and is not counted.
    is_cleanup: bool,
}

impl TimeLimit {
    /// Returns the limit for a cleanup in the same time.
    pub(super) const fn for_cleanup(mut self) -> Self {
        self.is_cleanup = true;
        self
    }

    /// Returns `true` if the operation does not wait for the end of this outage.
    fn skips(self, outage: &OutageTracker, access: Access) -> bool {
        self.is_cleanup && outage.blocks(access)
    }

    fn operation_time(self) -> OperationTime {
        let deadline = self.deadline;
        let start = deadline.checked_sub(self.timeout).unwrap_or(deadline);
        OperationTime { start, deadline }
    }

    /// Records that the operation has failed; see [`OutageTracker::record_failure`].
    fn record_failure(
        self,
        outage: &OutageTracker,
        access: Access,
        failed_at: Instant,
    ) -> Option<RedisError> {
        match self.is_cleanup {
            true => None,
            false => outage.record_failure(access, failed_at),
        }
    }
}

/// A guard that records an attempt whose caller stops waiting.
struct AttemptGuard<'n> {
    node: &'n Node,
    started: Instant,
    replies: u64,
    is_cleanup: bool,
    is_done: bool,
}

impl<'n> AttemptGuard<'n> {
    fn new(node: &'n Node, limit: TimeLimit) -> Self {
        Self {
            node,
            started: Instant::now(),
            replies: node.replies(),
            is_cleanup: limit.is_cleanup,
            is_done: false,
        }
    }
}

impl Drop for AttemptGuard<'_> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        if self.node.replies() == self.replies {
            let cause = OutageCause::Unanswered(TransientError::Timeout, self.node.problem());
            self.node.outage().suspect(self.started, cause);
        }
        if !self.is_cleanup {
            self.node.outage().record_unanswered();
        }
    }
}

/// A guard that records an operation whose caller stops waiting for a node.
struct CancelGuard<'o>(Option<&'o OutageTracker>);

impl Drop for CancelGuard<'_> {
    fn drop(&mut self) {
        if let Some(outage) = self.0 {
            outage.record_unanswered();
        }
    }
}

/// A guard that counts one operation as in flight until it is dropped.
struct InFlightGuard<'r>(&'r AtomicUsize);

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl CommandRunner {
    pub(super) fn new(
        client: Client,
        names: KeyNames,
        outages: Arc<OutageReporter>,
        settings: Settings,
    ) -> Self {
        Self {
            settings,
            names,
            versions: VersionGenerator::new(),
            client,
            in_flight: AtomicUsize::new(0),
            retries: AtomicU64::new(0),
            outages,
        }
    }

    /// Returns the deadline of an operation that starts now.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.settings.operation_timeout
    }

    /// Runs the command that `command` makes until the operation's deadline. `command` is called once
    /// for each attempt.
    pub(super) async fn run(
        &self,
        deadline: Instant,
        idempotency: Idempotency,
        command: impl Fn() -> RedisCommand,
    ) -> Result<CommandOutcome, RedisError> {
        self.execute(command, idempotency, self.time_limit(deadline), None)
            .await
    }

    /// Runs an idempotent command on one node until the operation's deadline and returns its reply.
    pub(super) async fn query_at(
        &self,
        node: &Arc<Node>,
        deadline: Instant,
        command: impl Fn() -> RedisCommand,
    ) -> Result<Reply, RedisError> {
        let (limit, idempotency) = (self.time_limit(deadline), Idempotency::Idempotent);
        let outcome = self.execute(command, idempotency, limit, Some(node)).await;
        outcome.map(|outcome| outcome.reply)
    }

    /// Returns the limit of an operation with this deadline.
    pub(super) fn time_limit(&self, deadline: Instant) -> TimeLimit {
        let timeout = self.settings.operation_timeout;
        let saved = timeout.saturating_sub(self.settings.outage_timeout);
        TimeLimit {
            timeout,
            deadline,
            outage_deadline: deadline.checked_sub(saved).unwrap_or(deadline),
            is_cleanup: false,
        }
    }

    /// Runs an idempotent command as an operation of its own and returns its reply.
    pub(super) async fn query(
        &self,
        command: impl Fn() -> RedisCommand,
    ) -> Result<Reply, RedisError> {
        self.query_until(self.deadline(), command).await
    }

    /// Runs an idempotent command until the operation's deadline and returns its reply.
    pub(super) async fn query_until(
        &self,
        deadline: Instant,
        command: impl Fn() -> RedisCommand,
    ) -> Result<Reply, RedisError> {
        self.query_within(self.time_limit(deadline), command).await
    }

    /// Runs an idempotent command within this limit and returns its reply.
    pub(super) async fn query_within(
        &self,
        limit: TimeLimit,
        command: impl Fn() -> RedisCommand,
    ) -> Result<Reply, RedisError> {
        let idempotency = Idempotency::Idempotent;
        let outcome = self.execute(command, idempotency, limit, None).await;
        outcome.map(|outcome| outcome.reply)
    }

    pub(super) fn stats(&self) -> RedisStats {
        let nodes = self.client.known_nodes();
        let trackers = nodes.iter().map(|node| &**node.outage());
        let trackers = trackers.chain(self.client.unserved());
        RedisStats {
            connections: nodes.iter().map(|node| node.open_connections()).sum(),
            unavailable_servers: trackers.filter(|outage| outage.is_out()).count(),
            in_flight: self.in_flight.load(Relaxed),
            retries: self.retries.load(Relaxed),
            outages: self.outages.count(),
            test_writes: self.outages.test_writes(),
        }
    }

    /// Returns `false` during an outage of the server of `key`.
    pub(super) fn is_available(&self, key: &StoreKey) -> bool {
        match self.client.node(&self.names.session(key)) {
            Ok(node) => !node.outage().blocks(Access::Touch),
            Err(outage) => !outage.blocks(Access::Touch),
        }
    }

    /// Waits until the configured number of replicas has the write of `outcome`, at most until the
    /// operation's deadline.
    pub(super) async fn wait_for_replicas(
        &self,
        outcome: &CommandOutcome,
    ) -> Result<(), RedisError> {
        match self.settings.replicas {
            0 => Ok(()),
            required => Box::pin(self.confirm_replicas(required, outcome)).await,
        }
    }

    async fn confirm_replicas(
        &self,
        required: u32,
        outcome: &CommandOutcome,
    ) -> Result<(), RedisError> {
        let remaining = outcome.deadline.saturating_duration_since(Instant::now());
        let time_limit = self.settings.attempt_timeout().min(remaining);
        let now = Instant::now();
        let (until, deadline) = (now + time_limit / 2, now + time_limit);
        let confirmation = outcome
            .node
            .confirm(outcome.connection, outcome.opening, until);
        let confirmed = match timeout_at(deadline.into(), confirmation).await {
            Ok(Ok(confirmed)) => confirmed,
            // The server has become a replica meanwhile: `ERR WAIT cannot be used` or `UNBLOCKED`.
            Ok(Err(AttemptError::Final(RedisError::Rejected(ServerRejection::Other(_))))) => 0,
            Ok(Err(AttemptError::Final(error))) => return Err(error),
            Ok(Err(_)) | Err(_) => 0,
        };
        match confirmed >= i64::from(required) {
            true => Ok(()),
            false => Err(RedisError::Unreplicated {
                confirmed,
                required,
            }),
        }
    }

    /// Runs an idempotent command until `timeout` has passed, even if the server does not run yet.
    pub(super) async fn run_at_startup(
        &self,
        timeout: Duration,
        command: impl Fn() -> RedisCommand,
    ) -> Result<Reply, RedisError> {
        let deadline = Instant::now() + timeout;
        let limit = TimeLimit {
            timeout,
            deadline,
            outage_deadline: deadline,
            is_cleanup: false,
        };
        let idempotency = Idempotency::Idempotent;
        let outcome = self.execute(command, idempotency, limit, None).await;
        outcome.map(|outcome| outcome.reply).map_err(|error| {
            // The server may not run yet. When its outage was noticed says nothing then.
            let RedisError::Outage {
                server,
                last,
                problem,
                ..
            } = error
            else {
                return error;
            };
            RedisError::TimedOut {
                server,
                after: timeout,
                last,
                problem,
            }
        })
    }

    async fn execute(
        &self,
        command: impl Fn() -> RedisCommand,
        idempotency: Idempotency,
        limit: TimeLimit,
        node: Option<&Arc<Node>>,
    ) -> Result<CommandOutcome, RedisError> {
        self.client.start()?;
        let _guard = self.begin_operation()?;
        self.retry(command, idempotency, (limit, node)).await
    }

    fn begin_operation(&self) -> Result<InFlightGuard<'_>, RedisError> {
        let guard = InFlightGuard(&self.in_flight);
        let limit = self.settings.max_in_flight;
        match self.in_flight.fetch_add(1, Relaxed) < limit {
            true => Ok(guard),
            false => Err(RedisError::Overloaded { limit }),
        }
    }

    /// Attempts a command until it succeeds. `node` is the node to use, instead of that of the command's key.
    async fn retry(
        &self,
        command: impl Fn() -> RedisCommand,
        idempotency: Idempotency,
        (limit, node): (TimeLimit, Option<&Arc<Node>>),
    ) -> Result<CommandOutcome, RedisError> {
        let (mut lost_reply, mut failed, mut failed_at) = (None, None, Instant::now());
        let mut is_silent = false;
        for attempt in 0_u32.. {
            let command = command();
            let (key, access) = (command.key().clone(), command.access());
            let node = self.node(node, &key, access, limit).await?;
            let mut guard = AttemptGuard::new(&node, limit);
            let shows_silence = node.shows_silence(access, limit.operation_time());
            let attempted = self.attempt(&node, command, limit, &mut failed).await;
            guard.is_done = true;
            let (error, sent) = match attempted {
                Ok(answer) => {
                    drop(guard);
                    let connection = failed.unwrap_or_default();
                    return Ok(CommandOutcome {
                        reply: answer.reply,
                        source: answer.source,
                        lost_reply,
                        deadline: limit.deadline,
                        node,
                        connection,
                        opening: answer.opening,
                    });
                }
                Err(error) => self.check_transient(&node, (&key, access), (error, limit))?,
            };
            is_silent |= shows_silence || error != TransientError::Timeout;
            // Replies to earlier commands may have arrived during the first attempt.
            if attempt < 2 {
                failed_at = Instant::now();
            }
            if sent {
                lost_reply = Some(error);
            }
            if sent && idempotency == Idempotency::NotIdempotent {
                node.outage().record_unanswered();
                return Err(RedisError::UnknownOutcome { last: error });
            }
            let pause = self.backoff(attempt);
            let is_over = limit.deadline.saturating_duration_since(Instant::now()) <= pause;
            if is_over || access == Access::ReadAndTouch && error == TransientError::ReadOnly {
                let failed_at = is_silent.then_some(failed_at);
                return Err(failure(&node, access, (error, failed_at), limit));
            }
            self.retries.fetch_add(1, Relaxed);
            guard.is_done = false;
            sleep(pause).await;
            guard.is_done = true;
        }
        Err(RedisError::UnexpectedReply)
    }

    /// Returns the transient error of an attempt. The flag is set if the server may have executed the command.
    ///
    /// # Errors
    /// If a retry would fail the same way.
    fn check_transient(
        &self,
        node: &Node,
        (key, access): (&[u8], Access),
        (error, limit): (AttemptError, TimeLimit),
    ) -> Result<(TransientError, bool), RedisError> {
        match error {
            AttemptError::Final(error) => Err(record_rejection(node, access, (error, limit))),
            AttemptError::Moved(address) => {
                self.client.redirect(key, node, &address)?;
                Ok((TransientError::Redirected, false))
            }
            AttemptError::Transient { error, sent } => {
                if error == TransientError::ClusterDown {
                    // Another node may have the slot now.
                    self.client.refresh_nodes();
                }
                Ok((error, sent))
            }
        }
    }

    /// Returns `fixed`, or the node of a key, if necessary after a wait.
    ///
    /// # Errors
    /// If no node has the key in time, or if a cleanup would wait for the end of an outage.
    async fn node(
        &self,
        fixed: Option<&Arc<Node>>,
        key: &[u8],
        access: Access,
        limit: TimeLimit,
    ) -> Result<Arc<Node>, RedisError> {
        let node = match fixed {
            Some(node) => Arc::clone(node),
            None => match self.client.node(key) {
                Ok(node) => node,
                Err(_) => Box::pin(self.wait_for_node(key, access, limit)).await?,
            },
        };
        match limit.skips(node.outage(), access) {
            true => {
                let error = (TransientError::Disconnected, None);
                Err(failure(&node, access, error, limit))
            }
            false => Ok(node),
        }
    }

    /// Waits until a node has the slot of a key. During a known outage of such slots, waits for the outage
    /// timeout at most.
    async fn wait_for_node(
        &self,
        key: &[u8],
        access: Access,
        limit: TimeLimit,
    ) -> Result<Arc<Node>, RedisError> {
        let started = Instant::now();
        for attempt in 0_u32.. {
            let outage = match self.client.node(key) {
                Ok(node) => return Ok(node),
                Err(outage) => outage,
            };
            outage.suspect(started, OutageCause::NO_NODE);
            let deadline = match outage.blocks(access) {
                true => outage.wait_deadline(access, limit.outage_deadline),
                false => limit.deadline,
            };
            let pause = self.backoff(attempt);
            let is_over = deadline.saturating_duration_since(Instant::now()) <= pause;
            if is_over || limit.skips(outage, access) {
                let error = limit.record_failure(outage, access, Instant::now());
                return Err(error.unwrap_or_else(|| RedisError::TimedOut {
                    server: Arc::clone(outage.server()),
                    after: limit.timeout,
                    last: TransientError::ClusterDown,
                    problem: None,
                }));
            }
            let mut guard = CancelGuard((!limit.is_cleanup).then_some(outage));
            sleep(pause).await;
            guard.0 = None;
        }
        Err(RedisError::UnexpectedReply)
    }

    /// Attempts a command once, after the end of a known outage. Sets `failed` to the index of the
    /// connection.
    async fn attempt(
        &self,
        node: &Node,
        command: RedisCommand,
        limit: TimeLimit,
        failed: &mut Option<usize>,
    ) -> Result<Answer, AttemptError> {
        let (outage, access) = (node.outage(), command.access());
        if outage.blocks(access) {
            let until = outage.wait_deadline(access, limit.outage_deadline);
            let waited = outage.wait(access, until).await;
            waited.map_err(AttemptError::Final)?;
        }
        let connection = node.next_connection(access, *failed);
        *failed = Some(connection);
        let in_flight = self.in_flight.load(Relaxed);
        let time = limit.operation_time();
        node.attempt(connection, command, time, in_flight).await
    }

    /// Returns the pause before attempt number `attempt` + 1.
    ///
    /// It doubles from 4 ms to 128 ms. A random part of up to a half is left out, so that operations
    /// which failed together do not retry together.
    pub(super) fn backoff(&self, attempt: u32) -> Duration {
        let max = 4_000_u64 << attempt.min(5);
        Duration::from_micros(max / 2 + self.versions.next_number() % (max / 2))
    }
}

/// Records that the server rejected an operation. A rejection of all writes is an outage.
fn record_rejection(
    node: &Node,
    access: Access,
    (error, limit): (RedisError, TimeLimit),
) -> RedisError {
    if let RedisError::Rejected(rejection) = &error
        && rejection.rejects_writes()
    {
        drop(limit.record_failure(node.outage(), access, Instant::now()));
    }
    error
}

/// Returns the error of an operation that has no time for another attempt, and records it. `last` is the
/// failure of the last attempt, `failed_at` the time at which the second attempt failed, or the only one. It is
/// `None` if the server may only be slow.
fn failure(
    node: &Node,
    access: Access,
    (last, failed_at): (TransientError, Option<Instant>),
    limit: TimeLimit,
) -> RedisError {
    let is_usable = access == Access::ReadAndTouch && last == TransientError::ReadOnly;
    let outage = match failed_at {
        // The caller reads without a touch.
        Some(failed_at) if !is_usable => limit.record_failure(node.outage(), access, failed_at),
        _ => None,
    };
    match outage {
        Some(error @ RedisError::Outage { .. }) => error,
        _ => RedisError::TimedOut {
            server: Arc::clone(node.server()),
            after: limit.timeout,
            last,
            problem: node.problem(),
        },
    }
}
