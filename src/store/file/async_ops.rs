//! The futures of the store's operations: a first attempt that does not block, then waiting.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::{Duration, Instant},
};

use futures_timer::Delay;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, oneshot},
    task::spawn_blocking,
};

use super::{
    compact::maintenance::Maintenance,
    error::FileError,
    log::{
        engine::{FileEngine, PendingAnswer},
        group_commit::{GroupCommit, SyncReceiver},
        index::Position,
        read::{FetchOutcome, IndexLookup},
        write::WriteReply,
    },
    options::Durability,
};
use crate::{
    id::StoreKey,
    store::{ReadOutcome, StoreError, StoreFuture, WriteOutcome, WriteRequest},
    sync::lock,
};

/// Maximum number of operations that wait for the device at a time, each on a blocking thread of the
/// runtime. This keeps a device busy, and leaves most of the runtime's 512 blocking threads free.
const MAX_BLOCKING: usize = 64;

/// The default of [`FileInner::max_wait`].
const MAX_WAIT: Duration = Duration::from_secs(10);

/// The state that futures and threads share. It does not keep the store open.
pub(super) struct FileInner {
    pub(super) engine: FileEngine,
    pub(super) group_commit: GroupCommit,
    pub(super) maintenance: Maintenance,
    /// One permit for each operation that may wait for the device.
    blocking: Arc<Semaphore>,
    /// Maximum time for which an operation waits for a compaction to make room.
    pub(super) max_wait: Duration,
}

/// The conditions of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptMode {
    /// The attempt may not wait for the device.
    NonBlocking,
    /// The attempt may wait for the device. It follows one that touched the record, if there is one.
    Blocking,
    /// No compaction makes room in time. A read omits its touch.
    WithoutRoom,
}

/// The result of an attempt.
pub(super) enum Attempt<T> {
    Done(PendingAnswer<T>),
    /// The attempt would have waited for the device. An answer also needs this position to be durable.
    WouldBlock(Position),
}

/// Runs blocking work on a blocking thread of the runtime. Without a runtime it runs in place.
pub(super) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    if Handle::try_current().is_err() {
        return work();
    }
    let result = Arc::new(Mutex::new(None));
    let shared = Arc::clone(&result);
    // The compiler makes a copy of the runtime's code for each type of task, so all work has one type.
    let task: Box<dyn FnOnce() + Send> = Box::new(move || *lock(&shared) = Some(work()));
    // The work does not panic. The runtime drops it only while it shuts down.
    let _ = spawn_blocking(task).await;
    let result = lock(&result).take();
    result.unwrap_or(Err(FileError::Closed))
}

/// Converts an error into a [`StoreError`] of this store.
pub(super) fn store_result<T>(
    operation: &'static str,
    result: Result<T, FileError>,
) -> Result<T, StoreError> {
    result.map_err(|error| {
        let is_unreadable = error.is_unreadable();
        let error = StoreError::new("file", operation, error);
        if is_unreadable {
            error.with_unreadable()
        } else {
            error
        }
    })
}

impl FileInner {
    pub(super) fn new(engine: FileEngine) -> Self {
        Self {
            engine,
            group_commit: GroupCommit::default(),
            maintenance: Maintenance::default(),
            blocking: Arc::new(Semaphore::new(MAX_BLOCKING)),
            max_wait: MAX_WAIT,
        }
    }

    /// Runs blocking work like [`run_blocking`], but only [`MAX_BLOCKING`] at a time.
    ///
    /// Work whose future is dropped before it starts is not executed. While the device hangs, the
    /// runtime therefore holds no more than that.
    pub(super) async fn run_blocking_limited<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        // The semaphore is never closed, so this does not fail.
        let permit = Arc::clone(&self.blocking).acquire_owned().await;
        run_blocking(move || {
            let result = work(&self);
            drop(permit);
            result
        })
        .await
    }

    /// Reads a record.
    pub(super) fn read(
        &self,
        key: &StoreKey,
        touch: Option<Duration>,
        mode: AttemptMode,
    ) -> Result<Attempt<ReadOutcome>, FileError> {
        let may_omit = mode == AttemptMode::WithoutRoom;
        let mut lookup = self.engine.lookup(key, touch, may_omit)?;
        let mut required = Position::default();
        loop {
            let (entry, position) = match lookup {
                IndexLookup::Absent => return Ok(Attempt::Done((ReadOutcome::Absent, required))),
                IndexLookup::Gone(position) => {
                    return Ok(Attempt::Done((ReadOutcome::Gone, position.max(required))));
                }
                IndexLookup::Record(entry, position) => (entry, position),
            };
            // The first position is that of the touch, if there was one.
            required = required.max(position);
            match self
                .engine
                .fetch(key, entry, mode == AttemptMode::Blocking)?
            {
                FetchOutcome::Record(record) => {
                    return Ok(Attempt::Done((ReadOutcome::Found(record), required)));
                }
                FetchOutcome::WouldBlock => return Ok(Attempt::WouldBlock(required)),
                FetchOutcome::Moved => lookup = self.engine.lookup(key, None, false)?,
            }
        }
    }

    /// Writes a record. A conflict reads the stored record.
    pub(super) fn write(
        &self,
        request: &WriteRequest,
        mode: AttemptMode,
    ) -> Result<Attempt<WriteOutcome>, FileError> {
        loop {
            let reply = self.engine.write(request)?;
            self.engine.cache_write(request, &reply);
            match reply {
                WriteReply::Answer(answer) => return Ok(Attempt::Done(answer)),
                WriteReply::Conflict => {}
            }
            match self.read(&request.key, None, mode)? {
                Attempt::WouldBlock(required) => return Ok(Attempt::WouldBlock(required)),
                Attempt::Done((ReadOutcome::Found(record), position)) => {
                    return Ok(Attempt::Done((WriteOutcome::Conflict(record), position)));
                }
                Attempt::Done((ReadOutcome::Gone, position)) => {
                    return Ok(Attempt::Done((WriteOutcome::Gone, position)));
                }
                // The record expired between the two calls; the write is tried again.
                Attempt::Done((ReadOutcome::Absent, _)) => {}
            }
        }
    }

    /// Returns the receiver that an answer waits for, which depends on the frame at `position`.
    fn pending_sync(&self, position: Position) -> Option<SyncReceiver> {
        match self.engine.log.options().durability {
            _ if self.engine.log.is_durable(position) => None,
            Durability::Always => Some(self.group_commit.wait_for_sync()),
            Durability::Interval(_) => {
                self.group_commit.mark_dirty();
                None
            }
            Durability::Os => None,
        }
    }

    /// Returns the reason why the commit thread dropped a receiver.
    fn shutdown_error(&self) -> FileError {
        let poisoned = self.engine.log.check_poison();
        poisoned.err().unwrap_or(FileError::Closed)
    }

    /// Waits for a compaction to make room, at most for `max`. Returns `false` if no attempt may succeed
    /// then: the time is over, as with a disk that hangs, or the last compaction failed.
    async fn wait_for_room(&self, max: Duration) -> bool {
        match self.maintenance.wait_for_room(&self.engine) {
            // If the store is closed meanwhile, the next attempt fails.
            Some(compacted) => wait_at_most(compacted, max).await,
            None => false,
        }
    }

    /// Completes an operation whose attempt could not complete at once.
    async fn complete<T: Send + 'static>(
        self: &Arc<Self>,
        mut result: Result<Attempt<T>, FileError>,
        attempt: impl Fn(&Self, AttemptMode) -> Result<Attempt<T>, FileError> + Send + Sync + 'static,
    ) -> Result<PendingAnswer<T>, FileError> {
        let (began, attempt) = (Instant::now(), Arc::new(attempt));
        let (mut mode, mut required) = (AttemptMode::NonBlocking, Position::default());
        loop {
            result = match result {
                Ok(Attempt::Done((value, position))) => return Ok((value, position.max(required))),
                Ok(Attempt::WouldBlock(position)) => {
                    required = required.max(position);
                    let (inner, attempt) = (Arc::clone(self), Arc::clone(&attempt));
                    let work = move |inner: &Self| attempt(inner, AttemptMode::Blocking);
                    inner.run_blocking_limited(work).await
                }
                Err(error @ FileError::DiskLimit { .. }) => {
                    if mode == AttemptMode::WithoutRoom {
                        return Err(error);
                    }
                    let remaining = self.max_wait.saturating_sub(began.elapsed());
                    if remaining.is_zero() || !self.wait_for_room(remaining).await {
                        mode = AttemptMode::WithoutRoom;
                    }
                    attempt(self, mode)
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Waits until `receiver` completes or its sender is dropped. Returns `false` if that takes longer than
/// `max`.
async fn wait_at_most(mut receiver: oneshot::Receiver<()>, max: Duration) -> bool {
    // This timer needs no runtime.
    let mut timeout = Delay::new(max);
    poll_fn(|cx| match Pin::new(&mut receiver).poll(cx) {
        Poll::Ready(_) => Poll::Ready(true),
        Poll::Pending => Pin::new(&mut timeout).poll(cx).map(|()| false),
    })
    .await
}

/// Returns a future for an answer. It is ready unless it must wait for a sync.
fn respond<T: Send + Unpin + 'static>(
    inner: &Arc<FileInner>,
    operation: &'static str,
    (value, position): PendingAnswer<T>,
) -> StoreFuture<T> {
    let Some(synced) = inner.pending_sync(position) else {
        return StoreFuture::ready(Ok(value));
    };
    let inner = Arc::clone(inner);
    StoreFuture::new(async move {
        let synced = match synced.await {
            // The commit thread also drops receivers after a panic and a sync.
            Err(_) if !inner.engine.log.is_durable(position) => Err(inner.shutdown_error()),
            _ => Ok(value),
        };
        store_result(operation, synced)
    })
}

/// Returns a future for an operation.
///
/// The first attempt is made in the call and does not block. If it would have blocked, the next one,
/// which may block, runs on a blocking thread. If there is no room for an append, the operation waits
/// for the compaction and tries again.
pub(super) fn run<T: Send + Unpin + 'static>(
    inner: &Arc<FileInner>,
    operation: &'static str,
    attempt: impl Fn(&FileInner, AttemptMode) -> Result<Attempt<T>, FileError> + Send + Sync + 'static,
) -> StoreFuture<T> {
    match attempt(inner, AttemptMode::NonBlocking) {
        Ok(Attempt::Done(answer)) => respond(inner, operation, answer),
        first @ (Ok(Attempt::WouldBlock(_)) | Err(FileError::DiskLimit { .. })) => {
            let inner = Arc::clone(inner);
            StoreFuture::new(async move {
                let answer = inner.complete(first, attempt).await;
                let answer = store_result(operation, answer)?;
                respond(&inner, operation, answer).await
            })
        }
        Err(error) => StoreFuture::ready(store_result(operation, Err(error))),
    }
}

/// Returns a future for a read.
pub(super) fn read_record(
    inner: &Arc<FileInner>,
    key: StoreKey,
    touch: Option<Duration>,
) -> StoreFuture<ReadOutcome> {
    run(inner, "read", move |inner, mode| {
        // The attempt that may block follows one that included the touch.
        let touch = touch.filter(|_| mode != AttemptMode::Blocking);
        inner.read(&key, touch, mode)
    })
}

/// Returns a future for a write that is committed together with concurrent writes.
pub(super) fn write_grouped(
    inner: &Arc<FileInner>,
    request: WriteRequest,
) -> StoreFuture<WriteOutcome> {
    let engine = &inner.engine;
    let ready = engine.log.check_open();
    // The commit thread may have ended because the store is poisoned.
    let ready = ready.and_then(|()| engine.log.check_poison());
    let pending = ready.and_then(|()| engine.prepare_write(&request));
    let receiver = match pending.and_then(|pending| inner.group_commit.write(engine, pending)) {
        Ok(receiver) => receiver,
        Err(error) => return StoreFuture::ready(store_result("write", Err(error))),
    };
    let inner = Arc::clone(inner);
    StoreFuture::new(async move {
        let reply = receiver
            .await
            .unwrap_or_else(|_| Err(inner.shutdown_error()));
        let reply = match reply {
            // It waits for a compaction. The others of the group need not wait with it.
            Err(FileError::DiskLimit { .. }) => return write_single(&inner, request).await,
            reply => store_result("write", reply)?,
        };
        inner.engine.cache_write(&request, &reply);
        match reply {
            WriteReply::Answer(answer) => respond(&inner, "write", answer).await,
            WriteReply::Conflict => write_single(&inner, request).await,
        }
    })
}

/// Returns a future for a write that is appended at once.
pub(super) fn write_single(
    inner: &Arc<FileInner>,
    request: WriteRequest,
) -> StoreFuture<WriteOutcome> {
    // Most writes succeed at once. Then the cache can take the request's buffer.
    match inner.engine.write(&request) {
        Ok(WriteReply::Answer(answer)) => {
            if let (WriteOutcome::Done(version), _) = answer {
                inner.engine.cache_written(request, version);
            }
            respond(inner, "write", answer)
        }
        Ok(WriteReply::Conflict) | Err(FileError::DiskLimit { .. }) => {
            run(inner, "write", move |inner, mode| {
                inner.write(&request, mode)
            })
        }
        Err(error) => StoreFuture::ready(store_result("write", Err(error))),
    }
}
