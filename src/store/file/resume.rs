//! Going on where the log ended.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    FileError,
    disk::Disk,
    engine::Engine,
    log::Log,
    options::FileStoreBuilder,
    pace::Sizes,
    replay::Replay,
    segment::{HEAD, Segment},
    stats::Counters,
};

/// Versions begin this far above the greatest one known, so that those of writes that a power
/// failure took are not given again. Nobody writes that often between two openings.
const VERSION_GAP: u64 = 1 << 32;

/// What reading the files came to.
pub(super) struct Parts {
    pub(super) replay: Replay,
    pub(super) segments: BTreeMap<u32, Arc<Segment>>,
    pub(super) last_used: u32,
    pub(super) ended: bool,
    pub(super) leftovers: Vec<String>,
    pub(super) excused: Option<u32>,
    pub(super) counters: Counters,
    pub(super) total: u64,
}

impl Parts {
    /// Opens the log where it ended, and removes the files that nobody needs.
    pub(super) fn finish(
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
