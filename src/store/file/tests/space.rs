use super::super::pace::Sizes;

const SEGMENT: u64 = 1 << 20;

#[test]
fn nothing_is_owed_while_there_is_little_garbage() {
    let before = Sizes {
        total: 1000,
        live: 1000,
    };
    let after = Sizes {
        total: 2000,
        live: 1000,
    };
    assert_eq!(after.owed(before, SEGMENT), 0);
}

#[test]
fn whoever_eats_the_slack_owes_a_pass_over_the_whole_log_before_it_is_gone() {
    for live in [0_u64, 10 << 10, 1 << 20, 300 << 20] {
        let mut now = Sizes { total: live, live };
        while !now.wants_cleaning(SEGMENT) {
            now.total += 100;
        }
        let (start, mut owed) = (now.total, 0);
        while now.total + live.min(now.roll_at(SEGMENT)) + now.patience(SEGMENT)
            < now.limit(SEGMENT)
            && owed < start
        {
            let next = Sizes {
                total: now.total + 100,
                ..now
            };
            owed += next.owed(now, SEGMENT);
            now = next;
        }
        assert!(
            owed >= start,
            "with {live} live, {owed} of {start} is owed at the limit"
        );
    }
}

#[test]
fn segments_are_small_while_there_is_little_data() {
    let none = Sizes::default();
    assert_eq!(none.roll_at(16 << 20), 2 << 20);
    let much = Sizes {
        total: 1 << 30,
        live: 1 << 30,
    };
    assert_eq!(much.roll_at(16 << 20), 16 << 20);
}
