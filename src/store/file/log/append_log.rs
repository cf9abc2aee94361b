//! The append-only log: segment files, appends and syncs.

use std::{
    io,
    mem::take,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    clock_lag::ClockLag, index::Position, known_entries::KnownEntries, log_writer::LogWriter,
    segment::Segment, segment_map::SegmentMap, space::SpaceUsage, wakeup::Wakeup,
};
use crate::{
    clock::Timestamp,
    store::file::{
        disk::{Disk, PathChange},
        error::{FileError, is_full},
        event::FileEvent,
        format::{
            file_names,
            frame::{FrameHeader, FrameKind, HEADER_LEN},
            segment_head::LogFormat,
        },
        options::{Durability, Options},
        stats::{FileCounters, add},
    },
    sync::{lock, read, write},
};

/// Maximum number of bytes that are preallocated at a time.
const MAX_PREALLOCATION: u64 = 256 << 10;

/// The reason why the store accepts no more writes.
pub(super) enum Poison {
    /// A write to the disk failed, with this message.
    Write(Arc<str>),
    /// A path leads to another file or to none, so new data could not be found again. Reads fail, too.
    PathChange(PathChange),
    /// The files exceed the limit, although space was reserved.
    Limit(SpaceUsage),
}

/// Minimum time between two frames that record the time because sessions expired.
const TIME_RECORD_INTERVAL: Duration = Duration::from_secs(10);

/// The append-only log of an open store.
///
/// Locks are taken in this order: `sync_lock`, `writer`, `segments`.
pub(crate) struct AppendLog {
    disk: Box<dyn Disk>,
    options: Options,
    writer: Mutex<LogWriter>,
    /// All segments, including the next one; changed only under the `writer` lock.
    pub(super) segments: RwLock<SegmentMap<Arc<Segment>>>,
    /// Held during a sync and the check of paths after it, so that syncs run one at a time.
    pub(crate) sync_lock: Mutex<KnownEntries>,
    /// Everything before this packed [`Position`] is durable.
    durable: AtomicU64,
    /// Set if the clock was behind the log at the opening.
    clock_lag: Option<ClockLag>,
    /// Set once, when the store must stop.
    poison: OnceLock<Poison>,
    /// A thread of the store panicked. Nothing more is appended, but what was appended can still be synced.
    panicked: AtomicBool,
    closed: AtomicBool,
    counters: FileCounters,
    /// Wakes the maintenance thread.
    wakeup: Wakeup,
}

impl AppendLog {
    pub(crate) fn new(
        disk: Box<dyn Disk>,
        options: Options,
        segments: SegmentMap<Arc<Segment>>,
        mut writer: LogWriter,
        counters: FileCounters,
        newest: Timestamp,
    ) -> Self {
        writer.usage.segments = segments.entries().len() as u64;
        writer.usage.longest = longest(segments.values());
        Self {
            disk,
            clock_lag: ClockLag::new(&options, newest),
            wakeup: Wakeup::new(options.monotonic_time.clone()),
            options,
            writer: Mutex::new(writer),
            segments: RwLock::new(segments),
            sync_lock: Mutex::default(),
            durable: AtomicU64::new(Position::default().pack()),
            poison: OnceLock::new(),
            panicked: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            counters,
        }
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        self.disk.as_ref()
    }

    pub(crate) const fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) const fn counters(&self) -> &FileCounters {
        &self.counters
    }

    pub(crate) const fn wakeup(&self) -> &Wakeup {
        &self.wakeup
    }

    /// Returns the current time. If the clock is behind the log, the time continues from the newest one in
    /// the log.
    pub(crate) fn now(&self) -> Timestamp {
        let now = self.options.clock.now();
        match &self.clock_lag {
            None => now,
            Some(lag) => now.max(lag.now()),
        }
    }

    /// Locks the end of the log.
    pub(crate) fn lock(&self) -> MutexGuard<'_, LogWriter> {
        lock(&self.writer)
    }

    /// Locks the end of the log for an append. Fails if the store is closed or poisoned.
    pub(crate) fn lock_writable(&self) -> Result<MutexGuard<'_, LogWriter>, FileError> {
        let writer = self.lock();
        self.check_open()?;
        self.check_poison()?;
        Ok(writer)
    }

    /// Fails if the store is closed, or if its files are not where it opened them.
    pub(crate) fn check_open(&self) -> Result<(), FileError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(FileError::Closed);
        }
        match self.poison.get() {
            Some(poison @ Poison::PathChange(_)) => Err(self.poison_error(poison)),
            Some(Poison::Write(_) | Poison::Limit(_)) | None => Ok(()),
        }
    }

    /// Makes all later operations fail with [`FileError::Closed`].
    pub(crate) fn mark_closed(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Fails if the store accepts no more writes.
    pub(crate) fn check_poison(&self) -> Result<(), FileError> {
        self.check_syncable()?;
        if self.panicked.load(Ordering::Acquire) {
            return Err(self.panic_error());
        }
        Ok(())
    }

    /// Fails if a sync may not make durable what was acknowledged. After the panic of a thread, it does.
    fn check_syncable(&self) -> Result<(), FileError> {
        self.poison
            .get()
            .map_or(Ok(()), |poison| Err(self.poison_error(poison)))
    }

    /// Makes all later writes fail because of `error`. Returns the error for the caller.
    pub(super) fn poison(&self, error: &io::Error) -> FileError {
        self.set_poison(Poison::Write(error.to_string().into()))
    }

    /// Makes all later writes fail after the panic of a thread of the store.
    pub(crate) fn poison_after_panic(&self) {
        let has_panicked = self.panicked.swap(true, Ordering::AcqRel);
        if !has_panicked && self.poison.get().is_none() {
            let error = &self.panic_error();
            self.options.emit(&FileEvent::Poisoned { error });
        }
    }

    fn panic_error(&self) -> FileError {
        FileError::Panicked {
            path: self.disk.path().to_path_buf(),
        }
    }

    pub(super) fn set_poison(&self, poison: Poison) -> FileError {
        let error = self.poison_error(&poison);
        if self.poison.set(poison).is_ok() {
            self.options.emit(&FileEvent::Poisoned { error: &error });
        }
        error
    }

    fn poison_error(&self, poison: &Poison) -> FileError {
        match poison {
            Poison::Write(reason) => FileError::Poisoned {
                path: self.disk.path().to_path_buf(),
                reason: Arc::clone(reason),
            },
            Poison::PathChange(PathChange { path, change }) => FileError::PathChanged {
                path: path.clone(),
                change,
            },
            Poison::Limit(usage) => FileError::LimitExceeded {
                path: self.disk.path().to_path_buf(),
                bytes: usage.total,
                limit: usage.limit(),
            },
        }
    }

    /// Counts and reports damage in a segment.
    pub(crate) fn report_damage(&self, segment: u32, offset: u64, bytes: u64) {
        add(&self.counters.damaged, 1);
        let path = self.disk.locate(&file_names::segment(segment));
        self.options.emit(&FileEvent::Damaged {
            path: &path,
            offset,
            bytes,
        });
    }

    /// Returns segment `id`, if it exists.
    pub(crate) fn segment(&self, id: u32) -> Option<Arc<Segment>> {
        read(&self.segments).get(id).map(Arc::clone)
    }

    pub(crate) fn segment_count(&self) -> usize {
        read(&self.segments).entries().len()
    }

    /// Returns the segment with the lowest number.
    pub(crate) fn oldest_segment(&self) -> Option<Arc<Segment>> {
        read(&self.segments).values().next().map(Arc::clone)
    }

    /// Returns the segments that have ended and may need a hint.
    pub(crate) fn segments_without_hint(&self) -> Vec<Arc<Segment>> {
        let active = self.lock().active.id;
        let segments = read(&self.segments);
        let full = segments.values().filter(|segment| segment.id < active);
        let without_hint = full.filter(|segment| !segment.is_hint_done());
        without_hint.map(Arc::clone).collect()
    }

    /// Returns the segments of format version 1, the oldest first.
    pub(crate) fn segments_of_version_1(&self) -> Vec<Arc<Segment>> {
        let segments = read(&self.segments);
        let old = segments
            .values()
            .filter(|segment| segment.format == LogFormat::V1);
        old.map(Arc::clone).collect()
    }

    /// Forgets a segment whose file was deleted.
    pub(crate) fn forget_segment(&self, segment: &Segment) {
        let mut writer = self.lock();
        let mut segments = write(&self.segments);
        segments.remove(segment.id);
        writer.usage.segments = segments.entries().len() as u64;
        writer.usage.longest = longest(segments.values());
    }

    /// Returns `bytes` of a segment, which were freed, to the space that mutations may take.
    pub(crate) fn free_space(&self, bytes: u64) {
        let mut writer = self.lock();
        writer.usage.total = writer.usage.total.saturating_sub(bytes);
    }

    /// Fails if there is no room to append `bytes` of frames, of which `added` bytes come into use while
    /// `removed` bytes go out of use. Returns the number of zeros for which there is room, too.
    ///
    /// A compaction makes room. The caller then tries again.
    pub(super) fn reserve(
        &self,
        writer: &mut LogWriter,
        bytes: u64,
        added: u64,
        removed: u64,
    ) -> Result<u64, FileError> {
        let usage_after = |writer: &LogWriter| {
            let appended = writer.usage_after_append(bytes);
            appended.after_change(added, removed)
        };
        let mut usage = usage_after(writer);
        if !usage.fits() && writer.preallocated > bytes {
            // If that fails, the zeros are still counted.
            let _ = writer.truncate_to_tail();
            usage = usage_after(writer);
        }
        if usage.fits() {
            // Not all of it, so that a mutation that lowers the limit rarely has to free the zeros.
            return Ok(usage.room() / 2);
        }
        self.wakeup.notify();
        Err(FileError::DiskLimit {
            path: self.disk.path().to_path_buf(),
            bytes: writer.usage.total,
            limit: writer.usage.limit(),
        })
    }

    /// Checks the limit on disk space after a mutation. Space for it was reserved, so only wrong accounting can
    /// exceed the limit. The store then stops.
    pub(super) fn check_limit(&self, usage: SpaceUsage) -> Result<(), FileError> {
        if usage.total <= usage.limit() {
            return Ok(());
        }
        Err(self.set_poison(Poison::Limit(usage)))
    }

    /// Returns `true` if the frame at `position` would survive a power failure now.
    pub(crate) fn is_durable(&self, position: Position) -> bool {
        position.pack() < self.durable.load(Ordering::Acquire)
    }

    pub(super) fn durable(&self) -> Position {
        Position::unpack(self.durable.load(Ordering::Acquire))
    }

    /// Appends one frame: all of it, or nothing. At most `zeros` may be preallocated.
    pub(crate) fn append(
        &self,
        writer: &mut LogWriter,
        header: &FrameHeader,
        payload: &[u8],
        zeros: u64,
    ) -> Result<Position, FileError> {
        self.ensure_open_frame(writer)?;
        self.ensure_capacity(writer, header.frame_len())?;
        let position = writer.stage(header, payload);
        self.write_staged(writer, zeros)?;
        Ok(position)
    }

    /// Appends several frames: all of them, or nothing. At most `zeros` may be preallocated.
    pub(crate) fn append_all<'a>(
        &self,
        writer: &mut LogWriter,
        frames: impl Iterator<Item = (&'a FrameHeader, &'a [u8])> + Clone,
        zeros: u64,
    ) -> Result<Vec<Position>, FileError> {
        let bytes = frames.clone().map(|(header, _)| header.frame_len()).sum();
        if bytes == 0 {
            return Ok(Vec::new());
        }
        self.ensure_open_frame(writer)?;
        self.ensure_capacity(writer, bytes)?;
        let stage = |(header, payload)| writer.stage(header, payload);
        let positions = frames.map(stage).collect();
        self.write_staged(writer, zeros)?;
        Ok(positions)
    }

    /// Appends the frames of an opening: those of the `recovery`, with their payloads, and the open frame. Without
    /// space for the open frame, fails only if it `is_required`. Otherwise reads are possible.
    pub(crate) fn begin(
        &self,
        recovery: &[(FrameHeader, Vec<u8>)],
        is_required: bool,
    ) -> Result<(), FileError> {
        self.sync()?;
        let mut writer = self.lock();
        if !recovery.is_empty() {
            // Synced before any frame says that the damage before it was durable. The open frame then says that
            // these frames were durable.
            for (header, payload) in recovery {
                writer.stage(header, payload);
            }
            self.write_and_sync(&mut writer)?;
            let end = writer.end_position().pack();
            self.durable.fetch_max(end, Ordering::AcqRel);
        }
        writer.durable = self.durable();
        match self.ensure_open_frame(&mut writer) {
            Err(error) if error.is_full() && !is_required => Ok(()),
            other => other,
        }
    }

    /// Syncs everything and appends the closed frame. If the next opening finds damage before that
    /// frame, it is known to be damage, not an incomplete append.
    pub(crate) fn finish(&self) -> Result<(), FileError> {
        self.sync()?;
        // After a panic, the state is not known to be right, so nothing is appended.
        self.check_poison()?;
        let mut writer = self.lock();
        writer.durable = self.durable();
        let header = FrameHeader {
            expires: self.now(),
            ..FrameHeader::without_key(FrameKind::Closed, 0)
        };
        writer.stage(&header, &[]);
        let written = self.write_staged(&mut writer, 0);
        writer.release_preallocated();
        match written {
            Err(error) if error.is_full() => Ok(()),
            other => other,
        }
    }

    /// Appends and syncs the open frame, unless that was done since the store was opened.
    ///
    /// The next opening assigns versions above the one in this frame. Versions of writes that a
    /// power failure took are therefore never assigned again.
    fn ensure_open_frame(&self, writer: &mut LogWriter) -> Result<(), FileError> {
        if !writer.needs_open_frame {
            return Ok(());
        }
        let header = self.open_frame(writer);
        writer.stage(&header, &[]);
        self.write_and_sync(writer)?;
        writer.needs_open_frame = false;
        Ok(())
    }

    fn write_and_sync(&self, writer: &mut LogWriter) -> Result<(), FileError> {
        self.write_staged(writer, 0)?;
        let synced = writer.active.file.sync();
        synced.map_err(|error| self.poison(&error))
    }

    /// Returns an open frame: the greatest version and the current time.
    pub(crate) fn open_frame(&self, writer: &LogWriter) -> FrameHeader {
        FrameHeader {
            expires: self.now(),
            ..FrameHeader::without_key(FrameKind::Open, writer.version())
        }
    }

    /// Records the current time in the log, if sessions have expired since the newest time in it. Does nothing
    /// while that time is recent; a later call then records it.
    pub(crate) fn record_time(&self, writer: &mut LogWriter) -> Result<(), FileError> {
        self.check_poison()?;
        let is_recent = self.now() < writer.recorded_time.saturating_add(TIME_RECORD_INTERVAL);
        if !writer.has_unrecorded_expiry || is_recent {
            return Ok(());
        }
        self.reserve(writer, HEADER_LEN as u64, 0, 0)?;
        let header = self.open_frame(writer);
        self.append(writer, &header, &[], 0).map(drop)
    }

    /// Writes the staged frames, and preallocates at most `max_zeros`. After an error none of the frames is in the
    /// file.
    pub(super) fn write_staged(
        &self,
        writer: &mut LogWriter,
        max_zeros: u64,
    ) -> Result<(), FileError> {
        let mut staged = take(&mut writer.staged);
        let bytes = staged.len();
        let zeros = self.preallocation(writer, bytes as u64).min(max_zeros) as usize;
        staged.resize(bytes + zeros, 0);
        let mut written = self.write_at_tail(writer, &staged, bytes as u64);
        if zeros > 0 && written.as_ref().is_err_and(FileError::is_full) {
            staged.truncate(bytes);
            written = self.write_at_tail(writer, &staged, bytes as u64);
        }
        staged.clear();
        writer.staged = staged;
        writer.finish_append(written.is_ok());
        written
    }

    /// Returns the number of zeros to write after `bytes` of frames, if there is room for them.
    ///
    /// A sync of a file that has grown also writes the file's length, through the journal of the file
    /// system. That takes at least half as long again. If writers wait for syncs, the file therefore
    /// grows in advance, up to the length at which the segment ends.
    fn preallocation(&self, writer: &LogWriter, bytes: u64) -> u64 {
        if bytes <= writer.preallocated || self.options.durability != Durability::Always {
            return 0;
        }
        let rest = writer.usage.roll_len().saturating_sub(writer.tail + bytes);
        rest.min(MAX_PREALLOCATION)
            .min(self.options.segment_bytes / 16)
    }

    /// Writes `staged`, of which the first `frames` bytes are frames.
    fn write_at_tail(
        &self,
        writer: &mut LogWriter,
        staged: &[u8],
        frames: u64,
    ) -> Result<(), FileError> {
        let bytes = staged.len() as u64;
        // Frames of an opening or a close are appended to a segment of any length.
        let fits = writer.tail + bytes <= u64::from(u32::MAX);
        let written = if fits {
            writer.active.file.write_at(staged, writer.tail)
        } else {
            Err(io::ErrorKind::FileTooLarge.into())
        };
        if let Err(error) = written {
            return Err(self.undo_append(writer, error));
        }
        writer.usage.total += bytes.saturating_sub(writer.preallocated);
        writer.preallocated = bytes.max(writer.preallocated) - frames;
        writer.tail += frames;
        Ok(())
    }

    /// Cuts off the bytes of a failed append. If that fails too, the end of the file is unknown, so
    /// nothing may be appended any more.
    fn undo_append(&self, writer: &mut LogWriter, error: io::Error) -> FileError {
        if let Err(second) = writer.truncate_to_tail() {
            return self.poison(&second);
        }
        let path = self.disk.path().to_path_buf();
        if is_full(&error) {
            FileError::Full { path }
        } else {
            FileError::io("append to the log in", path, error)
        }
    }

    /// Makes everything durable that was appended before the call.
    pub(crate) fn sync(&self) -> Result<(), FileError> {
        let mut known_entries = lock(&self.sync_lock);
        self.check_syncable()?;
        let (ended, active, end) = {
            let writer = self.lock();
            let active = Arc::clone(&writer.active);
            // A segment leaves the list only after its sync, so that a panic here loses none.
            (writer.unsynced.clone(), active, writer.end_position())
        };
        let is_durable = end.pack() <= self.durable.load(Ordering::Acquire);
        if !is_durable {
            for segment in ended.iter().chain([&active]) {
                // After a failed sync the system may have dropped the data and marked it as clean. Only
                // a read from the device could verify it, so the store stops here.
                segment.file.sync().map_err(|error| self.poison(&error))?;
            }
            add(&self.counters.syncs, 1);
        }
        // Data in a file that was deleted meanwhile is not durable.
        self.check_after_sync(&mut known_entries, &active)?;
        self.durable.fetch_max(end.pack(), Ordering::AcqRel);
        if !ended.is_empty() {
            // Only syncs remove segments, and they run one at a time. Later ones were added at the end.
            self.lock().unsynced.drain(..ended.len());
        }
        Ok(())
    }

    /// Makes a segment durable to which nothing is appended meanwhile.
    pub(super) fn sync_segment(&self, segment: &Segment) -> Result<(), FileError> {
        // The system reports an error of the disk to only one of two concurrent syncs of a file. The other one
        // would acknowledge data that is lost.
        let _syncing = lock(&self.sync_lock);
        self.check_syncable()?;
        if segment.id < self.durable().segment {
            return Ok(());
        }
        segment.file.sync().map_err(|error| self.poison(&error))
    }
}

/// Returns the length of the longest segment.
fn longest<'a>(segments: impl Iterator<Item = &'a Arc<Segment>>) -> u64 {
    let lens = segments.map(|segment| segment.file.len().unwrap_or(0));
    lens.max().unwrap_or(0)
}
