//! Compares stores that keep sessions in files: only the stores, without HTTP and sessions.
//!
//! In each round, every store in turn does the same operations on the same sessions, on the same file
//! system; the table shows medians. A session's data is 256 B.
//!
//! The work of the peers' own calls is included. They convert from and to JSON text, since their
//! sessions hold values in memory. This crate's store takes and returns the text, since its sessions
//! hold text.

use std::{
    collections::HashMap,
    fs,
    future::Future,
    hint::black_box,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper_session::{
    id::StoreKey,
    store::{Expected, FileStore, ReadOutcome, Store, WriteRequest, file::Durability},
};
use time::OffsetDateTime;
use tokio::runtime::Runtime;
use tower_sessions::{
    SessionStore,
    session::{Id, Record},
};

const SESSIONS: u64 = 2000;
const WRITERS: u64 = 64;
const ROUNDS: usize = 7;
const LIFE: Duration = Duration::from_secs(7200);

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let base = std::env::var("FILE_BENCH_DIR").unwrap_or_else(|_| "target".to_owned());
    let base = PathBuf::from(base).join(format!("files-bench-{}", std::process::id()));
    fs::create_dir_all(&base).expect("a directory to measure in");
    let runtime = Runtime::new().expect("a runtime");
    for synced in [false, true] {
        let mut peers = peers(&base, synced);
        for peer in &peers {
            // The peers' first write of a session is a different call from later ones.
            runtime.block_on(peer.store.seed());
        }
        for _ in 0..ROUNDS {
            peers
                .iter_mut()
                .for_each(|peer| peer.run_round(&runtime, synced));
        }
        print(&peers, synced);
    }
    let _ = fs::remove_dir_all(base);
}

/// A store with its measurements, in microseconds.
struct Peer {
    name: &'static str,
    store: Arc<dyn SessionFiles>,
    writes: Vec<f64>,
    concurrent_writes: Vec<f64>,
    reads: Vec<f64>,
}

type Operation<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A store of sessions in files.
trait SessionFiles: Send + Sync {
    fn seed(&self) -> Operation<'_>;
    fn write(&self, number: u64) -> Operation<'_>;
    fn read(&self, number: u64) -> Operation<'_>;
}

fn peers(base: &Path, synced: bool) -> Vec<Peer> {
    let at = |name: &str| base.join(format!("{name}-{synced}"));
    let durability = if synced {
        Durability::Always
    } else {
        Durability::Os
    };
    let hyper = |cache: usize| {
        let store = FileStore::builder(at(&format!("hyper-{cache}")));
        let store = store.durability(durability).cache_bytes(cache).open();
        Arc::new(HyperFiles(store.expect("a store")))
    };
    let based = tower_sessions_file_based_store::FileStore::in_dir(at("based"));
    let based = based.expect("a store").with_fsync(synced);
    let mut peers = vec![
        Peer::new("hyper-session", hyper(16 << 20)),
        Peer::new("hyper-session, no cache", hyper(0)),
        Peer::new(
            "tower-sessions-file-based-store",
            Arc::new(TowerFiles(based)),
        ),
    ];
    if !synced {
        let plain = tower_sessions_file_store::FileSessionStorage::new_in_folder(at("plain"));
        peers.push(Peer::new(
            "tower-sessions-file-store",
            Arc::new(TowerFiles(plain)),
        ));
    }
    peers
}

impl Peer {
    fn new(name: &'static str, store: Arc<dyn SessionFiles>) -> Self {
        let (writes, concurrent_writes, reads) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            name,
            store,
            writes,
            concurrent_writes,
            reads,
        }
    }

    fn run_round(&mut self, runtime: &Runtime, synced: bool) {
        let writes = if synced { SESSIONS / 50 } else { SESSIONS };
        let store = &self.store;
        self.writes.push(time_per_operation(writes, || {
            runtime.block_on(async {
                for number in 0..writes {
                    store.write(number).await;
                }
            });
        }));
        self.concurrent_writes
            .push(time_per_operation(SESSIONS, || {
                runtime.block_on(write_concurrently(store))
            }));
        self.reads.push(time_per_operation(SESSIONS, || {
            runtime.block_on(async {
                for turn in 0..SESSIONS {
                    store.read(turn * 7919 % SESSIONS).await;
                }
            });
        }));
    }
}

/// Writes all sessions from many tasks, each with sessions of its own.
async fn write_concurrently(store: &Arc<dyn SessionFiles>) {
    let tasks = (0..WRITERS).map(|writer| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            for number in (writer..SESSIONS).step_by(WRITERS as usize) {
                store.write(number).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("a writer");
    }
}

/// Runs `work`, which does `operations`, and returns the microseconds for each.
fn time_per_operation(operations: u64, work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64() * 1e6 / operations as f64
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn print(peers: &[Peer], synced: bool) {
    let mode = if synced {
        "every write synced"
    } else {
        "unsynced"
    };
    println!("{mode}; microseconds a call, medians of {ROUNDS} rounds");
    println!(
        "{:<34}{:>12}{:>14}{:>12}",
        "", "write", "of 64 tasks", "read"
    );
    for peer in peers {
        println!(
            "{:<34}{:>12.2}{:>14.2}{:>12.2}",
            peer.name,
            median(&peer.writes),
            median(&peer.concurrent_writes),
            median(&peer.reads)
        );
    }
}

/// Returns a value whose record has 256 B of JSON text.
fn value(number: u64) -> String {
    format!("{number:0>248}")
}

struct HyperFiles(FileStore);

fn key(number: u64) -> StoreKey {
    StoreKey::from_foreign_id(&number.to_string())
}

impl SessionFiles for HyperFiles {
    fn seed(&self) -> Operation<'_> {
        Box::pin(async {
            for number in 0..SESSIONS {
                self.write(number).await;
            }
        })
    }

    fn write(&self, number: u64) -> Operation<'_> {
        let data = Bytes::from(format!("{{\"v\":\"{}\"}}", value(number)));
        let request = WriteRequest::new(&key(number), data, LIFE, Expected::Any);
        let written = self.0.write(request);
        Box::pin(async {
            black_box(written.await.expect("written"));
        })
    }

    fn read(&self, number: u64) -> Operation<'_> {
        let read = self.0.read(&key(number), None);
        Box::pin(async {
            let found = read.await.expect("read");
            assert!(matches!(black_box(found), ReadOutcome::Found(_)));
        })
    }
}

struct TowerFiles<S>(S);

fn record(number: u64) -> Record {
    Record {
        id: Id(i128::from(number)),
        data: HashMap::from([("v".to_owned(), value(number).into())]),
        expiry_date: OffsetDateTime::now_utc() + LIFE,
    }
}

impl<S: SessionStore> SessionFiles for TowerFiles<S> {
    fn seed(&self) -> Operation<'_> {
        Box::pin(async {
            for number in 0..SESSIONS {
                self.0.create(&mut record(number)).await.expect("created");
            }
        })
    }

    fn write(&self, number: u64) -> Operation<'_> {
        Box::pin(async move {
            self.0.save(&record(number)).await.expect("saved");
        })
    }

    fn read(&self, number: u64) -> Operation<'_> {
        Box::pin(async move {
            let found = self.0.load(&Id(i128::from(number))).await.expect("loaded");
            assert!(black_box(found).is_some());
        })
    }
}
