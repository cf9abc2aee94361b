//! Damage to the files of a closed or killed store. No reaction ever serves an older state, and the
//! default opens only if nothing acknowledged is lost.
//!
//! `FILE_DAMAGE_SEEDS` sets the number of damages (300).

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use hyper_session::store::{
    Expected, FileStore, ReadOutcome, Store, WriteRequest,
    file::{Durability, FileError, FileStoreBuilder, Inspection, OnDamage},
};

use crate::support::scratch::{Scratch, key};

const SESSIONS: u64 = 60;
const LIFE: Duration = Duration::from_secs(3600);

/// The last acknowledged turn of each session, or `None` if it was destroyed.
type States = BTreeMap<u64, Option<u64>>;

/// A random number generator with a fixed seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

fn builder(directory: &Path) -> FileStoreBuilder {
    FileStore::builder(directory)
        .segment_bytes(16 << 10)
        .durability(Durability::Os)
        .verify_on_open(true)
}

fn data(number: u64, turn: u64) -> Bytes {
    let len = 1 + (number * 37 + turn * 11) % 300;
    Bytes::from(format!("{number} {turn} ").repeat(len as usize / 4 + 1))
}

/// Writes, touches and destroys sessions in several openings; returns their last states.
async fn fill(directory: &Path, seed: u64) -> States {
    let (mut random, mut states) = (Random(seed), States::new());
    for opening in 0..3 {
        let store = builder(directory).open().unwrap();
        for turn in opening * 150..(opening + 1) * 150 {
            let number = random.below(SESSIONS);
            match random.below(8) {
                0 => {
                    store.destroy(&key(number)).await.unwrap();
                    states.insert(number, None);
                }
                1 | 2 => {
                    store.touch(&key(number), LIFE).await.unwrap();
                }
                3 => store.flush().await.unwrap(),
                _ => {
                    let data = data(number, turn);
                    let request = WriteRequest::new(&key(number), data, LIFE, Expected::Any);
                    store.write(request).await.unwrap();
                    // A tombstone refuses the write.
                    if states.get(&number) != Some(&None) {
                        states.insert(number, Some(turn));
                    }
                }
            }
        }
        store.close().await.unwrap();
    }
    states
}

fn copy(from: &Path, to: &Path) {
    try_copy(from, to).unwrap();
}

fn try_copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        fs::copy(&path, to.join(path.file_name().unwrap()))?;
    }
    Ok(())
}

/// Damages one file of the directory; returns what was done.
fn damage(directory: &Path, random: &mut Random) -> String {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some())
        .collect();
    paths.sort();
    let path = &paths[random.below(paths.len() as u64) as usize];
    let mut bytes = fs::read(path).unwrap();
    let at = random.below(bytes.len() as u64) as usize;
    let end = (at + 1 + random.below(1500) as usize).min(bytes.len());
    let what = match random.below(6) {
        0 => {
            bytes[at] ^= 1 << random.below(8);
            "flipped a bit"
        }
        1 => {
            bytes[at..end].fill(0);
            "cleared a range"
        }
        2 => {
            bytes[at..end].fill_with(|| random.below(256) as u8);
            "overwrote a range"
        }
        3 => {
            bytes.truncate(at);
            "cut off the end"
        }
        4 => {
            bytes.drain(at..end);
            "removed a range"
        }
        _ => {
            fs::remove_file(path).unwrap();
            return format!("deleted {}", path.display());
        }
    };
    fs::write(path, bytes).unwrap();
    format!("{what} of {} at {at}", path.display())
}

/// Checks the state of every session. Returns the number of sessions that are not as acknowledged,
/// all of which must be absent.
async fn check(store: &FileStore, states: &States, what: &str) -> usize {
    let mut lost = 0;
    for (number, state) in states {
        let stored = match store.read(&key(*number), None).await.unwrap() {
            ReadOutcome::Found(record) => Some(record.data),
            ReadOutcome::Absent | ReadOutcome::Gone => None,
        };
        let expected = state.map(|turn| data(*number, turn));
        if stored != expected {
            assert_eq!(stored, None, "{what}: session {number} has an older state");
            lost += 1;
        }
    }
    lost
}

#[tokio::test]
async fn after_random_damage_no_session_has_an_older_state() {
    let seeds = std::env::var("FILE_DAMAGE_SEEDS").ok();
    let seeds = seeds.and_then(|n| n.parse().ok()).unwrap_or(300_u64);
    let (mut refused, mut dropped, mut unnoticed) = (0, 0, 0);
    let mut source = (Scratch::new(), States::new());
    for seed in 0..seeds {
        if seed % 20 == 0 {
            source = (Scratch::new(), States::new());
            source.1 = fill(&source.0.path().join("whole"), seed).await;
        }
        let (scratch, states) = &source;
        let directory = scratch.path().join(format!("damaged-{seed}"));
        copy(&scratch.path().join("whole"), &directory);
        let what = damage(&directory, &mut Random(seed));
        let inspection = Inspection::read(&directory, |_, _| {}).unwrap();
        let sound = inspection.is_sound();
        match builder(&directory).open() {
            Ok(store) => {
                assert!(sound, "{what}: opens, but is not sound");
                assert_eq!(check(&store, states, &what).await, 0, "{what}");
                store.close().await.unwrap();
                continue;
            }
            Err(error @ FileError::Damaged { .. }) => {
                assert!(!sound, "{what}: does not open, but is sound");
                let text = error.to_string();
                let repair = format!("`session-file repair {}`", directory.display());
                assert!(text.contains(&repair), "{text}");
                refused += 1;
            }
            Err(error) => panic!("{what}: {error}"),
        }
        let store = builder(&directory).on_damage(OnDamage::DropUncertain);
        let store = store.open().unwrap();
        let lost = check(&store, states, &what).await;
        dropped += lost;
        store.close().await.unwrap();
        let store = builder(&directory).open().expect("the damage was handled");
        assert_eq!(check(&store, states, &what).await, lost, "{what}");
        if seed % 10 > 0 {
            store.close().await.unwrap();
            unnoticed +=
                usize::from(!is_later_damage_noticed(&directory, states, lost, seed).await);
            continue;
        }
        store.compact().await.unwrap();
        assert_eq!(check(&store, states, &what).await, lost, "{what}");
        store.close().await.unwrap();
        let store = builder(&directory).open().expect("no damage is left");
        assert_eq!(check(&store, states, &what).await, lost, "{what}");
    }
    println!(
        "{refused} of {seeds} refused, {dropped} sessions dropped, {unnoticed} later damages without a loss"
    );
    assert!(refused > seeds / 4, "{refused} of {seeds} refused");
}

/// Damages a directory that was repaired with `lost` sessions. Returns `false` if the store opens: then no more
/// sessions are lost.
async fn is_later_damage_noticed(
    directory: &Path,
    states: &States,
    lost: usize,
    seed: u64,
) -> bool {
    let what = damage(directory, &mut Random(!seed));
    let what = format!("seed {seed}, after a repair: {what}");
    let sound = Inspection::read(directory, |_, _| {}).unwrap().is_sound();
    if let Ok(store) = builder(directory).open() {
        assert!(sound, "{what}: opens, but is not sound");
        assert_eq!(check(&store, states, &what).await, lost, "{what}");
        return false;
    }
    assert!(!sound, "{what}: does not open, but is sound");
    let store = builder(directory).on_damage(OnDamage::DropUncertain);
    let store = store.open().unwrap();
    let lost = check(&store, states, &what).await;
    store.close().await.unwrap();
    let store = builder(directory).open().expect("the damage was handled");
    assert_eq!(check(&store, states, &what).await, lost, "{what}");
    true
}

fn segment_paths(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .collect();
    paths.sort();
    paths
}

/// Copies the directory of a store that is open, after a compaction. Returns the path of the last
/// segment with frames.
async fn kill_after_compaction(to: &Path, random: &mut Random) -> (States, PathBuf) {
    const HEAD: u64 = 36;
    let (scratch, mut states) = (Scratch::new(), States::new());
    let directory = scratch.path().join("open");
    let store = builder(&directory).durability(Durability::Always);
    let store = store.open().unwrap();
    let (mut turn, mut first) = (0, segment_paths(&directory)[0].clone());
    // Each session is written often, so compactions delete the first segments.
    while turn < 400 || segment_paths(&directory)[0] == first {
        first = segment_paths(&directory)[0].clone();
        let number = random.below(SESSIONS / 2);
        if random.below(8) == 0 {
            store.destroy(&key(number)).await.unwrap();
            states.insert(number, None);
        } else if states.get(&number) != Some(&None) {
            let data = data(number, turn);
            let request = WriteRequest::new(&key(number), data, LIFE, Expected::Any);
            store.write(request).await.unwrap();
            states.insert(number, Some(turn));
        }
        turn += 1;
    }
    loop {
        let before = segment_paths(&directory);
        let copied = try_copy(&directory, to);
        // A compaction may have deleted a segment meanwhile.
        if copied.is_ok() && before == segment_paths(&directory) {
            break;
        }
        fs::remove_dir_all(to).unwrap();
    }
    let is_used = |path: &&PathBuf| fs::metadata(path).unwrap().len() > HEAD;
    let last = segment_paths(to).iter().rev().find(is_used).cloned();
    (states, last.unwrap())
}

/// The frame that records the deletion of the first segments may be in the part that is cut off.
#[tokio::test]
async fn after_the_log_of_a_killed_store_was_cut_off_a_repair_serves_no_older_state() {
    let mut refused = 0;
    for seed in 0..8 {
        let (scratch, mut random) = (Scratch::new(), Random(seed));
        let killed = scratch.path().join("killed");
        let (states, last) = kill_after_compaction(&killed, &mut random).await;
        let len = fs::metadata(&last).unwrap().len();
        for cut in (36..len).step_by(97) {
            let directory = scratch.path().join(format!("cut-{cut}"));
            copy(&killed, &directory);
            let log = directory.join(last.file_name().unwrap());
            let log = fs::OpenOptions::new().write(true).open(log).unwrap();
            log.set_len(cut).unwrap();
            // A cut after all that was known to be durable looks like a power failure.
            if Inspection::read(&directory, |_, _| {}).unwrap().is_sound() {
                continue;
            }
            refused += 1;
            let store = builder(&directory).on_damage(OnDamage::DropUncertain);
            let store = store.open().unwrap();
            check(&store, &states, &format!("seed {seed}, cut at {cut}")).await;
        }
    }
    assert!(refused > 0);
}

/// A part of a segment may become zeros, as on a device that lost a write.
#[tokio::test]
async fn after_a_part_of_a_killed_store_became_zeros_each_reaction_does_what_it_says() {
    let (mut in_newest, mut dropped) = (0, 0);
    for seed in 0..24 {
        let (scratch, mut random) = (Scratch::new(), Random(seed));
        let killed = scratch.path().join("killed");
        let (states, newest) = kill_after_compaction(&killed, &mut random).await;
        let used = segment_paths(&killed);
        let used: Vec<_> = used.into_iter().filter(|path| *path <= newest).collect();
        let is_newest = seed % 2 == 0;
        let middle = 1 + random.below(used.len() as u64 - 2) as usize;
        let path = if is_newest { &newest } else { &used[middle] };
        let mut bytes = fs::read(path).unwrap();
        let (begin, len) = (36 + random.below(700) as usize, random.below(900) as usize);
        let end = bytes.len().min(begin + 1 + len);
        let has_data = |bytes: &[u8]| bytes.iter().any(|byte| *byte != 0);
        if begin >= end || !has_data(&bytes[begin..end]) {
            continue;
        }
        bytes[begin..end].fill(0);
        fs::write(path, bytes).unwrap();
        let what = format!(
            "seed {seed}, zeros in {} from {begin} to {end}",
            path.display()
        );
        let sound = Inspection::read(&killed, |_, _| {}).unwrap().is_sound();
        assert!(is_newest || !sound, "{what}: not noticed");
        assert_eq!(builder(&killed).open().is_ok(), sound, "{what}");
        if sound {
            // Nothing shows that this part was durable, as after a power failure.
            continue;
        }
        in_newest += usize::from(is_newest);
        let lossy = scratch.path().join("lossy");
        copy(&killed, &lossy);
        let store = builder(&lossy).on_damage(OnDamage::AllowDataLoss);
        let store = store.open().unwrap();
        assert!(store.stats().damaged > 0, "{what}: not reported");
        for number in states.keys() {
            store.read(&key(*number), None).await.unwrap();
        }
        let store = builder(&killed).on_damage(OnDamage::DropUncertain);
        let store = store.open().unwrap();
        let lost = check(&store, &states, &what).await;
        dropped += lost;
        store.close().await.unwrap();
        let store = builder(&killed).open().expect("the damage was handled");
        assert_eq!(check(&store, &states, &what).await, lost, "{what}");
    }
    assert!(in_newest > 2 && dropped > 0, "{in_newest}, {dropped}");
}
