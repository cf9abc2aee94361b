//! The file store compared with one file for each session, and with the speed of the disk.
//!
//! Both sides of every row run alternately in the same process and on the same file system. The ratios
//! are therefore more reliable than the times. `cargo bench --bench file` prints medians of several
//! rounds. `FILE_BENCH_DIR` sets the directory (`target`), and `FILE_BENCH_N` sets the number of
//! sessions of the large store (1,000,000).
//!
//! `FILE_BENCH_ROWS` selects rows: `writes`, `reads`, `always` (synced writes), `open`. Three take long and
//! run only if they are selected: `huge` is a store of 10,000,000 sessions, `day` is a day with
//! 1,000,000 visitors in compressed time, and `compaction` overwrites sessions until the compaction is steady.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints its results and stops at the first error"
)]
#![allow(unsafe_code, reason = "an allocator is unsafe to implement")]

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
    clock::{Clock, Timestamp},
    id::StoreKey,
    seal::{KeyRing, SealKey},
    store::{Expected, FileStore, ReadOutcome, Store, Tag, Tags, WriteRequest, file::Durability},
};
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;

const RECORD: usize = 256;
const SESSIONS: u64 = 20_000;
const WRITERS: u64 = 64;
const ROUNDS: usize = 7;
const LIFE: Duration = Duration::from_secs(7200);
/// The bytes that a record takes in the log in addition to its data, and those of a touch.
const FRAME_HEADER: u64 = 68;

/// An allocator that counts the allocated bytes, to measure the size of the index.
struct CountingAllocator;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is forwarded to the system's allocator unchanged.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() {
    // `cargo test --benches` runs this without `--bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let base = std::env::var("FILE_BENCH_DIR").unwrap_or_else(|_| "target".to_owned());
    let directory = PathBuf::from(base).join(format!("file-bench-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("create the directory");
    let runtime = Runtime::new().expect("a runtime");
    let data = Bytes::from(vec![b'x'; RECORD]);
    match std::env::var("FILE_BENCH_ROWS").as_deref() {
        Ok("huge") => {
            bench_large_store(&runtime, &directory, &data, LargeStore::Plain, 10_000_000);
        }
        Ok("day") => bench_day(&runtime, &directory, &data),
        Ok("compaction") => bench_compaction(&runtime, &directory, &data),
        Ok("writes") => bench_writes(&runtime, &directory, &data),
        Ok("reads") => bench_reads(&runtime, &directory, &data),
        Ok("always") => bench_synced_writes(&runtime, &directory, &data),
        Ok("open") => bench_large_stores(&runtime, &directory, &data),
        _ => bench_all(&runtime, &directory, &data),
    }
    let _ = fs::remove_dir_all(directory);
}

fn bench_all(runtime: &Runtime, directory: &Path, data: &Bytes) {
    println!("{RECORD} B records, medians of {ROUNDS} rounds, both sides alternately");
    bench_writes(runtime, directory, data);
    bench_reads(runtime, directory, data);
    bench_synced_writes(runtime, directory, data);
    bench_large_stores(runtime, directory, data);
}

fn bench_large_stores(runtime: &Runtime, directory: &Path, data: &Bytes) {
    let count = std::env::var("FILE_BENCH_N");
    let count = count.ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    for kind in [LargeStore::Plain, LargeStore::Tagged, LargeStore::Encrypted] {
        bench_large_store(runtime, directory, data, kind, count);
    }
}

fn key(number: u64) -> StoreKey {
    StoreKey::from_bytes(Sha256::digest(number.to_le_bytes()).into())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Runs `work`, which has `count` operations. Returns the microseconds per operation.
fn time_per_op(count: u64, work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64() * 1e6 / count as f64
}

fn print_row(name: &str, ours: f64, other_name: &str, other: f64, goal: &str) {
    println!(
        "{name:<34} {ours:>9.2} us   {other_name:<26} {other:>9.2} us   {:>6.1} times ({goal})",
        other / ours
    );
}

/// Writes one file for a session, as stores with one file for each session do.
fn write_file(directory: &Path, number: u64, data: &[u8], sync: bool) {
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

fn write_request(key: &StoreKey, data: &Bytes) -> WriteRequest {
    WriteRequest::new(key, data.clone(), LIFE, Expected::Any)
}

fn write_all(runtime: &Runtime, store: &FileStore, numbers: std::ops::Range<u64>, data: &Bytes) {
    runtime.block_on(async {
        for number in numbers {
            let written = store.write(write_request(&key(number), data));
            black_box(written.await.expect("written"));
        }
    });
}

fn bench_writes(runtime: &Runtime, directory: &Path, data: &Bytes) {
    let files = directory.join("files");
    fs::create_dir_all(&files).expect("a directory");
    let keys: Vec<StoreKey> = (0..SESSIONS).map(key).collect();
    for durability in [Durability::Os, Durability::default()] {
        let store = FileStore::builder(directory.join("log")).durability(durability);
        let store = store.open().expect("a store");
        let (mut log_times, mut file_times) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            log_times.push(time_per_op(SESSIONS, || {
                runtime.block_on(async {
                    for key in &keys {
                        let written = store.write(write_request(key, data));
                        black_box(written.await.expect("written"));
                    }
                });
            }));
            let count = SESSIONS / 10;
            file_times.push(time_per_op(count, || {
                (0..count).for_each(|number| write_file(&files, number, data, false));
            }));
        }
        let (log, file) = (median(log_times), median(file_times));
        let name = format!("write, {durability:?}");
        print_row(&name, log, "create, write, rename", file, "goal: 25");
    }
}

fn bench_reads(runtime: &Runtime, directory: &Path, data: &Bytes) {
    let files = directory.join("files");
    fs::create_dir_all(&files).expect("a directory");
    (0..SESSIONS).for_each(|number| write_file(&files, number, data, false));
    let open = |cache: usize| {
        let path = directory.join(format!("read-{cache}"));
        let store = FileStore::builder(path).cache_bytes(cache).open();
        let store = store.expect("a store");
        write_all(runtime, &store, 0..SESSIONS, data);
        store
    };
    let (cached, uncached) = (open(16 << 20), open(0));
    // A fixed order that differs from the order on the disk.
    let order: Vec<u64> = (0..SESSIONS).map(|n| n * 7919 % SESSIONS).collect();
    let keys: Vec<StoreKey> = order.iter().map(|number| key(*number)).collect();
    let paths: Vec<PathBuf> = order
        .iter()
        .map(|number| files.join(format!("{number}.txt")))
        .collect();
    let read = |store: &FileStore| {
        time_per_op(SESSIONS, || {
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
    let (mut cached_times, mut uncached_times, mut file_times) =
        (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        cached_times.push(read(&cached));
        uncached_times.push(read(&uncached));
        file_times.push(time_per_op(SESSIONS, || {
            for path in &paths {
                let mut bytes = Vec::with_capacity(RECORD);
                let mut file = File::open(path).expect("a file");
                file.read_to_end(&mut bytes).expect("read");
                black_box(bytes);
            }
        }));
    }
    let file = median(file_times);
    print_row("read", median(cached_times), "open, read", file, "goal: 6");
    print_row(
        "read, no cache",
        median(uncached_times),
        "open, read",
        file,
        "goal: 6",
    );
    fs::remove_dir_all(files).expect("removed");
}

/// Measures writes that are on the disk before they are acknowledged, with 64, 16 and one writer.
fn bench_synced_writes(runtime: &Runtime, directory: &Path, data: &Bytes) {
    const TURNS: u64 = 40;
    let files = directory.join("synced");
    fs::create_dir_all(&files).expect("a directory");
    let store = FileStore::builder(directory.join("always")).durability(Durability::Always);
    let store = store.open().expect("a store");
    let mut plain = File::create(directory.join("plain")).expect("a file");
    let mut preallocated = File::create(directory.join("preallocated")).expect("a file");
    let batch = vec![b'x'; (RECORD + 64) * WRITERS as usize];
    let (mut grouped, mut few, mut one) = (Vec::new(), Vec::new(), Vec::new());
    let (mut files_alone, mut files_threads, mut disk, mut disk_preallocated) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let all = TURNS * WRITERS;
    for _ in 0..ROUNDS {
        grouped.push(time_per_op(all, || {
            runtime.block_on(write_concurrently(&store, data, WRITERS, TURNS))
        }));
        few.push(time_per_op(16 * TURNS, || {
            runtime.block_on(write_concurrently(&store, data, 16, TURNS))
        }));
        one.push(time_per_op(TURNS, || {
            write_all(runtime, &store, 0..TURNS, data)
        }));
        files_alone.push(time_per_op(TURNS, || {
            (0..TURNS).for_each(|number| write_file(&files, number, data, true));
        }));
        files_threads.push(time_per_op(all / 4, || {
            write_files_concurrently(&files, data, TURNS / 4)
        }));
        disk.push(time_per_op(all, || append(&mut plain, &batch, TURNS)));
        preallocate(&preallocated, batch.len() as u64 * TURNS);
        disk_preallocated.push(time_per_op(all, || {
            append(&mut preallocated, &batch, TURNS)
        }));
    }
    let grouped = median(grouped);
    let name = "write, Always, 64 writers";
    print_row(
        name,
        grouped,
        "one file, fdatasync",
        median(files_alone),
        "goal: 40",
    );
    print_row(
        name,
        grouped,
        "the same by 64 threads",
        median(files_threads),
        "",
    );
    print_row(
        name,
        grouped,
        "64 records, one fdatasync",
        median(disk),
        "goal: 0.6",
    );
    print_row(
        name,
        grouped,
        "with preallocation",
        median(disk_preallocated),
        "",
    );
    println!(
        "{:<34} {:>9.2} us",
        "write, Always, 16 writers",
        median(few)
    );
    println!("{:<34} {:>9.2} us", "write, Always, 1 writer", median(one));
}

fn append(file: &mut File, batch: &[u8], turns: u64) {
    for _ in 0..turns {
        file.write_all(batch).expect("written");
        file.sync_data().expect("synced");
    }
}

/// Writes zeros at the current position without moving it.
fn preallocate(mut file: &File, bytes: u64) {
    let at = file.stream_position().expect("a position");
    file.write_all(&vec![0; bytes as usize]).expect("written");
    file.sync_all().expect("synced");
    file.seek(SeekFrom::Start(at)).expect("seek");
}

async fn write_concurrently(store: &FileStore, data: &Bytes, writers: u64, turns: u64) {
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (store, data) = (store.clone(), data.clone());
            tokio::spawn(async move {
                for turn in 0..turns {
                    let key = key(writer * turns + turn);
                    let written = store.write(write_request(&key, &data)).await;
                    black_box(written.expect("written"));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a writer");
    }
}

fn write_files_concurrently(files: &Path, data: &Bytes, turns: u64) {
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                for turn in 0..turns {
                    write_file(files, writer * turns + turn, data, true);
                }
            });
        }
    });
}

/// The sessions of a large store.
#[derive(Clone, Copy, Debug, PartialEq)]
enum LargeStore {
    Plain,
    /// Each session has a tag of its own.
    Tagged,
    /// Tagged and encrypted.
    Encrypted,
}

/// Measures the opening of a large store, and the size of its index.
fn bench_large_store(
    runtime: &Runtime,
    directory: &Path,
    data: &Bytes,
    kind: LargeStore,
    count: u64,
) {
    let path = directory.join("many");
    let mut builder = FileStore::builder(&path).durability(Durability::Os);
    if kind == LargeStore::Encrypted {
        let key = SealKey::from_text("a long and random secret, number one").expect("a key");
        builder = builder.encrypt_with(&KeyRing::new(key));
    }
    let store = builder.clone().open().expect("a store");
    let each = time_per_op(count, || {
        runtime.block_on(async {
            for number in 0..count {
                let mut tags = Tags::new();
                if kind != LargeStore::Plain {
                    let tag = Tag::new(format!("user-{number}")).expect("a tag");
                    tags.insert(&tag).expect("one tag");
                }
                let request = write_request(&key(number), data).tags(tags);
                store.write(request).await.expect("written");
            }
        });
    });
    println!("{kind:?}: {count} sessions written, {each:.2} us each");
    drop(store);
    let open = |source: &str| {
        let before = ALLOCATED.load(Ordering::Relaxed);
        let began = Instant::now();
        let store = builder.clone().open().expect("a store");
        let took = began.elapsed().as_secs_f64();
        let index_bytes = ALLOCATED.load(Ordering::Relaxed).saturating_sub(before);
        let stats = store.stats();
        assert_eq!(stats.records, count, "every session is in the store");
        println!(
            "opened from {source}: {took:.2} s, {:.0} MB/s of {:.0} MB, hints used {}; index {:.1} B per \
             session, {:.1} more than key and entry",
            stats.disk_bytes as f64 / 1e6 / took,
            stats.disk_bytes as f64 / 1e6,
            stats.hints_used,
            index_bytes as f64 / count as f64,
            index_bytes as f64 / count as f64 - 64.0,
        );
    };
    (0..3).for_each(|_| open("hints"));
    for entry in fs::read_dir(&path).expect("a directory").flatten() {
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "hint")
        {
            fs::remove_file(entry.path()).expect("removed");
        }
    }
    open("scan, no hints");
    if kind == LargeStore::Plain {
        let store = builder.open().expect("a store");
        bench_backlog(runtime, &store, data, count / 2);
    }
    fs::remove_dir_all(path).expect("removed");
}

/// Measures the compaction that is left after `count` sessions were written again as fast as possible.
fn bench_backlog(runtime: &Runtime, store: &FileStore, data: &Bytes, count: u64) {
    let each = time_per_op(count, || write_all(runtime, store, 0..count, data));
    let waits = store.stats().waits;
    let began = Instant::now();
    let (mut compacted, mut ended) = (0, began);
    // The compaction has ended if it has removed no segment for three seconds.
    while ended.elapsed() < Duration::from_secs(3) {
        let now = store.stats().compacted_segments;
        if now != compacted {
            (compacted, ended) = (now, Instant::now());
        }
        thread::sleep(Duration::from_millis(20));
    }
    let stats = store.stats();
    println!(
        "{count} sessions written again, {each:.2} us each, {waits} waits; compaction ended {:.1} s later; disk {:.0} MB, \
         limit {:.0} MB",
        (ended - began).as_secs_f64(),
        stats.disk_bytes as f64 / 1e6,
        stats.disk_limit as f64 / 1e6,
    );
}

/// Measures what compactions copy while sessions are overwritten at random as fast as possible. Ends when three windows
/// copied about the same.
fn bench_compaction(runtime: &Runtime, directory: &Path, data: &Bytes) {
    const WINDOW: u64 = 1_000_000;
    const MAX_WINDOWS: usize = 40;
    const TOLERANCE: f64 = 0.01;
    let path = directory.join("compaction");
    let store = FileStore::builder(&path).durability(Durability::Os);
    let store = store.open().expect("a store");
    let count = 10 * SESSIONS;
    write_all(runtime, &store, 0..count, data);
    let (mut random, mut ratios) = (1_u64, Vec::new());
    let is_steady = |ratios: &[f64]| {
        let last = ratios.last_chunk::<3>();
        last.is_some_and(|last| last.iter().all(|it| (it - last[2]).abs() <= TOLERANCE))
    };
    while !is_steady(&ratios) {
        assert!(ratios.len() < MAX_WINDOWS, "the compaction is never steady");
        let before = store.stats();
        // The length of the log, in lengths of the live data.
        let (mut length, mut samples) = (0.0, 0.0);
        let each = time_per_op(WINDOW, || {
            for number in 0..WINDOW {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let next = (random >> 33) % count;
                write_all(runtime, &store, next..next + 1, data);
                if number % (WINDOW / 200) == 0 {
                    length += log_bytes(&path) as f64 / store.stats().live_bytes as f64;
                    samples += 1.0;
                }
            }
        });
        let stats = store.stats();
        let copied = stats.compacted_kept_bytes - before.compacted_kept_bytes;
        let written = WINDOW * (FRAME_HEADER + RECORD as u64);
        let (ratio, length) = (copied as f64 / written as f64, length / samples);
        println!(
            "{count} sessions, {WINDOW} overwritten, {each:.2} us each, {} waits: {ratio:.3} bytes copied for each byte \
             written; log {length:.2} times the live data, which copies {:.3} if compacted in order",
            stats.waits - before.waits,
            copied_in_order(length),
        );
        ratios.push(ratio);
    }
}

/// Returns the bytes of all segments in a directory.
fn log_bytes(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).expect("a directory").flatten();
    let segments = entries.filter(|it| it.path().extension().is_none_or(|it| it != "hint"));
    // A compaction may have removed one.
    segments
        .filter_map(|it| Some(it.metadata().ok()?.len()))
        .sum()
}

/// Returns the bytes that are copied for each byte written under uniform overwrites, if the oldest segment is always
/// compacted and the log is `length` times as long as the live data.
fn copied_in_order(length: f64) -> f64 {
    let live = (0..100).fold(0.5_f64, |live, _| (length * (live - 1.0)).exp());
    live / (1.0 - live)
}

/// The minutes after the first request at which a visitor renews the session.
const MINUTES: [u64; 4] = [1, 4, 10, 25];

/// Measures a day in compressed time. Each minute, visitors arrive, renew their sessions up to four times
/// in 25 minutes, log out, or let their sessions expire after two hours.
fn bench_day(runtime: &Runtime, directory: &Path, data: &Bytes) {
    const VISITORS: u64 = 1_000_000;
    const DAY: u64 = 24 * 60;
    let clock = Clock::manual(Timestamp::from_millis(1 << 40));
    let store = FileStore::builder(directory.join("day")).clock(clock.clone());
    let store = store.open().expect("a store");
    let (mut written, mut worst, mut longest) = (0, 0.0_f64, Duration::ZERO);
    let began = Instant::now();
    for minute in 0..DAY {
        let arrivals = |minute: u64| minute * VISITORS / DAY..(minute + 1) * VISITORS / DAY;
        let mut keys: Vec<(StoreKey, bool)> = Vec::new();
        keys.extend(arrivals(minute).map(|number| (key(number), true)));
        for ago in MINUTES {
            if let Some(minute) = minute.checked_sub(ago) {
                keys.extend(arrivals(minute).map(|number| (key(number), false)));
            }
        }
        for (key, arrives) in keys {
            let called = Instant::now();
            runtime.block_on(async {
                if arrives {
                    store
                        .write(write_request(&key, data))
                        .await
                        .expect("written");
                } else {
                    store.touch(&key, LIFE).await.expect("touched");
                }
            });
            longest = longest.max(called.elapsed());
            written += FRAME_HEADER + u64::from(arrives) * RECORD as u64;
        }
        // One of ten visitors logs out.
        let left = minute.checked_sub(30).map(arrivals).unwrap_or_default();
        for number in left.step_by(10) {
            let called = Instant::now();
            runtime.block_on(async { store.destroy(&key(number)).await.expect("destroyed") });
            longest = longest.max(called.elapsed());
            written += FRAME_HEADER;
        }
        let stats = store.stats();
        worst = worst.max(stats.disk_bytes as f64 / stats.disk_limit as f64);
        clock.advance(Duration::from_secs(60));
    }
    let stats = store.stats();
    println!(
        "a day with {VISITORS} visitors in {:.1} s: {:.0} MB written, write amplification {:.2}, disk at most {:.0} % of \
         the limit, {} waits, the longest call {:.1} ms, {} expired",
        began.elapsed().as_secs_f64(),
        written as f64 / 1e6,
        (written + stats.compacted_kept_bytes) as f64 / written as f64,
        worst * 100.0,
        stats.waits,
        longest.as_secs_f64() * 1e3,
        stats.expired,
    );
}
