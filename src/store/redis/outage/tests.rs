use super::*;

#[test]
fn an_outage_is_reported_when_it_starts_and_when_it_ends() {
    let tracker = OutageTracker::default();
    assert_eq!(tracker.record_success(), None);
    for number in 1..3 {
        let cause = TransientError::Timeout;
        assert_eq!(
            tracker.record_failure(cause),
            Some(Outage::Started { cause })
        );
        assert_eq!(tracker.record_failure(TransientError::ConnectionLost), None);
        let ended = tracker.record_success();
        assert!(
            matches!(ended, Some(Outage::Ended { failed: 2, .. })),
            "{ended:?}"
        );
        assert_eq!(tracker.record_success(), None);
        assert_eq!(tracker.count(), number);
    }
}
