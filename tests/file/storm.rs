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

use bytes::Bytes;
use hyper_session::{
    id::StoreKey,
    store::{Expected, FileStore, ReadOutcome, Store, file::Durability},
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

fn used(directory: &Path) -> u64 {
    let sizes = std::fs::read_dir(directory).unwrap().flatten();
    // A file may be deleted between the listing and the call.
    sizes
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}

/// Measures the directory until `stop` is set. Returns the greatest size in percent of the limit.
fn watch_size(
    store: FileStore,
    directory: &Path,
    stop: Arc<AtomicBool>,
) -> thread::JoinHandle<u64> {
    let directory = directory.to_path_buf();
    thread::spawn(move || {
        let mut worst = 0;
        while !stop.load(Ordering::Relaxed) {
            // The limit changes with the live data. The greater of before and after is valid.
            let before = store.stats().disk_limit;
            let used = used(&directory);
            let limit = before.max(store.stats().disk_limit);
            worst = worst.max(used * 100 / limit);
            thread::sleep(Duration::from_millis(1));
        }
        worst
    })
}

async fn storm(
    sessions: u64,
    work: impl AsyncFn(FileStore, StoreKey, u64),
) -> (FileStore, Scratch, u64) {
    let scratch = Scratch::new();
    let store = open(scratch.path(), Durability::Os);
    for number in 0..sessions {
        let data = Bytes::from(vec![b'x'; 200]);
        store
            .write(&key(number), data, LIFE, Expected::Any)
            .await
            .unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = watch_size(store.clone(), scratch.path(), Arc::clone(&stop));
    for turn in 0..60_000 {
        work(store.clone(), key(turn % sessions), turn).await;
    }
    stop.store(true, Ordering::Relaxed);
    (store, scratch, watcher.join().unwrap())
}

#[tokio::test]
async fn touches_do_not_take_more_disk_than_the_limit() {
    let (store, _scratch, worst) = storm(SESSIONS, async |store, key, _| {
        assert!(store.touch(&key, LIFE).await.unwrap());
    })
    .await;
    assert!(worst <= 100, "{worst} % of the limit were used");
    assert!(store.stats().compacted_segments > 0);
    assert_eq!(store.stats().records, SESSIONS);
}

#[tokio::test]
async fn overwriting_does_not_take_more_disk_than_the_limit() {
    let (store, _scratch, worst) = storm(SESSIONS, async |store, key, turn| {
        let data = Bytes::from(vec![turn as u8; (turn % 700) as usize]);
        store.write(&key, data, LIFE, Expected::Any).await.unwrap();
    })
    .await;
    assert!(worst <= 100, "{worst} % of the limit were used");
    for turn in 60_000 - SESSIONS..60_000 {
        let ReadOutcome::Found(record) = store.read(&key(turn % SESSIONS), None).await.unwrap()
        else {
            panic!("session {turn} is missing");
        };
        assert_eq!(record.data, vec![turn as u8; (turn % 700) as usize]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn grouped_writers_do_not_take_more_disk_than_the_limit() {
    let scratch = Scratch::new();
    let store = open(scratch.path(), Durability::Always);
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = watch_size(store.clone(), scratch.path(), Arc::clone(&stop));
    let writers = (0..32).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for turn in 0..200 {
                let key = key(writer * 10 + turn % 10);
                let data = Bytes::from(vec![turn as u8; (turn * 7 % 700) as usize]);
                store.write(&key, data, LIFE, Expected::Any).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let worst = watcher.join().unwrap();
    assert!(worst <= 100, "{worst} % of the limit were used");
    assert!(store.stats().compacted_segments > 0, "{:?}", store.stats());
    assert_eq!(store.stats().records, 320);
}

#[tokio::test]
async fn destroying_does_not_take_more_disk_than_the_limit() {
    let next = AtomicU64::new(1 << 32);
    let (store, _scratch, worst) = storm(SESSIONS, async |store, old, turn| {
        // Every session is destroyed, and new ones are created at half that rate.
        store.destroy(&old).await.unwrap();
        if turn % 2 == 0 {
            let fresh = key(next.fetch_add(1, Ordering::Relaxed));
            let data = Bytes::from(vec![b'y'; 300]);
            store
                .write(&fresh, data, Duration::from_millis(500), Expected::Any)
                .await
                .unwrap();
        }
    })
    .await;
    assert!(worst <= 100, "{worst} % of the limit were used");
    drop(store);
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
                    let data = Bytes::from(vec![b'z'; 400]);
                    store.write(&key, data, LIFE, Expected::Any).await.unwrap();
                    store.read(&key, Some(LIFE)).await.unwrap();
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        let stats = store.stats();
        assert!(stats.disk_bytes <= stats.disk_limit, "{stats:?}");
        store.close().await.unwrap();
    }
}
