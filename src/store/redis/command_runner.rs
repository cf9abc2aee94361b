//! Runs commands with retries, until a reply arrives, the time is over, or a retry could do harm.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{
    RedisError, RedisStats, TransientError,
    client::{Answer, AttemptError, Client, Node, RedisCommand, Reply, TrackingId},
    key_names::KeyNames,
    outage::{Access, OutageCause, OutageReporter},
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
    /// A second execution has no effect, or is detected.
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
}

/// The time that an operation may take.
#[derive(Clone, Copy)]
struct TimeLimit {
    timeout: Duration,
    deadline: Instant,
    /// The end of the wait for the end of a known outage.
    outage_deadline: Instant,
}

/// A guard that records an attempt whose caller stops waiting.
struct AttemptGuard<'n> {
    node: &'n Node,
    started: Instant,
    replies: u64,
    is_done: bool,
}

impl<'n> AttemptGuard<'n> {
    fn new(node: &'n Node) -> Self {
        Self {
            node,
            started: Instant::now(),
            replies: node.replies(),
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
        self.node.outage().record_unanswered();
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
        deadline_after(self.settings.operation_timeout)
    }

    /// Runs the command that `command` makes until the operation's deadline. `command` is called once
    /// for each attempt.
    pub(super) async fn run(
        &self,
        deadline: Instant,
        idempotency: Idempotency,
        command: impl Fn() -> RedisCommand,
    ) -> Result<CommandOutcome, RedisError> {
        let timeout = self.settings.operation_timeout;
        let saved = timeout.saturating_sub(self.settings.outage_timeout);
        let limit = TimeLimit {
            timeout,
            deadline,
            outage_deadline: deadline.checked_sub(saved).unwrap_or(deadline),
        };
        self.execute(command, idempotency, limit).await
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
        let outcome = self.run(deadline, Idempotency::Idempotent, command).await;
        outcome.map(|outcome| outcome.reply)
    }

    pub(super) fn stats(&self) -> RedisStats {
        let nodes = self.client.known_nodes();
        let is_unavailable = |node: &&Arc<Node>| node.outage().blocks(Access::Write);
        RedisStats {
            connections: nodes.iter().map(|node| node.open_connections()).sum(),
            unavailable_servers: nodes.iter().filter(is_unavailable).count(),
            in_flight: self.in_flight.load(Relaxed),
            retries: self.retries.load(Relaxed),
            outages: self.outages.count(),
            test_writes: self.outages.test_writes(),
        }
    }

    /// Returns `false` during an outage of the server of `key`.
    pub(super) fn is_available(&self, key: &StoreKey) -> bool {
        let node = self.client.node(&self.names.session(key));
        node.is_none_or(|node| !node.outage().blocks(Access::Touch))
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
        let millis = (time_limit / 2).as_millis().max(1);
        let command = RedisCommand::wait(required, millis);
        let deadline = deadline_after(time_limit);
        let attempt = outcome
            .node
            .attempt(outcome.connection, command, deadline, 0)
            .await;
        let confirmed = match attempt.map(|answer| answer.reply) {
            Ok(Reply::Integer(confirmed)) => confirmed,
            Ok(_) => return Err(RedisError::UnexpectedReply),
            Err(AttemptError::Final(error)) => return Err(error),
            Err(_) => 0,
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
        let deadline = deadline_after(timeout);
        let limit = TimeLimit {
            timeout,
            deadline,
            outage_deadline: deadline,
        };
        let outcome = self.execute(command, Idempotency::Idempotent, limit).await;
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
    ) -> Result<CommandOutcome, RedisError> {
        self.client.start()?;
        let _guard = self.begin_operation()?;
        self.retry(command, idempotency, limit).await
    }

    fn begin_operation(&self) -> Result<InFlightGuard<'_>, RedisError> {
        let guard = InFlightGuard(&self.in_flight);
        let limit = self.settings.max_in_flight;
        match self.in_flight.fetch_add(1, Relaxed) < limit {
            true => Ok(guard),
            false => Err(RedisError::Overloaded { limit }),
        }
    }

    async fn retry(
        &self,
        command: impl Fn() -> RedisCommand,
        idempotency: Idempotency,
        limit: TimeLimit,
    ) -> Result<CommandOutcome, RedisError> {
        let (mut lost_reply, mut failed, mut first_failure) = (None, None, None);
        for attempt in 0_u32.. {
            let command = command();
            let (key, access) = (command.key().clone(), command.access());
            let node = self.client.node(&key).ok_or(RedisError::SlotNotServed)?;
            let mut guard = AttemptGuard::new(&node);
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
                    });
                }
                Err(AttemptError::Final(error)) => {
                    return Err(record_rejection(&node, access, error));
                }
                Err(AttemptError::Moved(address)) => {
                    self.client.redirect(&key, &node, &address);
                    (TransientError::Redirected, false)
                }
                Err(AttemptError::Transient { error, sent }) => (error, sent),
            };
            let first_failure = *first_failure.get_or_insert_with(Instant::now);
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
                return Err(failure(&node, access, (error, first_failure), limit));
            }
            self.retries.fetch_add(1, Relaxed);
            guard.is_done = false;
            sleep(pause).await;
            guard.is_done = true;
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
        let connection = node.next_connection(*failed);
        *failed = Some(connection);
        let in_flight = self.in_flight.load(Relaxed);
        node.attempt(connection, command, limit.deadline, in_flight)
            .await
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

/// Returns the instant at which `time` will have passed, at most about 34 years from now, which
/// every clock can represent.
fn deadline_after(time: Duration) -> Instant {
    const MAX: Duration = Duration::from_secs(1 << 30);
    Instant::now() + time.min(MAX)
}

/// Records that the server rejected an operation. A rejection of all writes is an outage.
fn record_rejection(node: &Node, access: Access, error: RedisError) -> RedisError {
    if let RedisError::Rejected(rejection) = &error
        && rejection.rejects_writes()
    {
        drop(node.outage().record_failure(access, Instant::now()));
    }
    error
}

/// Returns the error of an operation that has no time for another attempt, and records it. `last` is the
/// failure of the last attempt, `first_failure` the time at which the first attempt failed.
fn failure(
    node: &Node,
    access: Access,
    (last, first_failure): (TransientError, Instant),
    limit: TimeLimit,
) -> RedisError {
    let is_usable = access == Access::ReadAndTouch && last == TransientError::ReadOnly;
    let outage = match is_usable {
        // The caller reads without a touch.
        true => None,
        false => node.outage().record_failure(access, first_failure),
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
