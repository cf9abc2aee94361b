//! The limit on disk space, and the compaction work that keeps it.
//!
//! With `live` bytes of frames in use and the configured segment size `segment`, the files take at
//! most `2 * live + segment` bytes. The slack is the space that is left up to this limit. A mutation
//! that uses slack adds debt in proportion: compaction work, in bytes to read. When the slack is used
//! up, the debt covers the whole log, so compaction has then found all garbage. A mutation waits
//! only while the debt is above [`SpaceUsage::max_debt`].

/// Disk usage of the log, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpaceUsage {
    /// All segment and hint files.
    pub(crate) total: u64,
    /// The frames that the index points to.
    pub(crate) live: u64,
}

/// Segments are shorter than configured while there is little data, down to this length.
const MIN_SEGMENT_LEN: u64 = 1024;

/// Upper bound of [`SpaceUsage::max_debt`].
const MAX_DEBT: u64 = 1 << 20;

impl SpaceUsage {
    const fn garbage(self) -> u64 {
        self.total.saturating_sub(self.live)
    }

    /// Returns the maximum size of all files.
    pub(crate) const fn limit(self, segment: u64) -> u64 {
        self.live.saturating_mul(2).saturating_add(segment)
    }

    /// Returns the length at which the active segment ends: an eighth of the allowed garbage.
    ///
    /// The active segment and the copies out of one segment are then small compared to the slack.
    pub(crate) fn roll_len(self, segment: u64) -> u64 {
        (self.live.saturating_add(segment) / 8).clamp(MIN_SEGMENT_LEN.min(segment), segment)
    }

    /// Returns `true` if the garbage exceeds half of the allowed garbage.
    pub(crate) const fn needs_compaction(self, segment: u64) -> bool {
        self.garbage() > self.live.saturating_add(segment) / 2
    }

    /// Returns the debt above which mutations wait: a small part of the log, which may consist of
    /// garbage that is not found yet.
    pub(crate) fn max_debt(self, segment: u64) -> u64 {
        (self.limit(segment) / 16).min(MAX_DEBT)
    }

    /// Returns the space up to the limit, less the space for the copies out of one segment and for
    /// the debt that is allowed.
    fn slack(self, segment: u64) -> u64 {
        let copies = self.live.min(self.roll_len(segment));
        self.limit(segment)
            .saturating_sub(self.total)
            .saturating_sub(copies)
            .saturating_sub(self.max_debt(segment))
    }

    /// Returns the debt of a mutation that changed the usage from `before` to `self`.
    pub(crate) fn debt(self, before: Self, segment: u64) -> u64 {
        if !self.needs_compaction(segment) {
            return 0;
        }
        let (limit_before, limit) = (before.limit(segment), self.limit(segment));
        let used = (limit_before.saturating_add(self.total))
            .saturating_sub(limit.saturating_add(before.total));
        let debt = (u128::from(used) * u128::from(self.total))
            .div_ceil(u128::from(self.slack(segment).max(1)));
        u64::try_from(debt).unwrap_or(u64::MAX).min(self.total)
    }
}
