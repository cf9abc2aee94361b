//! The place of a commit in a queue.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_timer::Delay;
use tokio::sync::oneshot;

use super::{JobReply, Work};
use crate::{
    id::StoreKey,
    session::{ContentionReason, SessionError, engine::Engine},
    sync::Instant,
};

/// A future that waits for the answer to a job. If it is dropped before the job begins, the job is
/// removed. After that, the changes of the job may be stored.
pub(in crate::session::commit) struct Ticket {
    engine: Arc<Engine>,
    key: StoreKey,
    id: u64,
    reply: oneshot::Receiver<JobReply>,
    /// The end of the commit's timeout. The worker may hang, or may not run any more.
    timeout: Delay,
    /// The worker of the queue, if this commit runs it.
    worker: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Ticket {
    pub(super) fn new(
        engine: &Arc<Engine>,
        key: StoreKey,
        id: u64,
        deadline: Instant,
        reply: oneshot::Receiver<JobReply>,
    ) -> Self {
        Self {
            engine: Arc::clone(engine),
            key,
            id,
            reply,
            timeout: Delay::new(deadline.saturating_duration_since(Instant::now())),
            worker: None,
        }
    }

    /// Leaves the queue after the timeout. Returns `None` if the job has begun.
    fn leave(&self) -> Option<JobReply> {
        let work = self.engine.queues.remove(&self.key, self.id)?;
        let limit = self.engine.policy.commit_timeout;
        let error = SessionError::Contention(ContentionReason::Timeout { limit });
        let changes = match work {
            Work::Store(changes) => Some(changes),
            Work::Turn { .. } => None,
        };
        Some(JobReply::Refused(error, changes))
    }

    /// Makes this ticket run the worker.
    pub(super) fn drive(&mut self, worker: impl Future<Output = ()> + Send + 'static) {
        self.worker = Some(Box::pin(worker));
    }
}

impl Future for Ticket {
    type Output = Result<JobReply, SessionError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.worker
            .take_if(|worker| worker.as_mut().poll(cx).is_ready());
        // A worker that runs here first answers the other jobs of its batch.
        if this.worker.is_none()
            && let Poll::Ready(reply) = Pin::new(&mut this.reply).poll(cx)
        {
            return Poll::Ready(reply.map_err(|_| SessionError::OutcomeUnknown));
        }
        ready!(Pin::new(&mut this.timeout).poll(cx));
        if let Some(refused) = this.leave() {
            return Poll::Ready(Ok(refused));
        }
        // The job has begun. The answer may be there just now.
        let reply = this.reply.try_recv();
        Poll::Ready(reply.map_err(|_| SessionError::OutcomeUnknown))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        drop(self.engine.queues.remove(&self.key, self.id));
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("key", &self.key)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
