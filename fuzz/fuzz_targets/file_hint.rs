//! Random bytes as the hint of a real segment: only the correct hint matches.
#![no_main]

use std::{sync::OnceLock, time::Duration};

use hyper_session::{
    id::SessionId,
    store::{Expected, FileStore, Store, WriteRequest, file::SegmentReport},
};
use libfuzzer_sys::fuzz_target;

/// Returns a segment and its hint, written by a store.
fn segment_and_hint() -> &'static (Vec<u8>, Vec<u8>) {
    static FILES: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    FILES.get_or_init(|| {
        let name = format!("hyper-session-fuzz-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let store = FileStore::open(&directory).expect("a store");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            for number in 0..20 {
                let key = SessionId::from_bytes([number; SessionId::LEN]).store_key();
                let (data, ttl) = (vec![number; 600], Duration::from_secs(60));
                let request = WriteRequest::new(&key, data, ttl, Expected::Any);
                store.write(request).await.expect("written");
            }
            store.close().await.expect("closed");
        });
        let read =
            |extension: &str| std::fs::read(directory.join(format!("0000000001.{extension}")));
        let files = (
            read("log").expect("a segment"),
            read("hint").expect("a hint"),
        );
        std::fs::remove_dir_all(&directory).expect("removed");
        files
    })
}

fuzz_target!(|bytes: &[u8]| {
    let (segment, hint) = segment_and_hint();
    // One half of the inputs is a whole hint. The other half is a patch to the correct hint, so that
    // the search begins near it.
    let mut candidate = bytes.to_vec();
    if let Some((&[choice, at_low, at_high], patch)) = bytes.split_first_chunk::<3>()
        && choice % 2 == 0
    {
        candidate.clone_from(hint);
        let at = usize::from(u16::from_le_bytes([at_low, at_high])) % hint.len();
        for (old, new) in candidate[at..].iter_mut().zip(patch) {
            *old = *new;
        }
    }
    let report = SegmentReport::from_bytes(segment, Some(&candidate));
    assert_eq!(report.hint_matches, Some(candidate == *hint));
});
