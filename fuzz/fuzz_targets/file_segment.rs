//! Any bytes as a segment: reading them ends, and finds nothing that is not there.
#![no_main]

use hyper_session::store::file::SegmentReport;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let report = SegmentReport::of_bytes(bytes, None);
    assert_eq!(report.bytes, bytes.len() as u64);
    let accounted = report.damaged_bytes + report.torn_bytes + report.frames * 68;
    assert!(accounted <= report.bytes, "{report:?}");
});
