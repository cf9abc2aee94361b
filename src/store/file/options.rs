//! The options of an open store.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use super::{
    encryption::RecordCipher,
    error::FileError,
    event::{FileEvent, FileEventListener},
    monotonic_time::MonotonicTime,
};
use crate::{
    clock::Clock,
    duration::{self, ParseDurationError},
};

/// The point at which a write is acknowledged, and thereby the possible loss in a crash.
///
/// In every mode an acknowledged write has been handed to the operating system, so it survives the
/// end of the process, `kill -9` included. The modes differ for a power failure or a crash of the
/// operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// A write is acknowledged once it is on the disk. No acknowledged write is ever lost, and readers
    /// never see data that could still be lost. Concurrent writers share one sync, so throughput
    /// grows with concurrency.
    Always,
    /// A write is acknowledged at once and is on the disk within this time, plus the time of one
    /// sync. A power failure loses at most the writes of that time. It is above zero and at most a day.
    Interval(Duration),
    /// A write is acknowledged at once. The operating system writes it to the disk later, usually
    /// within 30 s.
    Os,
}

impl FromStr for Durability {
    type Err = ParseDurationError;

    /// Parses `always`, `os`, or the time of an interval, such as `200ms`.
    fn from_str(text: &str) -> Result<Self, ParseDurationError> {
        match text.trim() {
            "always" => Ok(Self::Always),
            "os" => Ok(Self::Os),
            time => duration::parse(time).map(Self::Interval),
        }
    }
}

impl Default for Durability {
    /// Returns an interval of 200 ms.
    fn default() -> Self {
        Self::Interval(Duration::from_millis(200))
    }
}

/// The reaction of an opening to damage in a part of the log that was durable.
///
/// A part is known to be durable if a later part of the log, the head of the next segment or a hint
/// file says so. Damage elsewhere is an append that a power failure interrupted. It never prevents an
/// opening, and costs nothing that was acknowledged as durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDamage {
    /// The store does not open, and nothing is changed. The error names the file and the offset.
    #[default]
    Refuse,
    /// Drops each session whose last frame is older than the damage. The damage may hide a newer state
    /// of such a session, or that it was destroyed. All other sessions have their newest state.
    DropUncertain,
    /// Drops only the session whose frame is damaged, if its key can be read. Sessions may have an
    /// older state, and destroyed sessions may be back.
    AllowDataLoss,
}

/// A text that is no [`OnDamage`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not `refuse`, `drop_uncertain` or `allow_data_loss`")]
pub struct ParseOnDamageError(String);

impl FromStr for OnDamage {
    type Err = ParseOnDamageError;

    /// Parses `refuse`, `drop_uncertain` or `allow_data_loss`.
    fn from_str(text: &str) -> Result<Self, ParseOnDamageError> {
        match text.trim() {
            "refuse" => Ok(Self::Refuse),
            "drop_uncertain" => Ok(Self::DropUncertain),
            "allow_data_loss" => Ok(Self::AllowDataLoss),
            other => Err(ParseOnDamageError(other.to_owned())),
        }
    }
}

/// The options of an open store. [`FileStoreBuilder`](super::FileStoreBuilder) documents them.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) durability: Durability,
    pub(crate) segment_bytes: u64,
    pub(crate) tombstone_ttl: Duration,
    pub(crate) compaction_rate: u64,
    pub(crate) clock: Clock,
    pub(crate) monotonic_time: MonotonicTime,
    pub(crate) listener: Option<Arc<dyn FileEventListener>>,
    pub(crate) on_damage: OnDamage,
    pub(crate) verify_on_open: bool,
    pub(crate) cipher: Option<RecordCipher>,
    pub(crate) refuse_unencrypted: bool,
    pub(crate) cache_bytes: usize,
    pub(crate) max_pending_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            segment_bytes: 16 << 20,
            tombstone_ttl: Duration::from_secs(60),
            compaction_rate: 64 << 20,
            clock: Clock::system(),
            monotonic_time: MonotonicTime::default(),
            listener: None,
            on_damage: OnDamage::default(),
            verify_on_open: false,
            cipher: None,
            refuse_unencrypted: false,
            cache_bytes: 16 << 20,
            max_pending_bytes: 64 << 20,
        }
    }
}

/// Maximum length of a segment, as configured: 1 GiB.
pub(crate) const MAX_SEGMENT_BYTES: u64 = 1 << 30;

/// Maximum interval between two syncs: a day.
const MAX_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

impl Options {
    /// Checks that every option is in its range.
    pub(crate) fn check(&self) -> Result<(), FileError> {
        let invalid = |option, found, allowed| {
            Err(FileError::InvalidOption {
                option,
                found,
                allowed,
            })
        };
        match (self.segment_bytes, self.compaction_rate, self.durability) {
            (found, ..) if !(16 << 10..=MAX_SEGMENT_BYTES).contains(&found) => {
                invalid("segment_bytes", found, "16 KiB to 1 GiB")
            }
            (_, 0, _) => invalid("compaction_rate", 0, "at least 1"),
            (.., Durability::Interval(Duration::ZERO)) => invalid(
                "durability",
                0,
                "an interval above zero, or `Durability::Always`",
            ),
            (.., Durability::Interval(interval)) if interval > MAX_INTERVAL => invalid(
                "durability",
                interval.as_secs(),
                "an interval of at most 86400 seconds, or `Durability::Os`",
            ),
            _ if self.refuse_unencrypted && self.cipher.is_none() => {
                invalid("refuse_unencrypted", 1, "0 without `encrypt_with`")
            }
            _ => Ok(()),
        }
    }

    /// Passes `event` to the listener. Catches its panic, which must not end a thread of the store.
    pub(crate) fn emit(&self, event: &FileEvent<'_>) {
        if let Some(listener) = &self.listener {
            let _panicked = catch_unwind(AssertUnwindSafe(|| listener.on_event(event)));
        }
    }
}
