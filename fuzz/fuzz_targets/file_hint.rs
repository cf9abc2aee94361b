//! Hints of a real segment. Of random bytes, only the correct hint matches. Of random entries with correct
//! checksums, an opening uses those that an independent decoder accepts, and has the states in them.
#![no_main]

#[path = "../support/directory.rs"]
mod directory;
#[path = "../support/hint.rs"]
mod hint;

use std::{collections::BTreeMap, fs, path::Path, sync::OnceLock, time::Duration};

use hint::Entry;
use hyper_session::{
    clock::{Clock, Timestamp},
    id::{SessionId, StoreKey},
    store::{
        Expected, FileStore, Store, Tag, Tags, WriteRequest,
        file::{Durability, FileStoreBuilder, SegmentReport},
    },
};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

const NOW: u64 = 1 << 40;
const LIFE: Duration = Duration::from_secs(1 << 20);
/// The store's time may go on by this much during one input.
const MAX_MILLIS: u64 = 60_000;

struct Fixture {
    runtime: Runtime,
    segment: Vec<u8>,
    hint: Vec<u8>,
    /// The entries of the hint.
    entries: Vec<Entry>,
    /// The end of the segment's last frame.
    end: u64,
}

fn builder(directory: &Path) -> FileStoreBuilder {
    let clock = Clock::manual(Timestamp::from_millis(NOW));
    let builder = FileStore::builder(directory).durability(Durability::Os);
    builder.cache_bytes(0).clock(clock)
}

/// Returns a segment and its hint, written by a store.
fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let directory = directory::Directory::new();
        let directory = directory.path();
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime");
        let store = builder(directory).open().expect("a store");
        runtime.block_on(async {
            let key = |number| SessionId::from_bytes([number; SessionId::LEN]).store_key();
            for number in 0..20 {
                let mut tags = Tags::new();
                if number % 4 == 0 {
                    let tag = Tag::new(format!("user-{number}")).expect("a tag");
                    tags.insert(&tag).expect("one tag");
                }
                let data = vec![number; 600];
                let request = WriteRequest::new(&key(number), data, LIFE, Expected::Any);
                store.write(request.tags(tags)).await.expect("written");
            }
            store.touch(&key(1), LIFE * 2).await.expect("touched");
            store.destroy(&key(2)).await.expect("destroyed");
            store.close().await.expect("closed");
        });
        let read = |name| fs::read(directory.join(name)).expect("a file");
        let (segment, hint) = (read("0000000001.log"), read("0000000001.hint"));
        let end = u32::from_le_bytes(hint[32..36].try_into().expect("four bytes")).into();
        let (entries, complete) = hint::decode(&hint[hint::HINT_HEAD_LEN..], end);
        assert!(complete && entries.len() > 20);
        Fixture {
            runtime,
            segment,
            hint,
            entries,
            end,
        }
    })
}

/// Returns `old` with `patch` at a place.
fn patched(old: &[u8], at: usize, patch: &[u8]) -> Vec<u8> {
    let mut bytes = old.to_vec();
    let at = at % bytes.len();
    for (old, new) in bytes[at..].iter_mut().zip(patch) {
        *old = *new;
    }
    bytes
}

fn check_bytes(candidate: &[u8]) {
    let Fixture { segment, hint, .. } = fixture();
    let report = SegmentReport::from_bytes(segment, Some(candidate));
    assert_eq!(report.hint_matches, Some(candidate == hint));
}

/// The state of a key: version, expiry, and `true` for a record.
type State = (u64, u64, bool);

fn states(entries: &[Entry]) -> BTreeMap<&[u8], State> {
    let mut states: BTreeMap<&[u8], State> = BTreeMap::new();
    for entry in entries {
        match entry.kind {
            1 | 3 => {
                let state = (entry.version, entry.expires, entry.kind == 1);
                states.insert(&entry.key, state);
            }
            2 => {
                if let Some(state) = states.get_mut(&entry.key[..])
                    && state.2
                    && state.0 == entry.version
                {
                    state.1 = entry.expires;
                }
            }
            _ => {}
        }
    }
    states
}

/// Opens the segment with a hint of these entries, and compares the result with them.
fn check_entries(body: &[u8], count: u32) {
    let fixture = fixture();
    let (entries, complete) = hint::decode(body, fixture.end);
    let has_end = entries.last() == fixture.entries.last();
    let used = complete && has_end && entries.len() == count as usize;
    let directory = directory::Directory::new();
    let directory = directory.path();
    fs::write(directory.join("0000000001.log"), &fixture.segment).expect("written");
    let hint = hint::file(&fixture.hint, body, count);
    fs::write(directory.join("0000000001.hint"), hint).expect("written");
    let store = match builder(directory).open() {
        Ok(store) => store,
        Err(error) => {
            // A hint may state a loss: another segment, or a durable place after the end.
            let states_loss =
                |entry: &Entry| matches!(entry.kind, 5 | 6 | 8 | 9) || entry.synced > fixture.end;
            assert!(entries.iter().any(states_loss), "{error}: {entries:?}");
            return;
        }
    };
    // A recovered frame drops entries. If it lists damage in the segment, the hint is not used.
    if entries.iter().any(|entry| entry.kind == 9) {
        return;
    }
    assert_eq!(store.stats().hints_used, u64::from(used), "{entries:?}");
    let applied = if used { &entries } else { &fixture.entries };
    let expected = states(applied);
    let times = applied.iter().filter(|entry| matches!(entry.kind, 4 | 7));
    let newest = times
        .map(|entry| entry.expires)
        .filter(|time| *time < u64::MAX);
    let now = newest.max().unwrap_or(0).max(NOW);
    for (key, (_, expires, is_record)) in expected {
        let key = StoreKey::from_bytes(key.try_into().expect("a key"));
        let time = fixture.runtime.block_on(store.time_to_live(&key));
        let is_live = time.expect("a state").is_some();
        if expires <= now || !is_record {
            assert!(!is_live, "{entries:?}");
        } else if used && expires > now.saturating_add(MAX_MILLIS) {
            assert!(is_live, "{entries:?}");
        }
    }
}

// The first byte chooses what the input is: a whole hint, a patch to the correct hint, or a patch to the entries
// of the correct hint. The next two are the place of the patch.
fuzz_target!(|bytes: &[u8]| {
    let fixture = fixture();
    let Some((&[choice, low, high], patch)) = bytes.split_first_chunk::<3>() else {
        return check_bytes(bytes);
    };
    let at = usize::from(u16::from_le_bytes([low, high]));
    match choice % 8 {
        0 => check_bytes(&patched(&fixture.hint, at, patch)),
        1 => check_bytes(bytes),
        2 => {
            let body = patched(&fixture.hint[hint::HINT_HEAD_LEN..], at, patch);
            check_entries(&body, fixture.entries.len() as u32 + u32::from(high % 2));
        }
        // The entries up to the first malformed one, and then the last one of the correct hint.
        _ => {
            let correct = &fixture.hint[hint::HINT_HEAD_LEN..];
            let body = patched(correct, at, patch);
            let (mut entries, _) = hint::decode(&body, fixture.end);
            let last = fixture.entries.last().expect("an entry");
            entries.retain(|entry| entry.end() <= last.offset);
            entries.push(last.clone());
            let encoded = |index: usize| hint::encode(&entries[..index], &entries[index]);
            let repaired: Vec<u8> = (0..entries.len()).flat_map(encoded).collect();
            check_entries(&repaired, entries.len() as u32);
        }
    }
});
