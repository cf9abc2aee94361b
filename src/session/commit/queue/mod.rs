//! Commits of one session that conflict inside this process wait for each other here.
//!
//! The first commit that conflicts opens a queue for its session, and commits that begin while the
//! queue exists join it. One worker per queue applies the waiting changes in order to one record and
//! writes once. The queue ends when it is empty.
//!
//! The worker is a task of the current runtime, so a request that is dropped does not interrupt the
//! changes of others. Without a runtime, the commit that opened the queue runs the worker.

#[cfg(test)]
mod tests;
mod ticket;
mod worker;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tokio::{runtime::Handle, sync::oneshot};

use self::worker::Worker;
pub(in crate::session) use self::worker::{MAX_CONFLICT_SHIFT, back_off_delay, pause};
pub(super) use self::{ticket::Ticket, worker::Turn};
use crate::{
    id::{SessionId, StoreKey},
    random_state::RandomState,
    session::{
        ContentionReason, SessionError,
        engine::Engine,
        state::{Changes, IdStatus, StoredRecord},
    },
    store::Record,
    sync::{
        Instant, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        lock,
    },
};

/// Maximum number of commits that wait in one queue.
const MAX_JOBS: usize = 4096;

/// Maximum size of the changes that wait in one queue, in bytes.
const MAX_BYTES: usize = 16 << 20;

/// The queues of one engine, by the key of their session.
#[derive(Debug, Default)]
pub(crate) struct CommitQueues {
    /// Number of queues, so that commits without a conflict do not lock the map.
    len: AtomicUsize,
    /// The id of the next job. No two jobs of all queues have the same.
    next_id: AtomicU64,
    queues: Mutex<HashMap<StoreKey, CommitQueue, RandomState>>,
}

/// The commits of one session that wait, in order.
#[derive(Debug, Default)]
struct CommitQueue {
    jobs: VecDeque<Job>,
    bytes: usize,
}

/// A commit that waits.
#[derive(Debug)]
struct Job {
    id: u64,
    work: Work,
    deadline: Instant,
    reply: oneshot::Sender<JobReply>,
}

/// The work of a job.
#[derive(Debug)]
pub(super) enum Work {
    /// Store these changes, together with those of other jobs.
    Store(Box<Changes>),
    /// Wait for a turn, in which the commit alone writes the session. The commit keeps its changes, which
    /// have this size.
    Turn { bytes: usize },
}

/// The way in which a commit comes to a queue.
#[derive(Debug)]
pub(super) enum QueueEntry {
    /// For the first time. The commit may know the newest record.
    First(Option<Record>),
    /// After the worker ended before it began the job. If the commit opens the queue, it runs the
    /// worker itself, because a runtime that has ended would drop a task at once.
    Again,
}

/// The answer to a job.
#[derive(Debug)]
pub(super) enum JobReply {
    /// The changes are stored.
    Stored(StoredRecord),
    /// Another request rotated the session to this id. Nothing was stored.
    Forwarded(SessionId, Box<Changes>),
    /// Another request destroyed the session, or gave it a new id. Nothing was stored.
    Lost(IdStatus),
    /// The commit failed. Its changes are returned if nothing was stored and another commit can store
    /// them.
    Refused(SessionError, Option<Box<Changes>>),
    /// The commit has its turn until it drops this.
    Turn(Turn),
    /// The worker ended before it began the job. The commit must join again.
    Rejoin(Work),
}

impl Work {
    fn size(&self) -> usize {
        match self {
            Self::Store(changes) => changes.size(),
            Self::Turn { bytes } => *bytes,
        }
    }
}

impl CommitQueues {
    /// Returns `true` if commits of this session wait.
    pub(super) fn contains(&self, key: &StoreKey) -> bool {
        self.len.load(Relaxed) != 0 && lock(&self.queues).contains_key(key)
    }

    /// Returns the number of queues, and of the commits that wait in them.
    #[allow(dead_code, reason = "only metrics use it")]
    pub(crate) fn lengths(&self) -> (usize, usize) {
        let queues = lock(&self.queues);
        let commits = queues.values().map(|queue| queue.jobs.len()).sum();
        (queues.len(), commits)
    }

    /// Adds a job to the queue of its session, and opens the queue if there is none.
    ///
    /// Returns the work with the reason if the queue is full.
    pub(super) fn join(
        engine: &Arc<Engine>,
        key: StoreKey,
        work: Work,
        deadline: Instant,
        entry: QueueEntry,
    ) -> Result<Ticket, (Work, ContentionReason)> {
        let (reply, receiver) = oneshot::channel();
        let this = &engine.queues;
        let mut queues = lock(&this.queues);
        let is_new = !queues.contains_key(&key);
        let queue = queues.entry(key).or_default();
        if queue.jobs.len() >= MAX_JOBS {
            return Err((work, ContentionReason::Commits { limit: MAX_JOBS }));
        }
        let bytes = queue.bytes + work.size();
        if bytes > MAX_BYTES && !queue.jobs.is_empty() {
            return Err((work, ContentionReason::Bytes { limit: MAX_BYTES }));
        }
        let id = this.next_id.fetch_add(1, Relaxed);
        queue.bytes = bytes;
        queue.jobs.push_back(Job {
            id,
            work,
            deadline,
            reply,
        });
        this.len.store(queues.len(), Relaxed);
        drop(queues);
        let mut ticket = Ticket::new(engine, key, id, deadline, receiver);
        if is_new {
            let (newest, runtime) = match entry {
                QueueEntry::First(newest) => (newest, Handle::try_current().ok()),
                QueueEntry::Again => (None, None),
            };
            let worker = Worker::new(engine, key, newest);
            match runtime {
                Some(runtime) => drop(runtime.spawn(worker.run(None))),
                None => ticket.drive(worker.run(Some(id))),
            }
        }
        Ok(ticket)
    }

    /// Takes the next jobs that can be stored together, at most `max_jobs`, or the next job that needs a
    /// turn. Ends the queue and returns `None` if no job waits.
    fn next_jobs(&self, key: &StoreKey, max_jobs: usize) -> Option<VecDeque<Job>> {
        let mut queues = lock(&self.queues);
        let queue = queues.get_mut(key)?;
        let is_turn = |job: &Job| matches!(job.work, Work::Turn { .. });
        let count = match queue.jobs.iter().position(is_turn) {
            Some(0) => 1,
            Some(turn) => turn,
            None => queue.jobs.len(),
        };
        if count == 0 {
            queues.remove(key);
            self.len.store(queues.len(), Relaxed);
            return None;
        }
        let later = queue.jobs.split_off(count.min(max_jobs));
        let jobs = std::mem::replace(&mut queue.jobs, later);
        queue.bytes = queue.jobs.iter().map(|job| job.work.size()).sum();
        Some(jobs)
    }

    /// Adds jobs that have begun to the front of the queue again. Nothing of them was stored.
    fn put_back(&self, key: &StoreKey, mut jobs: VecDeque<Job>) {
        let mut queues = lock(&self.queues);
        let queue = queues.entry(*key).or_default();
        queue.bytes += jobs.iter().map(|job| job.work.size()).sum::<usize>();
        jobs.append(&mut queue.jobs);
        queue.jobs = jobs;
    }

    /// Ends the queue and returns the jobs that still wait.
    fn close(&self, key: &StoreKey) -> VecDeque<Job> {
        let mut queues = lock(&self.queues);
        let queue = queues.remove(key).unwrap_or_default();
        self.len.store(queues.len(), Relaxed);
        queue.jobs
    }

    /// Removes a job that has not begun, and returns its work.
    fn remove(&self, key: &StoreKey, id: u64) -> Option<Work> {
        let mut queues = lock(&self.queues);
        let queue = queues.get_mut(key)?;
        // The ids of a queue ascend.
        let position = queue.jobs.binary_search_by_key(&id, |job| job.id).ok()?;
        let job = queue.jobs.remove(position)?;
        queue.bytes -= job.work.size();
        Some(job.work)
    }
}
