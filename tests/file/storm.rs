//! Load tests. The limit on disk space holds, and no operation waits forever.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use hyper_session::{
    id::StoreKey,
    store::{
        Expected, FileStore, ReadOutcome, Store, Tag, TagStore, Tags, WriteRequest,
        file::Durability,
    },
};

use crate::support::scratch::{Scratch, key};

const SEGMENT: u64 = 256 << 10;
const SESSIONS: u64 = 2_000;
const LIFE: Duration = Duration::from_secs(3600);

fn open(path: &Path, durability: Durability) -> FileStore {
    FileStore::builder(path)
        .segment_bytes(SEGMENT)
        .durability(durability)
        .tombstone_ttl(Duration::from_millis(200))
        .open()
        .unwrap()
}

async fn write(store: &FileStore, key: &StoreKey, data: Vec<u8>) {
    let request = WriteRequest::new(key, data, LIFE, Expected::Any);
    store.write(request).await.unwrap();
}

/// Returns the size of all segments and hints.
fn used(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let logs = files.filter(|file| file.file_name() != "lock");
    logs.map(|file| file.metadata().unwrap().len()).sum()
}

/// Compares the store's own size with its limit until `stop` is set. Both are of one moment, so the
/// result does not depend on the speed of the machine.
fn watch_size(store: FileStore, stop: Arc<AtomicBool>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            assert_within_limit(&store);
            thread::sleep(Duration::from_millis(1));
        }
    })
}

fn assert_within_limit(store: &FileStore) {
    let stats = store.stats();
    assert!(stats.disk_bytes <= stats.disk_limit, "{stats:?}");
}

/// Closes the store and compares its size with that of its files.
async fn assert_size(store: FileStore, directory: &Path) {
    store.close().await.unwrap();
    assert_within_limit(&store);
    assert_eq!(store.stats().disk_bytes, used(directory));
}

async fn storm(
    sessions: u64,
    work: impl AsyncFn(FileStore, StoreKey, u64),
) -> (FileStore, Scratch) {
    let scratch = Scratch::new();
    let store = open(scratch.path(), Durability::Os);
    for number in 0..sessions {
        let data = vec![b'x'; 200];
        write(&store, &key(number), data).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = watch_size(store.clone(), Arc::clone(&stop));
    for turn in 0..60_000 {
        work(store.clone(), key(turn % sessions), turn).await;
        assert_within_limit(&store);
    }
    stop.store(true, Ordering::Relaxed);
    watcher.join().unwrap();
    (store, scratch)
}

#[tokio::test]
async fn touches_do_not_take_more_disk_than_the_limit() {
    let (store, scratch) = storm(SESSIONS, async |store, key, _| {
        assert!(store.touch(&key, LIFE).await.unwrap());
    })
    .await;
    assert!(store.stats().compacted_segments > 0);
    assert_eq!(store.stats().records, SESSIONS);
    assert_size(store, scratch.path()).await;
}

#[tokio::test]
async fn overwriting_does_not_take_more_disk_than_the_limit() {
    let (store, scratch) = storm(SESSIONS, async |store, key, turn| {
        write(&store, &key, vec![turn as u8; (turn % 700) as usize]).await;
    })
    .await;
    for turn in 60_000 - SESSIONS..60_000 {
        let ReadOutcome::Found(record) = store.read(&key(turn % SESSIONS), None).await.unwrap()
        else {
            panic!("session {turn} is missing");
        };
        assert_eq!(record.data, vec![turn as u8; (turn % 700) as usize]);
    }
    assert_size(store, scratch.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn grouped_writers_do_not_take_more_disk_than_the_limit() {
    let scratch = Scratch::new();
    let store = open(scratch.path(), Durability::Always);
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = watch_size(store.clone(), Arc::clone(&stop));
    let writers = (0..32).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for turn in 0..200 {
                let key = key(writer * 10 + turn % 10);
                write(&store, &key, vec![turn as u8; (turn * 7 % 700) as usize]).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    watcher.join().unwrap();
    assert!(store.stats().compacted_segments > 0, "{:?}", store.stats());
    assert_eq!(store.stats().records, 320);
    assert_size(store, scratch.path()).await;
}

#[tokio::test]
async fn destroying_does_not_take_more_disk_than_the_limit() {
    let next = AtomicU64::new(1 << 32);
    let (store, scratch) = storm(SESSIONS, async |store, old, turn| {
        // Every session is destroyed, and new ones are created at half that rate.
        store.destroy(&old).await.unwrap();
        if turn % 2 == 0 {
            let fresh = key(next.fetch_add(1, Ordering::Relaxed));
            let life = Duration::from_millis(500);
            let request = WriteRequest::new(&fresh, vec![b'y'; 300], life, Expected::Any);
            store.write(request).await.unwrap();
        }
    })
    .await;
    assert_size(store, scratch.path()).await;
}

/// The limit falls by the size of the session, and the files have preallocated space.
#[tokio::test]
async fn destroying_a_long_session_does_not_take_more_disk_than_the_limit() {
    let scratch = Scratch::new();
    let store = FileStore::builder(scratch.path()).segment_bytes(1 << 20);
    let store = store.durability(Durability::Always).open().unwrap();
    write(&store, &key(1), vec![b'x'; 450_000]).await;
    // A compaction is not due yet.
    while store.stats().disk_bytes <= 1_056_000 {
        write(&store, &key(2), vec![b'y'; 3000]).await;
    }
    store.destroy(&key(1)).await.unwrap();
    assert_within_limit(&store);
    assert_eq!(store.stats().compacted_segments, 0);
    write(&store, &key(3), vec![b'z'; 3000]).await;
    assert_size(store, scratch.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_in_every_mode_all_get_an_answer() {
    for durability in [
        Durability::Os,
        Durability::Interval(Duration::from_millis(5)),
        Durability::Always,
    ] {
        let scratch = Scratch::new();
        let store = FileStore::builder(scratch.path())
            .segment_bytes(64 << 10)
            .durability(durability)
            .compaction_rate(1 << 20)
            .open()
            .unwrap();
        let writers = (0..32).map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for turn in 0..60_u64 {
                    let key = key((writer * 7 + turn) % 40);
                    write(&store, &key, vec![b'z'; 400]).await;
                    store.read(&key, Some(LIFE)).await.unwrap();
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        assert_size(store, scratch.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn at_every_moment_a_tag_lists_exactly_the_records_that_have_it() {
    let scratch = Scratch::new();
    let store = open(scratch.path(), Durability::Os);
    let tag = Tag::new("user-7").unwrap();
    let mut tags = Tags::new();
    tags.insert(&tag).unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (store, ended) = (store.clone(), Arc::clone(&ended));
        async move {
            for turn in 0..30_000 {
                let tags = [&tags, &Tags::new()][turn % 2].clone();
                let request = WriteRequest::new(&key(1), vec![1; 200], LIFE, Expected::Any);
                store.write(request.tags(tags)).await.unwrap();
            }
            ended.store(true, Ordering::Relaxed);
        }
    });
    let mut compared = 0;
    while !ended.load(Ordering::Relaxed) {
        let before = store.read(&key(1), None).await.unwrap();
        let listed = store.tagged(&tag).await.unwrap() == [key(1)];
        let after = store.read(&key(1), None).await.unwrap();
        // The list is that of a known record only if the record did not change meanwhile.
        if let ReadOutcome::Found(record) = &before
            && before == after
        {
            assert_eq!(listed, record.tags.contains("user-7"));
            compared += 1;
        }
    }
    writer.await.unwrap();
    assert!(compared > 100, "{compared} comparisons");
}
