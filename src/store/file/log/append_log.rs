//! The end of the log, where everything is appended.

use std::{
    io,
    mem::take,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use super::{
    Durability, FileError,
    engine::{Engine, lock},
    error::is_full,
    frame::{HEADER, Header, Kind},
    index::Position,
    pace::Sizes,
    segment::{HEAD, Segment},
    stats::add,
};

/// The most room that is made ahead at a time, in bytes.
const ROOM: u64 = 256 << 10;

/// What the log's lock guards.
pub(super) struct Log {
    /// The segment that frames are appended to.
    pub(super) active: Arc<Segment>,
    /// Where its frames end. A failed append is cut off again, so nothing stands behind but zeros.
    pub(super) tail: u64,
    /// How many of those there are: room for what comes, see [`Engine::room`].
    ahead: u64,
    /// The segment after it, made ahead so that no writer has to wait for that.
    pub(super) next: Option<Arc<Segment>>,
    /// Whether the background thread is making that segment at this moment.
    pub(super) making: bool,
    /// Segments that were ended and not yet brought to the disk, in order.
    pub(super) unsynced: Vec<Arc<Segment>>,
    /// The version that was given last.
    pub(super) version: u64,
    pub(super) sizes: Sizes,
    /// Set as long as the log does not say yet that versions up to `version` may have been given.
    pub(super) unmarked: bool,
    /// Everything before this is durable, as far as was known when room was last made.
    durable: Position,
    /// Frames on their way to the file; empty between appends.
    staged: Vec<u8>,
}

impl Log {
    pub(super) const fn new(active: Arc<Segment>, tail: u64, version: u64, sizes: Sizes) -> Self {
        Self {
            active,
            tail,
            ahead: 0,
            next: None,
            making: false,
            unsynced: Vec::new(),
            version,
            sizes,
            unmarked: true,
            durable: Position {
                segment: 0,
                offset: 0,
            },
            staged: Vec::new(),
        }
    }

    /// A version that no key has had before.
    pub(super) const fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// Where the next frame will stand.
    pub(super) fn end(&self) -> Position {
        let staged = self.staged.len() as u64;
        Position {
            segment: self.active.id,
            // A segment is at most 1 GiB long.
            offset: (self.tail + staged) as u32,
        }
    }

    /// A place that is durable once all that was appended until now is.
    pub(super) fn last(&self) -> Position {
        let Position { segment, offset } = self.end();
        let offset = offset.saturating_sub(1);
        Position { segment, offset }
    }

    /// Cuts the active segment off where its frames end.
    fn cut(&mut self) -> io::Result<()> {
        self.active.file.truncate(self.tail)?;
        self.sizes.total -= take(&mut self.ahead);
        Ok(())
    }

    /// Gives back room that is not needed any more. Where that fails it stays in the file and does
    /// no harm.
    fn close_up(&mut self) {
        if self.ahead > 0 && self.cut().is_err() {
            self.ahead = 0;
        }
    }

    /// Adds a frame to those that [`Engine::write_staged`] will write together.
    pub(super) fn stage(&mut self, header: &Header, payload: &[u8]) -> Position {
        let at = self.end();
        let synced = match self.durable {
            durable if durable.segment == at.segment => durable.offset,
            _ => 0,
        };
        let header = Header { synced, ..*header };
        self.staged
            .extend_from_slice(&header.encode(self.active.salt));
        self.staged.extend_from_slice(payload);
        at
    }
}

impl Engine {
    /// Appends one frame: whole, or not at all.
    pub(super) fn append(
        &self,
        log: &mut Log,
        header: &Header,
        payload: &[u8],
    ) -> Result<Position, FileError> {
        self.mark_open(log)?;
        self.make_room(log, header.frame_len())?;
        let at = log.stage(header, payload);
        self.write_staged(log)?;
        Ok(at)
    }

    /// Appends frames one behind the other: all of them, or none.
    pub(super) fn append_all(
        &self,
        log: &mut Log,
        frames: &[(Header, &[u8])],
    ) -> Result<Vec<Position>, FileError> {
        if frames.is_empty() {
            return Ok(Vec::new());
        }
        self.mark_open(log)?;
        let bytes = frames.iter().map(|(header, _)| header.frame_len()).sum();
        self.make_room(log, bytes)?;
        let stage = |(header, payload): &(Header, &[u8])| log.stage(header, payload);
        let places = frames.iter().map(stage).collect();
        self.write_staged(log)?;
        Ok(places)
    }

    /// Writes what the log has to say at opening: that it is open, and that segments up to
    /// `excused` are missing for a reason. A full disk does not keep anybody from reading.
    pub(super) fn begin(&self, excused: Option<u32>) -> Result<(), FileError> {
        self.sync()?;
        let mut log = self.lock_log();
        log.durable = self.durable();
        if let Some(id) = excused {
            let header = Header::mark(Kind::Cleaned, id.into());
            self.append(&mut log, &header, &[])?;
            log.active
                .file
                .sync()
                .map_err(|error| self.poison(&error))?;
        }
        match self.mark_open(&mut log) {
            Err(error) if error.is_full() => Ok(()),
            other => other,
        }
    }

    /// Brings everything to the disk, and says in the log that it is there, so that damage found
    /// at the next opening is known to be damage and not an append that was never finished.
    pub(super) fn finish(&self) -> Result<(), FileError> {
        self.sync()?;
        let mut log = self.lock_log();
        log.durable = self.durable();
        log.stage(&Header::mark(Kind::Closed, 0), &[]);
        let written = self.write_staged(&mut log);
        log.close_up();
        match written {
            Err(error) if error.is_full() => Ok(()),
            other => other,
        }
    }

    fn durable(&self) -> Position {
        Position::unpack(self.durable.load(Ordering::Acquire))
    }

    /// Makes sure that versions given since the store was opened are not given again by a later
    /// opening, even where the writes themselves are lost in a power failure: that one begins
    /// above the version marked here.
    pub(super) fn mark_open(&self, log: &mut Log) -> Result<(), FileError> {
        if !log.unmarked {
            return Ok(());
        }
        log.stage(&Header::mark(Kind::Open, log.version), &[]);
        self.write_staged(log)?;
        log.active
            .file
            .sync()
            .map_err(|error| self.poison(&error))?;
        log.unmarked = false;
        Ok(())
    }

    /// Ends the active segment unless `bytes` more fit into it.
    pub(super) fn make_room(&self, log: &mut Log, bytes: u64) -> Result<(), FileError> {
        log.durable = self.durable();
        let longest = log.sizes.roll_at(self.options.segment_bytes);
        let needed = log.tail + bytes + HEADER as u64;
        if needed > longest / 2 && log.next.is_none() {
            self.nudge.give();
        }
        if needed <= longest || log.tail <= HEAD as u64 {
            return Ok(());
        }
        // While the next segment is being made this one grows a little longer instead of waiting.
        if log.making {
            return self.check_offset(needed);
        }
        self.roll(log)
    }

    /// Offsets are kept in 32 bits: where the next segment takes that long to be made, the disk
    /// is in trouble.
    fn check_offset(&self, needed: u64) -> Result<(), FileError> {
        if needed <= u64::from(u32::MAX) {
            return Ok(());
        }
        let path = self.disk.path().to_path_buf();
        Err(FileError::io(
            "make the next segment in",
            path,
            io::ErrorKind::TimedOut.into(),
        ))
    }

    /// Ends the active segment and goes on in the next.
    ///
    /// The next one is durable before the mark that says so is written: a mark without a segment
    /// behind it tells that somebody deleted one.
    pub(super) fn roll(&self, log: &mut Log) -> Result<(), FileError> {
        self.make_next(log)?;
        log.durable = self.durable();
        log.stage(&Header::mark(Kind::End, 0), &[]);
        self.write_staged(log)?;
        if let Some(next) = log.next.take() {
            log.close_up();
            log.unsynced.push(std::mem::replace(&mut log.active, next));
            log.tail = HEAD as u64;
        }
        Ok(())
    }

    /// Makes the segment after the active one, where that was not done yet.
    fn make_next(&self, log: &mut Log) -> Result<(), FileError> {
        if log.next.is_none() {
            let id = log.active.id.saturating_add(1);
            self.set_next(log, Segment::create(self.disk.as_ref(), id)?);
        }
        Ok(())
    }

    /// Makes the segment after the active one when that is half full, without holding up writers.
    pub(super) fn prepare_next(&self) -> Result<(), FileError> {
        let id = {
            let mut log = self.writable()?;
            let half = log.sizes.roll_at(self.options.segment_bytes) / 2;
            if log.next.is_some() || log.tail < half {
                return Ok(());
            }
            log.making = true;
            log.active.id.saturating_add(1)
        };
        let made = Segment::create(self.disk.as_ref(), id);
        let mut log = self.lock_log();
        log.making = false;
        self.set_next(&mut log, made?);
        Ok(())
    }

    fn set_next(&self, log: &mut Log, next: Segment) {
        let next = Arc::new(next);
        let mut segments = self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        segments.insert(next.id, Arc::clone(&next));
        log.sizes.total += HEAD as u64;
        log.next = Some(next);
    }

    /// Writes what is staged. After a failure nothing of it is in the file.
    pub(super) fn write_staged(&self, log: &mut Log) -> Result<(), FileError> {
        let mut staged = take(&mut log.staged);
        let bytes = staged.len();
        let room = self.room(log, bytes as u64);
        staged.resize(bytes + room, 0);
        let mut written = self.write_at_tail(log, &staged, bytes as u64);
        if room > 0 && written.as_ref().is_err_and(FileError::is_full) {
            staged.truncate(bytes);
            written = self.write_at_tail(log, &staged, bytes as u64);
        }
        staged.clear();
        log.staged = staged;
        written
    }

    /// How many zeros to write behind `bytes` of frames.
    ///
    /// A sync of a file that has grown has to write its length too, by way of the file system's
    /// journal, and so takes half as long again or more. Where writers wait for syncs, the file
    /// therefore grows ahead of them, some of the way to where the segment will be ended.
    fn room(&self, log: &Log, bytes: u64) -> usize {
        if bytes <= log.ahead || self.options.durability != Durability::Always {
            return 0;
        }
        let longest = log.sizes.roll_at(self.options.segment_bytes);
        let left = longest.saturating_sub(log.tail + bytes);
        left.min(ROOM).min(self.options.segment_bytes / 16) as usize
    }

    /// Writes `staged`, of which the first `frames` bytes are frames.
    fn write_at_tail(&self, log: &mut Log, staged: &[u8], frames: u64) -> Result<(), FileError> {
        if let Err(error) = log.active.file.write_at(staged, log.tail) {
            return Err(self.undo(log, error));
        }
        let bytes = staged.len() as u64;
        log.sizes.total += bytes.saturating_sub(log.ahead);
        log.ahead = bytes.max(log.ahead) - frames;
        log.tail += frames;
        Ok(())
    }

    /// Cuts off what a failed append may have left. Where even that fails, the file's end is not
    /// known, and nothing may be appended behind it.
    fn undo(&self, log: &mut Log, error: io::Error) -> FileError {
        if let Err(worse) = log.cut() {
            return self.poison(&worse);
        }
        let path = self.disk.path().to_path_buf();
        if is_full(&error) {
            FileError::Full { path }
        } else {
            FileError::io("append to the log in", path, error)
        }
    }

    /// Brings everything that was appended before the call to the disk.
    pub(super) fn sync(&self) -> Result<(), FileError> {
        let _turn = lock(&self.turn);
        self.check_poison()?;
        let (segments, end) = {
            let mut log = self.lock_log();
            let mut segments = take(&mut log.unsynced);
            segments.push(Arc::clone(&log.active));
            (segments, log.end())
        };
        if self.is_durable_up_to(end) {
            return Ok(());
        }
        for segment in segments {
            // After a failed sync the system may have dropped the data and call it clean: only
            // reading it back from the device could tell, so the store stops here.
            segment.file.sync().map_err(|error| self.poison(&error))?;
        }
        add(&self.counters.syncs, 1);
        self.durable.fetch_max(end.pack(), Ordering::AcqRel);
        Ok(())
    }

    fn is_durable_up_to(&self, end: Position) -> bool {
        end.pack() <= self.durable.load(Ordering::Acquire)
    }
}
