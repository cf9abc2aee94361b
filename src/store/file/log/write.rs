//! Mutations: write, destroy, touch and tags.

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
    store::{
        Expected, MAX_TAGS, Tag, Version, WriteOutcome,
        file::{
            error::FileError,
            format::{
                frame::{FrameHeader, FrameKind, HEADER_LEN},
                segment_head::SEGMENT_HEAD_LEN,
                tags,
            },
        },
    },
};

/// Maximum number of bytes of a group that are appended at a time, so that other users of the log
/// wait only for that long.
const MAX_APPEND_BYTES: usize = 256 << 10;

/// A write that waits to be appended.
pub(crate) struct PendingWrite {
    /// The frame's header. Version, expiry and the clear-tags flag are set by the append.
    header: FrameHeader,
    /// The frame's payload.
    payload: Bytes,
    ttl: Duration,
    expected: Expected,
}

impl PendingWrite {
    /// Upper bound of the memory that a pending write and its answer take in addition to the data.
    const OVERHEAD: usize = 512;

    /// Returns the memory that the write takes while it waits, in bytes.
    pub(crate) const fn memory_len(&self) -> usize {
        self.payload.len() + Self::OVERHEAD
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

/// Writes.
impl FileEngine {
    /// Returns the length of the longest record that fits into a segment, with its head and end
    /// frame.
    fn max_record_len(&self) -> usize {
        let overhead = (SEGMENT_HEAD_LEN + 2 * HEADER_LEN) as u64;
        let segment_bytes = self.log.options().segment_bytes;
        usize::try_from(segment_bytes.saturating_sub(overhead)).unwrap_or(usize::MAX)
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

    /// Encrypts the data and computes the checksum, the part of a write that needs no lock.
    pub(crate) fn prepare_write(
        &self,
        key: &StoreKey,
        data: &Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> Result<PendingWrite, FileError> {
        let cipher = self.log.options().cipher.as_ref();
        let encrypted = cipher.map(|cipher| cipher.seal(key, data)).transpose()?;
        let header = FrameHeader {
            encrypted: encrypted.is_some(),
            ..FrameHeader::new(FrameKind::Write, *key, 0, Timestamp::MAX)
        };
        let payload = encrypted.unwrap_or_else(|| data.clone());
        let (len, max) = (payload.len(), self.max_record_len());
        if len > max {
            return Err(FileError::TooLong { len, max });
        }
        Ok(PendingWrite {
            header: header.with_payload(&payload),
            payload,
            ttl,
            expected,
        })
    }

    /// Executes one write.
    pub(crate) fn write(
        &self,
        key: &StoreKey,
        data: &Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> Result<WriteReply, FileError> {
        let pending = self.prepare_write(key, data, ttl, expected)?;
        let mut writer = self.log.lock_writable()?;
        let reply = self.write_one(&mut writer, &pending)?;
        drop(writer);
        self.cache_write(key, data, &reply);
        Ok(reply)
    }

    /// Caches the data of a successful write.
    pub(crate) fn cache_write(&self, key: &StoreKey, data: &Bytes, reply: &WriteReply) {
        if let WriteReply::Answer((WriteOutcome::Done(version), _)) = reply {
            self.cache.put_copy(key, version.get(), data);
        }
    }

    fn write_one(
        &self,
        writer: &mut LogWriter,
        pending: &PendingWrite,
    ) -> Result<WriteReply, FileError> {
        self.log.check_poison()?;
        match self.plan_write(writer, pending) {
            Ok(header) => {
                let position = self.append_and_index(writer, &header, &pending.payload)?;
                Ok(WriteReply::success(&header, position))
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
        let mut keys = HashSet::<StoreKey, ahash::RandomState>::default();
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
                Ok(header) => {
                    frames.push((header, pending.payload.as_ref()));
                    WriteReply::success(&header, Position::default())
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
        header: &FrameHeader,
        payload: &[u8],
    ) -> Result<Position, FileError> {
        let before = writer.usage();
        let position = self.log.append(writer, header, payload)?;
        self.index_frame(writer, header, position);
        self.add_debt(writer, before);
        Ok(position)
    }

    /// Appends several frames with different keys, all or none, and updates the index.
    fn append_and_index_all(
        &self,
        writer: &mut LogWriter,
        frames: &[(FrameHeader, &[u8])],
    ) -> Result<(), FileError> {
        let before = writer.usage();
        let positions = self.log.append_all(writer, frames)?;
        for ((header, _), position) in frames.iter().zip(positions) {
            self.index_frame(writer, header, position);
        }
        self.add_debt(writer, before);
        Ok(())
    }

    fn index_frame(&self, writer: &mut LogWriter, header: &FrameHeader, position: Position) {
        let entry = IndexEntry {
            version: header.version,
            expires: header.expires,
            position,
            len: header.len,
            tombstone: header.kind == FrameKind::Destroy,
        };
        let clear_tags = header.clears_tags || entry.tombstone;
        self.index_insert(writer, header.key, entry, clear_tags);
    }

    /// Returns the header of the write's frame, or the reply if nothing is to be written.
    fn plan_write(
        &self,
        writer: &mut LogWriter,
        pending: &PendingWrite,
    ) -> Result<FrameHeader, WriteReply> {
        let (key, now) = (&pending.header.key, self.log.now());
        let is_new = match (self.entry_state(key, now), pending.expected) {
            (EntryState::Tombstone(entry), _) => return Err(WriteReply::refusal(entry.position)),
            (EntryState::Absent, Expected::Version(_)) => {
                return Err(WriteReply::refusal(Position::default()));
            }
            (EntryState::Absent, _) => true,
            (EntryState::Live(_), Expected::Any) => false,
            (EntryState::Live(entry), Expected::Version(version))
                if version.get() == entry.version =>
            {
                false
            }
            (EntryState::Live(_), _) => return Err(WriteReply::Conflict),
        };
        Ok(FrameHeader {
            // Every write of a session without tags has this flag. A single frame with the flag
            // could be lost in a power failure.
            clears_tags: is_new || self.lock_tags().tags(key).is_empty(),
            version: writer.next_version(),
            expires: now.saturating_add(pending.ttl),
            ..pending.header
        })
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
        let position = self.append_and_index(&mut writer, &header, &[])?;
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
        let before = writer.usage();
        let header = FrameHeader::new(FrameKind::Touch, *key, entry.version, expires);
        let position = self.log.append(writer, &header, &[])?;
        self.index.insert(*key, IndexEntry { expires, ..entry });
        self.add_debt(writer, before);
        Ok(position)
    }
}

/// Tags.
impl FileEngine {
    /// Adds a tag to a live record. Returns `false` if there is no live record.
    pub(crate) fn tag(&self, key: &StoreKey, tag: &Tag) -> Result<PendingAnswer<bool>, FileError> {
        let mut writer = self.log.lock_writable()?;
        let EntryState::Live(entry) = self.entry_state(key, self.log.now()) else {
            return Ok((false, Position::default()));
        };
        let position = self.add_tags(&mut writer, key, entry, std::slice::from_ref(tag))?;
        Ok((true, position))
    }

    /// Removes a tag.
    pub(crate) fn untag(&self, key: &StoreKey, tag: &Tag) -> Result<PendingAnswer<()>, FileError> {
        let mut writer = self.log.lock_writable()?;
        let mut tags = self.current_tags(key);
        let Some(place) = tags.iter().position(|present| present == tag) else {
            // A concurrent call may have removed it, and that may not be durable yet.
            return Ok(((), writer.last_position()));
        };
        tags.swap_remove(place);
        let position = self.set_tags(&mut writer, key, tags)?;
        Ok(((), position))
    }

    /// Adds the tags of `from` to `to`, if both are live.
    pub(crate) fn copy_tags(
        &self,
        from: &StoreKey,
        to: &StoreKey,
    ) -> Result<PendingAnswer<()>, FileError> {
        let mut writer = self.log.lock_writable()?;
        let copied = self.copy_tags_locked(&mut writer, from, to)?;
        Ok(((), copied.unwrap_or_default()))
    }

    /// Moves the tags of `from` to `to`, if both are live.
    pub(crate) fn move_tags(
        &self,
        from: &StoreKey,
        to: &StoreKey,
    ) -> Result<PendingAnswer<()>, FileError> {
        let mut writer = self.log.lock_writable()?;
        // The tags are copied before they are removed. A crash between the two leaves copies.
        let copied = self.copy_tags_locked(&mut writer, from, to)?;
        let position = match copied {
            Some(position) if from == to || self.current_tags(from).is_empty() => position,
            Some(_) => self.set_tags(&mut writer, from, Vec::new())?,
            None => Position::default(),
        };
        Ok(((), position))
    }

    /// Returns `None` if one of the two has no live record.
    fn copy_tags_locked(
        &self,
        writer: &mut LogWriter,
        from: &StoreKey,
        to: &StoreKey,
    ) -> Result<Option<Position>, FileError> {
        let now = self.log.now();
        let (EntryState::Live(_), EntryState::Live(entry)) =
            (self.entry_state(from, now), self.entry_state(to, now))
        else {
            return Ok(None);
        };
        let tags = self.current_tags(from);
        self.add_tags(writer, to, entry, &tags).map(Some)
    }

    fn current_tags(&self, key: &StoreKey) -> Vec<Tag> {
        self.lock_tags().tags(key).to_vec()
    }

    fn add_tags(
        &self,
        writer: &mut LogWriter,
        key: &StoreKey,
        entry: IndexEntry,
        added: &[Tag],
    ) -> Result<Position, FileError> {
        let mut tags = self.current_tags(key);
        let count_before = tags.len();
        for tag in added {
            if !tags.contains(tag) {
                tags.push(tag.clone());
            }
        }
        match tags.len() {
            count if count == count_before => {
                let position = self.lock_tags().position(key);
                Ok(position.map_or(entry.position, |position| position.max(entry.position)))
            }
            count if count > MAX_TAGS => Err(FileError::TooManyTags),
            _ => self.set_tags(writer, key, tags),
        }
    }

    /// Appends the complete new set of tags and updates the table.
    fn set_tags(
        &self,
        writer: &mut LogWriter,
        key: &StoreKey,
        new: Vec<Tag>,
    ) -> Result<Position, FileError> {
        let before = writer.usage();
        let payload = tags::encode(&new);
        let header = FrameHeader::new(FrameKind::Tags, *key, 0, Timestamp::MAX);
        let header = header.with_payload(&payload);
        let position = self.log.append(writer, &header, &payload)?;
        let added = tags::frame_len(&new);
        let removed = self.lock_tags().set(*key, new, position);
        writer.adjust_live(added, removed);
        self.add_debt(writer, before);
        Ok(position)
    }
}
