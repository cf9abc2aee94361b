//! The worker of a queue.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    ops::ControlFlow,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_timer::Delay;
use tokio::{sync::oneshot, task::yield_now};

use super::{Job, JobReply, Work};
use crate::{
    id::{SessionId, StoreKey},
    session::{
        ContentionReason, SessionError,
        engine::Engine,
        rotation::forward,
        state::{Changes, DecodedRecord, IdStatus, StoredRecord, decode},
    },
    store::{Expected, ReadOutcome, Record, Store, StoreError, Version, WriteOutcome},
    sync::Instant,
    wire::Lifetime,
};

/// Work between two yields to the runtime, as a number of bytes that are copied: a millisecond at most.
const MAX_WORK: usize = 256 * 1024;

/// The work of a job besides that of its bytes.
const JOB_WORK: usize = 1024;

/// Stores the changes of one queue, batch by batch.
pub(super) struct Worker {
    engine: Arc<Engine>,
    key: StoreKey,
    /// The newest record that is known.
    newest: Option<Record>,
    /// Number of writes in a row that conflicted.
    conflicts: u32,
    /// Number of jobs to store one by one, because their changes together were too large.
    single_jobs: usize,
    /// The queue has ended, or another worker has it.
    has_ended: bool,
}

/// The right of one commit to write its session, inside this process. It ends when this is dropped.
#[derive(Debug)]
pub(in crate::session::commit) struct Turn(
    #[expect(dead_code, reason = "its drop is the signal")] oneshot::Sender<()>,
);

/// Changes to store, and where to answer.
struct StoreJob {
    id: u64,
    changes: Box<Changes>,
    deadline: Instant,
    reply: oneshot::Sender<JobReply>,
}

/// The record of a queue's session, as far as it is known.
struct KnownRecord {
    /// `None` if no record is stored.
    version: Option<Version>,
    decoded: DecodedRecord,
}

impl Worker {
    /// Creates the worker of a new queue. `newest` is the newest record that is known.
    pub(super) fn new(engine: &Arc<Engine>, key: StoreKey, newest: Option<Record>) -> Self {
        Self {
            engine: Arc::clone(engine),
            key,
            newest,
            conflicts: 0,
            single_jobs: 0,
            has_ended: false,
        }
    }

    /// Works until the queue is empty, or until the job `last` is answered.
    pub(super) async fn run(mut self, last: Option<u64>) {
        while let Some(jobs) = self.next_jobs() {
            let has_last = jobs.iter().any(|job| Some(job.id) == last);
            let mut changes = VecDeque::new();
            for job in jobs {
                match job.work {
                    // The commit that runs this worker has its turn when the worker ends.
                    Work::Turn { .. } if has_last => {
                        let (turn, _) = oneshot::channel();
                        let _ = job.reply.send(JobReply::Turn(Turn(turn)));
                    }
                    Work::Turn { .. } => {
                        give_turn(job.reply, self.engine.policy.commit_timeout / 2).await;
                        self.newest = None;
                    }
                    Work::Store(work) => changes.push_back(StoreJob {
                        id: job.id,
                        changes: work,
                        deadline: job.deadline,
                        reply: job.reply,
                    }),
                }
            }
            let changes = self.within_deadline(changes);
            let is_put_back = !changes.is_empty() && self.store_all(changes).await.is_break();
            if has_last && !is_put_back {
                return;
            }
        }
        self.has_ended = true;
    }

    fn next_jobs(&mut self) -> Option<VecDeque<Job>> {
        let max_jobs = if self.single_jobs > 0 { 1 } else { usize::MAX };
        self.single_jobs = self.single_jobs.saturating_sub(1);
        self.engine.queues.next_jobs(&self.key, max_jobs)
    }

    /// Stores the changes of all jobs in one write. Puts the jobs back into the queue if another attempt is
    /// needed, and returns `Break`.
    async fn store_all(&mut self, jobs: VecDeque<StoreJob>) -> ControlFlow<()> {
        let known = match self.known_record().await {
            Ok(known) => known,
            Err(end) => {
                end.answer_all(jobs);
                return ControlFlow::Continue(());
            }
        };
        let mut batch = jobs;
        let Some(next) = self.merge(&mut batch, &known).await else {
            return ControlFlow::Continue(());
        };
        let stored = next.encode(&self.engine);
        match self.write(&stored, known.version).await {
            Ok(WriteOutcome::Done(version)) => {
                self.newest = Some(answer_stored(batch, stored, version));
                self.conflicts = 0;
            }
            Ok(WriteOutcome::Conflict(record)) => {
                self.conflicts += 1;
                self.newest = Some(record);
                // During the pause, the commits can leave the queue.
                self.put_back(batch);
                back_off_delay(self.conflicts).await;
                return ControlFlow::Break(());
            }
            Ok(WriteOutcome::Gone) => BatchEnd::Lost(IdStatus::Destroyed).answer_all(batch),
            // One of the changes is too large. Stored one by one, only that one fails.
            Err(error) if error.too_large().is_some() && batch.len() > 1 => {
                self.single_jobs = batch.len();
                self.put_back(batch);
                return ControlFlow::Break(());
            }
            Err(error) if error.too_large().is_some() => {
                let error = SessionError::from(error);
                batch.into_iter().for_each(|job| job.refuse(error.clone()));
            }
            Err(error) => BatchEnd::Failed(error.into()).answer_all(batch),
        }
        ControlFlow::Continue(())
    }

    fn put_back(&self, jobs: VecDeque<StoreJob>) {
        let jobs = jobs.into_iter().map(|job| Job {
            id: job.id,
            work: Work::Store(job.changes),
            deadline: job.deadline,
            reply: job.reply,
        });
        self.engine.queues.put_back(&self.key, jobs.collect());
    }

    /// Returns the record that the changes are to be applied to, and reads it if it is not known.
    async fn known_record(&mut self) -> Result<KnownRecord, BatchEnd> {
        let read = match self.newest.take() {
            Some(record) => ReadOutcome::Found(record),
            None => self.store().read(&self.key, None).await?,
        };
        let record = match read {
            ReadOutcome::Found(record) => record,
            ReadOutcome::Gone => return Err(BatchEnd::Lost(IdStatus::Destroyed)),
            ReadOutcome::Absent => {
                return Ok(KnownRecord {
                    version: None,
                    decoded: DecodedRecord::empty(Lifetime::default()),
                });
            }
        };
        let decoded = decode(&self.engine, &record)?;
        if decoded.head.is_fence {
            return Err(match forward(&self.engine, &self.key, &record.data) {
                Some(forward) => BatchEnd::Forwarded(forward.id),
                None => BatchEnd::Lost(IdStatus::from_fence(&self.engine, &self.key, &record.data)),
            });
        }
        Ok(KnownRecord {
            version: Some(record.version),
            decoded,
        })
    }

    /// Applies the changes of every job to the record. Answers and removes the jobs whose changes do
    /// not fit. Returns `None` if no job is left.
    ///
    /// Other tasks of the runtime run between the jobs of a large batch.
    async fn merge(
        &self,
        batch: &mut VecDeque<StoreJob>,
        known: &KnownRecord,
    ) -> Option<DecodedRecord> {
        let mut next: Option<DecodedRecord> = None;
        let mut merged = VecDeque::new();
        let mut work = 0;
        for job in std::mem::take(batch) {
            if work > MAX_WORK {
                work = 0;
                yield_now().await;
            }
            let first;
            let newest = match (&next, known.version) {
                (Some(next), _) => next,
                (None, Some(_)) => &known.decoded,
                (None, None) => {
                    first = job.changes.first_record();
                    &first
                }
            };
            let is_over = job.changes.base_created().is_some_and(|created| {
                known.version.is_none() || created != newest.head.lifetime.created
            });
            if is_over {
                job.answer(JobReply::Lost(IdStatus::Destroyed));
                continue;
            }
            work += JOB_WORK + newest.data.text().len() + job.changes.size();
            match job.changes.apply(&self.engine, newest, known.version) {
                Ok(applied) => {
                    next = Some(applied);
                    merged.push_back(job);
                }
                Err(error) => job.refuse(error),
            }
        }
        *batch = merged;
        next
    }

    async fn write(
        &self,
        stored: &StoredRecord,
        version: Option<Version>,
    ) -> Result<WriteOutcome, StoreError> {
        let expected = version.map_or(Expected::Absent, Expected::Version);
        let request = stored.to_request(&self.engine, &self.key, expected);
        self.store().write(request).await
    }

    fn store(&self) -> &dyn Store {
        self.engine.backend.store()
    }

    /// Answers and removes the jobs whose deadline has passed.
    fn within_deadline(&self, jobs: VecDeque<StoreJob>) -> VecDeque<StoreJob> {
        let now = Instant::now();
        let limit = self.engine.policy.commit_timeout;
        let (late, jobs) = jobs.into_iter().partition(|job| job.deadline <= now);
        let error = SessionError::Contention(ContentionReason::Timeout { limit });
        let late: VecDeque<StoreJob> = late;
        late.into_iter().for_each(|job| job.refuse(error.clone()));
        jobs
    }
}

impl Drop for Worker {
    /// Gives the jobs back that have not begun, if the worker ends early: its runtime ended, or it
    /// was run by a commit that is answered or dropped.
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        for job in self.engine.queues.close(&self.key) {
            // The commit may have been dropped meanwhile.
            let _ = job.reply.send(JobReply::Rejoin(job.work));
        }
    }
}

/// The end of all jobs of a batch.
enum BatchEnd {
    Forwarded(SessionId),
    Lost(IdStatus),
    Failed(SessionError),
}

impl BatchEnd {
    fn answer_all(self, jobs: VecDeque<StoreJob>) {
        for job in jobs {
            let StoreJob { changes, reply, .. } = job;
            // The commit may have been dropped meanwhile.
            let _ = reply.send(match &self {
                Self::Forwarded(id) => JobReply::Forwarded(id.clone(), changes),
                Self::Lost(status) => JobReply::Lost(*status),
                Self::Failed(error) => JobReply::Refused(error.clone(), None),
            });
        }
    }
}

impl From<StoreError> for BatchEnd {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<SessionError> for BatchEnd {
    fn from(error: SessionError) -> Self {
        Self::Failed(error)
    }
}

impl StoreJob {
    fn answer(self, reply: JobReply) {
        // The commit may have been dropped meanwhile.
        let _ = self.reply.send(reply);
    }

    fn refuse(self, error: SessionError) {
        let _ = self
            .reply
            .send(JobReply::Refused(error, Some(self.changes)));
    }
}

/// Answers the jobs of a write that succeeded. Returns the stored record.
fn answer_stored(batch: VecDeque<StoreJob>, mut stored: StoredRecord, version: Version) -> Record {
    stored.record.version = version;
    for job in batch {
        job.answer(JobReply::Stored(stored.clone()));
    }
    stored.record
}

/// Waits until the commit has ended its turn. A commit that is not polled any more, but not dropped
/// either, has its turn for `limit` at most, so that the commits behind it are stored before their own
/// timeout. Conditional writes stay safe without a turn.
async fn give_turn(reply: oneshot::Sender<JobReply>, limit: Duration) {
    let (turn, mut ended) = oneshot::channel();
    if reply.send(JobReply::Turn(Turn(turn))).is_err() {
        return;
    }
    let mut limit = Delay::new(limit);
    poll_fn(|cx| {
        // The sender is never used. It is dropped at the end of the turn.
        match Pin::new(&mut ended).poll(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => Pin::new(&mut limit).poll(cx),
        }
    })
    .await;
}

/// Returns a random delay that grows with the number of conflicts, so that processes do not conflict
/// again and again.
pub(in crate::session) fn back_off_delay(conflicts: u32) -> Delay {
    pause(conflicts, MAX_CONFLICT_SHIFT)
}

/// The longest pause after a conflict is 2 to this power in milliseconds.
pub(in crate::session) const MAX_CONFLICT_SHIFT: u32 = 6;

/// Returns a random delay that grows with the number of attempts, up to 2 to the power `max_shift` in
/// milliseconds.
pub(in crate::session) fn pause(attempts: u32, max_shift: u32) -> Delay {
    let mut random = [0; 2];
    // Without randomness, the longest delay is as good as any.
    let share = match getrandom::fill(&mut random) {
        Ok(()) => u16::from_le_bytes(random),
        Err(_) => u16::MAX,
    };
    Delay::new(pause_time(attempts, max_shift, share))
}

/// Returns a share of the longest pause after this number of attempts. `u16::MAX` is all of it.
pub(super) fn pause_time(attempts: u32, max_shift: u32, share: u16) -> Duration {
    let max_micros = 1000 << attempts.min(max_shift);
    Duration::from_micros((max_micros * u64::from(share)) >> 16)
}
