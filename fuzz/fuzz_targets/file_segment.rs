//! Random bytes as a segment. The scan ends, and reports no more bytes than there are.
#![no_main]

use hyper_session::store::file::SegmentReport;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let report = SegmentReport::from_bytes(bytes, None);
    assert_eq!(report.bytes, bytes.len() as u64);
    let accounted = report.damaged_bytes + report.torn_bytes + report.frames * 68;
    assert!(accounted <= report.bytes, "{report:?}");
});
