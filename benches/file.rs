//! The file store beside one file a session, and beside the plain limit of the disk.
//!
//! Both sides of every row run in turns in the same process, on the same file system, so the
//! ratios hold where the times do not. `cargo bench --bench file` prints medians of several
//! rounds; the directory is `target/` unless `FILE_BENCH_DIR` names another, and `FILE_BENCH_N`
//! sets the number of sessions of the big store (1,000,000).

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement prints, and stops where it cannot go on"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs::{self, File},
    hint::black_box,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper_session::{
    id::StoreKey,
    store::{Expected, FileStore, ReadOutcome, Store, file::Durability},
};
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;

const RECORD: usize = 256;
const SESSIONS: u64 = 20_000;
const WRITERS: u64 = 64;
const ROUNDS: usize = 7;
const LIFE: Duration = Duration::from_secs(7200);

/// Counts the bytes that are in use, to weigh the index.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    // `cargo test --benches` runs this with no argument that says to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let base = std::env::var("FILE_BENCH_DIR").unwrap_or_else(|_| "target".to_owned());
    let directory = PathBuf::from(base).join(format!("file-bench-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory to measure in");
    let runtime = Runtime::new().expect("a runtime");
    let data = Bytes::from(vec![b'x'; RECORD]);
    println!("{RECORD} B records, medians of {ROUNDS} rounds, both sides in turns");
    writes(&runtime, &directory, &data);
    reads(&runtime, &directory, &data);
    durable(&runtime, &directory, &data);
    many(&runtime, &directory, &data);
    let _ = fs::remove_dir_all(directory);
}

fn key(number: u64) -> StoreKey {
    StoreKey::from_bytes(Sha256::digest(number.to_le_bytes()).into())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Microseconds a turn, of `turns` of them.
fn timed(turns: u64, work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64() * 1e6 / turns as f64
}

fn row(name: &str, ours: f64, other_name: &str, other: f64, wanted: &str) {
    println!(
        "{name:<34} {ours:>9.2} us   {other_name:<26} {other:>9.2} us   {:>6.1} times ({wanted})",
        other / ours
    );
}

/// One file a session: what it replaces.
fn save(directory: &Path, number: u64, data: &[u8], sync: bool) {
    let (temporary, path) = (
        directory.join(format!("{number}.tmp")),
        directory.join(format!("{number}.txt")),
    );
    let mut file = File::create(&temporary).expect("a file");
    file.write_all(data).expect("written");
    if sync {
        file.sync_data().expect("synced");
    }
    fs::rename(temporary, path).expect("renamed");
}

fn write_all(runtime: &Runtime, store: &FileStore, numbers: std::ops::Range<u64>, data: &Bytes) {
    runtime.block_on(async {
        for number in numbers {
            let written = store.write(&key(number), data.clone(), LIFE, Expected::Any);
            black_box(written.await.expect("written"));
        }
    });
}

fn writes(runtime: &Runtime, directory: &Path, data: &Bytes) {
    let files = directory.join("files");
    fs::create_dir_all(&files).expect("a directory");
    let keys: Vec<StoreKey> = (0..SESSIONS).map(key).collect();
    for durability in [Durability::Os, Durability::default()] {
        let store = FileStore::builder(directory.join("log")).durability(durability);
        let store = store.open().expect("a store");
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(timed(SESSIONS, || {
                runtime.block_on(async {
                    for key in &keys {
                        let written = store.write(key, data.clone(), LIFE, Expected::Any);
                        black_box(written.await.expect("written"));
                    }
                });
            }));
            let some = SESSIONS / 10;
            theirs.push(timed(some, || {
                (0..some).for_each(|number| save(&files, number, data, false));
            }));
        }
        let (ours, theirs) = (median(ours), median(theirs));
        let name = format!("write, {durability:?}");
        row(&name, ours, "create, write, rename", theirs, "wanted: 25");
    }
}

fn reads(runtime: &Runtime, directory: &Path, data: &Bytes) {
    let files = directory.join("files");
    (0..SESSIONS).for_each(|number| save(&files, number, data, false));
    let open = |cache: usize| {
        let path = directory.join(format!("read-{cache}"));
        let store = FileStore::builder(path).cache_bytes(cache).open();
        let store = store.expect("a store");
        write_all(runtime, &store, 0..SESSIONS, data);
        store
    };
    let (cached, uncached) = (open(16 << 20), open(0));
    // In an order that has nothing to do with that on the disk.
    let order: Vec<u64> = (0..SESSIONS).map(|turn| turn * 7919 % SESSIONS).collect();
    let keys: Vec<StoreKey> = order.iter().map(|number| key(*number)).collect();
    let paths: Vec<PathBuf> = order
        .iter()
        .map(|number| files.join(format!("{number}.txt")))
        .collect();
    let read = |store: &FileStore| {
        timed(SESSIONS, || {
            runtime.block_on(async {
                for key in &keys {
                    match store.read(key, None).await.expect("read") {
                        ReadOutcome::Found(record) => black_box(record),
                        _ => panic!("a session is missing"),
                    };
                }
            });
        })
    };
    let (mut hot, mut cold, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        hot.push(read(&cached));
        cold.push(read(&uncached));
        theirs.push(timed(SESSIONS, || {
            for path in &paths {
                let mut bytes = Vec::with_capacity(RECORD);
                let mut file = File::open(path).expect("a file");
                file.read_to_end(&mut bytes).expect("read");
                black_box(bytes);
            }
        }));
    }
    let theirs = median(theirs);
    row("read", median(hot), "open, read", theirs, "wanted: 6");
    row(
        "read, no cache",
        median(cold),
        "open, read",
        theirs,
        "wanted: 6",
    );
    fs::remove_dir_all(files).expect("removed");
}

/// Every write on the disk before it is acknowledged, for 64 writers at a time.
fn durable(runtime: &Runtime, directory: &Path, data: &Bytes) {
    const TURNS: u64 = 40;
    let files = directory.join("synced");
    fs::create_dir_all(&files).expect("a directory");
    let store = FileStore::builder(directory.join("always")).durability(Durability::Always);
    let store = store.open().expect("a store");
    let mut plain = File::create(directory.join("plain")).expect("a file");
    let mut room = File::create(directory.join("room")).expect("a file");
    let batch = vec![b'x'; (RECORD + 64) * WRITERS as usize];
    let (mut ours, mut alone, mut together, mut limit, mut ahead, mut one) = (
        Vec::new(),
        Vec::new(),
        Vec::new(),
        Vec::new(),
        Vec::new(),
        Vec::new(),
    );
    let all = TURNS * WRITERS;
    for _ in 0..ROUNDS {
        ours.push(timed(all, || {
            runtime.block_on(write_together(&store, data, TURNS))
        }));
        one.push(timed(TURNS, || write_all(runtime, &store, 0..TURNS, data)));
        alone.push(timed(TURNS, || {
            (0..TURNS).for_each(|number| save(&files, number, data, true));
        }));
        together.push(timed(all / 4, || save_together(&files, data, TURNS / 4)));
        limit.push(timed(all, || append(&mut plain, &batch, TURNS)));
        make_room(&room, batch.len() as u64 * TURNS);
        ahead.push(timed(all, || append(&mut room, &batch, TURNS)));
    }
    let ours = median(ours);
    let name = "write, Always, 64 writers";
    row(
        name,
        ours,
        "one file, fdatasync",
        median(alone),
        "wanted: 40",
    );
    row(name, ours, "the same by 64 threads", median(together), "");
    row(
        name,
        ours,
        "64 records, one fdatasync",
        median(limit),
        "wanted: 0.6",
    );
    row(name, ours, "with room made ahead", median(ahead), "");
    println!("{:<34} {:>9.2} us", "write, Always, 1 writer", median(one));
}

fn append(file: &mut File, batch: &[u8], turns: u64) {
    for _ in 0..turns {
        file.write_all(batch).expect("written");
        file.sync_data().expect("synced");
    }
}

/// Zeros behind what will be written next.
fn make_room(mut file: &File, bytes: u64) {
    let at = file.stream_position().expect("a position");
    file.write_all(&vec![0; bytes as usize]).expect("written");
    file.sync_all().expect("synced");
    file.seek(SeekFrom::Start(at)).expect("back again");
}

async fn write_together(store: &FileStore, data: &Bytes, turns: u64) {
    let tasks: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, data) = (store.clone(), data.clone());
            tokio::spawn(async move {
                for turn in 0..turns {
                    let key = key(writer * turns + turn);
                    let written = store.write(&key, data.clone(), LIFE, Expected::Any).await;
                    black_box(written.expect("written"));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a writer");
    }
}

fn save_together(files: &Path, data: &Bytes, turns: u64) {
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                for turn in 0..turns {
                    save(files, writer * turns + turn, data, true);
                }
            });
        }
    });
}

/// A big store: how long it takes to open, and what its index weighs.
fn many(runtime: &Runtime, directory: &Path, data: &Bytes) {
    let wanted = std::env::var("FILE_BENCH_N")
        .ok()
        .and_then(|n| n.parse().ok());
    let count: u64 = wanted.unwrap_or(1_000_000);
    let path = directory.join("many");
    let builder = FileStore::builder(&path).durability(Durability::Os);
    let store = builder.clone().open().expect("a store");
    let each = timed(count, || write_all(runtime, &store, 0..count, data));
    println!("{count} sessions written, {each:.2} us each");
    drop(store);
    let open = |what: &str| {
        let before = IN_USE.load(Ordering::Relaxed);
        let began = Instant::now();
        let store = builder.clone().open().expect("a store");
        let took = began.elapsed().as_secs_f64();
        let weight = IN_USE.load(Ordering::Relaxed).saturating_sub(before);
        let stats = store.stats();
        assert_eq!(stats.records, count, "every session is there");
        println!(
            "opened by {what}: {took:.2} s, {:.0} MB/s of {:.0} MB, hints used {}; index {:.1} B a \
             session, {:.1} over key and entry",
            stats.disk_bytes as f64 / 1e6 / took,
            stats.disk_bytes as f64 / 1e6,
            stats.hints_used,
            weight as f64 / count as f64,
            weight as f64 / count as f64 - 64.0,
        );
    };
    (0..3).for_each(|_| open("hints"));
    for entry in fs::read_dir(&path).expect("a directory").flatten() {
        if entry.path().extension().is_some_and(|end| end == "hint") {
            fs::remove_file(entry.path()).expect("removed");
        }
    }
    open("scan, no hints");
}
