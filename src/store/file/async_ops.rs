//! The futures of the store's operations: a first attempt that does not block, then waiting.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::Semaphore, task::spawn_blocking};

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
};

/// Maximum number of operations that wait for the device at a time, each on a blocking thread of the
/// runtime. This keeps a device busy, and leaves most of the runtime's 512 blocking threads free.
const MAX_BLOCKING: usize = 64;

/// The state that futures and threads share. It does not keep the store open.
pub(super) struct FileInner {
    pub(super) engine: FileEngine,
    pub(super) group_commit: GroupCommit,
    pub(super) maintenance: Maintenance,
    /// One permit for each operation that may wait for the device.
    blocking: Arc<Semaphore>,
}

/// The result of an attempt that may not wait for the device.
pub(super) enum Attempt<T> {
    Done(PendingAnswer<T>),
    WouldBlock,
}

/// Runs blocking work on a blocking thread of the runtime. Without a runtime it runs in place.
pub(super) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    if Handle::try_current().is_err() {
        return work();
    }
    // The work does not panic. The runtime drops it only while it shuts down.
    spawn_blocking(work).await.unwrap_or(Err(FileError::Closed))
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

    /// Reads a record. Waits for the device only if `may_block` is set.
    pub(super) fn read(
        &self,
        key: &StoreKey,
        touch: Option<Duration>,
        may_block: bool,
    ) -> Result<Attempt<ReadOutcome>, FileError> {
        let mut lookup = self.engine.lookup(key, touch)?;
        loop {
            let (entry, position) = match lookup {
                IndexLookup::Absent => {
                    return Ok(Attempt::Done((ReadOutcome::Absent, Position::default())));
                }
                IndexLookup::Gone(position) => {
                    return Ok(Attempt::Done((ReadOutcome::Gone, position)));
                }
                IndexLookup::Record(entry, position) => (entry, position),
            };
            match self.engine.fetch(key, entry, may_block)? {
                FetchOutcome::Record(record) => {
                    return Ok(Attempt::Done((ReadOutcome::Found(record), position)));
                }
                FetchOutcome::WouldBlock => return Ok(Attempt::WouldBlock),
                FetchOutcome::Moved => lookup = self.engine.lookup(key, None)?,
            }
        }
    }

    /// Writes a record. Waits for the device only if `may_block` is set. A conflict reads the stored
    /// record.
    pub(super) fn write(
        &self,
        request: &WriteRequest,
        may_block: bool,
    ) -> Result<Attempt<WriteOutcome>, FileError> {
        loop {
            match self.engine.write(request)? {
                WriteReply::Answer(answer) => return Ok(Attempt::Done(answer)),
                WriteReply::Conflict => {}
            }
            match self.read(&request.key, None, may_block)? {
                Attempt::WouldBlock => return Ok(Attempt::WouldBlock),
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

    /// Returns the receivers that an answer waits for, which depends on the frame at `position`.
    fn pending_waits(&self, position: Position) -> (Option<SyncReceiver>, Option<SyncReceiver>) {
        let synced = match self.engine.log.options().durability {
            _ if self.engine.log.is_durable(position) => None,
            Durability::Always => Some(self.group_commit.wait_for_sync()),
            Durability::Interval(_) => {
                self.group_commit.mark_dirty();
                None
            }
            Durability::Os => None,
        };
        (synced, self.maintenance.backpressure(&self.engine))
    }

    /// Returns the reason why the commit thread dropped a receiver.
    fn shutdown_error(&self) -> FileError {
        let poisoned = self.engine.log.check_poison();
        poisoned.err().unwrap_or(FileError::Closed)
    }

    async fn wait(
        &self,
        synced: Option<SyncReceiver>,
        compacted: Option<SyncReceiver>,
    ) -> Result<(), FileError> {
        if let Some(synced) = synced {
            synced.await.map_err(|_| self.shutdown_error())?;
        }
        if let Some(compacted) = compacted {
            // Fails if the store is closed; then there is nothing to wait for.
            let _ = compacted.await;
        }
        Ok(())
    }
}

/// Returns a future for an answer. It is ready unless it must wait for a sync or a compaction.
pub(super) fn respond<T: Send + Unpin + 'static>(
    inner: &Arc<FileInner>,
    operation: &'static str,
    result: Result<PendingAnswer<T>, FileError>,
) -> StoreFuture<T> {
    let (value, position) = match result {
        Ok(answer) => answer,
        Err(error) => return StoreFuture::ready(store_result(operation, Err(error))),
    };
    let (synced, compacted) = inner.pending_waits(position);
    if synced.is_none() && compacted.is_none() {
        return StoreFuture::ready(Ok(value));
    }
    let inner = Arc::clone(inner);
    StoreFuture::new(async move {
        store_result(operation, inner.wait(synced, compacted).await)?;
        Ok(value)
    })
}

/// Returns a future for an operation whose first attempt did not block. If that attempt would have
/// blocked, `retry` runs on a blocking thread.
pub(super) fn try_then_block<T: Send + Unpin + 'static>(
    inner: &Arc<FileInner>,
    operation: &'static str,
    first: Result<Attempt<T>, FileError>,
    retry: impl FnOnce(&FileInner) -> Result<Attempt<T>, FileError> + Send + 'static,
) -> StoreFuture<T> {
    match first {
        Err(error) => respond(inner, operation, Err(error)),
        Ok(Attempt::Done(answer)) => respond(inner, operation, Ok(answer)),
        Ok(Attempt::WouldBlock) => {
            let inner = Arc::clone(inner);
            StoreFuture::new(async move {
                let attempt = Arc::clone(&inner).run_blocking_limited(retry).await;
                match store_result(operation, attempt)? {
                    Attempt::Done(answer) => respond(&inner, operation, Ok(answer)).await,
                    Attempt::WouldBlock => store_result(operation, Err(FileError::Closed)),
                }
            })
        }
    }
}

/// Returns a future for a write that is committed together with concurrent writes.
pub(super) fn write_grouped(
    inner: &Arc<FileInner>,
    request: WriteRequest,
) -> StoreFuture<WriteOutcome> {
    let engine = &inner.engine;
    let pending = engine.log.check_open();
    let pending = pending.and_then(|()| engine.prepare_write(&request));
    let receiver = match pending.and_then(|pending| inner.group_commit.write(engine, pending)) {
        Ok(receiver) => receiver,
        Err(error) => return respond(inner, "write", Err(error)),
    };
    let inner = Arc::clone(inner);
    StoreFuture::new(async move {
        let reply = receiver
            .await
            .unwrap_or_else(|_| Err(inner.shutdown_error()));
        let reply = store_result("write", reply)?;
        inner.engine.cache_write(&request, &reply);
        match reply {
            WriteReply::Answer(answer) => respond(&inner, "write", Ok(answer)).await,
            WriteReply::Conflict => write_single(&inner, request).await,
        }
    })
}

/// Returns a future for a write that is appended at once.
pub(super) fn write_single(
    inner: &Arc<FileInner>,
    request: WriteRequest,
) -> StoreFuture<WriteOutcome> {
    let first = inner.write(&request, false);
    try_then_block(inner, "write", first, move |inner| {
        inner.write(&request, true)
    })
}
