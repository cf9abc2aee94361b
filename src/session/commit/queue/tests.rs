use std::time::Duration;

use super::worker::{MAX_CONFLICT_SHIFT, pause_time};

const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn the_longest_pause_doubles_with_each_conflict_up_to_a_limit() {
    let longest = |conflicts| pause_time(conflicts, MAX_CONFLICT_SHIFT, u16::MAX);
    for conflicts in 1..=MAX_CONFLICT_SHIFT {
        let limit = MILLISECOND * (1 << conflicts);
        assert!(longest(conflicts) < limit, "{conflicts} conflicts");
        assert!(
            longest(conflicts) > limit - MILLISECOND,
            "{conflicts} conflicts"
        );
    }
    for conflicts in [MAX_CONFLICT_SHIFT + 1, 1000, u32::MAX] {
        assert_eq!(longest(conflicts), longest(MAX_CONFLICT_SHIFT));
    }
}

/// Processes that conflict at the same moment do not write again at the same moment.
#[test]
fn a_random_number_chooses_the_pause_between_zero_and_the_longest_one() {
    for conflicts in 1..10 {
        let pause = |random| pause_time(conflicts, MAX_CONFLICT_SHIFT, random);
        let longest = pause(u16::MAX);
        assert_eq!(pause(0), Duration::ZERO);
        assert_eq!(pause(1 << 15), (longest + Duration::from_micros(1)) / 2);
        for random in (0..u16::MAX - 4096).step_by(4096) {
            assert!(
                pause(random) < pause(random + 4096),
                "{conflicts} conflicts"
            );
        }
    }
}
