//! Mutations: write, destroy and touch.

use std::{collections::HashSet, mem::take, time::Duration};

use bytes::Bytes;

use super::{
    engine::{EntryState, FileEngine, PendingAnswer},
    index::{IndexEntry, Position},
    log_writer::LogWriter,
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    random_state::RandomState,
    store::{
        Expected, Expiry, Record, Tags, Version, WriteOutcome, WriteRequest,
        file::{
            error::FileError,
            format::{
                frame::{FrameHeader, FrameKind, HEADER_LEN},
                payload,
            },
        },
    },
};

/// Maximum number of bytes of a group that are appended at a time, so that other users of the log
/// wait only for that long.
const MAX_APPEND_BYTES: usize = 256 << 10;

/// A write that waits to be appended.
pub(crate) struct PendingWrite {
    /// The frame's header. Version and expiry are set by the append.
    header: FrameHeader,
    /// The frame's payload.
    payload: Bytes,
    /// The tags, which are also in the payload.
    tags: Tags,
    expiry: Expiry,
    expected: Expected,
}

impl PendingWrite {
    /// Upper bound of the memory that a pending write and its answer take in addition to the data.
    const OVERHEAD: usize = 512;

    /// Returns the memory that the write takes while it waits, in bytes.
    pub(crate) const fn memory_len(&self) -> usize {
        self.payload.len() + self.tags.as_bytes().len() + Self::OVERHEAD
    }
}

/// The result of a write.
pub(crate) enum WriteReply {
    /// The write was executed, or the session is gone.
    Answer(PendingAnswer<WriteOutcome>),
    /// The stored version is not the expected one.
    Conflict,
}

impl WriteReply {
    const fn refusal(position: Position) -> Self {
        Self::Answer((WriteOutcome::Gone, position))
    }

    fn success(header: &FrameHeader, position: Position) -> Self {
        let outcome = Version::new(header.version).map_or(WriteOutcome::Gone, WriteOutcome::Done);
        Self::Answer((outcome, position))
    }
}

/// A frame that sets the state of its key.
struct PlannedFrame {
    header: FrameHeader,
    /// Length of the key's frame that goes out of use, or 0 if there is none.
    replaced: u64,
}

impl PlannedFrame {
    fn new(header: FrameHeader, entry: Option<IndexEntry>) -> Self {
        let replaced = entry.map_or(0, |entry| entry.live_bytes());
        Self { header, replaced }
    }
}

/// Writes.
impl FileEngine {
    /// Returns the length of the longest record: half of a segment. A longer one could not be replaced
    /// within the limit on disk space.
    fn max_record_len(&self) -> usize {
        usize::try_from(self.log.options().segment_bytes / 2).unwrap_or(usize::MAX)
    }

    /// Fails if `more` bytes exceed the limit while `pending` bytes wait for the disk. If no bytes
    /// wait, any length is allowed; otherwise a long record could never be written.
    pub(crate) fn check_backlog(&self, pending: usize, more: usize) -> Result<(), FileError> {
        let max = self.log.options().max_pending_bytes;
        if pending == 0 || pending.saturating_add(more) <= max {
            return Ok(());
        }
        Err(FileError::Backlog {
            path: self.log.disk().path().to_path_buf(),
            pending,
            max,
        })
    }

    /// Encodes the payload and computes the checksum, the part of a write that needs no lock.
    pub(crate) fn prepare_write(&self, request: &WriteRequest) -> Result<PendingWrite, FileError> {
        let (key, tags) = (&request.key, &request.tags);
        let mut payload = if tags.is_empty() {
            request.data.clone()
        } else {
            payload::encode(tags, &request.data)
        };
        let cipher = self.log.options().cipher.as_ref();
        if let Some(cipher) = cipher {
            payload = cipher.seal(key, &payload)?;
        }
        let header = FrameHeader {
            tagged: !tags.is_empty(),
            encrypted: cipher.is_some(),
            ..FrameHeader::new(FrameKind::Write, *key, 0, Timestamp::MAX)
        };
        let (len, max) = (payload.len(), self.max_record_len());
        if len > max {
            return Err(FileError::TooLong { len, max });
        }
        Ok(PendingWrite {
            header: header.with_payload(&payload),
            payload,
            tags: tags.clone(),
            expiry: request.expiry,
            expected: request.expected,
        })
    }

    /// Executes one write, and does not cache its record.
    pub(crate) fn write(&self, request: &WriteRequest) -> Result<WriteReply, FileError> {
        let pending = self.prepare_write(request)?;
        let mut writer = self.log.lock_writable()?;
        self.write_one(&mut writer, &pending)
    }

    /// Caches the record of a successful write, in the request's own buffer if nothing else uses it.
    pub(crate) fn cache_written(&self, request: WriteRequest, version: Version) {
        let record = Record::new(request.data, version).tags(request.tags);
        self.cache.put_owned(&request.key, record);
    }

    /// Caches a copy of the record of a successful write.
    pub(crate) fn cache_write(&self, request: &WriteRequest, reply: &WriteReply) {
        if let WriteReply::Answer((WriteOutcome::Done(version), _)) = reply {
            let WriteRequest {
                key, data, tags, ..
            } = request;
            self.cache.put_copy(key, *version, data, tags);
        }
    }

    fn write_one(
        &self,
        writer: &mut LogWriter,
        pending: &PendingWrite,
    ) -> Result<WriteReply, FileError> {
        self.log.check_poison()?;
        match self.plan_write(writer, pending) {
            Ok(frame) => {
                let position =
                    self.append_and_index(writer, &frame, &pending.payload, &pending.tags)?;
                Ok(WriteReply::success(&frame.header, position))
            }
            Err(refused) => Ok(refused),
        }
    }

    /// Executes the writes of a group with few appends. Each write behaves as if it were alone.
    ///
    /// The caller must sync before it returns the answers, so their positions are not set.
    pub(crate) fn write_group(&self, group: &[PendingWrite]) -> Vec<Result<WriteReply, FileError>> {
        let max_bytes = MAX_APPEND_BYTES.min(self.log.options().segment_bytes as usize / 16);
        let mut answers = Vec::with_capacity(group.len());
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        let mut keys = HashSet::<StoreKey, RandomState>::default();
        for pending in group {
            bytes += HEADER_LEN + pending.payload.len();
            // A write depends on the result of earlier writes of its key, so a chunk has at most one
            // write per key.
            if bytes > max_bytes || !keys.insert(pending.header.key) {
                self.write_chunk(&take(&mut chunk), &mut answers);
                bytes = HEADER_LEN + pending.payload.len();
                keys.clear();
                keys.insert(pending.header.key);
            }
            chunk.push(pending);
        }
        self.write_chunk(&chunk, &mut answers);
        answers
    }

    fn write_chunk(
        &self,
        chunk: &[&PendingWrite],
        answers: &mut Vec<Result<WriteReply, FileError>>,
    ) {
        let mut writer = self.log.lock();
        let (mut frames, mut replies) = (Vec::new(), Vec::new());
        for pending in chunk {
            replies.push(match self.plan_write(&mut writer, pending) {
                Ok(frame) => {
                    let reply = WriteReply::success(&frame.header, Position::default());
                    frames.push((frame, *pending));
                    reply
                }
                Err(refused) => refused,
            });
        }
        let ready = self.log.check_poison();
        match ready.and_then(|()| self.append_and_index_all(&mut writer, &frames)) {
            Ok(()) => answers.extend(replies.into_iter().map(Ok)),
            // Nothing was written. The writes are tried one by one. On a full disk there may be
            // space for a short one.
            Err(_) => {
                let retried = chunk
                    .iter()
                    .map(|pending| self.write_one(&mut writer, pending));
                answers.extend(retried);
            }
        }
    }

    /// Appends a frame that sets the state of its key, and updates the index.
    fn append_and_index(
        &self,
        writer: &mut LogWriter,
        frame: &PlannedFrame,
        payload: &[u8],
        tags: &Tags,
    ) -> Result<Position, FileError> {
        let (header, bytes) = (&frame.header, frame.header.frame_len());
        let zeros = self.log.reserve(writer, bytes, bytes, frame.replaced)?;
        let position = self.log.append(writer, header, payload, zeros)?;
        let entry = IndexEntry::new(header, position);
        self.index_insert(writer, header.key, entry, tags);
        self.finish_mutation(writer)?;
        Ok(position)
    }

    /// Appends the frames of several writes with different keys, all or none, and updates the index.
    fn append_and_index_all(
        &self,
        writer: &mut LogWriter,
        writes: &[(PlannedFrame, &PendingWrite)],
    ) -> Result<(), FileError> {
        let lens = writes.iter().map(|(frame, _)| frame.header.frame_len());
        let (bytes, replaced) = (lens.sum(), writes.iter().map(|(frame, _)| frame.replaced));
        let zeros = self.log.reserve(writer, bytes, bytes, replaced.sum())?;
        let frames = writes
            .iter()
            .map(|(frame, write)| (&frame.header, &*write.payload));
        let positions = self.log.append_all(writer, frames, zeros)?;
        for ((frame, write), position) in writes.iter().zip(positions) {
            let entry = IndexEntry::new(&frame.header, position);
            self.index_insert(writer, frame.header.key, entry, &write.tags);
        }
        self.finish_mutation(writer)
    }

    /// Returns the write's frame, or the reply if nothing is to be written.
    fn plan_write(
        &self,
        writer: &mut LogWriter,
        pending: &PendingWrite,
    ) -> Result<PlannedFrame, WriteReply> {
        let (entry, now) = (self.index.get(&pending.header.key), self.log.now());
        let state = EntryState::at(now, entry);
        let expires = match (state, pending.expected, pending.expiry) {
            (EntryState::Tombstone(entry), _, _) => {
                return Err(WriteReply::refusal(entry.position));
            }
            (EntryState::Absent, Expected::Version(_), _)
            | (EntryState::Absent, _, Expiry::Keep) => {
                return Err(WriteReply::refusal(Position::default()));
            }
            (EntryState::Live(_), Expected::Absent, _) => return Err(WriteReply::Conflict),
            (EntryState::Live(entry), Expected::Version(version), _)
                if version.get() != entry.version =>
            {
                return Err(WriteReply::Conflict);
            }
            (EntryState::Live(entry), _, Expiry::Keep) => entry.expires,
            (_, _, Expiry::After(ttl)) => now.saturating_add(ttl),
        };
        let header = FrameHeader {
            version: writer.next_version(),
            expires,
            ..pending.header
        };
        Ok(PlannedFrame::new(header, entry))
    }
}

/// Destroy and touch.
impl FileEngine {
    /// Replaces the record of `key` with a tombstone.
    pub(crate) fn destroy(&self, key: &StoreKey) -> Result<PendingAnswer<()>, FileError> {
        let mut writer = self.log.lock_writable()?;
        let expires = self
            .log
            .now()
            .saturating_add(self.log.options().tombstone_ttl);
        let header = FrameHeader::new(FrameKind::Destroy, *key, writer.next_version(), expires);
        let frame = PlannedFrame::new(header, self.index.get(key));
        let position = self.append_and_index(&mut writer, &frame, &[], &Tags::new())?;
        drop(writer);
        self.cache.remove(key);
        Ok(((), position))
    }

    /// Extends the expiry of a live record. Returns `false` if there is no live record.
    pub(crate) fn touch(
        &self,
        key: &StoreKey,
        ttl: Duration,
    ) -> Result<PendingAnswer<bool>, FileError> {
        let mut writer = self.log.lock_writable()?;
        let now = self.log.now();
        let EntryState::Live(entry) = self.entry_state(key, now) else {
            return Ok((false, Position::default()));
        };
        let position = self.extend(&mut writer, key, entry, now.saturating_add(ttl))?;
        Ok((true, position))
    }

    /// Sets the expiry of a live record by a frame without payload.
    pub(super) fn extend(
        &self,
        writer: &mut LogWriter,
        key: &StoreKey,
        entry: IndexEntry,
        expires: Timestamp,
    ) -> Result<Position, FileError> {
        let header = FrameHeader::new(FrameKind::Touch, *key, entry.version, expires);
        let zeros = self.log.reserve(writer, header.frame_len(), 0, 0)?;
        let position = self.log.append(writer, &header, &[], zeros)?;
        self.index.insert(*key, IndexEntry { expires, ..entry });
        self.finish_mutation(writer)?;
        Ok(position)
    }
}
