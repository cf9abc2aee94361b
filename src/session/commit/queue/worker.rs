//! The worker of a queue.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use futures_timer::Delay;
use tokio::{sync::oneshot, task::yield_now};

use super::{JobReply, Work};
use crate::{
    id::{SessionId, StoreKey},
    session::{
        ContentionReason, SessionError,
        engine::Engine,
        rotation::forward,
        state::{Changes, DecodedRecord, IdStatus, StoredRecord, decode},
    },
    store::{Expected, ReadOutcome, Record, Store, StoreError, Version, WriteOutcome},
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
    pub(super) fn new(engine: &Arc<Engine>, key: StoreKey) -> Self {
        Self {
            engine: Arc::clone(engine),
            key,
            has_ended: false,
        }
    }

    /// Works until the queue is empty, or until the job `last` is answered. `newest` is the newest
    /// record that is known.
    pub(super) async fn run(mut self, mut newest: Option<Record>, last: Option<u64>) {
        while let Some(jobs) = self.engine.queues.next_jobs(&self.key) {
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
                        newest = None;
                    }
                    Work::Store(work) => changes.push_back(StoreJob {
                        changes: work,
                        deadline: job.deadline,
                        reply: job.reply,
                    }),
                }
            }
            if !changes.is_empty() {
                newest = self.store_all(changes, newest).await;
            }
            if has_last {
                return;
            }
        }
        self.has_ended = true;
    }

    /// Stores the changes of all jobs, usually in one write. Returns the record that is stored then.
    async fn store_all(
        &self,
        mut jobs: VecDeque<StoreJob>,
        mut newest: Option<Record>,
    ) -> Option<Record> {
        let mut max_jobs = usize::MAX;
        let mut conflicts = 0;
        while !jobs.is_empty() {
            let known = match self.known_record(newest.take()).await {
                Ok(known) => known,
                Err(end) => {
                    end.answer_all(jobs);
                    return None;
                }
            };
            let mut batch: VecDeque<_> = jobs.drain(..max_jobs.min(jobs.len())).collect();
            let Some(next) = self.merge(&mut batch, &known).await else {
                continue;
            };
            let stored = next.encode(&self.engine);
            match self.write(&stored, known.version).await {
                Ok(WriteOutcome::Done(version)) => {
                    newest = Some(answer_stored(batch, stored, version));
                    conflicts = 0;
                }
                Ok(WriteOutcome::Conflict(record)) => {
                    conflicts += 1;
                    newest = Some(record);
                    back_off_delay(conflicts).await;
                    batch.append(&mut jobs);
                    jobs = self.within_deadline(batch);
                }
                Ok(WriteOutcome::Gone) => BatchEnd::Lost(IdStatus::Destroyed).answer_all(batch),
                // One of the changes is too large. Stored one by one, only that one fails.
                Err(error) if error.too_large().is_some() && batch.len() > 1 => {
                    max_jobs = 1;
                    batch.append(&mut jobs);
                    jobs = batch;
                }
                Err(error) if error.too_large().is_some() => {
                    let error = SessionError::from(error);
                    batch.into_iter().for_each(|job| job.refuse(error.clone()));
                }
                Err(error) => BatchEnd::Failed(error.into()).answer_all(batch),
            }
        }
        newest
    }

    /// Returns the record that the changes are to be applied to, and reads it if `newest` is `None`.
    async fn known_record(&self, newest: Option<Record>) -> Result<KnownRecord, BatchEnd> {
        let read = match newest {
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
                None => BatchEnd::Lost(IdStatus::Regenerated),
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
    const MAX_SHIFT: u32 = 6;
    let max_micros = 1000 << conflicts.min(MAX_SHIFT);
    let mut random = [0; 2];
    // Without randomness, the longest delay is as good as any.
    let share = match getrandom::fill(&mut random) {
        Ok(()) => u64::from(u16::from_le_bytes(random)),
        Err(_) => u64::from(u16::MAX),
    };
    Delay::new(Duration::from_micros((max_micros * share) >> 16))
}
