//! Read operations.

use std::{io, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;

use super::{
    engine::{EntryState, FileEngine, PendingAnswer},
    index::IndexEntry,
    index::Position,
};
use crate::{
    id::StoreKey,
    store::{
        Record, Tag, Version,
        file::{
            disk::DiskFile,
            error::FileError,
            event::FileEvent,
            format::{
                frame::{FrameHeader, FrameKind, HEADER_LEN},
                payload,
            },
            options::Options,
        },
    },
};

/// The result of an index lookup.
pub(crate) enum IndexLookup {
    Absent,
    Gone(Position),
    /// A live record, and the position that must be durable before the record may be returned.
    Record(IndexEntry, Position),
}

impl IndexLookup {
    const fn new(state: EntryState) -> Self {
        match state {
            EntryState::Live(entry) => Self::Record(entry, entry.position),
            EntryState::Tombstone(entry) => Self::Gone(entry.position),
            EntryState::Absent => Self::Absent,
        }
    }
}

/// The result of reading a record's frame.
pub(crate) enum FetchOutcome {
    Record(Record),
    /// The frame was copied or replaced meanwhile; the caller must look up the key again.
    Moved,
    /// The record is not in the page cache, so the read would wait for the device.
    WouldBlock,
}

impl FileEngine {
    /// Looks up a key. With `touch`, a live record's expiry is extended.
    ///
    /// If the disk is full or reports an error, compaction fails, or the store is poisoned, the lookup succeeds
    /// without the touch. If `may_omit` is set, it also does if there is no room.
    pub(crate) fn lookup(
        &self,
        key: &StoreKey,
        touch: Option<Duration>,
        may_omit: bool,
    ) -> Result<IndexLookup, FileError> {
        let Some(ttl) = touch else {
            self.log.check_open()?;
            return Ok(IndexLookup::new(self.entry_state(key, self.log.now())));
        };
        match self.lookup_and_touch(key, ttl) {
            Err(error) if self.may_omit_touch(&error, may_omit) => {
                let event = FileEvent::TouchFailed { error: &error };
                self.log.options().emit(&event);
                self.lookup(key, None, false)
            }
            other => other,
        }
    }

    fn may_omit_touch(&self, error: &FileError, without_room: bool) -> bool {
        match error {
            FileError::Full { .. }
            | FileError::Io { .. }
            | FileError::LimitExceeded { .. }
            | FileError::Panicked { .. }
            | FileError::Poisoned { .. } => true,
            FileError::DiskLimit { .. } => {
                without_room || self.compaction_failed.load(Ordering::Relaxed)
            }
            _ => false,
        }
    }

    fn lookup_and_touch(&self, key: &StoreKey, ttl: Duration) -> Result<IndexLookup, FileError> {
        let mut writer = self.log.lock_writable()?;
        let now = self.log.now();
        let lookup = IndexLookup::new(self.entry_state(key, now));
        let IndexLookup::Record(entry, _) = lookup else {
            return Ok(lookup);
        };
        let position = self.extend(&mut writer, key, entry, now.saturating_add(ttl))?;
        Ok(IndexLookup::Record(entry, position))
    }

    /// Reads the record that `entry` points to. Waits for the device only if `may_block` is set.
    pub(crate) fn fetch(
        &self,
        key: &StoreKey,
        entry: IndexEntry,
        may_block: bool,
    ) -> Result<FetchOutcome, FileError> {
        if let Some(record) = self.cache.get(key, entry.version) {
            return Ok(FetchOutcome::Record(record));
        }
        let Some(segment) = self.log.segment(entry.position.segment) else {
            return Ok(self.handle_mismatch(key, entry));
        };
        let mut head = [0; HEADER_LEN];
        let mut payload = vec![0; entry.len as usize];
        let offset = u64::from(entry.position.offset);
        let file = segment.file.as_ref();
        let read = if may_block {
            read_frame(file, &mut head, &mut payload, offset)
        } else {
            match file.read_nowait(&mut head, &mut payload, offset) {
                Ok(false) => return Ok(FetchOutcome::WouldBlock),
                read => read,
            }
        };
        let complete = read.map_err(|error| {
            let path = self.log.disk().path().to_path_buf();
            FileError::io("read from the log in", path, error)
        })?;
        let options = self.log.options();
        if complete && let Some(record) = decode_record(&head, payload, key, entry, options)? {
            self.cache.put(key, record.clone());
            return Ok(FetchOutcome::Record(record));
        }
        Ok(self.handle_mismatch(key, entry))
    }

    /// Lists the encrypted records under their tags. Their hints do not have the tags, so an opening
    /// reads the records. A record whose key is not in the key ring is not listed.
    pub(crate) fn index_encrypted_tags(&self) -> Result<(), FileError> {
        if self.log.options().cipher.is_none() {
            return Ok(());
        }
        let mut entries = self
            .index
            .entries(|entry| entry.tagged && entry.is_encrypted());
        entries.sort_unstable_by_key(|(_, entry)| entry.position);
        for (key, entry) in entries {
            match self.fetch(&key, entry, true) {
                Ok(FetchOutcome::Record(record)) => self.log.lock().tags.set(&key, &record.tags),
                Err(error @ FileError::Io { .. }) => return Err(error),
                // The record cannot be read. If it is damaged, it was removed from the index.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Lists no unencrypted record under its tags if such records are refused.
    pub(crate) fn unlist_refused(&self) {
        if !self.log.options().refuse_unencrypted {
            return;
        }
        let is_refused = |entry: &IndexEntry| entry.tagged && !entry.is_encrypted();
        let mut writer = self.log.lock();
        for (key, _) in self.index.entries(is_refused) {
            writer.tags.remove(&key);
        }
    }

    /// Handles a frame that does not match its index entry. Either the index has changed meanwhile,
    /// or the frame is damaged and the record is lost.
    fn handle_mismatch(&self, key: &StoreKey, entry: IndexEntry) -> FetchOutcome {
        let mut writer = self.log.lock();
        let current = self.index.get(key);
        if current.is_some_and(|current| current.position == entry.position) {
            self.index_remove(&mut writer, key);
            drop(writer);
            let Position { segment, offset } = entry.position;
            let bytes = entry.live_bytes();
            self.log.report_damage(segment, offset.into(), bytes);
        }
        FetchOutcome::Moved
    }

    /// Returns the keys of the live sessions that have `tag`.
    pub(crate) fn tagged(&self, tag: &Tag) -> Result<PendingAnswer<Vec<StoreKey>>, FileError> {
        self.log.check_open()?;
        let writer = self.log.lock();
        let now = self.log.now();
        let is_live = |key: &&StoreKey| matches!(self.entry_state(key, now), EntryState::Live(_));
        let tagged = writer.tags.keys(tag).filter(is_live).copied().collect();
        Ok((tagged, writer.last_position()))
    }
}

fn read_frame(
    file: &dyn DiskFile,
    head: &mut [u8],
    data: &mut [u8],
    offset: u64,
) -> io::Result<bool> {
    Ok(file.read_at(head, offset)? == head.len()
        && file.read_at(data, offset + head.len() as u64)? == data.len())
}

/// Returns the record of a frame, or `None` if the frame does not match `entry`.
fn decode_record(
    head: &[u8; HEADER_LEN],
    payload: Vec<u8>,
    key: &StoreKey,
    entry: IndexEntry,
    options: &Options,
) -> Result<Option<Record>, FileError> {
    let is_expected = |header: &FrameHeader| {
        header.kind == FrameKind::Write
            && header.key == *key
            && header.version == entry.version
            && header.tagged == entry.tagged
            && header.encrypted == entry.is_encrypted()
            && header.matches_payload(&payload)
    };
    let version = Version::new(entry.version);
    let header = FrameHeader::decode_unchecked(head).filter(is_expected);
    let (Some(version), Some(header)) = (version, header) else {
        return Ok(None);
    };
    let mut payload = Bytes::from(payload);
    if header.encrypted {
        let cipher = options.cipher.as_ref();
        payload = cipher.ok_or(FileError::NoKeys)?.open(key, &payload)?;
    } else if options.refuse_unencrypted {
        return Err(FileError::Unencrypted);
    }
    if !header.tagged {
        return Ok(Some(Record::new(payload, version)));
    }
    let decoded = payload::decode(&payload);
    Ok(decoded.map(|(tags, data)| Record::new(data, version).tags(tags)))
}
