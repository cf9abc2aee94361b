//! The place of a commit in a queue.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use super::JobReply;
use crate::{
    id::StoreKey,
    session::{SessionError, engine::Engine},
};

/// A future that waits for the answer to a job. If it is dropped before the job begins, the job is
/// removed. After that, the changes of the job may be stored.
pub(in crate::session::commit) struct Ticket {
    engine: Arc<Engine>,
    key: StoreKey,
    id: u64,
    reply: oneshot::Receiver<JobReply>,
    /// The worker of the queue, if this commit runs it.
    worker: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    is_answered: bool,
}

impl Ticket {
    pub(super) fn new(
        engine: &Arc<Engine>,
        key: StoreKey,
        id: u64,
        reply: oneshot::Receiver<JobReply>,
    ) -> Self {
        Self {
            engine: Arc::clone(engine),
            key,
            id,
            reply,
            worker: None,
            is_answered: false,
        }
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
        if let Some(worker) = &mut this.worker
            && worker.as_mut().poll(cx).is_ready()
        {
            this.worker = None;
        }
        Pin::new(&mut this.reply).poll(cx).map(|reply| {
            this.is_answered = true;
            reply.map_err(|_| SessionError::OutcomeUnknown)
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.is_answered {
            self.engine.queues.remove(&self.key, self.id);
        }
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
