//! Problems that a scan of a directory finds.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// A problem in the files of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The file. A missing segment has the path that it should have.
    pub path: PathBuf,
    /// The offset in the file.
    pub offset: u64,
    /// The length of the problem in bytes, or 0 if it is not known.
    pub bytes: u64,
    /// The kind of the problem.
    pub kind: FindingKind,
    /// The problem is in a part of the log that was durable.
    pub durable: bool,
    /// An earlier opening of the store has handled the problem.
    pub handled: bool,
}

/// The kind of a [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindingKind {
    /// Bytes at the end of the log are not a frame: the rest of an append that a crash interrupted.
    IncompleteAppend,
    /// Bytes are not a frame, and frames follow.
    Damage,
    /// The end of a segment is missing.
    LostEnd,
    /// The segment is not the one that the next segment follows.
    Replaced,
    /// The head of a segment is damaged, so none of its frames can be read.
    UnreadableHead,
    /// Segments are missing. The path is that of the first one.
    Missing {
        /// The number of segments.
        segments: u32,
    },
    /// The first segments are missing, and no frame records that a compaction deleted them. That frame
    /// may have been lost with the end of the log.
    UncertainEnd,
    /// A hint file does not match its segment. If `used`, an opening would believe it.
    WrongHint {
        /// The hint is intact and has the segment's length.
        used: bool,
    },
}

impl Finding {
    /// Returns `true` if acknowledged data may be lost, and no earlier opening has handled that.
    ///
    /// By default, a store with such a finding does not open; see
    /// [`OnDamage`](crate::store::file::OnDamage).
    pub fn is_loss(&self) -> bool {
        self.durable && !self.handled
    }

    /// Returns the directory of the file.
    pub(crate) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (offset, bytes) = (self.offset, self.bytes);
        match self.kind {
            FindingKind::IncompleteAppend => {
                write!(f, "incomplete append of {bytes} bytes at offset {offset}")
            }
            FindingKind::Damage => write!(f, "{bytes} bytes are damaged at offset {offset}"),
            FindingKind::LostEnd if bytes == 0 => {
                write!(f, "the end is missing from offset {offset}")
            }
            FindingKind::LostEnd => {
                write!(f, "the end is missing, {bytes} bytes at offset {offset}")
            }
            FindingKind::Replaced => f.write_str(
                "another file is in place of the segment that the next one follows, offset 0",
            ),
            FindingKind::UnreadableHead => f.write_str("the head is damaged at offset 0"),
            FindingKind::Missing { segments: 1 } => f.write_str("the segment is missing"),
            FindingKind::Missing { segments } => {
                write!(f, "{segments} segments are missing, this one is the first")
            }
            FindingKind::UncertainEnd => write!(
                f,
                "the end may be missing from offset {offset}, because the first segments are missing"
            ),
            FindingKind::WrongHint { .. } => {
                f.write_str("the hint file does not match its segment")
            }
        }
    }
}
