//! The list of checks, and the functions that run them.

use std::fmt;

use super::{
    Harness, Report, Violation, destroy, expiry,
    harness::Stopwatch,
    keep,
    probe::{CheckResult, Probe},
    races, records, scan, tag_index, tag_races, tags, write,
};
use crate::store::Store;

/// Number of times that a check runs whose calls take too long.
const MAX_ATTEMPTS: u32 = 8;

/// The capability that a check requires of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Requirement {
    Nothing,
    ConditionalWrites,
    Tombstones,
    TagIndex,
    Scan,
}

impl Requirement {
    fn is_met(self, store: &impl Store) -> bool {
        let capabilities = store.capabilities();
        match self {
            Self::Nothing => true,
            Self::ConditionalWrites => capabilities.conditional_writes,
            Self::Tombstones => capabilities.tombstones,
            Self::TagIndex => tag_index::tag_index(store).is_some(),
            Self::Scan => store.scan().is_some(),
        }
    }
}

/// One line per check: its name, its requirement, and the function that runs it.
macro_rules! checks {
    ($($(#[$doc:meta])* $name:ident: $requirement:ident => $file:ident::$check:ident($p:ident $(, $h:ident)?),)*) => {
        /// A check of the suite, named after the promise that it tests.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Check {
            $($(#[$doc])* $name,)*
        }

        impl Check {
            /// Every check, in the order of [`run`].
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            const fn requirement(self) -> Requirement {
                match self {
                    $(Self::$name => Requirement::$requirement,)*
                }
            }

            /// Returns `true` if the result depends on the time between two calls of the store: a record may have
            /// expired, or a tombstone may have ended.
            const fn depends_on_time(self) -> bool {
                if matches!(self.requirement(), Requirement::Tombstones) {
                    return true;
                }
                match self {
                    $(Self::$name => {
                        let harness: &[&str] = &[$(stringify!($h))?];
                        !harness.is_empty()
                    })*
                }
            }

            async fn run<H: Harness>(self, probe: &Probe<H::Store>, harness: &H) -> CheckResult {
                match self {
                    $(Self::$name => {
                        let $p = probe;
                        $(let $h = harness;)?
                        Box::pin($file::$check($p $(, $h)?)).await
                    })*
                }
            }
        }
    };
}

checks! {
    /// Data is read as written: all 256 byte values, no bytes, a megabyte.
    DataIsOpaque: Nothing => records::data_is_opaque(p),
    /// Keys that differ in one bit have separate records.
    KeysAreIndependent: Nothing => records::keys_are_independent(p),
    /// No version repeats under one key, even if the record expired or was destroyed in between.
    VersionsNeverRepeat: Nothing => records::versions_never_repeat(p, h),
    /// A touch changes neither data nor tags nor version.
    TouchesKeepTheRecord: ConditionalWrites => records::touches_keep_the_record(p),
    /// The count of records, if the store has one, follows writes and destroys.
    CountFollowsWrites: Nothing => records::count_follows_writes(p),
    /// Writes to a key without a record, with each [`Expected`](crate::store::Expected) state.
    WritesOnAnAbsentKey: ConditionalWrites => write::on_an_absent_key(p),
    /// Writes to a live record, with each expected state. A conflict returns the newer record.
    WritesOnALiveRecord: ConditionalWrites => write::on_a_live_record(p),
    /// Writes to an expired record, with each expected state. The record counts as absent.
    WritesOnAnExpiredRecord: ConditionalWrites => write::on_an_expired_record(p, h),
    /// Writes to a tombstone, with each expected state. All return `Gone`.
    WritesOnATombstone: Tombstones => write::on_a_tombstone(p),
    /// A store that retries a write whose answer was lost returns `Done`, not a conflict with its own record. Passes if
    /// the harness [cannot lose an answer](Harness::lose_answer).
    RetriesRecognizeTheirWrite: ConditionalWrites => write::with_a_lost_answer(p, h),
    /// Each write sets the expiry, whatever it was before.
    WritesSetTheExpiry: Nothing => write::set_the_expiry(p, h),
    /// A write can keep the expiry: it neither prolongs nor shortens the life of the record.
    WritesCanKeepTheExpiry: Nothing => keep::keeps_the_expiry(p, h),
    /// A write that keeps the expiry returns `Gone` if there is no live record.
    KeepCreatesNothing: Nothing => keep::creates_nothing(p, h),
    /// A write that keeps the expiry conflicts like any other.
    KeepIsConditional: ConditionalWrites => keep::is_conditional(p),
    /// A destroyed record cannot be read, touched or overwritten.
    DestroyRemovesTheRecord: Nothing => destroy::removes_the_record(p),
    /// Destroying twice has the same effect as once.
    DestroyCanBeRepeated: Tombstones => destroy::can_be_repeated(p),
    /// Destroying fences a key that had no record.
    DestroyFencesAnAbsentKey: Tombstones => destroy::fences_an_absent_key(p, h),
    /// Neither the record's expiry nor a touch changes the end of a tombstone.
    FenceOutlastsTheRecord: Tombstones => destroy::fence_outlasts_the_record(p, h),
    /// A tombstone ends after its TTL, and the key can be used again.
    FenceEnds: Tombstones => destroy::fence_ends(p, h),
    /// Destroying again renews the tombstone.
    DestroyRenewsTheFence: Tombstones => destroy::again_renews_the_fence(p, h),
    /// An expired record is never read, even by a read with touch.
    ExpiredIsNeverRead: Nothing => expiry::expired_is_never_read(p, h),
    /// A touch neither revives an expired record nor creates one.
    ExpiredIsNeverTouched: Nothing => expiry::expired_is_never_touched(p, h),
    /// A touch and a read with touch set the expiry, to a later or an earlier time.
    TouchSetsTheExpiry: Nothing => expiry::touch_sets_the_expiry(p, h),
    /// Neither a plain read nor a rejected write changes the expiry.
    PlainReadsDoNotTouch: ConditionalWrites => expiry::plain_read_does_not_touch(p, h),
    /// A record with a TTL of zero expires at once.
    ZeroTtlExpiresAtOnce: Nothing => expiry::zero_ttl_expires_at_once(p),
    /// A record with the longest `Duration` as TTL is kept.
    MaximumTtlIsKept: Nothing => expiry::maximum_ttl_is_kept(p, h),
    /// Many tasks increment one counter. No increment is lost.
    NoWriteIsLost: ConditionalWrites => races::no_write_is_lost(p),
    /// Of many tasks that create one record, one succeeds. The others conflict with its record.
    OneCreatorWins: ConditionalWrites => races::one_creator_wins(p),
    /// Of many tasks that overwrite one version, one succeeds.
    OneOverwriteWins: ConditionalWrites => races::one_overwrite_wins(p),
    /// Concurrent touches undo no write.
    TouchesLoseNoWrite: ConditionalWrites => races::touches_lose_no_write(p),
    /// A session that is destroyed during concurrent writes and touches stays destroyed.
    DestroyedStaysDestroyed: Tombstones => races::destroyed_stays_destroyed(p),
    /// Tags are read as written, with names of any text, and each write replaces all of them.
    TagsAreReadAsWritten: Nothing => tags::are_read_as_written(p),
    /// A record keeps the maximum number of tags of the maximum length.
    MaximumTagsAreKept: Nothing => tags::maximum_is_kept(p),
    /// Tags end with the session. A new session under the same key has none of them.
    TagsEndWithTheSession: Nothing => tags::end_with_the_session(p, h),
    /// Many tasks tag one session while others write it. No tag and no write is lost.
    NoTagIsLost: ConditionalWrites => tag_races::no_tag_is_lost(p),
    /// A tag lists exactly the sessions whose last write has it, each once.
    TagsListTheirSessions: TagIndex => tag_index::lists_sessions(p),
    /// Tag names of any text are distinct in the index.
    TagNamesAreOpaque: TagIndex => tag_index::names_are_opaque(p),
    /// A session that touches keep alive stays listed.
    TouchedSessionsStayListed: TagIndex => tag_index::follows_touches(p, h),
    /// If the store has `destroy_tagged`, it destroys all sessions of a tag except one.
    DestroyTaggedEndsSessions: TagIndex => tag_index::destroys_sessions(p),
    /// A session that is destroyed while it is tagged is not listed, and neither is a new session under
    /// its key.
    DestroyedSessionsStayUntagged: TagIndex => tag_races::destroyed_sessions_stay_untagged(p, h),
    /// A scan visits every live session, and no key that was never written.
    ScansVisitEverySession: Scan => scan::visits_every_session(p),
    /// A scan visits the sessions that live on while others are destroyed.
    ScansMissNoSession: Scan => scan::misses_no_session(p),
    /// If the store knows the time to live of a record, it is that of the last write or touch.
    TimeToLiveIsThatOfTheRecord: Nothing => scan::time_to_live_is_that_of_the_record(p, h),
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Runs one check. Returns `Ok` without running it if the store does not have the required
/// capability.
///
/// # Errors
/// If the store breaks a promise. The error describes the first broken promise.
///
/// # Panics
/// If the check spawns tasks and is called outside a tokio runtime.
pub async fn check<H: Harness>(harness: &H, check: Check) -> Result<(), Violation> {
    run_in_time(harness, check).await.unwrap_or(Ok(()))
}

/// Runs one check. Returns `None` if the store does not have the required capability.
///
/// A check that depends on time says nothing if its calls took too long. It is then repeated, with records
/// that live longer.
async fn run_in_time<H: Harness>(harness: &H, check: Check) -> Option<CheckResult> {
    let mut attempt = 0;
    loop {
        let probe = Probe::new(check, harness).await;
        if !check.requirement().is_met(&*probe.store) {
            return None;
        }
        let stopwatch = Stopwatch::new(harness, attempt);
        let result = check.run(&probe, &stopwatch).await;
        let is_conclusive = !check.depends_on_time() || stopwatch.is_in_time();
        attempt += 1;
        if result.is_ok() || is_conclusive || attempt == MAX_ATTEMPTS {
            return Some(result);
        }
    }
}

/// Runs every check, even after a failure.
///
/// # Panics
/// If called outside a tokio runtime.
pub async fn run<H: Harness>(harness: &H) -> Report {
    let mut report = Report::default();
    for &check in Check::ALL {
        match run_in_time(harness, check).await {
            None => report.skipped.push(check),
            Some(Ok(())) => report.passed.push(check),
            Some(Err(violation)) => report.violations.push(violation),
        }
    }
    report
}
