//! The memory store keeps the store contract, and the conformance suite can fail: each of the broken
//! stores breaks one promise, and the check of that promise catches it.
use std::{future::ready, sync::Mutex, time::Duration};

use hyper_session::{
    clock::{Clock, Timestamp},
    store::{
        Capabilities, MemoryStore,
        conformance::{self, Check, Harness, ManualTime, RealTime, Report},
    },
};

use super::flaws::{BrokenStore, Flaw};
use crate::support::RetryingStore;

fn clock() -> Clock {
    Clock::manual(Timestamp::from_millis(1_700_000_000_000))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_memory_store_keeps_the_contract() {
    let clock = clock();
    let make_store = || ready(MemoryStore::builder().clock(clock.clone()).build());
    let report = conformance::run(&ManualTime::new(&clock, make_store)).await;
    report.assert_passed();
    assert_eq!(report.passed(), Check::ALL, "no check is skipped");
}

#[tokio::test]
async fn the_memory_store_keeps_the_contract_on_one_thread() {
    let clock = clock();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let make_store = || ready(store.clone());
    conformance::run(&ManualTime::new(&clock, make_store))
        .await
        .assert_passed();
}

#[tokio::test(start_paused = true)]
async fn a_store_on_real_time_is_tested_by_waiting() {
    // Paused time advances at once when every task waits. This task advances the store's clock with it.
    let (clock, start) = (clock(), tokio::time::Instant::now());
    let follower = clock.clone();
    tokio::spawn(async move {
        let mut shown = Duration::ZERO;
        loop {
            follower.advance(start.elapsed() - shown);
            shown = start.elapsed();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let (short_ttl, tombstone_ttl) = (Duration::from_millis(250), Duration::from_secs(2));
    let store = MemoryStore::builder()
        .clock(clock)
        .tombstone_ttl(tombstone_ttl)
        .build();
    let make_store = || ready(store.clone());
    conformance::run(&RealTime::new(make_store, short_ttl, tombstone_ttl))
        .await
        .assert_passed();
}

/// Each wait takes longer than it should, as on a machine with much to do.
struct SlowHarness {
    clock: Clock,
    lag: Duration,
    short_ttl: Duration,
    /// The tombstone TTLs of the stores, from the last one to the first.
    tombstone_ttls: Mutex<Vec<Duration>>,
}

impl Harness for SlowHarness {
    type Store = MemoryStore;

    async fn store(&self) -> MemoryStore {
        let ttl = self.tombstone_ttls.lock().unwrap().pop();
        let ttl = ttl.unwrap_or_else(|| self.tombstone_ttl());
        let builder = MemoryStore::builder().clock(self.clock.clone());
        builder.tombstone_ttl(ttl).build()
    }

    async fn advance(&self, time: Duration) {
        self.clock.advance(time + self.lag);
        tokio::time::sleep(time + self.lag).await;
    }

    fn short_ttl(&self) -> Duration {
        self.short_ttl
    }
}

#[tokio::test]
async fn a_check_that_took_too_long_is_repeated_with_records_that_live_longer() {
    let harness = SlowHarness {
        clock: clock(),
        lag: Duration::from_millis(15),
        short_ttl: Duration::from_millis(20),
        tombstone_ttls: Mutex::default(),
    };
    // It waits for half of the time to live, which is 10 ms at first: with the lag, the records expire.
    let checked = conformance::check(&harness, Check::TouchedSessionsStayListed).await;
    assert_eq!(checked, Ok(()));
}

#[tokio::test]
async fn a_check_whose_tombstone_ended_too_early_is_repeated() {
    for check in [Check::WritesOnATombstone, Check::DestroyCanBeRepeated] {
        let harness = SlowHarness {
            clock: clock(),
            lag: Duration::ZERO,
            // Any time is too long.
            short_ttl: Duration::ZERO,
            tombstone_ttls: Mutex::new(vec![Duration::ZERO]),
        };
        assert_eq!(conformance::check(&harness, check).await, Ok(()));
    }
}

struct LostAnswers;

impl Harness for LostAnswers {
    type Store = RetryingStore;

    async fn store(&self) -> RetryingStore {
        RetryingStore::new(MemoryStore::new())
    }

    async fn advance(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn lose_answer(&self, store: &RetryingStore) -> bool {
        store.lose_answer();
        true
    }
}

#[tokio::test]
async fn a_retried_write_that_conflicts_with_itself_is_caught() {
    let checked = conformance::check(&LostAnswers, Check::RetriesRecognizeTheirWrite).await;
    assert!(checked.unwrap_err().observed().contains("Conflict"));
}

#[tokio::test]
async fn capabilities_that_a_store_does_not_claim_are_skipped() {
    let report = run_broken(Flaw::NoCapabilities).await;
    report.assert_passed();
    let skipped = report.skipped();
    for check in [
        Check::NoWriteIsLost,
        Check::FenceEnds,
        Check::TagsListTheirSessions,
    ] {
        assert!(skipped.contains(&check), "{check} is skipped in {report}");
    }
    assert_eq!(report.passed().len() + skipped.len(), Check::ALL.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broken_stores_are_sound_but_for_their_flaw() {
    run_broken(Flaw::None).await.assert_passed();
}

#[test]
fn a_store_claims_the_contract_unless_it_says_otherwise() {
    let defaults = Capabilities::default();
    assert!(defaults.conditional_writes && defaults.tombstones);
    assert!(!defaults.persistent && !defaults.shared);
}

async fn run_broken(flaw: Flaw) -> Report {
    let clock = clock();
    let make_store = || ready(BrokenStore::new(flaw, clock.clone()));
    conformance::run(&ManualTime::new(&clock, make_store)).await
}

/// Checks that the whole suite catches the flaw with this check, and that the check alone does too.
async fn assert_caught(flaw: Flaw, check: Check) {
    let report = run_broken(flaw).await;
    let mut violations = report.violations().iter();
    let violation = violations.find(|violation| violation.check() == check);
    let violation =
        violation.unwrap_or_else(|| panic!("{flaw:?} is not caught by {check}: {report}"));
    assert!(!violation.promise().is_empty() && !violation.observed().is_empty());
    let clock = clock();
    let make_store = || ready(BrokenStore::new(flaw, clock.clone()));
    let alone = conformance::check(&ManualTime::new(&clock, make_store), check).await;
    assert_eq!(alone.unwrap_err().check(), check);
}

macro_rules! caught {
    ($($test:ident: $flaw:ident => $check:ident,)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            assert_caught(Flaw::$flaw, Check::$check).await;
        })*
    };
}

caught! {
    text_instead_of_bytes_is_caught: TextOnly => DataIsOpaque,
    a_key_cut_short_is_caught: KeyCutShort => KeysAreIndependent,
    versions_that_start_over_are_caught: VersionsStartOver => VersionsNeverRepeat,
    a_touch_that_writes_is_caught: TouchWrites => TouchesKeepTheRecord,
    a_write_that_ignores_its_expectation_is_caught: ExpectationIgnored => WritesOnALiveRecord,
    a_stale_conflict_is_caught: StaleConflict => WritesOnALiveRecord,
    an_upsert_by_version_is_caught: VersionCreates => WritesOnAnAbsentKey,
    a_matched_expired_record_is_caught: ExpiredMatches => WritesOnAnExpiredRecord,
    a_missing_tombstone_is_caught: NoTombstone => WritesOnATombstone,
    a_tombstone_only_for_what_was_there_is_caught: NoTombstoneWithoutRecord => DestroyFencesAnAbsentKey,
    a_tombstone_without_end_is_caught: EndlessTombstone => FenceEnds,
    a_touched_tombstone_is_caught: TouchEndsTombstone => FenceOutlastsTheRecord,
    a_tombstone_that_is_not_renewed_is_caught: FirstTombstoneOnly => DestroyRenewsTheFence,
    an_expired_read_is_caught: ExpiredRead => ExpiredIsNeverRead,
    a_touch_that_revives_is_caught: TouchRevives => ExpiredIsNeverTouched,
    a_read_that_does_not_touch_is_caught: ReadDoesNotTouch => TouchSetsTheExpiry,
    a_read_that_always_touches_is_caught: ReadAlwaysTouches => PlainReadsDoNotTouch,
    a_lifetime_raised_to_a_second_is_caught: TtlRounded => ZeroTtlExpiresAtOnce,
    a_lifetime_that_overflows_is_caught: TtlWraps => MaximumTtlIsKept,
    a_write_that_keeps_the_old_expiry_is_caught: WriteKeepsExpiry => WritesSetTheExpiry,
    compare_then_set_is_caught: CompareThenSet => NoWriteIsLost,
    look_then_create_is_caught: CompareThenSet => OneCreatorWins,
    a_touch_that_writes_back_is_caught: TouchWritesBack => TouchesLoseNoWrite,
    look_for_a_tombstone_then_set_is_caught: CheckThenSet => DestroyedStaysDestroyed,
    a_count_that_keeps_the_dead_is_caught: CountNeverFalls => CountFollowsWrites,
    an_expiry_that_is_prolonged_is_caught: KeepProlongs => WritesCanKeepTheExpiry,
    an_expiry_from_before_a_touch_is_caught: KeepForgetsTouches => WritesCanKeepTheExpiry,
    a_kept_expiry_that_creates_is_caught: KeepCreates => KeepCreatesNothing,
    a_kept_expiry_that_overwrites_is_caught: KeepIgnoresExpectation => KeepIsConditional,
    tags_that_are_not_stored_are_caught: WriteDropsTags => TagsAreReadAsWritten,
    tags_that_are_not_removed_are_caught: EmptyTagsKeepOld => TagsAreReadAsWritten,
    tags_joined_by_commas_are_caught: TagsSplitAtCommas => TagsAreReadAsWritten,
    a_conflict_without_tags_is_caught: ConflictWithoutTags => TagsAreReadAsWritten,
    a_conflict_without_the_stored_tags_is_caught: ConflictWithoutTags => WritesOnALiveRecord,
    tags_in_a_column_that_is_too_short_are_caught: TagsCutShort => MaximumTagsAreKept,
    a_touch_that_drops_tags_is_caught: TouchDropsTags => TouchesKeepTheRecord,
    tags_of_an_expired_session_are_caught: TagsInherited => TagsEndWithTheSession,
    tags_written_after_the_data_are_caught: TagsWrittenApart => NoTagIsLost,
    an_index_of_new_sessions_only_is_caught: IndexMissesOverwrites => TagsListTheirSessions,
    an_index_without_writes_that_keep_the_expiry_is_caught: IndexMissesKeep => TagsListTheirSessions,
    an_index_entry_left_behind_is_caught: IndexKeepsRemoved => TagsListTheirSessions,
    a_session_listed_twice_is_caught: IndexListsTwice => TagsListTheirSessions,
    an_index_that_ignores_case_is_caught: IndexIgnoresCase => TagNamesAreOpaque,
    an_index_of_dead_sessions_is_caught: IndexOutlivesSessions => TagsEndWithTheSession,
    an_index_kept_as_a_list_that_is_written_back_is_caught: IndexWrittenBack => NoTagIsLost,
    an_index_written_after_the_record_is_caught: IndexWrittenLate => DestroyedSessionsStayUntagged,
    an_index_that_a_touch_does_not_prolong_is_caught: IndexIgnoresTouches => TouchedSessionsStayListed,
    a_scan_that_leaves_sessions_out_is_caught: ScanLeavesOut => ScansVisitEverySession,
    a_scan_by_offset_is_caught: ScanByOffset => ScansMissNoSession,
    a_time_to_live_from_before_a_touch_is_caught: TimeToLiveIgnoresTouches => TimeToLiveIsThatOfTheRecord,
    the_current_session_destroyed_with_the_others_is_caught: DestroyTaggedIgnoresException => DestroyTaggedEndsSessions,
}
