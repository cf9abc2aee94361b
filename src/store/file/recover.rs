//! Opening: which files there are, what they say, and where to go on.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    FileError, FileEvent,
    disk::{Disk, DiskFile},
    engine::Engine,
    hint,
    index::SHARDS,
    log::Log,
    names,
    options::FileStoreBuilder,
    pace::Sizes,
    replay::{Findings, Replay},
    scan::{Frames, Piece},
    segment::{FORMAT, HEAD, Head, Segment, read_head},
    stats::{Counters, add},
};

/// Versions begin this far above the greatest one known, so that those of writes that a power
/// failure took are not given again. Nobody writes that often between two openings.
const VERSION_GAP: u64 = 1 << 32;

/// Opens the store on `disk`. Everything here can be cut short by a crash and done again.
pub(super) fn open(disk: Box<dyn Disk>, options: FileStoreBuilder) -> Result<Engine, FileError> {
    let mut opening = Opening::begin(disk.as_ref(), &options)?;
    opening.read_all()?;
    let parts = opening.parts()?;
    parts.finish(disk, options)
}

/// A segment file that was found.
struct Found {
    file: Box<dyn DiskFile>,
    len: u64,
}

struct Opening<'a> {
    disk: &'a dyn Disk,
    options: &'a FileStoreBuilder,
    found: BTreeMap<u32, Found>,
    hints: BTreeSet<u32>,
    /// The last segment with frames in it; only empty ones follow.
    last_used: u32,
    replay: Replay,
    segments: BTreeMap<u32, Arc<Segment>>,
    /// What the last segment with frames in it ended with.
    ended: bool,
    /// Segments up to this one are missing for a reason that the log does not tell yet.
    excused: u32,
    counters: Counters,
    total: u64,
}

impl<'a> Opening<'a> {
    fn begin(disk: &'a dyn Disk, options: &'a FileStoreBuilder) -> Result<Self, FileError> {
        let fail = |error| FileError::io("list", disk.path().to_path_buf(), error);
        let names = disk.list().map_err(fail)?;
        let mut found = BTreeMap::new();
        for id in names.iter().filter_map(|name| names::parse_segment(name)) {
            found.insert(id, find(disk, id)?);
        }
        let used = |(id, found): (&u32, &Found)| (found.len > HEAD as u64).then_some(*id);
        Ok(Self {
            disk,
            options,
            hints: names.iter().filter_map(|n| names::parse_hint(n)).collect(),
            last_used: found.iter().filter_map(used).next_back().unwrap_or(0),
            found,
            replay: Replay::new(),
            segments: BTreeMap::new(),
            ended: false,
            excused: 0,
            counters: Counters::default(),
            total: 0,
        })
    }

    fn tell(&self, event: &FileEvent<'_>) {
        if let Some(events) = &self.options.events {
            events.on(event);
        }
    }

    fn read_all(&mut self) -> Result<(), FileError> {
        let of = self.found.values().map(|found| found.len).sum();
        let mut done = 0;
        while let Some((id, found)) = self.found.pop_first() {
            done += found.len;
            if found.len > 0 {
                self.read(id, found)?;
            } else if id < self.last_used {
                // Emptied by the cleaner, which found no room to say so in the log.
                self.excused = id;
            }
            self.tell(&FileEvent::Opening { done, of });
        }
        Ok(())
    }

    fn read(&mut self, id: u32, found: Found) -> Result<(), FileError> {
        let path = self.disk.locate(&names::segment(id));
        let fail = |error| FileError::io("read", self.disk.locate(&names::segment(id)), error);
        let mut head = [0; HEAD];
        found.file.read_at(&mut head, 0).map_err(fail)?;
        let salt = match read_head(&head, id) {
            Head::Salt(salt) => salt,
            Head::Newer(found) => {
                let known = FORMAT;
                return Err(FileError::NewerFormat { path, found, known });
            }
            // Making a segment is not finished before its head is durable.
            Head::Damaged if id > self.last_used => return Ok(()),
            Head::Damaged if self.options.accept_loss => {
                self.tell(&FileEvent::LossAccepted { path: &path });
                return Ok(());
            }
            Head::Damaged => return Err(FileError::DamagedSegment { path }),
        };
        let segment = Segment::opened(id, salt, found.file);
        let (findings, hint) = match self.by_hint(&segment, found.len) {
            Some(hinted) => hinted,
            None => (self.by_scan(&segment, found.len).map_err(fail)?, 0),
        };
        if id == self.last_used {
            self.ended = findings.ended;
        }
        self.total += hint + found.len - findings.torn.map_or(0, |(_, bytes)| bytes);
        segment.hint_len.store(hint, Ordering::Relaxed);
        segment.hinted.store(hint > 0, Ordering::Relaxed);
        self.segments.insert(id, Arc::new(segment));
        Ok(())
    }

    /// Applies the segment's hint file, if there is one that can be used.
    fn by_hint(&mut self, segment: &Segment, len: u64) -> Option<(Findings, u64)> {
        let id = segment.id;
        if !self.hints.contains(&id) {
            return None;
        }
        let name = names::hint(id);
        let bytes = read_file(self.disk, &name).unwrap_or_default();
        let Some(frames) = hint::decode(&bytes, id, segment.salt, len) else {
            let path = self.disk.locate(&name);
            self.tell(&FileEvent::HintIgnored { path: &path });
            return None;
        };
        let mut findings = Findings::default();
        for frame in frames {
            self.replay
                .frame(id, frame.at, &frame.header, frame.payload, &mut findings);
        }
        add(&self.counters.hints_used, 1);
        self.hints.remove(&id);
        // The hint of a segment that is appended to again tells of a length that is past.
        if id >= self.last_used && !findings.ended {
            let _ = self.disk.remove(&name);
            return Some((findings, 0));
        }
        Some((findings, bytes.len() as u64))
    }

    fn by_scan(&mut self, segment: &Segment, len: u64) -> io::Result<Findings> {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let read = segment.file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        let id = segment.id;
        let mut findings = Findings::default();
        let mut damage = Vec::new();
        for piece in Frames::of(&bytes, segment.salt) {
            let piece = match piece {
                // Segments after this one have frames, so this end was not the last append.
                Piece::Torn { at, len } if id < self.last_used => {
                    Piece::Damage { at, len, key: None }
                }
                other => other,
            };
            self.replay
                .piece(id, piece, &mut findings, |at, len| damage.push((at, len)));
        }
        let path = self.disk.locate(&names::segment(id));
        for (offset, bytes) in damage {
            add(&self.counters.damaged, 1);
            self.tell(&FileEvent::Damaged {
                path: &path,
                offset: offset.into(),
                bytes,
            });
        }
        if let Some((at, bytes)) = findings.torn {
            segment.file.truncate(at.into())?;
            add(&self.counters.torn_bytes, bytes);
            self.tell(&FileEvent::TornTail { path: &path, bytes });
        }
        Ok(findings)
    }

    /// Checks that no segment is missing between the first that is needed and the last.
    fn check_chain(&mut self) -> Result<(), FileError> {
        let Some((&last, _)) = self.segments.last_key_value() else {
            return Ok(());
        };
        let behind = u32::from(self.ended && last <= self.last_used);
        let first = self.replay.cleaned.max(self.excused).saturating_add(1);
        for id in first..=last.saturating_add(behind) {
            if self.segments.contains_key(&id) {
                continue;
            }
            let path = self.disk.locate(&names::segment(id));
            if !self.options.accept_loss {
                return Err(FileError::MissingSegment { path });
            }
            self.tell(&FileEvent::LossAccepted { path: &path });
            self.excused = id.min(last);
        }
        Ok(())
    }

    fn parts(mut self) -> Result<Parts, FileError> {
        self.check_chain()?;
        // Files that nobody needs: what is left of a segment that was cleaned, or never finished.
        let mut leftovers: Vec<String> = self.hints.iter().map(|id| names::hint(*id)).collect();
        let names = self.disk.list().unwrap_or_default();
        let stray = |name: &String| {
            names::parse_segment(name).is_some_and(|id| !self.segments.contains_key(&id))
        };
        leftovers.extend(names.into_iter().filter(stray));
        let now = self.options.clock.now();
        let excused = (self.excused > self.replay.cleaned).then_some(self.excused);
        let mut expired = 0;
        for shard in 0..SHARDS {
            for (key, _) in self.replay.index.drain(shard, |_, e| e.expires <= now) {
                self.replay.tags.clear(&key);
                expired += 1;
            }
        }
        self.counters.expired = AtomicU64::new(expired);
        Ok(Parts {
            replay: self.replay,
            segments: self.segments,
            last_used: self.last_used,
            ended: self.ended,
            leftovers,
            excused,
            counters: self.counters,
            total: self.total,
        })
    }
}

/// What reading the files came to.
struct Parts {
    replay: Replay,
    segments: BTreeMap<u32, Arc<Segment>>,
    last_used: u32,
    ended: bool,
    leftovers: Vec<String>,
    excused: Option<u32>,
    counters: Counters,
    total: u64,
}

impl Parts {
    fn finish(
        mut self,
        disk: Box<dyn Disk>,
        options: FileStoreBuilder,
    ) -> Result<Engine, FileError> {
        let (active, next) = self.end_of_log(disk.as_ref())?;
        let fail = |error| FileError::io("read", disk.path().to_path_buf(), error);
        let tail = active.file.len().map_err(fail)?;
        let sizes = Sizes {
            total: self.total,
            live: self.replay.index.weight() + self.replay.tags.weight(),
        };
        let version = self.replay.version.saturating_add(VERSION_GAP);
        let mut log = Log::new(active, tail, version, sizes);
        log.next = next;
        // Whoever wrote these may not have brought them to the disk.
        log.unsynced = self.segments.values().map(Arc::clone).collect();
        let engine = Engine::new(
            disk,
            options,
            self.replay.index,
            self.replay.tags,
            self.segments,
            log,
            self.counters,
        );
        engine.begin(self.excused)?;
        for name in &self.leftovers {
            let gone = engine.disk.remove(name);
            gone.map_err(|error| FileError::io("remove", engine.disk.locate(name), error))?;
        }
        Ok(engine)
    }

    /// The segment to append to, and the empty one after it, if that was made already.
    fn end_of_log(
        &mut self,
        disk: &dyn Disk,
    ) -> Result<(Arc<Segment>, Option<Arc<Segment>>), FileError> {
        let used = self.segments.get(&self.last_used).map(Arc::clone);
        let behind = self.last_used.max(self.replay.cleaned).saturating_add(1);
        let empty = self.segments.get(&behind).map(Arc::clone);
        match (used, empty) {
            (Some(active), next) if !self.ended => Ok((active, next)),
            (_, Some(active)) => Ok((active, None)),
            (_, None) => {
                let made = Arc::new(Segment::create(disk, behind)?);
                self.segments.insert(behind, Arc::clone(&made));
                self.total += HEAD as u64;
                Ok((made, None))
            }
        }
    }
}

fn find(disk: &dyn Disk, id: u32) -> Result<Found, FileError> {
    let name = names::segment(id);
    let open = || {
        let file = disk.open(&name)?;
        let len = file.len()?;
        Ok(Found { file, len })
    };
    open().map_err(|error| FileError::io("open", disk.locate(&name), error))
}

fn read_file(disk: &dyn Disk, name: &str) -> io::Result<Vec<u8>> {
    let file = disk.open(name)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}
