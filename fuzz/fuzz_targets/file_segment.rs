//! Random bytes as a segment, most of them with correct checksums. The scan finds exactly the frames
//! of an independent reader in front of the first damage.
#![no_main]

#[path = "../support/segment.rs"]
mod segment;

use hyper_session::store::file::SegmentReport;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    segment::mutate(data, size, max_size, seed)
});

fuzz_target!(|bytes: &[u8]| {
    let report = SegmentReport::from_bytes(bytes, None);
    assert_eq!(report.bytes, bytes.len() as u64);
    let Some((frames, end)) = segment::frames(bytes) else {
        assert!(!report.readable, "{report:?}");
        return;
    };
    assert!(report.readable, "{report:?}");
    let mut accounted = report.damaged_bytes + report.torn_bytes;
    if bytes[end..].iter().all(|byte| *byte == 0) {
        assert_eq!(
            (report.frames, accounted),
            (frames.len() as u64, 0),
            "{report:?}"
        );
    } else {
        assert!(
            report.frames >= frames.len() as u64 && accounted > 0,
            "{report:?}"
        );
        accounted += report.frames * segment::HEADER_LEN as u64;
        assert!(accounted <= report.bytes, "{report:?}");
    }
});
