//! The handles that have changed the session, to report to each one that its changes were discarded.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::{Phase, SessionState};
use crate::session::{SessionError, engine::Engine};

/// The number of a handle among those that have changed the session. A handle gets it at its first change. A clone has
/// a number of its own, so that tasks with a clone each are distinguished.
#[derive(Debug, Default)]
pub(in crate::session) struct WriterId(AtomicU32);

impl Clone for WriterId {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl WriterId {
    /// Returns the number, or 0 for a handle that has none.
    #[inline]
    fn get(&self) -> u32 {
        // It is written once, under the lock of the state.
        self.0.load(Relaxed)
    }

    /// Returns a copy of the number, for another value of the same handle.
    pub(in crate::session) fn copy(&self) -> Self {
        Self(AtomicU32::new(self.0.load(Relaxed)))
    }
}

/// Maximum number of handles whose memory a later request reuses.
const KEPT_WRITERS: usize = 64;

/// A handle that has changed the session.
#[derive(Clone, Copy, Debug, Default)]
struct Writer {
    /// It has changes for the next commit.
    is_changed: bool,
    /// The commit that is running has taken changes of it.
    is_taken: bool,
}

/// Changes of a handle that a refused commit has discarded, until that is reported to the handle.
#[derive(Debug)]
struct Discard {
    number: u32,
    error: SessionError,
    /// They were made during the commit.
    is_late: bool,
}

/// The handles that have changed the session, by their numbers, which begin with 1.
#[derive(Debug, Default)]
pub(super) struct Writers {
    /// The usual request changes its session with one handle.
    first: Option<Writer>,
    others: Vec<Writer>,
    /// The handle of the last explicit commit.
    committer: u32,
    discards: Vec<Discard>,
}

impl Writers {
    #[inline]
    fn get(&mut self, number: u32) -> Option<&mut Writer> {
        match number {
            0 => None,
            1 => self.first.as_mut(),
            _ => self.others.get_mut(number as usize - 2),
        }
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Writer> {
        self.first.iter_mut().chain(&mut self.others)
    }

    /// Records a change of a handle.
    #[inline]
    pub(super) fn note_change(&mut self, id: &WriterId) {
        match self.get(id.get()) {
            Some(writer) => writer.is_changed = true,
            None => self.add(id, true),
        }
    }

    #[inline]
    fn add(&mut self, id: &WriterId, is_changed: bool) {
        let writer = Writer {
            is_changed,
            ..Writer::default()
        };
        let number = match self.first {
            None => {
                self.first = Some(writer);
                1
            }
            Some(_) => self.add_other(writer),
        };
        id.0.store(number, Relaxed);
    }

    #[cold]
    fn add_other(&mut self, writer: Writer) -> u32 {
        self.others.push(writer);
        // So many handles do not fit into memory.
        u32::try_from(self.others.len() + 1).unwrap_or(u32::MAX)
    }

    /// Records that a commit takes the changes out of the state.
    pub(super) fn take(&mut self) {
        for writer in self.iter_mut() {
            writer.is_taken |= writer.is_changed;
            writer.is_changed = false;
        }
    }

    /// Records that a commit puts the changes back into the state.
    pub(super) fn restore(&mut self) {
        for writer in self.iter_mut() {
            writer.is_changed |= writer.is_taken;
            writer.is_taken = false;
        }
    }

    /// Records that a commit has stored the changes.
    pub(super) fn on_stored(&mut self) {
        for writer in self.iter_mut() {
            writer.is_taken = false;
        }
    }

    /// Records that an explicit commit has discarded the changes with `error`. `has_later` is `false` if the state
    /// had no changes but those that it had taken. Its result reports the error to its own handle.
    fn on_discarded(&mut self, error: &SessionError, has_later: bool) {
        let (committer, mut discards) = (self.committer, std::mem::take(&mut self.discards));
        for (number, writer) in (1..).zip(self.iter_mut()) {
            let Writer {
                is_changed,
                is_taken,
            } = std::mem::take(writer);
            let is_late = is_changed && has_later;
            if is_late || is_taken && number != committer {
                discards.push(Discard {
                    number,
                    error: error.clone(),
                    is_late,
                });
            }
        }
        self.discards = discards;
    }

    /// Returns the newest error for a handle, and forgets all of them.
    #[cold]
    fn take_discard(&mut self, id: &WriterId) -> Option<SessionError> {
        let number = id.get();
        let own = self.discards.extract_if(.., |it| it.number == number);
        own.last().map(|it| it.error)
    }

    /// Forgets all changes: the session they belonged to was destroyed.
    pub(super) fn forget_changes(&mut self) {
        self.iter_mut()
            .for_each(|writer| *writer = Writer::default());
        self.discards.clear();
    }

    #[inline]
    pub(super) fn reset(&mut self) {
        // Without a first one there are no others.
        if self.first.take().is_some() && !(self.others.is_empty() && self.discards.is_empty()) {
            self.reset_others();
        }
    }

    #[cold]
    fn reset_others(&mut self) {
        self.others.clear();
        self.others.shrink_to(KEPT_WRITERS);
        self.discards = Vec::new();
    }
}

/// The changes of handles.
impl SessionState {
    /// Gives a handle its number, if the request uses the session, so that a copy of the handle has the same number.
    pub(in crate::session) fn number(&mut self, writer: &WriterId) {
        if self.accessed && writer.get() == 0 {
            self.writers.add(writer, false);
        }
    }

    /// Starts an explicit commit of an open session by a handle.
    pub(in crate::session) fn begin_explicit_commit(&mut self, committer: &WriterId) {
        self.phase = Phase::Committing;
        self.writers.committer = committer.get();
    }

    /// Ends an explicit commit that failed with `error`. Forgets the content, so that the session can be loaded
    /// again. Returns `true` if the session was changed since the commit began.
    pub(in crate::session) fn unload(&mut self, error: &SessionError) -> bool {
        if self.phase != Phase::Committing {
            return false;
        }
        let has_changes = self.is_modified() || self.tags.is_modified(true);
        self.writers.on_discarded(error, has_changes);
        self.unloads = self.unloads.wrapping_add(1);
        self.clear_content();
        self.phase = Phase::Unloaded;
        has_changes
    }

    /// Returns `true` if a refused commit has discarded changes, which is not reported yet.
    #[inline]
    pub(super) fn has_discards(&self) -> bool {
        !self.writers.discards.is_empty()
    }

    /// Fails once if a refused commit has discarded changes of the handle.
    #[inline]
    pub(in crate::session) fn check_discards(
        &mut self,
        writer: &WriterId,
    ) -> Result<(), SessionError> {
        match self.has_discards() {
            true => self.writers.take_discard(writer).map_or(Ok(()), Err),
            false => Ok(()),
        }
    }

    /// Returns the error of a refused commit that has discarded changes made meanwhile, if it was not reported to their
    /// handle and the policy is to fail.
    pub(in crate::session) fn late_discard(&self, engine: &Engine) -> Option<SessionError> {
        let late = self.writers.discards.iter().filter(|it| it.is_late);
        let mut errors = late.map(|it| &it.error);
        errors
            .find(|error| !engine.policy.drops_after(error))
            .cloned()
    }
}
