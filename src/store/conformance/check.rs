//! The checks by name, and the run of them all.

use std::fmt;

use super::{
    Harness, Report, Violation, destroys, expiry,
    probe::{Probe, Verdict},
    races, records, tag_races, tags, writes,
};
use crate::store::Store;

/// What a store must claim for a check to be asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    Versions,
    Tombstones,
    Tags,
}

impl Need {
    fn is_met(self, store: &impl Store) -> bool {
        let can = store.capabilities();
        match self {
            Self::Nothing => true,
            Self::Versions => can.conditional_writes,
            Self::Tombstones => can.tombstones,
            Self::Tags => can.list_by_tag && store.tags().is_some(),
        }
    }
}

/// One line a check: its name, what it needs, and the function that makes it.
macro_rules! checks {
    ($($(#[$doc:meta])* $name:ident: $need:ident => $file:ident::$check:ident($p:ident $(, $h:ident)?),)*) => {
        /// One check of the suite.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Check {
            $($(#[$doc])* $name,)*
        }

        impl Check {
            /// Every check, in the order in which [`run`] makes them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            const fn need(self) -> Need {
                match self {
                    $(Self::$name => Need::$need,)*
                }
            }

            async fn make<H: Harness>(self, probe: &Probe<H::Store>, harness: &H) -> Verdict {
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
    /// All 256 byte values, nothing at all, a megabyte: read as written.
    BytesAreBytes: Nothing => records::bytes_are_bytes(p),
    /// Keys that differ in one bit share nothing.
    KeysAreApart: Nothing => records::keys_are_apart(p),
    /// No version comes twice under one key, whatever ended the record in between.
    VersionsNeverRepeat: Nothing => records::versions_never_repeat(p, h),
    /// Touching changes neither data nor version.
    TouchesKeepTheRecord: Versions => records::touches_keep_the_record(p),
    /// A count, where there is one, follows writes and destroys.
    CountFollows: Nothing => records::count_follows(p),
    /// Writes to a key without a record, under every expectation.
    WritesOnAnAbsentKey: Versions => writes::on_an_absent_key(p),
    /// Writes to a live record, under every expectation; conflicts carry the newer record.
    WritesOnALiveRecord: Versions => writes::on_a_live_record(p),
    /// Writes to an expired record, under every expectation: it is as absent.
    WritesOnAnExpiredRecord: Versions => writes::on_an_expired_record(p, h),
    /// Writes to a tombstone, under every expectation: all are gone.
    WritesOnATombstone: Tombstones => writes::on_a_tombstone(p),
    /// Each write sets the lifetime anew.
    WritesSetTheExpiry: Nothing => writes::set_the_expiry(p, h),
    /// A destroyed record is neither read nor touched nor written on.
    DestroyEndsTheRecord: Nothing => destroys::ends_the_record(p),
    /// Destroying twice is the same as once.
    DestroyCanBeRepeated: Tombstones => destroys::can_be_repeated(p),
    /// A destroyed key is fenced even where there was no record.
    DestroyFencesWhatWasNotThere: Tombstones => destroys::fences_what_was_not_there(p, h),
    /// A tombstone's time is its own: neither the record's lifetime nor a touch changes it.
    FenceOutlastsTheRecord: Tombstones => destroys::fence_outlasts_the_record(p, h),
    /// After its time the tombstone is gone, and the key free.
    FenceEnds: Tombstones => destroys::fence_ends(p, h),
    /// Destroying again renews the tombstone.
    DestroyRenewsTheFence: Tombstones => destroys::again_renews_the_fence(p, h),
    /// An expired record is never read, not even by a read with touch.
    ExpiredIsNeverRead: Nothing => expiry::expired_is_never_read(p, h),
    /// A touch revives no expired record, and creates none.
    ExpiredIsNeverTouched: Nothing => expiry::expired_is_never_touched(p, h),
    /// Both ways to touch set the lifetime, to a longer or a shorter one.
    TouchSetsTheExpiry: Nothing => expiry::touch_sets_the_expiry(p, h),
    /// Neither a plain read nor a refused write prolongs a life.
    PlainReadsDoNotTouch: Versions => expiry::plain_read_does_not_touch(p, h),
    /// A lifetime of zero.
    NoTimeIsNoLife: Nothing => expiry::no_time_is_no_life(p),
    /// The longest lifetime there is.
    EndlessLifeIsKept: Nothing => expiry::endless_life_is_kept(p, h),
    /// Many writers count on one record: every increment is there at the end.
    NoWriteIsLost: Versions => races::no_write_is_lost(p),
    /// Of many that create one record, one does, and the others are shown its record.
    OneCreatorWins: Versions => races::one_creator_wins(p),
    /// Of many that write on one version, one does.
    OneSuccessorWins: Versions => races::one_successor_wins(p),
    /// Touching while others write takes back no write.
    TouchesLoseNoWrite: Versions => races::touches_lose_no_write(p),
    /// Destroying while others write and touch: whoever saw it gone never sees it again.
    NothingReturnsFromTheDead: Tombstones => races::nothing_returns_from_the_dead(p),
    /// A tag lists the live sessions that carry it, each once.
    TagsListTheirSessions: Tags => tags::list_their_sessions(p),
    /// A session lists the tags that it carries; one that is not live lists none.
    SessionsListTheirTags: Tags => tags::are_listed_by_their_session(p, h),
    /// Untagging takes one tag off one session.
    UntagTakesOneOff: Tags => tags::untag_takes_one_off(p),
    /// Only a live session can be tagged.
    OnlyTheLiveAreTagged: Tags => tags::only_the_live_are_tagged(p, h),
    /// Writes and touches leave a session its tags.
    TagsOutliveWrites: Tags => tags::outlive_writes(p),
    /// Tags end with the session, and its successor under the same key has none of them.
    TagsEndWithTheSession: Tags => tags::end_with_the_session(p, h),
    /// Tags follow a session to its new key.
    TagsFollowAMove: Tags => tags::follow_a_move(p),
    /// Tags of any text are told apart.
    TagNamesAreText: Tags => tags::names_are_text(p),
    /// A session carries [`MAX_TAGS`](crate::store::MAX_TAGS) tags and not one more.
    TagsAreLimited: Tags => tags::are_limited(p),
    /// Many tag at once while others write: all tags and all writes are there at the end.
    NoTagIsLost: Tags => tag_races::no_tag_is_lost(p),
    /// Tagging while another destroys: the session is not listed, nor its successor.
    TagsOfTheDeadStayDead: Tags => tag_races::tags_of_the_dead_stay_dead(p, h),
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Makes one check. A check that needs what the store does not claim is passed.
///
/// # Errors
/// The first promise that the store broke.
///
/// # Panics
/// Outside a tokio runtime, for the checks that start tasks.
pub async fn check<H: Harness>(harness: &H, check: Check) -> Result<(), Violation> {
    let probe = Probe::new(check, harness).await;
    if check.need().is_met(&*probe.store) {
        check.make(&probe, harness).await?;
    }
    Ok(())
}

/// Makes every check, also after one has failed.
///
/// # Panics
/// Outside a tokio runtime.
pub async fn run<H: Harness>(harness: &H) -> Report {
    let mut report = Report::default();
    for &check in Check::ALL {
        let probe = Probe::new(check, harness).await;
        if !check.need().is_met(&*probe.store) {
            report.skipped.push(check);
            continue;
        }
        match check.make(&probe, harness).await {
            Ok(()) => report.kept.push(check),
            Err(violation) => report.violations.push(violation),
        }
    }
    report
}
