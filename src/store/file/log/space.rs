//! How much disk the log may take, and how hard the cleaner must work to keep it so.
//!
//! With `live` the bytes that the index points to and `segment` the configured segment size, the
//! files take at most `2 * live + segment` bytes. What is left up to there is the slack. Every
//! mutation that eats slack owes the cleaner work in proportion: by the time the slack is used up,
//! the cleaner has passed over the whole log and found everything there was to free. While a
//! mutation's debt is small nobody waits for it.

/// What the log takes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    /// All files together.
    pub(super) total: u64,
    /// What the index points to.
    pub(super) live: u64,
}

/// Segments are made smaller than configured while there is little data, down to this.
const SMALLEST: u64 = 1024;

/// The most that may be owed while nobody waits, in bytes to be passed over.
const MOST_PATIENCE: u64 = 1 << 20;

impl Sizes {
    const fn garbage(self) -> u64 {
        self.total.saturating_sub(self.live)
    }

    /// The most that the files may take.
    pub(super) const fn limit(self, segment: u64) -> u64 {
        self.live.saturating_mul(2).saturating_add(segment)
    }

    /// The length at which the active segment is ended: an eighth of the garbage allowed, so that
    /// what is in the active segment, and what is being copied, stay small beside the slack.
    pub(super) fn roll_at(self, segment: u64) -> u64 {
        (self.live.saturating_add(segment) / 8).clamp(SMALLEST.min(segment), segment)
    }

    /// Whether there is enough garbage to be worth cleaning: half of what is allowed.
    pub(super) const fn wants_cleaning(self, segment: u64) -> bool {
        self.garbage() > self.live.saturating_add(segment) / 2
    }

    /// A mutation waits for the cleaner while more than this is owed, in bytes to be passed over: a
    /// small part of the log, which may all be garbage that is not found yet.
    pub(super) fn patience(self, segment: u64) -> u64 {
        (self.limit(segment) / 16).min(MOST_PATIENCE)
    }

    /// What is left before the limit, less room for the copies out of one segment and for what the
    /// cleaner may be behind.
    fn slack(self, segment: u64) -> u64 {
        let copies = self.live.min(self.roll_at(segment));
        self.limit(segment)
            .saturating_sub(self.total)
            .saturating_sub(copies)
            .saturating_sub(self.patience(segment))
    }

    /// The work owed, in bytes to be passed over, by a mutation that led from `before` to here.
    pub(super) fn owed(self, before: Self, segment: u64) -> u64 {
        if !self.wants_cleaning(segment) {
            return 0;
        }
        let (was, is) = (before.limit(segment), self.limit(segment));
        let eaten =
            (was.saturating_add(self.total)).saturating_sub(is.saturating_add(before.total));
        let owed = (u128::from(eaten) * u128::from(self.total))
            .div_ceil(u128::from(self.slack(segment).max(1)));
        u64::try_from(owed).unwrap_or(u64::MAX).min(self.total)
    }
}
