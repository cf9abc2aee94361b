//! Stores for the target `file_repair`: closed, killed, and killed during a compaction.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper_session::{
    id::{SessionId, StoreKey},
    store::{
        Expected, FileStore, Store, WriteOutcome, WriteRequest,
        file::{Durability, FileEvent, FileStoreBuilder},
    },
};
use tokio::runtime::Runtime;

use super::{directory, segment};

pub const SESSIONS: u8 = 12;
const LIFE: Duration = Duration::from_secs(1 << 30);

/// The files of a directory by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A state of a session: the data, or `None` if there is none. The version of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub data: Option<Vec<u8>>,
    version: Option<u64>,
}

/// All acknowledged states of each session, the oldest first.
pub type Histories = Vec<Vec<State>>;

/// A store without a process.
pub struct StoredFiles {
    pub files: Files,
    pub histories: Histories,
    pub is_closed: bool,
}

pub fn key(number: u8) -> StoreKey {
    SessionId::from_bytes([number; SessionId::LEN]).store_key()
}

pub fn builder(directory: &Path) -> FileStoreBuilder {
    FileStore::builder(directory)
        .segment_bytes(16 << 10)
        .durability(Durability::Os)
}

/// Returns the files of a directory, without the lock file.
pub fn read_files(directory: &Path) -> Files {
    let mut files = Files::new();
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "lock" {
            files.insert(name, fs::read(entry.path()).unwrap_or_default());
        }
    }
    files
}

/// Writes each session several times, so that older states are in the files.
async fn write_turns(store: &FileStore, histories: &mut Histories, turns: std::ops::Range<u8>) {
    for turn in turns {
        let number = (turn % SESSIONS) * 7 % SESSIONS;
        let data = vec![turn + 1; 40 + usize::from(turn % 5) * 50];
        let request = WriteRequest::new(&key(number), data.clone(), LIFE, Expected::Any);
        let written = store.write(request).await.expect("written");
        let WriteOutcome::Done(version) = written else {
            panic!("session {number} is destroyed");
        };
        histories[usize::from(number)].push(State {
            data: Some(data),
            version: Some(version.get()),
        });
    }
    store.touch(&key(2), LIFE).await.expect("touched");
}

async fn destroy(store: &FileStore, histories: &mut Histories, numbers: [u8; 2]) {
    for number in numbers {
        store.destroy(&key(number)).await.expect("destroyed");
        let (data, version) = (None, None);
        histories[usize::from(number)].push(State { data, version });
    }
}

fn no_sessions() -> Histories {
    let (data, version) = (None, None);
    vec![vec![State { data, version }]; SESSIONS.into()]
}

async fn closed(directory: &Path) -> StoredFiles {
    let mut histories = no_sessions();
    for turns in [0..30, 30..60] {
        let store = builder(directory).open().expect("a store");
        write_turns(&store, &mut histories, turns).await;
        store.close().await.expect("closed");
    }
    let store = builder(directory).open().expect("a store");
    destroy(&store, &mut histories, [3, 8]).await;
    store.close().await.expect("closed");
    StoredFiles {
        files: read_files(directory),
        histories,
        is_closed: true,
    }
}

/// Returns the files of a store that was killed after some writes, and those of one that was killed during a
/// compaction: after the source was deleted, and before.
async fn killed(directory: &Path) -> Vec<StoredFiles> {
    let mut histories = no_sessions();
    let compacted = Arc::new(Mutex::new(Vec::new()));
    let (events, path) = (Arc::clone(&compacted), directory.to_path_buf());
    let store = builder(directory).listener(move |event: &FileEvent<'_>| {
        if let FileEvent::Compacted { path: source, .. } = event {
            let name = source.file_name().expect("a name").to_string_lossy();
            let mut events = events.lock().expect("the events");
            events.push((name.into_owned(), read_files(&path)));
        }
    });
    let store = store.open().expect("a store");
    write_turns(&store, &mut histories, 0..60).await;
    store.compact().await.expect("compacted");
    store.flush().await.expect("flushed");
    write_turns(&store, &mut histories, 60..90).await;
    destroy(&store, &mut histories, [3, 8]).await;
    write_turns(&store, &mut histories, 94..97).await;
    let before = read_files(directory);
    compacted.lock().expect("the events").clear();
    store.compact().await.expect("compacted");
    let mut compacted = std::mem::take(&mut *compacted.lock().expect("the events"));
    let (name, after) = compacted.swap_remove(compacted.len() / 2);
    let mut with_source = after.clone();
    let hint = name.replace(".log", ".hint");
    for name in [name, hint] {
        with_source.extend(before.get(&name).map(|bytes| (name, bytes.clone())));
    }
    let killed = |files| StoredFiles {
        files,
        histories: histories.clone(),
        is_closed: false,
    };
    [before, after, with_source].map(killed).into()
}

/// Returns all stores.
pub fn stores(runtime: &Runtime) -> Vec<StoredFiles> {
    let mut stores = {
        let directory = directory::Directory::new();
        vec![runtime.block_on(closed(directory.path()))]
    };
    let directory = directory::Directory::new();
    stores.extend(runtime.block_on(killed(directory.path())));
    stores
}

/// A place in the log: number of the segment, and offset.
type Place = (u32, u32);

fn segments(files: &Files) -> impl Iterator<Item = (u32, &Vec<u8>)> {
    files.iter().filter_map(|(name, bytes)| {
        let number = name.strip_suffix(".log")?.parse().ok()?;
        Some((number, bytes))
    })
}

/// Returns the place before which everything is known to be durable.
pub fn known_durable(files: &Files) -> Place {
    let mut known = (0, 0);
    for (number, bytes) in segments(files) {
        let Some((frames, _)) = segment::frames(bytes) else {
            continue;
        };
        let field = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
        known = known.max((field(24), field(20)));
        let synced = frames.iter().map(|frame| frame.synced).max().unwrap_or(0);
        if synced > 0 {
            known = known.max((number, synced));
        }
    }
    known
}

impl StoredFiles {
    /// Returns the number of the last segment with frames.
    pub fn last_used(&self) -> u32 {
        let used = segments(&self.files).filter(|(_, bytes)| bytes.len() > 36);
        used.map(|(number, _)| number).max().unwrap_or(0)
    }

    /// Returns for each session the position in its history of the newest state that is before `known`.
    pub fn oldest_allowed(&self, known: Place) -> Vec<usize> {
        let mut durable: Vec<(Vec<u8>, u8, u64)> = Vec::new();
        for (number, bytes) in segments(&self.files) {
            for frame in segment::frames(bytes).map_or(Vec::new(), |(frames, _)| frames) {
                let end = frame.offset + segment::HEADER_LEN + frame.payload_len;
                if (number, end as u32) <= known {
                    durable.push((frame.key.to_vec(), frame.kind, frame.version));
                }
            }
        }
        let oldest = |(number, history): (usize, &Vec<State>)| {
            let key = key(number as u8);
            let is_durable = |at: &usize| {
                durable.iter().any(|(found, kind, version)| {
                    let is_same = match history[*at].version {
                        Some(written) => *kind == 1 && *version == written,
                        None => *kind == 3 && *at > 0,
                    };
                    found == key.as_bytes() && is_same
                })
            };
            (0..history.len()).rev().find(is_durable).unwrap_or(0)
        };
        self.histories.iter().enumerate().map(oldest).collect()
    }
}
