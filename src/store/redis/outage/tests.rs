use std::sync::OnceLock;

use super::*;

/// Returns a tracker, and the log of its reports.
fn tracker() -> (OutageTracker, Arc<Mutex<Vec<Outage>>>) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let reports = Arc::clone(&log);
    let reporter = OutageReporter::new(move |outage| lock(&reports).push(outage.clone()));
    let timeout = Duration::from_secs(3600);
    let tracker = OutageTracker::new("host:1".into(), Arc::new(reporter), timeout);
    (tracker, log)
}

fn unanswered(error: TransientError) -> OutageCause {
    OutageCause::Unanswered(error, None)
}

#[test]
fn an_outage_is_reported_when_it_starts_and_when_it_ends() {
    let (tracker, log) = tracker();
    assert!(
        tracker
            .record_failure(Access::Write, Instant::now())
            .is_none(),
        "the server has answered others"
    );
    for number in 1..3 {
        tracker.suspect(Instant::now(), unanswered(TransientError::Timeout));
        assert!(!tracker.blocks(Access::Touch), "only suspected");
        assert!(
            tracker
                .record_failure(Access::Write, Instant::now())
                .is_some()
        );
        tracker.record_answer();
        assert!(
            tracker.blocks(Access::Read),
            "only an accepted write ends it"
        );
        tracker.record_unanswered();
        assert!(!tracker.record_test(None));
        let reports = std::mem::take(&mut *lock(&log));
        let [Outage::Started { .. }, Outage::Ended { failed: 2, .. }] = &reports[..] else {
            panic!("{reports:?}");
        };
        assert_eq!(tracker.reporter.count(), number);
    }
}

/// The outage ends while its start is being reported.
#[test]
fn the_end_of_an_outage_is_reported_after_its_start() {
    let tracker: Arc<OnceLock<OutageTracker>> = Arc::default();
    let (log, during) = (Arc::new(Mutex::new(Vec::new())), Arc::clone(&tracker));
    let reports = Arc::clone(&log);
    let reporter = OutageReporter::new(move |outage| {
        if let Outage::Started { .. } = outage {
            let tracker = Arc::clone(&during);
            let ending = std::thread::spawn(move || tracker.get().unwrap().record_test(None));
            assert!(!ending.join().unwrap());
        }
        lock(&reports).push(outage.clone());
    });
    let timeout = Duration::from_secs(3600);
    let tracker =
        tracker.get_or_init(|| OutageTracker::new("host:1".into(), Arc::new(reporter), timeout));
    tracker.suspect(Instant::now(), unanswered(TransientError::Timeout));
    let failed = tracker.record_failure(Access::Write, Instant::now());
    assert!(failed.is_some());
    let reports = lock(&log);
    assert!(
        matches!(&reports[..], [Outage::Started { .. }, Outage::Ended { .. }]),
        "{reports:?}"
    );
}

#[test]
fn an_operation_that_failed_while_others_were_answered_begins_no_outage() {
    let (tracker, log) = tracker();
    let first_failure = Instant::now();
    std::thread::sleep(Duration::from_millis(1));
    tracker.suspect(Instant::now(), unanswered(TransientError::Timeout));
    assert!(
        tracker
            .record_failure(Access::Write, first_failure)
            .is_none()
    );
    assert!(lock(&log).is_empty());
}

#[test]
fn any_answer_ends_a_suspicion_except_that_of_rejected_writes() {
    let (tracker, log) = tracker();
    tracker.suspect(Instant::now(), unanswered(TransientError::Disconnected));
    tracker.record_answer();
    assert!(!tracker.is_suspected());
    tracker.suspect(Instant::now(), unanswered(TransientError::ReadOnly));
    tracker.suspect(Instant::now(), unanswered(TransientError::Disconnected));
    tracker.record_answer();
    assert!(tracker.is_suspected());
    assert!(!tracker.record_test(None));
    assert!(!tracker.is_suspected());
    assert!(lock(&log).is_empty());
}

#[test]
fn an_outage_of_writes_blocks_no_reads() {
    let (tracker, _) = tracker();
    tracker.suspect(Instant::now(), unanswered(TransientError::ReadOnly));
    assert!(
        tracker
            .record_failure(Access::Write, Instant::now())
            .is_some()
    );
    for _ in 0..=MAX_SILENT_TESTS {
        assert!(!tracker.blocks(Access::Read));
        assert!(
            [Access::ReadAndTouch, Access::Write, Access::Touch]
                .iter()
                .all(|it| tracker.blocks(*it))
        );
        assert!(tracker.record_test(Some(unanswered(TransientError::Disconnected))));
    }
    assert!(tracker.blocks(Access::Read), "it does not answer at all");
    let full = OutageCause::WritesRejected(ServerRejection::OutOfMemory);
    assert!(tracker.record_test(Some(full)));
    assert!(!tracker.blocks(Access::Write), "it rejects them itself");
}

#[test]
fn a_read_that_only_lacks_its_touch_has_not_failed() {
    let read_only = || unanswered(TransientError::ReadOnly);
    for (cause, counted) in [(read_only(), 1), (unanswered(TransientError::Timeout), 2)] {
        let (tracker, log) = tracker();
        tracker.suspect(Instant::now(), cause);
        for access in [Access::ReadAndTouch, Access::Write] {
            assert!(tracker.record_failure(access, Instant::now()).is_some());
        }
        assert!(!tracker.record_test(None));
        let reports = lock(&log);
        let [Outage::Started { .. }, Outage::Ended { failed, .. }] = &reports[..] else {
            panic!("{reports:?}");
        };
        assert_eq!(*failed, counted);
    }
}

#[test]
fn a_receiver_that_panics_does_not_keep_an_outage_from_ending() {
    let count = Arc::new(AtomicU64::new(0));
    let reports = Arc::clone(&count);
    let reporter = OutageReporter::new(move |_| {
        reports.fetch_add(1, Relaxed);
        panic!("the receiver panics");
    });
    let tracker = OutageTracker::new("host:1".into(), Arc::new(reporter), Duration::ZERO);
    for number in 1..3 {
        tracker.suspect(Instant::now(), unanswered(TransientError::Timeout));
        // As the task that tests the server does.
        assert!(tracker.record_test(Some(unanswered(TransientError::Timeout))));
        assert!(tracker.is_out());
        assert!(!tracker.record_test(None));
        assert!(!tracker.is_suspected());
        assert_eq!(count.load(Relaxed), 2 * number);
    }
}
