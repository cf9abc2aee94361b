use super::super::log::space::SpaceUsage;

const SEGMENT: u64 = 1 << 20;

#[test]
fn there_is_no_debt_while_there_is_little_garbage() {
    let before = SpaceUsage {
        total: 1000,
        live: 1000,
    };
    let after = SpaceUsage {
        total: 2000,
        live: 1000,
    };
    assert_eq!(after.debt(before, SEGMENT), 0);
}

#[test]
fn using_up_the_slack_causes_debt_for_the_whole_log() {
    for live in [0_u64, 10 << 10, 1 << 20, 300 << 20] {
        let mut now = SpaceUsage { total: live, live };
        while !now.needs_compaction(SEGMENT) {
            now.total += 100;
        }
        let (start, mut debt) = (now.total, 0);
        while now.total + live.min(now.roll_len(SEGMENT)) + now.max_debt(SEGMENT)
            < now.limit(SEGMENT)
            && debt < start
        {
            let next = SpaceUsage {
                total: now.total + 100,
                ..now
            };
            debt += next.debt(now, SEGMENT);
            now = next;
        }
        assert!(
            debt >= start,
            "with {live} live bytes, the debt at the limit is {debt} of {start}"
        );
    }
}

#[test]
fn segments_are_small_while_there_is_little_data() {
    let none = SpaceUsage::default();
    assert_eq!(none.roll_len(16 << 20), 2 << 20);
    let much = SpaceUsage {
        total: 1 << 30,
        live: 1 << 30,
    };
    assert_eq!(much.roll_len(16 << 20), 16 << 20);
}
