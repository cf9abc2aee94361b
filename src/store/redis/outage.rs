//! Outages: detection, one report at the start and one at the end, and a count in between.
//!
//! ```text
//! Up ── a command gets no answer ──► Suspected ── an operation fails, or the operation timeout ends ──► Out
//!  ▲                                    │ any answer (for rejected writes: an accepted write)            │
//!  └────────────────────────────────────┴──────────────── an accepted write ◄────────────────────────────┘
//! ```
//!
//! A write that the server rejects for a reason that is no outage, such as a missing permission, ends an outage
//! like an accepted one. A redirection to another node of a cluster does not, unless the node has no key of the
//! store.
//!
//! [`super::client`] sends the writes that test this, so an outage begins and ends even if no caller
//! waits for its operation.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, TryLockError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    TransientError,
    error::{ConnectProblem, OutageScope, RedisError, ServerRejection},
};
use crate::sync::lock;

/// The start or end of an outage, reported to [`on_outage`](super::RedisStoreBuilder::on_outage).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outage {
    /// A server does not answer, or rejects all writes. Or some slots of a cluster have no node.
    ///
    /// An outage starts as soon as an operation has failed after all its attempts, and at the latest
    /// when the server has answered nothing for the operation timeout.
    Started {
        /// The host and port of the server, or the path of its socket. The hosts in the URL for slots of a
        /// cluster that have no node.
        server: Arc<str>,
        /// The commands that the server does not answer.
        scope: OutageScope,
        /// The cause, as text.
        reason: Box<str>,
    },
    /// The server has accepted a write again, or has rejected one for a reason that is no outage, such as a
    /// missing permission. Or its cluster has replaced it.
    Ended {
        /// The host and port of the server, or the path of its socket.
        server: Arc<str>,
        /// The time since the first command that was not answered.
        lasted: Duration,
        /// The number of operations that failed, were rejected or were cancelled during the outage. This includes
        /// a destroy that the server rejected for lack of memory and that succeeded at its second attempt.
        failed: u64,
    },
}

/// The number of tests in a row that may be unanswered before an outage of writes is one of all commands.
const MAX_SILENT_TESTS: u32 = 2;

/// The receiver of the outages of all servers of a store, and their number.
pub(super) struct OutageReporter {
    report: Box<dyn Fn(&Outage) + Send + Sync>,
    count: AtomicU64,
    test_writes: AtomicU64,
}

impl OutageReporter {
    pub(super) fn new(report: impl Fn(&Outage) + Send + Sync + 'static) -> Self {
        Self {
            report: Box::new(report),
            count: AtomicU64::new(0),
            test_writes: AtomicU64::new(0),
        }
    }

    /// Returns the number of outages so far.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Returns the number of test writes so far.
    pub(super) fn test_writes(&self) -> u64 {
        self.test_writes.load(Relaxed)
    }
}

/// The use of the server that a command makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    /// A read that also moves the expiry. Without the move it is still of use.
    ReadAndTouch,
    Write,
    /// A write that may be left out.
    Touch,
}

/// The reason for an outage.
#[derive(Clone, Debug)]
pub(super) enum OutageCause {
    Unanswered(TransientError, Option<ConnectProblem>),
    /// The connections for writes do not work, and those for reads are open.
    WritesUnanswered(TransientError, Option<ConnectProblem>),
    WritesRejected(ServerRejection),
}

impl OutageCause {
    /// No node of a cluster has the slot of a key.
    pub(super) const NO_NODE: Self = Self::Unanswered(TransientError::ClusterDown, None);

    const fn scope(&self) -> OutageScope {
        match self {
            Self::Unanswered(TransientError::ReadOnly, _)
            | Self::WritesUnanswered(..)
            | Self::WritesRejected(_) => OutageScope::Writes,
            Self::Unanswered(..) => OutageScope::All,
        }
    }

    /// Returns the state of a server that is suspected of an outage for this reason.
    const fn suspicion(&self) -> ServerState {
        match self.scope() {
            OutageScope::All => ServerState::Silent,
            OutageScope::Writes => ServerState::RejectsWritesOnce,
        }
    }

    /// Returns the state of a server with an outage for this reason.
    ///
    /// A server that rejects writes for another reason than being a replica does so at once, and
    /// accepts some of them. So nothing is blocked.
    const fn state(&self) -> ServerState {
        match self {
            Self::Unanswered(TransientError::ReadOnly, _) | Self::WritesUnanswered(..) => {
                ServerState::BlocksWrites
            }
            Self::Unanswered(..) => ServerState::BlocksAll,
            Self::WritesRejected(_) => ServerState::RejectsWrites,
        }
    }

    /// Returns `true` if the failure is not an answer of the server.
    pub(super) const fn is_silence(&self) -> bool {
        match self {
            Self::Unanswered(error, _) | Self::WritesUnanswered(error, _) => error.is_silence(),
            Self::WritesRejected(_) => false,
        }
    }

    fn text(&self) -> Box<str> {
        match self {
            Self::Unanswered(last, Some(problem)) | Self::WritesUnanswered(last, Some(problem)) => {
                format!("{last}: {problem}").into()
            }
            Self::Unanswered(last, None) | Self::WritesUnanswered(last, None) => {
                last.to_string().into()
            }
            Self::WritesRejected(rejection) => rejection.to_string().into(),
        }
    }

    fn error(&self, server: &Arc<str>, lasted: Duration) -> RedisError {
        match self {
            Self::Unanswered(last, problem) | Self::WritesUnanswered(last, problem) => {
                RedisError::Outage {
                    server: Arc::clone(server),
                    scope: self.scope(),
                    lasted,
                    last: *last,
                    problem: problem.clone(),
                }
            }
            Self::WritesRejected(rejection) => RedisError::Rejected(rejection.clone()),
        }
    }
}

/// The state of a server, as a number for [`OutageTracker::state`].
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum ServerState {
    Up,
    /// A command was not answered. Any answer ends this state.
    Silent,
    /// Writes were rejected. An accepted write ends this state.
    RejectsWritesOnce,
    /// An outage of writes in which writes are still sent.
    RejectsWrites,
    BlocksWrites,
    BlocksAll,
}

/// An outage, or the suspicion of one.
struct CurrentOutage {
    /// The time at which the first command was sent that was not answered.
    since: Instant,
    cause: OutageCause,
    /// The number of failed operations, once the outage has started.
    failed: Option<u64>,
    /// The number of tests without an answer since the last test with one.
    silent_tests: u32,
}

impl CurrentOutage {
    /// Counts an operation that failed, if the outage has started.
    fn count(&mut self) {
        self.failed = self.failed.map(|failed| failed + 1);
    }
}

/// The state of one server. While it is up, an operation costs a few relaxed loads.
pub(super) struct OutageTracker {
    server: Arc<str>,
    reporter: Arc<OutageReporter>,
    operation_timeout: Duration,
    /// A [`ServerState`]. Changed only under the lock of `current`.
    state: AtomicU8,
    current: Mutex<Option<CurrentOutage>>,
    /// The reports that the receiver has not got yet. Added to under the lock of `current`, so in order.
    reports: Mutex<VecDeque<Outage>>,
    /// Locked by the caller that delivers reports.
    delivery: Mutex<()>,
    /// Set once the server is no longer part of its cluster. Its outages are of no interest then.
    is_retired: AtomicBool,
    /// Notified when commands may be sent again that were blocked.
    unblocked: Notify,
    /// Notified when the server must be tested.
    suspected: Notify,
}

impl OutageTracker {
    pub(super) fn new(
        server: Arc<str>,
        reporter: Arc<OutageReporter>,
        operation_timeout: Duration,
    ) -> Self {
        Self {
            server,
            reporter,
            operation_timeout,
            state: AtomicU8::new(ServerState::Up as u8),
            current: Mutex::default(),
            reports: Mutex::default(),
            delivery: Mutex::default(),
            is_retired: AtomicBool::new(false),
            unblocked: Notify::new(),
            suspected: Notify::new(),
        }
    }

    pub(super) const fn server(&self) -> &Arc<str> {
        &self.server
    }

    /// Returns the instant until which a command with this access waits for the end of the outage, at most
    /// `deadline`. A renewal does not wait.
    pub(super) fn wait_deadline(&self, access: Access, deadline: Instant) -> Instant {
        let blocks_reads = self.blocks(Access::Read);
        match access {
            Access::Touch => Instant::now(),
            Access::ReadAndTouch if !blocks_reads => Instant::now(),
            _ => deadline,
        }
    }

    /// Returns `true` if a command with this access would not be answered.
    pub(super) fn blocks(&self, access: Access) -> bool {
        let state = self.state.load(Relaxed);
        state == ServerState::BlocksAll as u8
            || state == ServerState::BlocksWrites as u8 && access != Access::Read
    }

    /// Returns `true` during an outage, also if writes are still sent.
    pub(super) fn is_out(&self) -> bool {
        self.state.load(Relaxed) >= ServerState::RejectsWrites as u8
    }

    /// Waits until commands with this access may be sent again, at most until `deadline`.
    ///
    /// # Errors
    /// If the outage lasts longer. The operation is counted as failed.
    pub(super) async fn wait(&self, access: Access, deadline: Instant) -> Result<(), RedisError> {
        loop {
            let mut unblocked = std::pin::pin!(self.unblocked.notified());
            // From here on, no notification is missed.
            unblocked.as_mut().enable();
            if !self.blocks(access) {
                return Ok(());
            }
            if tokio::time::timeout_at(deadline.into(), unblocked)
                .await
                .is_err()
            {
                // Under the lock, so that an operation which fails is counted by the outage it waited for.
                let mut current = lock(&self.current);
                match &mut *current {
                    Some(outage) if self.blocks(access) => {
                        return Err(self.count_failure(outage, access));
                    }
                    _ => return Ok(()),
                }
            }
        }
    }

    /// Counts an operation that failed, and returns its error. A read that only lacks its touch has not
    /// failed: it is repeated without the touch.
    fn count_failure(&self, outage: &mut CurrentOutage, access: Access) -> RedisError {
        if access != Access::ReadAndTouch || outage.cause.scope() == OutageScope::All {
            outage.count();
        }
        outage.cause.error(&self.server, outage.since.elapsed())
    }

    /// Records that the command sent at `started` was not answered or that a write was rejected.
    pub(super) fn suspect(&self, started: Instant, cause: OutageCause) {
        let mut current = lock(&self.current);
        match &mut *current {
            None if self.is_retired.load(Relaxed) => {}
            None => {
                self.set_state(cause.suspicion());
                *current = Some(CurrentOutage {
                    since: started,
                    cause,
                    failed: None,
                    silent_tests: 0,
                });
                self.suspected.notify_one();
            }
            Some(outage) => {
                outage.since = outage.since.min(started);
                // A client that looks for another master is not connected for a moment.
                if outage.failed.is_none() && outage.cause.scope() == OutageScope::All {
                    self.set_state(cause.suspicion());
                    outage.cause = cause;
                }
            }
        }
    }

    /// Records that the server answered a command.
    pub(super) fn record_answer(&self) {
        if self.state.load(Relaxed) == ServerState::Silent as u8 {
            let mut current = lock(&self.current);
            if self.state.load(Relaxed) == ServerState::Silent as u8 {
                *current = None;
                self.set_state(ServerState::Up);
            }
        }
    }

    /// Records that an operation failed after all its attempts. Begins the outage if one is suspected since
    /// `failed_at`, an earlier failure of the operation. Returns the error of the outage, or `None` if there
    /// is none: the server has answered others.
    pub(super) fn record_failure(&self, access: Access, failed_at: Instant) -> Option<RedisError> {
        let mut current = lock(&self.current);
        let outage = current.as_mut()?;
        if outage.failed.is_none() && outage.since > failed_at {
            return None;
        }
        self.start_outage(outage);
        let error = self.count_failure(outage, access);
        drop(current);
        self.deliver_reports();
        Some(error)
    }

    /// Records that an operation ended without an answer: its caller has cancelled it, or its reply is
    /// lost.
    pub(super) fn record_unanswered(&self) {
        if !self.is_suspected() {
            return;
        }
        if let Some(outage) = &mut *lock(&self.current) {
            outage.count();
        }
    }

    /// Returns `true` during an outage, and if one may have begun.
    pub(super) fn is_suspected(&self) -> bool {
        self.state.load(Relaxed) != ServerState::Up as u8
    }

    /// Returns `true` if a cluster may have replaced the server: it does not answer or is a replica, or that is
    /// suspected.
    pub(super) fn may_be_replaced(&self) -> bool {
        let state = self.state.load(Relaxed);
        state != ServerState::Up as u8 && state != ServerState::RejectsWrites as u8
    }

    /// Ends the outage because the cluster has replaced the server.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Relaxed);
        self.record_test(None);
    }

    /// Returns the pause before the next test, after `turn` tests.
    ///
    /// It doubles from 50 ms to 400 ms. It is one second if the server rejects some writes: such a server
    /// may also accept some, and each test that succeeds ends the outage.
    pub(super) fn test_pause(&self, turn: u32) -> Duration {
        if self.state.load(Relaxed) == ServerState::RejectsWrites as u8 {
            return Duration::from_secs(1);
        }
        Duration::from_millis(50 << turn.min(3))
    }

    /// Waits until the server must be tested.
    pub(super) async fn wait_for_suspicion(&self) {
        while !self.is_suspected() {
            self.suspected.notified().await;
        }
    }

    /// Counts a test write.
    pub(super) fn count_test(&self) {
        self.reporter.test_writes.fetch_add(1, Relaxed);
    }

    /// Records the result of a test write: `None` if the server accepted it. Returns `true` if the
    /// server must be tested again.
    pub(super) fn record_test(&self, failure: Option<OutageCause>) -> bool {
        let mut current = lock(&self.current);
        let Some(outage) = &mut *current else {
            return false;
        };
        let Some(cause) = failure else {
            if let Some(failed) = outage.failed {
                lock(&self.reports).push_back(Outage::Ended {
                    server: Arc::clone(&self.server),
                    lasted: outage.since.elapsed(),
                    failed,
                });
            }
            *current = None;
            self.set_state(ServerState::Up);
            drop(current);
            self.unblocked.notify_waiters();
            self.deliver_reports();
            return false;
        };
        outage.silent_tests = match cause.scope() {
            OutageScope::All => outage.silent_tests + 1,
            OutageScope::Writes => 0,
        };
        // After a rejected write, the client looks for another master and is not connected for a moment.
        if outage.silent_tests == 0
            || outage.silent_tests > MAX_SILENT_TESTS
            || outage.cause.scope() == OutageScope::All
        {
            outage.cause = cause;
        }
        if outage.failed.is_some() {
            self.set_state(outage.cause.state());
            drop(current);
            self.unblocked.notify_waiters();
        } else if outage.since.elapsed() < self.operation_timeout {
            self.set_state(outage.cause.suspicion());
        } else {
            self.start_outage(outage);
            drop(current);
            self.deliver_reports();
        }
        true
    }

    /// Begins the outage, unless it has begun.
    fn start_outage(&self, outage: &mut CurrentOutage) {
        if outage.failed.is_some() {
            return;
        }
        outage.failed = Some(0);
        self.set_state(outage.cause.state());
        self.reporter.count.fetch_add(1, Relaxed);
        lock(&self.reports).push_back(Outage::Started {
            server: Arc::clone(&self.server),
            scope: outage.cause.scope(),
            reason: outage.cause.text(),
        });
    }

    /// Delivers the reports in order. If another caller delivers some now, it also delivers the new ones.
    fn deliver_reports(&self) {
        while !lock(&self.reports).is_empty() {
            let _delivery = match self.delivery.try_lock() {
                Ok(guard) => guard,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            loop {
                let next = lock(&self.reports).pop_front();
                let Some(outage) = next else { break };
                // A panic of the receiver must not end the task that tests the server.
                let report = AssertUnwindSafe(|| (self.reporter.report)(&outage));
                let _panicked = catch_unwind(report);
            }
        }
    }

    fn set_state(&self, state: ServerState) {
        self.state.store(state as u8, Relaxed);
    }
}

#[cfg(test)]
mod tests;
