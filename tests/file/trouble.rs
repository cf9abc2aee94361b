//! Problems with the directory are reported clearly and lose no acknowledged write.

use std::{
    error::Error as _,
    fs,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, mpsc},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper_session::store::{
    Expected, FileStore, ReadOutcome, Store, WriteOutcome, WriteRequest,
    file::{Durability, FileError, FileEvent, OnDamage},
};

use tokio::task::JoinSet;

use crate::support::scratch::{Scratch, key};

const SESSIONS: u64 = 1000;
/// Maximum time until an event.
const LONG: Duration = Duration::from_secs(60);
const LIFE: Duration = Duration::from_secs(3600);

async fn write(store: &FileStore, number: u64) {
    let data = Bytes::from(vec![number as u8; 300]);
    let request = WriteRequest::new(&key(number), data, LIFE, Expected::Any);
    let written = store.write(request).await;
    assert!(matches!(written.unwrap(), WriteOutcome::Done(_)));
}

async fn has(store: &FileStore, number: u64) -> bool {
    match store.read(&key(number), None).await.unwrap() {
        ReadOutcome::Found(record) => {
            assert_eq!(record.data, vec![number as u8; 300]);
            true
        }
        ReadOutcome::Absent | ReadOutcome::Gone => false,
    }
}

/// Creates a closed store with all sessions in many segments.
async fn many_segments(directory: &Path) {
    // Every write waits for the disk, so the next segment is always created in time.
    let store = small_segments(directory).durability(Durability::Always);
    let store = store.open().unwrap();
    for first in (0..SESSIONS).step_by(10) {
        let mut writers = JoinSet::new();
        for number in first..first + 10 {
            let store = store.clone();
            writers.spawn(async move { write(&store, number).await });
        }
        writers.join_all().await;
    }
    store.close().await.unwrap();
    assert!(segments(directory).len() > 5);
}

fn small_segments(directory: &Path) -> hyper_session::store::file::FileStoreBuilder {
    FileStore::builder(directory).segment_bytes(16 << 10)
}

/// Returns a builder of a store without a cache.
fn uncached(directory: &Path) -> hyper_session::store::file::FileStoreBuilder {
    FileStore::builder(directory).cache_bytes(0)
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    files(directory, "log")
}

fn files(directory: &Path, end: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == end))
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn a_second_opening_fails_with_the_directory_and_the_process() {
    let scratch = Scratch::new();
    let first = FileStore::open(scratch.path()).unwrap();
    let refused = FileStore::open(scratch.path()).unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains(&scratch.path().display().to_string()),
        "{text}"
    );
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    write(&first, 1).await;
    drop(first);
    let second = FileStore::open(scratch.path()).unwrap();
    assert!(has(&second, 1).await);
}

#[tokio::test]
async fn a_closed_store_releases_the_directory_and_rejects_operations() {
    let scratch = Scratch::new();
    let store = FileStore::open(scratch.path()).unwrap();
    write(&store, 1).await;
    store.close().await.unwrap();
    store.close().await.unwrap();
    let other = FileStore::open(scratch.path()).unwrap();
    assert!(has(&other, 1).await);
    let refused = store.read(&key(1), None).await.unwrap_err();
    let source = refused.source().unwrap().downcast_ref::<FileError>();
    assert!(matches!(source, Some(FileError::Closed)), "{refused}");
    assert!(store.destroy(&key(1)).await.is_err());
    assert!(store.compact().await.is_err());
}

#[tokio::test]
async fn close_completes_when_the_store_is_closed() {
    let scratch = Scratch::new();
    let (entered, inside) = mpsc::channel();
    let (release, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    // Blocks a thread of the store until `release` is dropped.
    let listener = move |_: &FileEvent<'_>| {
        let _ = entered.send(());
        let _ = wait.lock().unwrap().recv();
    };
    let store = FileStore::builder(scratch.path()).listener(listener);
    let store = store.open().unwrap();
    write(&store, 1).await;
    let _compacting = store.compact();
    inside.recv_timeout(LONG).unwrap();
    let mut closing = JoinSet::new();
    for _ in 0..3 {
        closing.spawn(store.close());
    }
    let early = tokio::time::timeout(Duration::from_millis(200), closing.join_next()).await;
    assert!(early.is_err(), "completed while a thread of the store runs");
    drop(release);
    while let Some(closed) = closing.join_next().await {
        closed.unwrap().unwrap();
        assert!(
            FileStore::open(scratch.path()).is_ok(),
            "the directory is released"
        );
    }
}

#[tokio::test]
async fn close_does_not_wait_for_a_compaction_of_the_whole_log() {
    let scratch = Scratch::new();
    many_segments(scratch.path()).await;
    let (compacted, events) = mpsc::channel();
    let (release, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    // Blocks the compaction after each segment until `release` is dropped.
    let listener = move |event: &FileEvent<'_>| {
        if let FileEvent::Compacted { .. } = event {
            let _ = compacted.send(());
            let _ = wait.lock().unwrap().recv();
        }
    };
    let store = small_segments(scratch.path()).listener(listener);
    let store = store.open().unwrap();
    let compacting = store.compact();
    events.recv_timeout(LONG).unwrap();
    let closing = store.close();
    drop(release);
    closing.await.unwrap();
    assert!(compacting.await.is_err());
    assert_eq!(events.try_iter().count(), 0, "segments after the call");
    let store = FileStore::open(scratch.path()).unwrap();
    for number in 0..SESSIONS {
        assert!(has(&store, number).await, "session {number}");
    }
}

#[test]
fn only_the_owner_can_look_into_the_directory() {
    let scratch = Scratch::new();
    let directory = scratch.path().join("deep/sessions");
    let store = FileStore::open(&directory).unwrap();
    drop(store);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for entry in fs::read_dir(&directory).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[test]
fn the_error_names_a_directory_that_cannot_be_used() {
    let scratch = Scratch::new();
    let file = scratch.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    for path in [file.join("sessions"), PathBuf::from("/proc/self/sessions")] {
        let refused = FileStore::open(&path).unwrap_err();
        assert!(
            refused.to_string().contains(&path.display().to_string()),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_deleted_segment_is_an_error_that_names_the_file() {
    for index in [0, 3, usize::MAX] {
        let scratch = Scratch::new();
        many_segments(scratch.path()).await;
        // The next segment, which was created early, has no data.
        let mut all = segments(scratch.path());
        all.retain(|path| fs::metadata(path).unwrap().len() > 36);
        let lost = &all[index.min(all.len() - 1)];
        fs::remove_file(lost).unwrap();
        let refused = small_segments(scratch.path()).open().unwrap_err();
        assert!(matches!(refused, FileError::Damaged { .. }), "{refused}");
        let expected = format!(
            "log segment {}: the segment is missing; restore the directory from a backup, or run \
             `session-file repair {}` to drop the sessions that may have an older state",
            lost.display(),
            scratch.path().display()
        );
        assert_eq!(refused.to_string(), expected);
        let store = small_segments(scratch.path())
            .on_damage(OnDamage::AllowDataLoss)
            .open()
            .unwrap();
        let mut left = 0;
        for number in 0..SESSIONS {
            left += u64::from(has(&store, number).await);
        }
        assert!((SESSIONS / 5..SESSIONS).contains(&left), "{left} are left");
        write(&store, 5000).await;
        drop(store);
        let store = small_segments(scratch.path())
            .open()
            .expect("the loss is recorded in the log");
        assert!(has(&store, 5000).await);
    }
}

#[tokio::test]
async fn a_damaged_or_missing_hint_costs_only_time() {
    let scratch = Scratch::new();
    many_segments(scratch.path()).await;
    let mut hints = files(scratch.path(), "hint");
    assert!(hints.len() > 5, "{} hints", hints.len());
    // The last one may be too short to save anything, and then only holds what was durable.
    fs::remove_file(hints.pop().unwrap()).unwrap();
    fs::remove_file(&hints[0]).unwrap();
    fs::write(&hints[1], "nonsense").unwrap();
    let mut bytes = fs::read(&hints[2]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&hints[2], bytes).unwrap();
    let store = small_segments(scratch.path()).open().unwrap();
    assert_eq!(store.stats().hints_used, hints.len() as u64 - 3);
    for number in 0..SESSIONS {
        assert!(has(&store, number).await);
    }
}

#[tokio::test]
async fn a_record_damaged_while_the_store_is_open_is_never_served() {
    let scratch = Scratch::new();
    let store = uncached(scratch.path())
        .durability(Durability::Os)
        .open()
        .unwrap();
    write(&store, 1).await;
    write(&store, 2).await;
    let log = &segments(scratch.path())[0];
    let mut bytes = fs::read(log).unwrap();
    let at = bytes
        .windows(100)
        .position(|part| part.iter().all(|byte| *byte == 1))
        .unwrap();
    bytes[at] = 77;
    // In place, since a truncated file would stop the store.
    let file = fs::File::options().write(true).open(log).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    assert_eq!(
        store.read(&key(1), None).await.unwrap(),
        ReadOutcome::Absent
    );
    assert!(has(&store, 2).await);
    assert_eq!(store.stats().damaged, 1);
}

/// The frames before the cut are intact, so only the known end of the segment shows the loss.
async fn lose_an_end_while_the_store_is_open(change: impl FnOnce(&Path, usize)) {
    const WRITTEN: u64 = 100;
    let scratch = Scratch::new();
    let (sender, events) = mpsc::channel();
    let sender = Mutex::new(sender);
    let listener = move |event: &FileEvent<'_>| {
        if let FileEvent::Damaged { offset, .. } = event {
            sender.lock().unwrap().send(*offset).unwrap();
        }
    };
    let store = small_segments(scratch.path()).durability(Durability::Always);
    let store = store.listener(listener).open().unwrap();
    for number in 0..WRITTEN {
        write(&store, number).await;
    }
    let first = &segments(scratch.path())[0];
    let bytes = fs::read(first).unwrap();
    let is_second = |part: &[u8]| part.iter().all(|byte| *byte == 1);
    let begin = bytes.windows(300).position(is_second).unwrap();
    let end = begin + 300;
    change(first, end);
    store.compact().await.unwrap();
    let count = store.count().await.unwrap().unwrap();
    let mut found = 0;
    for number in 0..WRITTEN {
        found += u64::from(has(&store, number).await);
    }
    assert!((1..WRITTEN).contains(&found), "{found} sessions");
    assert_eq!(count, found);
    assert_eq!(store.stats().records, found);
    assert_eq!(store.stats().damaged, 1);
    store.close().await.unwrap();
    drop(store);
    assert_eq!(events.into_iter().collect::<Vec<_>>(), [end as u64]);
    let store = small_segments(scratch.path()).open().unwrap();
    assert_eq!(store.stats().records, found);
}

#[tokio::test]
async fn a_compaction_reports_an_end_that_was_cut_off_while_the_store_is_open() {
    lose_an_end_while_the_store_is_open(|path, end| {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(end as u64).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_compaction_reports_an_end_that_became_zeros_while_the_store_is_open() {
    lose_an_end_while_the_store_is_open(|path, end| {
        let mut bytes = fs::read(path).unwrap();
        bytes[end..].fill(0);
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_record_that_is_not_in_the_page_cache_is_read_all_the_same() {
    let scratch = Scratch::new();
    let store = uncached(scratch.path())
        .durability(Durability::Always)
        .open()
        .unwrap();
    write(&store, 1).await;
    let log = fs::File::open(&segments(scratch.path())[0]).unwrap();
    rustix::fs::fadvise(&log, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    assert!(has(&store, 1).await);
}

#[tokio::test]
async fn expired_sessions_are_collected() {
    let scratch = Scratch::new();
    let store = small_segments(scratch.path())
        .durability(Durability::Os)
        .open()
        .unwrap();
    for number in 0..500 {
        let life = Duration::from_millis(1);
        let request = WriteRequest::new(&key(number), vec![0; 300], life, Expected::Any);
        store.write(request).await.unwrap();
    }
    let began = Instant::now();
    while store.stats().records > 0 || store.stats().disk_bytes > 16 << 10 {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{:?}",
            store.stats()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_dropped_store_has_ended_its_threads_and_released_its_directory() {
    let scratch = Scratch::new();
    for number in 0..20 {
        let store = FileStore::open(scratch.path()).expect("the previous store is closed");
        write(&store, number).await;
    }
    let store = FileStore::open(scratch.path()).unwrap();
    for number in 0..20 {
        assert!(has(&store, number).await);
    }
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let scratch = Scratch::new();
    for (builder, name) in [
        (
            FileStore::builder(scratch.path()).segment_bytes(100),
            "segment_bytes",
        ),
        (
            FileStore::builder(scratch.path()).compaction_rate(0),
            "compaction_rate",
        ),
        (
            FileStore::builder(scratch.path()).durability(Durability::Interval(Duration::ZERO)),
            "durability",
        ),
        (
            FileStore::builder(scratch.path()).durability(Durability::Interval(Duration::MAX)),
            "durability",
        ),
    ] {
        let refused = builder.open().unwrap_err();
        assert!(refused.to_string().contains(name), "{refused}");
    }
}

#[tokio::test]
async fn a_record_longer_than_a_segment_is_refused_with_both_lengths() {
    let scratch = Scratch::new();
    let store = small_segments(scratch.path()).open().unwrap();
    let write = |data: Bytes| store.write(WriteRequest::new(&key(1), data, LIFE, Expected::Any));
    let refused = write(vec![0; 16 << 10].into()).await.unwrap_err();
    let source = refused.source().unwrap().downcast_ref::<FileError>();
    let Some(FileError::TooLong { len: 16384, max }) = source else {
        panic!("{refused}");
    };
    let data = Bytes::from(vec![0; *max]);
    let written = write(data.clone()).await.unwrap();
    assert!(matches!(written, WriteOutcome::Done(_)));
    let ReadOutcome::Found(record) = store.read(&key(1), None).await.unwrap() else {
        panic!("the longest record is missing");
    };
    assert_eq!(record.data, data);
}
