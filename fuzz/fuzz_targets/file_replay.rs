//! Random frames as the only segment of a store. The replay gives the same states as a plain map.
#![no_main]

#[path = "../support/directory.rs"]
mod directory;
#[path = "../support/segment.rs"]
mod segment;

use std::collections::BTreeMap;

use hyper_session::store::file::Inspection;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

/// The state of a key: version, expiry, length, tombstone, and the offset of the last frame that set or touched it.
type State = (u64, u64, u32, bool, u64);

/// Applies the frames of this format version in order.
fn states(frames: &[segment::Frame<'_>], format: u8) -> BTreeMap<Vec<u8>, State> {
    let mut states: BTreeMap<Vec<u8>, State> = BTreeMap::new();
    for frame in frames {
        let key = frame.key.to_vec();
        match frame.kind {
            1 | 3 => {
                let (len, offset) = (frame.payload_len as u32, frame.offset as u64);
                states.insert(
                    key,
                    (frame.version, frame.expires, len, frame.kind == 3, offset),
                );
            }
            2 => {
                if let Some(state) = states.get_mut(&key)
                    && !state.3
                    && state.0 == frame.version
                {
                    (state.1, state.4) = (frame.expires, frame.offset as u64);
                }
            }
            // Drops what is before a position: the offset in segment 1.
            9 if format == 2 => states.retain(|_, state| (1 << 32 | state.4) >= frame.version),
            _ => {}
        }
    }
    states
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    segment::mutate(data, size, max_size, seed)
});

fuzz_target!(|bytes: &[u8]| {
    let directory = directory::Directory::new();
    let directory = directory.path();
    std::fs::write(directory.join("0000000001.log"), bytes).expect("written");
    let Ok(inspection) = Inspection::read(directory, |_, _| {}) else {
        return;
    };
    let Some((frames, end)) = segment::frames(bytes) else {
        assert!(inspection.entries().is_empty());
        return;
    };
    let format = bytes[8];
    let without_mark = format == 1
        || bytes[32..36]
            != (!u32::from_le_bytes(bytes[28..32].try_into().expect("four"))).to_le_bytes();
    if bytes[12..16] == [1, 0, 0, 0] && bytes[end..].iter().all(|byte| *byte == 0) && without_mark {
        let found = inspection.entries().iter().map(|entry| {
            let key = entry.key.as_bytes().to_vec();
            (
                key,
                (
                    entry.version,
                    entry.expires.as_millis(),
                    entry.bytes,
                    entry.destroyed,
                ),
            )
        });
        let expected = states(&frames, format);
        let expected = expected
            .into_iter()
            .map(|(key, (version, expires, len, gone, _))| (key, (version, expires, len, gone)));
        assert_eq!(
            found.collect::<BTreeMap<_, _>>(),
            expected.collect::<BTreeMap<_, _>>()
        );
    }
});
