//! Random damage to one file of a store that was closed, killed, or killed during a compaction. The default
//! opens only if no acknowledged state that was durable is lost, and a repair serves no older state. The repaired
//! store is closed and damaged again: it keeps the states of the repair, or does not open.
#![no_main]

#[path = "../support/directory.rs"]
mod directory;
#[path = "../support/file_stores.rs"]
mod file_stores;
#[path = "../support/segment.rs"]
mod segment;

use std::{fs, path::Path, sync::OnceLock};

use file_stores::{Files, StoredFiles, builder, key, known_durable, stores};
use hyper_session::store::{
    FileStore, ReadOutcome, Store,
    file::{FindingKind, Inspection, OnDamage},
};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

fn context() -> &'static (Vec<StoredFiles>, Runtime) {
    static CONTEXT: OnceLock<(Vec<StoredFiles>, Runtime)> = OnceLock::new();
    CONTEXT.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        (stores(&runtime), runtime)
    })
}

/// Returns the data of each session.
fn read(store: &FileStore) -> Vec<Option<Vec<u8>>> {
    let read = |number| {
        let read = context().1.block_on(store.read(&key(number), None));
        match read.expect("a state") {
            ReadOutcome::Found(record) => Some(record.data.to_vec()),
            ReadOutcome::Absent | ReadOutcome::Gone => None,
        }
    };
    (0..file_stores::SESSIONS).map(read).collect()
}

/// Checks each session against the states that it may have: those of its history from `oldest` on. If
/// `lossy`, it may also be lost. Returns the number of sessions without their newest state.
fn check(stored: &StoredFiles, store: &FileStore, oldest: &[usize], lossy: bool) -> usize {
    let mut changed = 0;
    for (number, found) in read(store).iter().enumerate() {
        let history = &stored.histories[number];
        let mut allowed = history[oldest[number]..].iter();
        let is_allowed = allowed.any(|state| state.data == *found) || (lossy && found.is_none());
        assert!(is_allowed, "session {number} has an older state");
        let newest = history.last().expect("a state");
        changed += usize::from(newest.data != *found);
    }
    changed
}

/// Returns the files with the damage of an input: where, if the end is cut off, and the bytes at the place.
fn damage(files: &Files, file: u8, place: u16, cut: bool, replacement: &[u8]) -> (Files, String) {
    let (mut files, count) = (files.clone(), files.len());
    let mut names = files.iter_mut();
    let (name, content) = names.nth(usize::from(file) % count).expect("a file");
    if !content.is_empty() {
        let at = usize::from(place) % content.len();
        for (old, new) in content[at..].iter_mut().zip(replacement) {
            *old = *new;
        }
        if cut {
            content.truncate(at + replacement.len());
        }
    }
    let name = name.clone();
    (files, name)
}

// The first bytes choose the store, the file, the place, and if the end is cut off. The others replace the
// bytes at the place.
fuzz_target!(|bytes: &[u8]| {
    let Some((&[store, file, low, high, cut], replacement)) = bytes.split_first_chunk::<5>() else {
        return;
    };
    let stored = &context().0[usize::from(store) % context().0.len()];
    let place = u16::from_le_bytes([low, high]);
    let (files, damaged) = damage(&stored.files, file, place, cut % 3 == 0, replacement);
    let directory = directory::Directory::new();
    let directory = directory.path();
    for (name, content) in &files {
        fs::write(directory.join(name), content).expect("written");
    }
    let Ok(inspection) = Inspection::read(directory, |_, _| {}) else {
        check_refused(directory);
        return;
    };
    let findings = inspection.findings();
    let builder = || builder(directory).verify_on_open(true);
    let opened = builder().open();
    assert_eq!(inspection.is_sound(), opened.is_ok(), "{findings:?}");
    let newest: Vec<usize> = stored
        .histories
        .iter()
        .map(|states| states.len() - 1)
        .collect();
    // The end of a killed store may be cut off unnoticed, as after a power failure.
    let is_hint = |kind| matches!(kind, FindingKind::WrongHint { .. });
    let unchanged = findings.iter().all(|finding| is_hint(finding.kind))
        && damaged != format!("{:010}.log", stored.last_used());
    let oldest = if stored.is_closed || unchanged {
        newest
    } else {
        stored.oldest_allowed(known_durable(&files))
    };
    if let Ok(store) = opened {
        let changed = check(stored, &store, &oldest, false);
        assert!(!stored.is_closed || changed == 0, "{findings:?}");
        return;
    }
    let repaired = builder().on_damage(OnDamage::DropUncertain).open();
    let changed = check(stored, &repaired.expect("repaired"), &oldest, true);
    let again = builder().open().expect("the damage was handled");
    assert_eq!(check(stored, &again, &oldest, true), changed);
    let kept = read(&again);
    context().1.block_on(again.close()).expect("closed");
    check_second_damage(directory, &kept, replacement);
});

/// Checks that a directory that cannot be inspected is not opened: a head names a newer version, which is no damage.
fn check_refused(directory: &Path) {
    for on_damage in [OnDamage::Refuse, OnDamage::DropUncertain] {
        let opened = builder(directory).on_damage(on_damage).open();
        assert!(opened.is_err(), "opened with {on_damage:?}");
    }
}

/// Damages a repaired store that was closed. It serves what it has kept, or does not open. Another repair may
/// lose sessions.
fn check_second_damage(directory: &Path, kept: &[Option<Vec<u8>>], replacement: &[u8]) {
    let last = replacement.last_chunk::<4>();
    let [file, low, high, cut] = last.copied().unwrap_or_default();
    let place = u16::from_le_bytes([low, high]);
    let files = file_stores::read_files(directory);
    let (files, damaged) = damage(&files, file, place, cut % 3 == 0, replacement);
    fs::write(directory.join(&damaged), &files[&damaged]).expect("written");
    if Inspection::read(directory, |_, _| {}).is_err() {
        check_refused(directory);
        return;
    }
    let builder = || builder(directory).verify_on_open(true);
    if let Ok(store) = builder().open() {
        assert_eq!(read(&store), kept, "damage to {damaged}");
        return;
    }
    let repaired = builder().on_damage(OnDamage::DropUncertain).open();
    let states = read(&repaired.expect("repaired"));
    for (number, (state, kept)) in states.iter().zip(kept).enumerate() {
        assert!(
            state.is_none() || state == kept,
            "session {number} has an older state"
        );
    }
}
