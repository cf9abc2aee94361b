//! The stores that keep sessions in files, side by side: no HTTP and no session around them.
//!
//! Every store does the same turns on the same sessions, one store after the other in each round, on
//! the same file system; the table shows medians. A session's data is 256 B. What the peers do in
//! their own calls is counted: they write and read JSON text, as their sessions hold values in
//! memory; ours takes and gives the text, which its sessions hold as it is.

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
    store::{Expected, FileStore, ReadOutcome, Store, file::Durability},
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
            // Their first write of a session is another call than the later ones.
            runtime.block_on(peer.store.seed());
        }
        for _ in 0..ROUNDS {
            peers
                .iter_mut()
                .for_each(|peer| peer.round(&runtime, synced));
        }
        print(&peers, synced);
    }
    let _ = fs::remove_dir_all(base);
}

/// A store, and what was measured of it in microseconds.
struct Peer {
    name: &'static str,
    store: Arc<dyn Files>,
    writes: Vec<f64>,
    together: Vec<f64>,
    reads: Vec<f64>,
}

type Done<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// One way to keep sessions in files.
trait Files: Send + Sync {
    fn seed(&self) -> Done<'_>;
    fn write(&self, number: u64) -> Done<'_>;
    fn read(&self, number: u64) -> Done<'_>;
}

fn peers(base: &Path, synced: bool) -> Vec<Peer> {
    let at = |name: &str| base.join(format!("{name}-{synced}"));
    let durability = if synced {
        Durability::Always
    } else {
        Durability::Os
    };
    let ours = |cache: usize| {
        let store = FileStore::builder(at(&format!("ours-{cache}")));
        let store = store.durability(durability).cache_bytes(cache).open();
        Arc::new(Ours(store.expect("a store")))
    };
    let based = tower_sessions_file_based_store::FileStore::in_dir(at("based"));
    let based = based.expect("a store").with_fsync(synced);
    let mut peers = vec![
        Peer::new("hyper-session", ours(16 << 20)),
        Peer::new("hyper-session, no cache", ours(0)),
        Peer::new("tower-sessions-file-based-store", Arc::new(Theirs(based))),
    ];
    if !synced {
        let plain = tower_sessions_file_store::FileSessionStorage::new_in_folder(at("plain"));
        peers.push(Peer::new(
            "tower-sessions-file-store",
            Arc::new(Theirs(plain)),
        ));
    }
    peers
}

impl Peer {
    fn new(name: &'static str, store: Arc<dyn Files>) -> Self {
        let (writes, together, reads) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            name,
            store,
            writes,
            together,
            reads,
        }
    }

    fn round(&mut self, runtime: &Runtime, synced: bool) {
        let alone = if synced { SESSIONS / 50 } else { SESSIONS };
        let store = &self.store;
        self.writes.push(timed(alone, || {
            runtime.block_on(async {
                for number in 0..alone {
                    store.write(number).await;
                }
            });
        }));
        self.together
            .push(timed(SESSIONS, || runtime.block_on(together(store))));
        self.reads.push(timed(SESSIONS, || {
            runtime.block_on(async {
                for turn in 0..SESSIONS {
                    store.read(turn * 7919 % SESSIONS).await;
                }
            });
        }));
    }
}

/// Many tasks at a time, each with sessions of its own.
async fn together(store: &Arc<dyn Files>) {
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

/// Microseconds a turn, of `turns` of them.
fn timed(turns: u64, work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64() * 1e6 / turns as f64
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn print(peers: &[Peer], synced: bool) {
    let how = if synced {
        "every write synced"
    } else {
        "unsynced"
    };
    println!("{how}; microseconds a call, medians of {ROUNDS} rounds");
    println!(
        "{:<34}{:>12}{:>14}{:>12}",
        "", "write", "of 64 tasks", "read"
    );
    for peer in peers {
        println!(
            "{:<34}{:>12.2}{:>14.2}{:>12.2}",
            peer.name,
            median(&peer.writes),
            median(&peer.together),
            median(&peer.reads)
        );
    }
}

/// 256 B of JSON text in all.
fn value(number: u64) -> String {
    format!("{number:0>248}")
}

struct Ours(FileStore);

fn key(number: u64) -> StoreKey {
    StoreKey::from_foreign_id(&number.to_string())
}

impl Files for Ours {
    fn seed(&self) -> Done<'_> {
        Box::pin(async {
            for number in 0..SESSIONS {
                self.write(number).await;
            }
        })
    }

    fn write(&self, number: u64) -> Done<'_> {
        let data = Bytes::from(format!("{{\"v\":\"{}\"}}", value(number)));
        let written = self.0.write(&key(number), data, LIFE, Expected::Any);
        Box::pin(async {
            black_box(written.await.expect("written"));
        })
    }

    fn read(&self, number: u64) -> Done<'_> {
        let read = self.0.read(&key(number), None);
        Box::pin(async {
            let found = read.await.expect("read");
            assert!(matches!(black_box(found), ReadOutcome::Found(_)));
        })
    }
}

struct Theirs<S>(S);

fn record(number: u64) -> Record {
    Record {
        id: Id(i128::from(number)),
        data: HashMap::from([("v".to_owned(), value(number).into())]),
        expiry_date: OffsetDateTime::now_utc() + LIFE,
    }
}

impl<S: SessionStore> Files for Theirs<S> {
    fn seed(&self) -> Done<'_> {
        Box::pin(async {
            for number in 0..SESSIONS {
                self.0.create(&mut record(number)).await.expect("created");
            }
        })
    }

    fn write(&self, number: u64) -> Done<'_> {
        Box::pin(async move {
            self.0.save(&record(number)).await.expect("saved");
        })
    }

    fn read(&self, number: u64) -> Done<'_> {
        Box::pin(async move {
            let found = self.0.load(&Id(i128::from(number))).await.expect("loaded");
            assert!(black_box(found).is_some());
        })
    }
}
