//! The threads of the file store, over a disk of the model.

#[path = "../../../../../../src/store/file/log/group_commit.rs"]
mod group_commit;
mod tests;
#[path = "../../../../../../src/store/file/log/wakeup.rs"]
mod wakeup;

/// The engine, with the part of it that a group commit needs.
mod engine {
    use super::write::{PendingWrite, WriteReply};
    use std::time::Duration;

    use crate::{
        store::file::error::FileError,
        sync::{Condvar, Mutex, advance, lock, pass},
    };

    #[derive(Default)]
    pub(crate) struct FileEngine {
        pub(crate) log: ModelLog,
    }

    /// A log that counts frames.
    #[derive(Default)]
    pub(crate) struct ModelLog {
        state: Mutex<LogState>,
        synced: Condvar,
    }

    #[derive(Default)]
    struct LogState {
        appended: usize,
        durable: usize,
        sync_time: Duration,
    }

    impl FileEngine {
        pub(crate) fn check_backlog(&self, _: usize, _: usize) -> Result<(), FileError> {
            Ok(())
        }

        pub(crate) fn write_group(
            &self,
            writes: &[PendingWrite],
        ) -> Vec<Result<WriteReply, FileError>> {
            let append = |_| Ok(WriteReply(self.log.append()));
            writes.iter().map(append).collect()
        }
    }

    impl ModelLog {
        /// Appends a frame. Returns its position.
        pub(crate) fn append(&self) -> usize {
            let mut state = lock(&self.state);
            state.appended += 1;
            state.appended
        }

        /// Sets a time that a sync takes although the clock stands still.
        pub(crate) fn set_sync_time(&self, time: Duration) {
            lock(&self.state).sync_time = time;
        }

        /// Makes all frames durable. It takes four looks at the clock.
        pub(crate) fn sync(&self) -> Result<(), FileError> {
            let state = lock(&self.state);
            let (end, sync_time) = (state.appended, state.sync_time);
            drop(state);
            pass();
            advance(sync_time);
            let mut state = lock(&self.state);
            state.durable = state.durable.max(end);
            self.synced.notify_all();
            Ok(())
        }

        pub(crate) const fn poison_after_panic(&self) {}

        pub(crate) fn durable(&self) -> usize {
            lock(&self.state).durable
        }

        pub(crate) fn wait_until_durable(&self, position: usize) {
            let mut state = lock(&self.state);
            while state.durable < position {
                state = self.synced.wait(state).unwrap();
            }
        }
    }
}

/// Writes.
mod write {
    pub(crate) struct PendingWrite;

    /// The position of the write's frame.
    pub(crate) struct WriteReply(pub(crate) usize);

    impl PendingWrite {
        pub(crate) const fn memory_len(&self) -> usize {
            1
        }
    }
}
