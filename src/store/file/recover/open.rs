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
    frame::{HEADER, Header, Kind},
    hint,
    index::Position,
    names,
    options::FileStoreBuilder,
    replay::{Damage, Replay},
    resume::Parts,
    scan::{Frames, Piece},
    segment::{FORMAT, HEAD, Head, Segment, read_head},
    stats::{Counters, add},
};

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
    damage: Vec<Damage>,
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
            replay: Replay::default(),
            segments: BTreeMap::new(),
            ended: false,
            damage: Vec::new(),
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
            Head::Damaged if self.options.allow_data_loss => {
                self.tell(&FileEvent::LossAccepted { path: &path });
                return Ok(());
            }
            Head::Damaged => return Err(FileError::DamagedSegment { path }),
        };
        let segment = Segment::opened(id, salt, found.file);
        let (pass, hint) = match self.by_hint(&segment, found.len) {
            Some(hinted) => hinted,
            None => (self.by_scan(&segment, found.len).map_err(fail)?, 0),
        };
        if id == self.last_used {
            self.ended = pass.ended;
        }
        self.total += hint + found.len - pass.cut;
        segment.hint_len.store(hint, Ordering::Relaxed);
        segment.hinted.store(hint > 0, Ordering::Relaxed);
        self.segments.insert(id, Arc::new(segment));
        Ok(())
    }

    /// Applies the segment's hint file, if there is one that can be used.
    fn by_hint(&mut self, segment: &Segment, len: u64) -> Option<(Pass, u64)> {
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
        let mut pass = Pass::default();
        for frame in frames {
            pass.ended |= frame.header.kind == Kind::End;
            self.replay
                .frame(id, frame.at, &frame.header, frame.payload);
        }
        add(&self.counters.hints_used, 1);
        self.hints.remove(&id);
        // The hint of a segment that is appended to again tells of a length that is past.
        if id >= self.last_used && !pass.ended {
            let _ = self.disk.remove(&name);
            return Some((pass, 0));
        }
        Some((pass, bytes.len() as u64))
    }

    fn by_scan(&mut self, segment: &Segment, len: u64) -> io::Result<Pass> {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let read = segment.file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        let id = segment.id;
        let mut pass = Pass::default();
        for piece in Frames::of(&bytes, segment.salt) {
            let (offset, len, key) = match piece {
                Piece::Frame {
                    at,
                    header,
                    payload,
                } => {
                    pass.ended |= header.kind == Kind::End;
                    self.replay.frame(id, at, &header, payload);
                    continue;
                }
                Piece::Damage { at, len, key } => (at, len, key),
                // Segments after this one have frames, so this was not the last append.
                Piece::Torn { at, len } if id < self.last_used => (at, len, None),
                Piece::Room { .. } if id < self.last_used => continue,
                Piece::Torn { at, len } | Piece::Room { at, len } => {
                    segment.file.truncate(at.into())?;
                    pass.cut = len;
                    if matches!(piece, Piece::Torn { .. }) {
                        self.tell_torn(id, len);
                    }
                    continue;
                }
            };
            let at = Position {
                segment: id,
                offset,
            };
            self.damage.push(Damage { at, len, key });
        }
        Ok(pass)
    }

    fn tell_torn(&self, id: u32, bytes: u64) {
        add(&self.counters.torn_bytes, bytes);
        let path = self.disk.locate(&names::segment(id));
        self.tell(&FileEvent::TornTail { path: &path, bytes });
    }

    /// Reports all damage. What was never durable is mended, so that the next opening does not
    /// take it for the loss of something that was.
    fn conclude(&mut self) -> Result<(), FileError> {
        for damage in std::mem::take(&mut self.damage) {
            let path = self.disk.locate(&names::segment(damage.at.segment));
            add(&self.counters.damaged, 1);
            self.tell(&FileEvent::Damaged {
                path: &path,
                offset: damage.at.offset.into(),
                bytes: damage.len,
            });
            if !self.replay.conclude(&damage)
                && let Some(segment) = self.segments.get(&damage.at.segment)
            {
                let mended = mend(segment, &damage);
                self.total -= mended.map_err(|error| FileError::io("mend", path, error))?;
            }
        }
        Ok(())
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
            if !self.options.allow_data_loss {
                return Err(FileError::MissingSegment { path });
            }
            self.tell(&FileEvent::LossAccepted { path: &path });
            self.excused = id.min(last);
        }
        Ok(())
    }

    fn parts(mut self) -> Result<Parts, FileError> {
        self.check_chain()?;
        self.conclude()?;
        // Files that nobody needs: what is left of a segment that was cleaned, or never finished.
        let mut leftovers: Vec<String> = self.hints.iter().map(|id| names::hint(*id)).collect();
        let names = self.disk.list().unwrap_or_default();
        let stray = |name: &String| {
            names::parse_segment(name).is_some_and(|id| !self.segments.contains_key(&id))
        };
        leftovers.extend(names.into_iter().filter(stray));
        let excused = (self.excused > self.replay.cleaned).then_some(self.excused);
        let expired = self.replay.tidy(self.options.clock.now());
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

/// What reading one segment came to, beside what was applied.
#[derive(Default)]
struct Pass {
    /// The segment has an end mark, so there is one after it.
    ended: bool,
    /// How many bytes were cut off at the end.
    cut: u64,
}

/// Puts a frame that says nothing over damage; returns how many bytes were cut off instead.
fn mend(segment: &Segment, damage: &Damage) -> io::Result<u64> {
    let begin = u64::from(damage.at.offset);
    if begin + damage.len >= segment.file.len()? {
        segment.file.truncate(begin)?;
        return Ok(damage.len);
    }
    let Some(room) = damage.len.checked_sub(HEADER as u64) else {
        return Ok(0);
    };
    let mut lost = vec![0; usize::try_from(room).unwrap_or(usize::MAX)];
    segment.file.read_at(&mut lost, begin + HEADER as u64)?;
    let header = Header::mark(Kind::Void, 0).of(&lost);
    segment.file.write_at(&header.encode(segment.salt), begin)?;
    Ok(0)
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
