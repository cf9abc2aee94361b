//! Random damage to one file of a closed store. The default opens only if no session is lost, and a
//! repair serves no older state.
#![no_main]

#[path = "../support/directory.rs"]
mod directory;

use std::{fs, path::Path, sync::OnceLock, time::Duration};

use hyper_session::{
    id::{SessionId, StoreKey},
    store::{
        Expected, FileStore, ReadOutcome, Store, WriteRequest,
        file::{Durability, FileStoreBuilder, Inspection, OnDamage},
    },
};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

const SESSIONS: u8 = 12;

/// A closed store: its files, and the last state of each session.
struct Whole {
    files: Vec<(String, Vec<u8>)>,
    states: Vec<Option<Vec<u8>>>,
    runtime: Runtime,
}

fn key(number: u8) -> StoreKey {
    SessionId::from_bytes([number; SessionId::LEN]).store_key()
}

fn builder(directory: &Path) -> FileStoreBuilder {
    FileStore::builder(directory)
        .segment_bytes(16 << 10)
        .durability(Durability::Os)
        .verify_on_open(true)
}

/// Writes each session several times, and destroys some, so that older states are in the files.
async fn fill(directory: &Path) -> Vec<Option<Vec<u8>>> {
    let mut states = vec![None; SESSIONS.into()];
    let life = Duration::from_secs(1 << 30);
    for opening in 0..2 {
        let store = builder(directory).open().expect("a store");
        for turn in opening * 30..opening * 30 + 30 {
            let number = (turn % SESSIONS) * 7 % SESSIONS;
            let data = vec![turn + 1; 40 + usize::from(turn % 5) * 50];
            let request = WriteRequest::new(&key(number), data.clone(), life, Expected::Any);
            store.write(request).await.expect("written");
            states[usize::from(number)] = Some(data);
        }
        store.touch(&key(2), life).await.expect("touched");
        store.close().await.expect("closed");
    }
    let store = builder(directory).open().expect("a store");
    for number in [3, 8] {
        store.destroy(&key(number)).await.expect("destroyed");
        states[usize::from(number)] = None;
    }
    store.close().await.expect("closed");
    states
}

fn whole() -> &'static Whole {
    static WHOLE: OnceLock<Whole> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let directory = directory::Directory::new();
        let directory = directory.path();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let states = runtime.block_on(fill(directory));
        let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(directory)
            .expect("a directory")
            .map(|entry| {
                let path = entry.expect("an entry").path();
                let name = path
                    .file_name()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned();
                (name, fs::read(path).expect("a file"))
            })
            .filter(|(name, _)| name != "lock")
            .collect();
        files.sort();
        Whole {
            files,
            states,
            runtime,
        }
    })
}

/// Returns the number of sessions that are lost. None may have an older state.
fn check(whole: &Whole, store: &FileStore) -> usize {
    let mut lost = 0;
    for (number, state) in whole.states.iter().enumerate() {
        let read = whole.runtime.block_on(store.read(&key(number as u8), None));
        let stored = match read.expect("a state") {
            ReadOutcome::Found(record) => Some(record.data.to_vec()),
            ReadOutcome::Absent | ReadOutcome::Gone => None,
        };
        if stored != *state {
            assert_eq!(stored, None, "session {number} has an older state");
            lost += 1;
        }
    }
    lost
}

// The first bytes choose the file, the place, and if the end is cut off. The others replace the bytes at
// the place.
fuzz_target!(|bytes: &[u8]| {
    let Some((&[file, low, high, cut], replacement)) = bytes.split_first_chunk::<4>() else {
        return;
    };
    let whole = whole();
    let directory = directory::Directory::new();
    let directory = directory.path();
    let damaged = usize::from(file) % whole.files.len();
    for (index, (name, content)) in whole.files.iter().enumerate() {
        let mut content = content.clone();
        if index == damaged && !content.is_empty() {
            let at = usize::from(u16::from_le_bytes([low, high])) % content.len();
            for (old, new) in content[at..].iter_mut().zip(replacement) {
                *old = *new;
            }
            if cut % 3 == 0 {
                content.truncate(at + replacement.len());
            }
        }
        fs::write(directory.join(name), content).expect("written");
    }
    let Ok(inspection) = Inspection::read(directory, |_, _| {}) else {
        return;
    };
    let opened = builder(directory).open();
    assert_eq!(
        inspection.is_sound(),
        opened.is_ok(),
        "{:?}",
        inspection.findings()
    );
    if let Ok(store) = opened {
        assert_eq!(check(whole, &store), 0, "{:?}", inspection.findings());
        return;
    }
    let repaired = builder(directory).on_damage(OnDamage::DropUncertain).open();
    let lost = check(whole, &repaired.expect("repaired"));
    let again = builder(directory).open().expect("the damage was handled");
    assert_eq!(check(whole, &again), lost);
});
