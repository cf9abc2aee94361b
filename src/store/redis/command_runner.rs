//! Runs commands with retries, until a reply arrives, the time is over, or a retry could do harm.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::time::sleep;

use super::{
    RedisError, RedisStats, TransientError,
    client::{AttemptError, Client, RedisCommand, Reply},
    key_names::KeyNames,
    outage::OutageTracker,
    settings::Settings,
    version_gen::VersionGenerator,
};
use crate::store::Expected;
/// The state that all clones of a store share.
pub(super) struct CommandRunner {
    pub(super) settings: Settings,
    pub(super) names: KeyNames,
    pub(super) versions: VersionGenerator,
    pub(super) client: Client,
    /// The number of operations in flight; at most `settings.max_in_flight`.
    in_flight: AtomicUsize,
    retries: AtomicU64,
    outage: OutageTracker,
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
    /// The failure that lost the reply of an earlier attempt, if the server may have executed it.
    pub(super) lost_reply: Option<TransientError>,
    /// The index of the connection that replied.
    connection: usize,
}

/// A guard that counts one operation as in flight until it is dropped.
struct InFlightGuard<'r>(&'r AtomicUsize);

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl CommandRunner {
    pub(super) fn new(client: Client, names: KeyNames, settings: Settings) -> Self {
        Self {
            settings,
            names,
            versions: VersionGenerator::new(),
            client,
            in_flight: AtomicUsize::new(0),
            retries: AtomicU64::new(0),
            outage: OutageTracker::default(),
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
        let time_limit = self.settings.operation_timeout;
        self.execute(command, idempotency, time_limit, deadline)
            .await
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
        RedisStats {
            in_flight: self.in_flight.load(Relaxed),
            retries: self.retries.load(Relaxed),
            outages: self.outage.count(),
        }
    }

    /// Waits until the server answers.
    pub(super) async fn ready(&self) -> Result<(), RedisError> {
        let command = || RedisCommand::new("EXISTS", self.names.tag_index(""), []);
        let time_limit = self.settings.startup_timeout;
        let deadline = deadline_after(time_limit);
        self.execute(command, Idempotency::Idempotent, time_limit, deadline)
            .await
            .map(drop)
    }

    /// Waits until the configured number of replicas has the write of `outcome` under the Redis key
    /// that `name` returns.
    pub(super) async fn wait_for_replicas(
        &self,
        outcome: &CommandOutcome,
        name: impl FnOnce() -> Bytes,
    ) -> Result<(), RedisError> {
        match self.settings.replicas {
            0 => Ok(()),
            required => Box::pin(self.confirm_replicas(required, outcome.connection, name())).await,
        }
    }

    async fn confirm_replicas(
        &self,
        required: u32,
        connection: usize,
        name: Bytes,
    ) -> Result<(), RedisError> {
        let time_limit = self.settings.attempt_timeout();
        let millis = (time_limit / 2).as_millis().max(1);
        let command = RedisCommand::wait(required, millis, name);
        let deadline = deadline_after(time_limit);
        let attempt = self.client.attempt(connection, command, deadline, 0);
        let confirmed = match attempt.await {
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

    async fn execute(
        &self,
        command: impl Fn() -> RedisCommand,
        idempotency: Idempotency,
        time_limit: Duration,
        deadline: Instant,
    ) -> Result<CommandOutcome, RedisError> {
        self.client.start()?;
        let _guard = self.begin_operation()?;
        let attempts = self.retry(command, idempotency, time_limit, deadline);
        let result = attempts.await;
        let failure = result.as_ref().err().and_then(RedisError::transient_cause);
        let change = match failure {
            Some(last) => self.outage.record_failure(last),
            // The server has answered, even if it rejected the command.
            None => self.outage.record_success(),
        };
        if let Some(change) = change {
            (self.settings.on_outage)(&change);
        }
        result
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
        time_limit: Duration,
        deadline: Instant,
    ) -> Result<CommandOutcome, RedisError> {
        let (mut lost_reply, mut last) = (None, None);
        for attempt in 0_u32.. {
            let connection = self.client.next_connection(last);
            last = Some(connection);
            let in_flight = self.in_flight.load(Relaxed);
            let attempted = self
                .client
                .attempt(connection, command(), deadline, in_flight);
            let (error, sent) = match attempted.await {
                Ok(reply) => {
                    return Ok(CommandOutcome {
                        reply,
                        lost_reply,
                        connection,
                    });
                }
                Err(AttemptError::Final(error)) => return Err(error),
                Err(AttemptError::Transient { error, sent }) => (error, sent),
            };
            if sent {
                lost_reply = Some(error);
            }
            if sent && idempotency == Idempotency::NotIdempotent {
                return Err(RedisError::UnknownOutcome { last: error });
            }
            let pause = self.backoff(attempt);
            if deadline.saturating_duration_since(Instant::now()) <= pause {
                let (after, last) = (time_limit, error);
                return Err(RedisError::TimedOut { after, last });
            }
            self.retries.fetch_add(1, Relaxed);
            sleep(pause).await;
        }
        Err(RedisError::UnexpectedReply)
    }

    /// Returns the pause before attempt number `attempt` + 1.
    ///
    /// It doubles from 4 ms to 128 ms. A random part of up to a half is left out, so that operations
    /// which failed together do not retry together.
    fn backoff(&self, attempt: u32) -> Duration {
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
