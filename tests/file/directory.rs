//! The directory is moved, deleted or replaced while the store is open.

use std::{
    error::Error as _,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hyper_session::store::{
    Expected, FileStore, ReadOutcome, Store, StoreError, WriteOutcome, WriteRequest,
    file::{Durability, FileError, FileEvent, FileStoreBuilder},
};

use crate::support::scratch::{Scratch, key};

const LIFE: Duration = Duration::from_secs(3600);
const DURABILITIES: [Durability; 3] = [
    Durability::Always,
    Durability::Interval(Duration::from_millis(200)),
    Durability::Os,
];

fn builder(directory: &Path, durability: Durability) -> FileStoreBuilder {
    let builder = FileStore::builder(directory).segment_bytes(16 << 10);
    builder.durability(durability).cache_bytes(0)
}

fn data(number: u64) -> Vec<u8> {
    vec![number as u8; 300]
}

async fn write(store: &FileStore, number: u64) -> Result<WriteOutcome, StoreError> {
    let request = WriteRequest::new(&key(number), data(number), LIFE, Expected::Any);
    store.write(request).await
}

async fn assert_stored(store: &FileStore, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let ReadOutcome::Found(record) = store.read(&key(number), None).await.unwrap() else {
            panic!("session {number} is missing");
        };
        assert_eq!(record.data, data(number));
    }
}

/// A store that has written, in a directory that a test changes.
struct Victim {
    _scratch: Option<Scratch>,
    directory: PathBuf,
    store: FileStore,
    /// The names of the events after which the store needs an operator.
    failures: Arc<Mutex<Vec<&'static str>>>,
}

impl Victim {
    async fn open(durability: Durability) -> Self {
        let scratch = Scratch::new();
        let victim = Self::open_in(scratch.path(), durability).await;
        let _scratch = Some(scratch);
        Self { _scratch, ..victim }
    }

    async fn open_in(parent: &Path, durability: Durability) -> Self {
        let directory = parent.join("sessions");
        let failures = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&failures);
        let listener = move |event: &FileEvent<'_>| {
            if let FileEvent::CompactionFailed { .. } | FileEvent::Poisoned { .. } = event {
                log.lock().unwrap().push(event.name());
            }
        };
        let store = builder(&directory, durability).listener(listener);
        let store = store.open().unwrap();
        for number in 0..150 {
            write(&store, number % 50).await.unwrap();
        }
        // No compaction is due while the test changes the files.
        store.compact().await.unwrap();
        write(&store, 0).await.unwrap();
        Self {
            _scratch: None,
            directory,
            store,
            failures,
        }
    }

    /// From now on, a group commit only compares the time of the directory's last change.
    async fn settle(&self) {
        for _ in 0..3 {
            write(&self.store, 1).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Checks that writes fail soon, with [`Durability::Always`] at once, and then everything with an error that
    /// names `path`.
    async fn assert_stops(&self, durability: Durability, path: &Path, change: &str) {
        let some_may_succeed = durability != Durability::Always;
        let began = Instant::now();
        let error = loop {
            match write(&self.store, 1).await {
                Err(error) => break error,
                Ok(_) => assert!(some_may_succeed, "acknowledged and lost"),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "{change}: not noticed"
            );
        };
        let check = |error: &StoreError| {
            let source = error.source().unwrap().downcast_ref();
            let Some(source @ FileError::PathChanged { path: named, .. }) = source else {
                panic!("{error:?}");
            };
            assert_eq!(named, path);
            assert!(source.to_string().contains(change), "{source}");
        };
        let store = &self.store;
        check(&error);
        for number in 0..100 {
            check(&write(store, number).await.unwrap_err());
        }
        check(&store.read(&key(1), None).await.unwrap_err());
        check(&store.read(&key(1), Some(LIFE)).await.unwrap_err());
        check(&store.touch(&key(1), LIFE).await.unwrap_err());
        check(&store.destroy(&key(1)).await.unwrap_err());
        check(&store.count().await.unwrap_err());
        check(&store.flush().await.unwrap_err());
        check(&store.compact().await.unwrap_err());
        check(&store.close().await.unwrap_err());
        assert_eq!(*self.failures.lock().unwrap(), ["poisoned"]);
    }
}

#[tokio::test]
async fn a_directory_that_was_moved_away_stops_the_store() {
    for durability in DURABILITIES {
        let victim = Victim::open(durability).await;
        let directory = victim.directory.clone();
        let moved = directory.with_extension("moved");
        fs::rename(&directory, &moved).unwrap();
        victim
            .assert_stops(durability, &directory, "moved or deleted")
            .await;
        let store = builder(&moved, durability).open().unwrap();
        assert_stored(&store, 0..50).await;
    }
}

#[tokio::test]
async fn a_parent_directory_that_was_moved_away_stops_the_store() {
    for durability in DURABILITIES {
        let scratch = Scratch::new();
        let parent = scratch.path().join("parent");
        let victim = Victim::open_in(&parent, durability).await;
        let moved = scratch.path().join("moved");
        fs::rename(&parent, &moved).unwrap();
        // A group commit compares the path every ten milliseconds.
        tokio::time::sleep(Duration::from_millis(10)).await;
        victim
            .assert_stops(durability, &victim.directory, "was moved or deleted")
            .await;
    }
}

#[tokio::test]
async fn a_directory_that_was_moved_away_and_created_again_stops_the_store() {
    for durability in DURABILITIES {
        let victim = Victim::open(durability).await;
        let directory = victim.directory.clone();
        fs::rename(&directory, directory.with_extension("moved")).unwrap();
        fs::create_dir(&directory).unwrap();
        victim
            .assert_stops(durability, &directory, "was replaced")
            .await;
        assert_eq!(
            fs::read_dir(&directory).unwrap().count(),
            0,
            "nothing is created in it"
        );
    }
}

#[tokio::test]
async fn a_deleted_directory_stops_the_store() {
    for durability in DURABILITIES {
        let victim = Victim::open(durability).await;
        let directory = victim.directory.clone();
        // The store may create a hint file meanwhile.
        while directory.exists() {
            let _ = fs::remove_dir_all(&directory);
        }
        victim
            .assert_stops(durability, &directory, "moved or deleted")
            .await;
        assert!(!directory.exists());
    }
}

#[tokio::test]
async fn deleted_files_stop_the_store() {
    for durability in DURABILITIES {
        let victim = Victim::open(durability).await;
        let directory = victim.directory.clone();
        // Such as `rm *` or a program that cleans up temporary directories.
        for entry in fs::read_dir(&directory).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        let lock = directory.join("lock");
        victim
            .assert_stops(durability, &lock, "moved or deleted")
            .await;
    }
}

/// Returns the segments with frames, the oldest first.
fn segments(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let paths = entries.map(|entry| entry.path());
    // The next segment has only a head of 36 bytes, and no acknowledged data.
    let is_used = |path: &PathBuf| {
        let is_segment = path.extension().is_some_and(|end| end == "log");
        is_segment && fs::metadata(path).is_ok_and(|file| file.len() > 36)
    };
    let mut segments: Vec<_> = paths.filter(is_used).collect();
    segments.sort();
    segments
}

#[tokio::test]
async fn a_directory_that_is_replaced_by_a_loop_of_links_stops_the_store() {
    for durability in DURABILITIES {
        let victim = Victim::open(durability).await;
        let directory = victim.directory.clone();
        fs::rename(&directory, directory.with_extension("moved")).unwrap();
        symlink(&directory, &directory).unwrap();
        victim
            .assert_stops(durability, &directory, "was replaced")
            .await;
    }
}

#[tokio::test]
async fn a_deleted_older_segment_stops_the_store() {
    for durability in DURABILITIES {
        for settle in [false, true] {
            let victim = Victim::open(durability).await;
            if settle {
                victim.settle().await;
            }
            let segments = segments(&victim.directory);
            let [.., older, _active] = &segments[..] else {
                panic!("{segments:?}");
            };
            fs::remove_file(older).unwrap();
            victim
                .assert_stops(durability, older, "moved or deleted")
                .await;
        }
    }
}

#[tokio::test]
async fn a_deleted_or_replaced_segment_stops_the_store() {
    for durability in DURABILITIES {
        for replace in [false, true] {
            let victim = Victim::open(durability).await;
            let active = segments(&victim.directory).pop().unwrap();
            let bytes = fs::read(&active).unwrap();
            fs::remove_file(&active).unwrap();
            if replace {
                fs::write(&active, bytes).unwrap();
            }
            let change = ["moved or deleted", "was replaced"][usize::from(replace)];
            victim.assert_stops(durability, &active, change).await;
        }
    }
}

#[tokio::test]
async fn a_truncated_active_segment_stops_the_store() {
    for durability in DURABILITIES {
        let is_checked = durability == Durability::Always;
        for len in [0, 100] {
            let victim = Victim::open(durability).await;
            if is_checked {
                victim.settle().await;
            }
            // The next segment, which has no frame, may exist.
            let mut segments = segments(&victim.directory).into_iter().rev();
            let has_frames = |path: &PathBuf| fs::metadata(path).unwrap().len() > 100;
            let active = segments.find(has_frames).unwrap();
            let file = fs::File::options().write(true).open(&active).unwrap();
            file.set_len(len).unwrap();
            // Writes extend the file again. Then the bytes before the truncation are missing.
            let began = Instant::now();
            while !is_checked && len > 0 && victim.store.read(&key(1), None).await.is_ok() {
                assert!(began.elapsed() < Duration::from_secs(60), "not noticed");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // A group commit compares the length every ten milliseconds.
            tokio::time::sleep(Duration::from_millis(10)).await;
            victim
                .assert_stops(durability, &active, "was truncated")
                .await;
        }
    }
}

#[tokio::test]
async fn a_segment_that_was_moved_behind_a_link_stops_the_store() {
    for durability in DURABILITIES {
        let victim = Victim::open(durability).await;
        let active = segments(&victim.directory).pop().unwrap();
        let moved = victim.directory.with_extension("moved");
        fs::rename(&active, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &active).unwrap();
        victim
            .assert_stops(durability, &active, "was replaced")
            .await;
    }
}

#[tokio::test]
async fn a_deleted_lock_file_lets_no_second_store_in() {
    for durability in DURABILITIES {
        for replace in [false, true] {
            let victim = Victim::open(durability).await;
            let lock = victim.directory.join("lock");
            fs::remove_file(&lock).unwrap();
            if replace {
                fs::write(&lock, "").unwrap();
            }
            let refused = FileStore::open(&victim.directory).unwrap_err();
            assert!(matches!(refused, FileError::InUse { .. }), "{refused}");
            let change = ["moved or deleted", "was replaced"][usize::from(replace)];
            victim.assert_stops(durability, &lock, change).await;
        }
    }
}

#[tokio::test]
async fn a_lock_file_that_another_version_has_locked_keeps_the_store_out() {
    let scratch = Scratch::new();
    FileStore::open(scratch.path())
        .unwrap()
        .close()
        .await
        .unwrap();
    let lock = fs::File::open(scratch.path().join("lock")).unwrap();
    let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    rustix::fs::flock(&lock, exclusive).unwrap();
    let refused = FileStore::open(scratch.path()).unwrap_err();
    assert!(matches!(refused, FileError::InUse { .. }), "{refused}");
    drop(lock);
    FileStore::open(scratch.path()).unwrap();
}

#[tokio::test]
async fn a_link_that_is_switched_to_another_directory_leaves_both_stores_intact() {
    for durability in DURABILITIES {
        let scratch = Scratch::new();
        let [old, new, link] = ["r1", "r2", "current"].map(|name| scratch.path().join(name));
        for release in [&old, &new] {
            fs::create_dir(release).unwrap();
        }
        symlink(&old, &link).unwrap();
        let first = builder(&link.join("sessions"), durability).open().unwrap();
        write(&first, 0).await.unwrap();
        let next = scratch.path().join("next");
        symlink(&new, &next).unwrap();
        fs::rename(&next, &link).unwrap();
        let second = builder(&link.join("sessions"), durability).open().unwrap();
        for turn in 0..300 {
            write(&first, turn % 100).await.unwrap();
            write(&second, 1000 + turn % 100).await.unwrap();
        }
        for store in [&first, &second] {
            store.compact().await.unwrap();
            assert!(store.stats().compacted_segments > 0);
        }
        assert_stored(&first, 0..100).await;
        assert_stored(&second, 1000..1100).await;
        for (store, release, numbers) in [(first, old, 0..100), (second, new, 1000..1100)] {
            store.close().await.unwrap();
            let store = builder(&release.join("sessions"), durability)
                .open()
                .unwrap();
            assert_stored(&store, numbers).await;
            assert_eq!(
                store.stats().records,
                100,
                "only the sessions of this store"
            );
        }
    }
}

#[tokio::test]
async fn the_path_is_resolved_once() {
    let scratch = Scratch::new();
    let store = FileStore::builder(scratch.path().join("x/../sessions"));
    fs::create_dir(scratch.path().join("x")).unwrap();
    let store = store.durability(Durability::Always).open().unwrap();
    fs::remove_dir(scratch.path().join("x")).unwrap();
    write(&store, 1).await.unwrap();
    assert_stored(&store, 1..2).await;
}
