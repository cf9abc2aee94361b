use super::*;

#[test]
fn one_event_in_an_interval_is_admitted_with_the_number_of_the_others() {
    let throttle = Throttle::new();
    let admit = |after: u64| throttle.admit(Timestamp::from_millis(1 + after));
    assert_eq!(admit(0), Some(0));
    assert_eq!([admit(1), admit(LOG_INTERVAL_MS - 1)], [None; 2]);
    assert_eq!(admit(LOG_INTERVAL_MS), Some(2));
    // The clock is set back.
    assert_eq!(admit(0), Some(0));
}
