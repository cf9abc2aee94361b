//! Cleaning: the oldest segment's live frames are copied to the end of the log, and it is deleted.
//!
//! Always the oldest: when a frame is found dead, everything that it could have been the answer to
//! is gone already. So a tombstone may be dropped once it has expired without a record that it
//! buried coming back, and a touch is never copied: the record that it belongs to was in front of
//! it and has taken the new expiry to the end of the log.

use std::{
    io,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    FileError, FileEvent,
    disk::Disk,
    engine::{Engine, lock},
    error::is_full,
    frame::{HEADER, Header, Kind},
    index::{Entry, Position},
    names,
    scan::{Frames, Piece},
    segment::{HEAD, Segment},
    stats::add,
};
use crate::id::StoreKey;

/// Copies are written in pieces of about this many bytes, so that writers wait for at most the
/// time that one takes.
const PIECE: usize = 32 << 10;

/// A frame that was live when it was looked at.
struct Candidate<'a> {
    header: Header,
    at: Position,
    payload: &'a [u8],
}

impl Engine {
    pub(super) fn wants_cleaning(&self) -> bool {
        let sizes = self.lock_log().sizes;
        sizes.wants_cleaning(self.options.segment_bytes) && self.check_poison().is_ok()
    }

    /// Whether mutations have owed work since the cleaner caught up last.
    pub(super) fn is_urgent(&self) -> bool {
        self.debt.load(Ordering::Relaxed) > 0
    }

    /// Cleans the oldest segment. After every piece of it `paid` is told how many bytes were
    /// passed over; where it answers `false`, the work is left and can be begun again.
    pub(super) fn clean_oldest(&self, mut paid: impl FnMut(u64) -> bool) -> Result<(), FileError> {
        let began = Instant::now();
        let Some(victim) = self.oldest_ended()? else {
            return Ok(());
        };
        let bytes = self.read_segment(&victim)?;
        let Some(kept) = self.copy_live(&victim, &bytes, &mut paid)? else {
            return Ok(());
        };
        self.retire(&victim, bytes.len() as u64)?;
        let path = self.disk.locate(&names::segment(victim.id));
        add(&self.counters.cleaned_segments, 1);
        add(&self.counters.cleaned_kept_bytes, kept);
        add(&self.counters.cleaned_bytes, bytes.len() as u64);
        self.tell(&FileEvent::Cleaned {
            path: &path,
            kept,
            bytes: bytes.len() as u64,
            took: began.elapsed(),
        });
        Ok(())
    }

    /// Cleans every segment that has a frame in it now, in one go.
    pub(super) fn clean_all(&self) -> Result<(), FileError> {
        let last = {
            let mut log = self.writable()?;
            if log.tail > HEAD as u64 {
                self.roll(&mut log)?;
            }
            log.active.id
        };
        while self.oldest().is_some_and(|oldest| oldest.id < last) {
            self.clean_oldest(|_| true)?;
        }
        Ok(())
    }

    fn oldest(&self) -> Option<Arc<Segment>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.values().next().map(Arc::clone)
    }

    /// The oldest segment; the active one is ended for it where it is the only one.
    fn oldest_ended(&self) -> Result<Option<Arc<Segment>>, FileError> {
        let mut log = self.writable()?;
        let Some(oldest) = self.oldest() else {
            return Ok(None);
        };
        if oldest.id == log.active.id {
            if log.tail <= HEAD as u64 {
                return Ok(None);
            }
            self.roll(&mut log)?;
        }
        Ok(Some(oldest))
    }

    /// Copies what is live; returns how many bytes that was, or `None` where it was stopped.
    fn copy_live(
        &self,
        victim: &Segment,
        bytes: &[u8],
        paid: &mut impl FnMut(u64) -> bool,
    ) -> Result<Option<u64>, FileError> {
        let piece_len = PIECE.min(self.options.segment_bytes as usize / 16);
        let (mut kept, mut passed, mut ready) = (0, 0, 0);
        let mut candidates = Vec::new();
        for piece in Frames::of(bytes, victim.salt) {
            let (header, offset, payload) = match piece {
                Piece::Frame {
                    at,
                    header,
                    payload,
                } => (header, at, payload),
                Piece::Damage { at, len, .. } | Piece::Torn { at, len } => {
                    self.lose(victim.id, at, len);
                    continue;
                }
                Piece::Room { .. } => continue,
            };
            let at = Position {
                segment: victim.id,
                offset,
            };
            passed += header.frame_len();
            if self.is_needed(&header, at) {
                ready += HEADER + payload.len();
                candidates.push(Candidate {
                    header,
                    at,
                    payload,
                });
            }
            if ready >= piece_len || passed >= 8 * PIECE as u64 {
                kept += self.copy(&mut candidates)?;
                ready = 0;
                if !paid(std::mem::take(&mut passed)) {
                    return Ok(None);
                }
            }
        }
        kept += self.copy(&mut candidates)?;
        paid(passed);
        Ok(Some(kept))
    }

    /// Damage that the index still points into is loss.
    fn lose(&self, segment: u32, at: u32, len: u64) {
        let mut log = self.lock_log();
        let end = u64::from(at) + len;
        let inside = |_: &StoreKey, entry: &Entry| {
            let offset = u64::from(entry.at.offset);
            entry.at.segment == segment && (u64::from(at)..end).contains(&offset)
        };
        let mut lost = false;
        for shard in 0..super::index::SHARDS {
            for (key, entry) in self.index.drain(shard, inside) {
                lost = true;
                let freed = entry.weight() + lock(&self.tags).clear(&key);
                log.sizes.live = log.sizes.live.saturating_sub(freed);
            }
        }
        drop(log);
        if lost {
            self.damaged(segment, at.into(), len);
        }
    }

    /// Whether a frame is the one that the index, or the table of tags, points to.
    fn is_needed(&self, header: &Header, at: Position) -> bool {
        match header.kind {
            Kind::Write | Kind::Destroy => self
                .index
                .get(&header.key)
                .is_some_and(|entry| entry.at == at),
            Kind::Tags => lock(&self.tags).at(&header.key) == Some(at),
            _ => false,
        }
    }

    /// Appends what is still live of the candidates, and points to the copies instead.
    fn copy(&self, candidates: &mut Vec<Candidate<'_>>) -> Result<u64, FileError> {
        let mut log = self.writable()?;
        let now = self.now();
        let mut live = Vec::new();
        let mut room = 0;
        for Candidate {
            header,
            at,
            payload,
        } in candidates.drain(..)
        {
            if !self.is_needed(&header, at) {
                continue;
            }
            let entry = self.index.get(&header.key);
            if entry.is_some_and(|entry| entry.expires <= now) {
                self.drop_key(&mut log, &header.key);
                add(&self.counters.expired, 1);
                continue;
            }
            room += header.frame_len();
            live.push((copy_of(&header, entry), payload));
        }
        let places = self.append_all(&mut log, &live)?;
        for ((header, _), at) in live.iter().zip(places) {
            self.moved(header, at);
        }
        Ok(room)
    }

    fn moved(&self, header: &Header, at: Position) {
        if header.kind == Kind::Tags {
            lock(&self.tags).moved(&header.key, at);
        } else if let Some(entry) = self.index.get(&header.key) {
            self.index.insert(header.key, Entry { at, ..entry });
        }
    }

    /// Deletes a segment of which nothing is needed any more.
    ///
    /// The copies are durable first. A crash before the deletion leaves the segment in its place,
    /// and reading it again changes nothing; only its absence needs the mark. The deletion is
    /// durable before the next segment can be cleaned, so an older segment never comes back while
    /// a newer one is gone.
    fn retire(&self, victim: &Segment, len: u64) -> Result<(), FileError> {
        self.sync()?;
        let mark = Header::mark(Kind::Cleaned, victim.id.into());
        let marked = self.append(&mut *self.writable()?, &mark, &[]);
        match marked {
            Ok(_) => {}
            // No room for the mark: the segment itself has some, and an empty one is as good.
            Err(error) if error.is_full() => {
                self.on_victim(victim, "empty", || victim.file.truncate(0))?;
                self.append(&mut *self.writable()?, &mark, &[])?;
            }
            Err(error) => return Err(error),
        }
        self.sync()?;
        let name = names::segment(victim.id);
        self.on_victim(victim, "remove", || remove(self.disk.as_ref(), &name))?;
        self.on_victim(victim, "remove", || self.disk.sync_entries())?;
        // Without its segment a hint file is removed at the next opening, if not now.
        let _ = remove(self.disk.as_ref(), &names::hint(victim.id));
        let mut log = self.lock_log();
        let mut segments = self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        segments.remove(&victim.id);
        log.sizes.total = log.sizes.total.saturating_sub(len + victim.hint_len());
        Ok(())
    }

    fn on_victim(
        &self,
        victim: &Segment,
        action: &'static str,
        act: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), FileError> {
        act().map_err(|error| {
            let path = self.disk.locate(&names::segment(victim.id));
            if is_full(&error) {
                FileError::Full { path }
            } else {
                FileError::io(action, path, error)
            }
        })
    }

    /// Takes what has expired out of one part of the index.
    pub(super) fn sweep(&self, shard: usize) {
        let mut log = self.lock_log();
        let now = self.now();
        let gone = self.index.drain(shard, |_, entry| entry.expires <= now);
        for (key, entry) in &gone {
            let freed = entry.weight() + lock(&self.tags).clear(key);
            log.sizes.live = log.sizes.live.saturating_sub(freed);
        }
        drop(log);
        let entries = gone.len() as u64;
        if entries > 0 {
            add(&self.counters.expired, entries);
            self.tell(&FileEvent::Expired { entries });
        }
    }

    /// The rest that the cleaner may take after passing over `bytes`.
    pub(super) fn rest_after(&self, bytes: u64) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.options.compaction_rate.max(1) as f64)
    }
}

/// Removes a file, which an earlier attempt may have done already.
fn remove(disk: &dyn Disk, name: &str) -> io::Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A copy carries the record's present expiry. Tags that were set before it still count.
fn copy_of(header: &Header, entry: Option<Entry>) -> Header {
    let expires = match entry {
        Some(entry) if header.kind != Kind::Tags => entry.expires,
        _ => header.expires,
    };
    Header {
        fresh: false,
        expires,
        ..*header
    }
}
