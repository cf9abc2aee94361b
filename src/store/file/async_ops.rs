//! Between the engine and its futures: what is tried at once, and what is waited for.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{runtime::Handle, sync::Semaphore, task::spawn_blocking};

use super::{
    Durability, FileError,
    commit::{Commits, Wait},
    engine::Engine,
    index::Position,
    keeper::Keeper,
    ops::{Answer, Fetched, Lookup},
    write::Attempt,
};
use crate::{
    id::StoreKey,
    store::{Expected, ReadOutcome, StoreError, StoreFuture, WriteOutcome},
};

/// How many reads wait for the device at a time, each on a thread of the runtime: enough to keep a
/// device busy, and few beside the 512 that a runtime has.
const AT_DEVICE: usize = 64;

/// What futures and threads hold of the store: it does not keep the store open.
pub(super) struct Core {
    pub(super) engine: Engine,
    pub(super) commits: Commits,
    pub(super) keeper: Keeper,
    /// Turns to wait for the device.
    at_device: Arc<Semaphore>,
}

/// What an attempt came to that must not wait for the device.
pub(super) enum Step<T> {
    Done(Answer<T>),
    Waits,
}

/// Runs what waits for the device where the runtime keeps its blocking work.
pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    if Handle::try_current().is_err() {
        return work();
    }
    // The work does not panic; it is dropped unrun only while the runtime shuts down.
    spawn_blocking(work).await.unwrap_or(Err(FileError::Closed))
}

pub(super) fn named<T>(
    action: &'static str,
    result: Result<T, FileError>,
) -> Result<T, StoreError> {
    result.map_err(|error| StoreError::new("file", action, error))
}

impl Core {
    pub(super) fn new(engine: Engine) -> Self {
        Self {
            engine,
            commits: Commits::default(),
            keeper: Keeper::default(),
            at_device: Arc::new(Semaphore::new(AT_DEVICE)),
        }
    }

    /// The same as [`off_thread`], for so much at a time: what nobody waits for any more when its
    /// turn comes is not done, and while the device hangs, no more than that is left of it with the
    /// runtime.
    pub(super) async fn in_turn<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        // The semaphore is never closed, so there is always a turn to be had.
        let turn = Arc::clone(&self.at_device).acquire_owned().await;
        off_thread(move || {
            let done = work(&self);
            drop(turn);
            done
        })
        .await
    }

    pub(super) fn read(
        &self,
        key: &StoreKey,
        touch: Option<Duration>,
        wait: bool,
    ) -> Result<Step<ReadOutcome>, FileError> {
        let mut found = self.engine.lookup(key, touch)?;
        loop {
            let (entry, at) = match found {
                Lookup::Absent => {
                    return Ok(Step::Done((ReadOutcome::Absent, Position::default())));
                }
                Lookup::Gone(at) => return Ok(Step::Done((ReadOutcome::Gone, at))),
                Lookup::Record(entry, at) => (entry, at),
            };
            match self.engine.fetch(key, entry, wait)? {
                Fetched::Record(record) => return Ok(Step::Done((ReadOutcome::Found(record), at))),
                Fetched::Waits => return Ok(Step::Waits),
                Fetched::Moved => found = self.engine.lookup(key, None)?,
            }
        }
    }

    pub(super) fn write(
        &self,
        key: &StoreKey,
        data: &Bytes,
        ttl: Duration,
        expected: Expected,
        wait: bool,
    ) -> Result<Step<WriteOutcome>, FileError> {
        loop {
            match self.engine.write(key, data, ttl, expected)? {
                Attempt::Answered(answer) => return Ok(Step::Done(answer)),
                Attempt::Conflict => {}
            }
            match self.read(key, None, wait)? {
                Step::Waits => return Ok(Step::Waits),
                Step::Done((ReadOutcome::Found(record), at)) => {
                    return Ok(Step::Done((WriteOutcome::Conflict(record), at)));
                }
                Step::Done((ReadOutcome::Gone, at)) => {
                    return Ok(Step::Done((WriteOutcome::Gone, at)));
                }
                // It expired in this very moment.
                Step::Done((ReadOutcome::Absent, _)) => {}
            }
        }
    }

    /// What an answer that rests on `at` has to wait for.
    fn waits(&self, at: Position) -> (Option<Wait>, Option<Wait>) {
        let durable = match self.engine.options.durability {
            _ if self.engine.is_durable(at) => None,
            Durability::Always => Some(self.commits.wait()),
            Durability::Interval(_) => {
                self.commits.soil();
                None
            }
            Durability::Os => None,
        };
        (durable, self.keeper.wait(&self.engine))
    }

    /// Why the thread that syncs has dropped somebody who waited for it.
    fn given_up(&self) -> FileError {
        let poisoned = self.engine.check_poison();
        poisoned.err().unwrap_or(FileError::Closed)
    }

    async fn pass(&self, waits: (Option<Wait>, Option<Wait>)) -> Result<(), FileError> {
        if let Some(durable) = waits.0 {
            durable.await.map_err(|_| self.given_up())?;
        }
        if let Some(turn) = waits.1 {
            // Dropped where the store ends: then there is nothing to wait for.
            let _ = turn.await;
        }
        Ok(())
    }
}

/// The future of an answer: ready, unless the disk or the cleaner has to be waited for.
pub(super) fn answer<T: Send + Unpin + 'static>(
    core: &Arc<Core>,
    action: &'static str,
    result: Result<Answer<T>, FileError>,
) -> StoreFuture<T> {
    let (value, at) = match result {
        Ok(answer) => answer,
        Err(error) => return StoreFuture::ready(named(action, Err(error))),
    };
    let waits = core.waits(at);
    if let (None, None) = waits {
        return StoreFuture::ready(Ok(value));
    }
    let core = Arc::clone(core);
    StoreFuture::new(async move {
        named(action, core.pass(waits).await)?;
        Ok(value)
    })
}

/// The future of something that was tried without waiting for the device; `again` tries it so
/// that it may wait.
pub(super) fn stepwise<T: Send + Unpin + 'static>(
    core: &Arc<Core>,
    action: &'static str,
    first: Result<Step<T>, FileError>,
    again: impl FnOnce(&Core) -> Result<Step<T>, FileError> + Send + 'static,
) -> StoreFuture<T> {
    match first {
        Err(error) => answer(core, action, Err(error)),
        Ok(Step::Done(done)) => answer(core, action, Ok(done)),
        Ok(Step::Waits) => {
            let core = Arc::clone(core);
            StoreFuture::new(async move {
                let step = Arc::clone(&core).in_turn(again).await;
                match named(action, step)? {
                    Step::Done(done) => answer(&core, action, Ok(done)).await,
                    Step::Waits => named(action, Err(FileError::Closed)),
                }
            })
        }
    }
}

/// The future of a write that is done together with those of others.
pub(super) fn write_together(
    core: &Arc<Core>,
    key: StoreKey,
    data: Bytes,
    ttl: Duration,
    expected: Expected,
) -> StoreFuture<WriteOutcome> {
    let draft = core.engine.check_open();
    let draft = draft.and_then(|()| core.engine.draft(&key, &data, ttl, expected));
    let turn = match draft.and_then(|draft| core.commits.write(&core.engine, draft)) {
        Ok(turn) => turn,
        Err(error) => return answer(core, "write", Err(error)),
    };
    let core = Arc::clone(core);
    StoreFuture::new(async move {
        let attempt = turn.await.unwrap_or_else(|_| Err(core.given_up()));
        let attempt = named("write", attempt)?;
        core.engine.remember(&key, &data, &attempt);
        match attempt {
            Attempt::Answered(done) => answer(&core, "write", Ok(done)).await,
            Attempt::Conflict => write(&core, key, data, ttl, expected).await,
        }
    })
}

/// The future of a write.
pub(super) fn write(
    core: &Arc<Core>,
    key: StoreKey,
    data: Bytes,
    ttl: Duration,
    expected: Expected,
) -> StoreFuture<WriteOutcome> {
    let first = core.write(&key, &data, ttl, expected, false);
    stepwise(core, "write", first, move |core| {
        core.write(&key, &data, ttl, expected, true)
    })
}
