use super::super::{format::frame::HEADER_LEN, log::space::SpaceUsage};

const SEGMENT: u64 = 1 << 20;

fn compacted(live: u64, segment: u64) -> SpaceUsage {
    SpaceUsage {
        total: live + 1000,
        live,
        longest: 0,
        segments: 9,
        segment,
    }
}

#[test]
fn mutations_leave_room_for_the_compaction_of_any_segment() {
    for live in [0, 10 << 10, 1 << 20, 300 << 20] {
        let mut now = compacted(live, SEGMENT);
        assert!(!now.needs_compaction());
        while now.after_append(0, 100).fits() {
            now.total += 100;
        }
        let copies = live.min(now.roll_len());
        assert!(now.total + copies <= now.limit(), "{now:?}");
        assert!(now.needs_compaction() && now.is_tight(), "{now:?}");
        assert!(
            now.total - live >= (live + SEGMENT) / 2,
            "half of the space is of use: {now:?}"
        );
    }
}

#[test]
fn entries_that_expire_leave_room_for_a_compaction_too() {
    let mut now = compacted(10 << 20, SEGMENT);
    while now.after_change(0, 1000).fits() {
        now = now.after_change(0, 1000);
    }
    assert!(now.live > 0, "not all at once");
    let copies = now.live.min(now.roll_len());
    assert!(now.total + copies <= now.limit(), "{now:?}");
}

#[test]
fn in_a_compacted_log_the_longest_record_can_be_replaced_and_destroyed() {
    for segment in [16 << 10, SEGMENT, 1 << 30] {
        let (record, header) = (segment / 2 + HEADER_LEN as u64, HEADER_LEN as u64);
        for others in [0, segment / 20, segment / 2, segment * 30] {
            let now = SpaceUsage {
                longest: record + 1000,
                ..compacted(record + others, segment)
            };
            let replaced = now.after_append(0, record).after_change(record, record);
            assert!(replaced.fits(), "{replaced:?}");
            let destroyed = now.after_append(0, header).after_change(header, record);
            assert!(destroyed.fits(), "{destroyed:?}");
            assert!(now.after_change(0, record).fits(), "expired");
        }
    }
}

#[test]
fn segments_are_small_while_there_is_little_data() {
    assert_eq!(compacted(0, 16 << 20).roll_len(), 2 << 20);
    assert_eq!(compacted(1 << 30, 16 << 20).roll_len(), 16 << 20);
}
