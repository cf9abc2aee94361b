//! Writing: one record, or those of many writers by one append.

use std::{collections::HashSet, mem::take, time::Duration};

use bytes::Bytes;

use super::{
    FileError,
    engine::{Engine, Standing, lock},
    frame::{HEADER, Header, Kind},
    index::{Entry, Position},
    log::Log,
    ops::Answer,
    segment::HEAD,
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{Expected, Version, WriteOutcome},
};

/// A group is appended in pieces of at most this many bytes, so that others who want the log wait
/// for at most the time that one takes.
const PIECE: usize = 256 << 10;

/// A write that only waits for its turn.
pub(super) struct Draft {
    /// The frame's, but for what only the turn tells: version, expiry and whether it is fresh.
    header: Header,
    /// What the frame carries.
    stored: Bytes,
    ttl: Duration,
    expected: Expected,
}

impl Draft {
    /// More than what a draft and its answer take in memory beside the data, in bytes.
    const OVERHEAD: usize = 512;

    /// What it takes in memory while it waits, in bytes.
    pub(super) const fn memory(&self) -> usize {
        self.stored.len() + Self::OVERHEAD
    }
}

/// The answer to a write.
pub(super) enum Attempt {
    Answered(Answer<WriteOutcome>),
    /// Another record stands there than the expected one.
    Conflict,
}

impl Engine {
    /// The longest record that fits into a segment, beside the head and the end mark.
    pub(super) fn longest_record(&self) -> usize {
        let overhead = (HEAD + 2 * HEADER) as u64;
        usize::try_from(self.options.segment_bytes.saturating_sub(overhead)).unwrap_or(usize::MAX)
    }

    /// Whether `more` bytes may wait for the disk where `waiting` do already. Where nothing waits
    /// anything may, or a long record could never be written.
    pub(super) fn check_backlog(&self, waiting: usize, more: usize) -> Result<(), FileError> {
        let max = self.options.max_pending_bytes;
        if waiting == 0 || waiting.saturating_add(more) <= max {
            return Ok(());
        }
        Err(FileError::Backlog {
            path: self.disk.path().to_path_buf(),
            waiting,
            max,
        })
    }

    /// Does what of a write needs no lock.
    pub(super) fn draft(
        &self,
        key: &StoreKey,
        data: &Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> Result<Draft, FileError> {
        let vault = self.options.vault.as_ref();
        let sealed = vault.map(|vault| vault.seal(key, data)).transpose()?;
        let header = Header {
            sealed: sealed.is_some(),
            ..Header::new(Kind::Write, *key, 0, Timestamp::MAX)
        };
        let stored = sealed.unwrap_or_else(|| data.clone());
        let (len, max) = (stored.len(), self.longest_record());
        if len > max {
            return Err(FileError::TooLong { len, max });
        }
        Ok(Draft {
            header: header.of(&stored),
            stored,
            ttl,
            expected,
        })
    }

    /// One write, at once.
    pub(super) fn write(
        &self,
        key: &StoreKey,
        data: &Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> Result<Attempt, FileError> {
        let draft = self.draft(key, data, ttl, expected)?;
        let mut log = self.writable()?;
        let attempt = self.write_one(&mut log, &draft)?;
        drop(log);
        self.remember(key, data, &attempt);
        Ok(attempt)
    }

    /// Keeps in memory what was written.
    pub(super) fn remember(&self, key: &StoreKey, data: &Bytes, attempt: &Attempt) {
        if let Attempt::Answered((WriteOutcome::Done(version), _)) = attempt {
            self.cache.put_copy(key, version.get(), data);
        }
    }

    fn write_one(&self, log: &mut Log, draft: &Draft) -> Result<Attempt, FileError> {
        self.check_poison()?;
        match self.decide(log, draft) {
            Ok(header) => {
                let at = self.enter(log, &header, &draft.stored)?;
                Ok(done(&header, at))
            }
            Err(refused) => Ok(refused),
        }
    }

    /// Does the writes of a group, each as if it stood alone, with as few appends as can be.
    /// The caller syncs before it passes the answers on, so they rest on no place in the log.
    pub(super) fn write_group(&self, drafts: &[Draft]) -> Vec<Result<Attempt, FileError>> {
        let longest = PIECE.min(self.options.segment_bytes as usize / 16);
        let mut answers = Vec::with_capacity(drafts.len());
        let (mut piece, mut bytes) = (Vec::new(), 0);
        let mut keys = HashSet::<StoreKey, ahash::RandomState>::default();
        for draft in drafts {
            bytes += HEADER + draft.stored.len();
            // Whether a write is right is decided by what those before it have led to, so two of
            // one session do not stand in the same piece.
            if bytes > longest || !keys.insert(draft.header.key) {
                self.write_piece(&take(&mut piece), &mut answers);
                bytes = HEADER + draft.stored.len();
                keys.clear();
                keys.insert(draft.header.key);
            }
            piece.push(draft);
        }
        self.write_piece(&piece, &mut answers);
        answers
    }

    fn write_piece(&self, piece: &[&Draft], answers: &mut Vec<Result<Attempt, FileError>>) {
        let mut log = self.lock_log();
        let (mut frames, mut attempts) = (Vec::new(), Vec::new());
        for draft in piece {
            attempts.push(match self.decide(&mut log, draft) {
                Ok(header) => {
                    frames.push((header, draft.stored.as_ref()));
                    done(&header, Position::default())
                }
                Err(refused) => refused,
            });
        }
        let entered = self.check_poison();
        match entered.and_then(|()| self.enter_all(&mut log, &frames)) {
            Ok(()) => answers.extend(attempts.into_iter().map(Ok)),
            // Nothing of it was done. One by one, each meets its own trouble: on a full disk a
            // short one may find the room that a long one does not.
            Err(_) => answers.extend(piece.iter().map(|draft| self.write_one(&mut log, draft))),
        }
    }

    /// Appends a frame that gives its key a new state, and puts it into the index.
    pub(super) fn enter(
        &self,
        log: &mut Log,
        header: &Header,
        data: &[u8],
    ) -> Result<Position, FileError> {
        let before = log.sizes;
        let at = self.append(log, header, data)?;
        self.index_frame(log, header, at);
        self.settle(log, before);
        Ok(at)
    }

    /// The same for many frames of different keys: all of them, or none.
    fn enter_all(&self, log: &mut Log, frames: &[(Header, &[u8])]) -> Result<(), FileError> {
        let before = log.sizes;
        let places = self.append_all(log, frames)?;
        for ((header, _), at) in frames.iter().zip(places) {
            self.index_frame(log, header, at);
        }
        self.settle(log, before);
        Ok(())
    }

    fn index_frame(&self, log: &mut Log, header: &Header, at: Position) {
        let entry = Entry {
            version: header.version,
            expires: header.expires,
            at,
            len: header.len,
            tombstone: header.kind == Kind::Destroy,
        };
        self.place(log, header.key, entry, header.fresh || entry.tombstone);
    }

    /// What the write's frame says, or why there is none.
    fn decide(&self, log: &mut Log, draft: &Draft) -> Result<Header, Attempt> {
        let (key, now) = (&draft.header.key, self.now());
        let fresh = match (self.standing(key, now), draft.expected) {
            (Standing::Tombstone(entry), _) => return Err(gone(entry.at)),
            (Standing::Nothing, Expected::Version(_)) => return Err(gone(Position::default())),
            (Standing::Nothing, _) => true,
            (Standing::Live(_), Expected::Any) => false,
            (Standing::Live(entry), Expected::Version(version))
                if version.get() == entry.version =>
            {
                false
            }
            (Standing::Live(_), _) => return Err(Attempt::Conflict),
        };
        Ok(Header {
            // Said by every write that it is true of, so that it does not hang on one frame,
            // which a power failure could take.
            fresh: fresh || lock(&self.tags).of(key).is_empty(),
            version: log.next_version(),
            expires: now.saturating_add(draft.ttl),
            ..draft.header
        })
    }
}

const fn gone(at: Position) -> Attempt {
    Attempt::Answered((WriteOutcome::Gone, at))
}

fn done(header: &Header, at: Position) -> Attempt {
    let written = Version::new(header.version).map_or(WriteOutcome::Gone, WriteOutcome::Done);
    Attempt::Answered((written, at))
}
