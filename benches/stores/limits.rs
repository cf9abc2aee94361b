//! What the parts below a store can do, without this crate.

use std::{
    fs::File,
    hint::black_box,
    io::Write,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use aes_gcm_siv::{AeadInOut, Aes256GcmSiv, KeyInit, Nonce};
use base64_simd::{Out, URL_SAFE_NO_PAD};
use dashmap::DashMap;

use crate::{
    documents::Document,
    support::Scratch,
    timing::{time, time_pair},
    visitor::Job::{self, Create, Destroy, Increment, Read, Regenerate},
};

/// The bytes that the file store adds to the document of a record.
const OVERHEAD: usize = 68;

/// The number of keys in the map.
const KEYS: u64 = 1_000_000;

/// How often the same visitor comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// One visitor.
    Hot,
    /// Visitors in turn, none of whom was seen recently.
    Cold,
    /// Two threads with a visitor each.
    TwoThreads,
}

/// A bare call of the part below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    MapGet,
    /// The value is replaced by a copy of it.
    MapSet,
    MapInsert,
    MapInsertAndRemove,
    /// Sealing and encoding.
    Seal,
    /// Decoding and opening.
    Open,
    Append,
    /// An append of a record without a document.
    AppendEmpty,
    AppendAndSync,
    AppendEmptyAndSync,
    FileRead,
    RedisGet,
    RedisSet,
    RedisDelete,
}

use Operation::*;

/// The limit of a figure: its name, and the calls that it needs.
type Limit = (&'static str, &'static [Operation]);

/// Returns the limit of a store's figure, if it calls the part below.
fn limit(store: &str, job: Job, load: Load) -> Option<Limit> {
    let is_cold = load == Load::Cold;
    Some(match (store, job) {
        ("memory", Read) => ("DashMap::get", &[MapGet]),
        ("redis, near cache", Read) if !is_cold => ("DashMap::get", &[MapGet]),
        ("memory", Increment) => ("DashMap::get_mut and a copy", &[MapSet]),
        ("memory", Create) => ("DashMap::insert", &[MapInsert]),
        ("memory", Regenerate | Destroy) => ("DashMap::insert and remove", &[MapInsertAndRemove]),
        ("cookie", Read) if is_cold => ("base64 and AES-256-GCM-SIV, open", &[Open]),
        ("cookie", Increment) if is_cold => {
            ("base64 and AES-256-GCM-SIV, open and seal", &[Open, Seal])
        }
        ("cookie", Read) => return None,
        ("cookie", _) => ("base64 and AES-256-GCM-SIV, seal", &[Seal]),
        ("file, durability always", Increment | Create) => {
            ("append and fdatasync", &[AppendAndSync])
        }
        ("file, durability always", Regenerate | Destroy) => (
            "two appends and fdatasyncs",
            &[AppendAndSync, AppendEmptyAndSync],
        ),
        (name, _) if name.starts_with("file") => match job {
            Read if is_cold => ("pread", &[FileRead]),
            Read => return None,
            Increment | Create => ("append", &[Append]),
            Regenerate | Destroy => ("two appends", &[Append, AppendEmpty]),
        },
        ("redis" | "redis, near cache", _) => match job {
            Read => ("GET by fred", &[RedisGet]),
            Increment => ("GET and SET by fred", &[RedisGet, RedisSet]),
            Create => ("SET by fred", &[RedisSet]),
            Regenerate | Destroy => (
                "GET, SET and DEL by fred",
                &[RedisGet, RedisSet, RedisDelete],
            ),
        },
        _ => return None,
    })
}

/// The times of the bare calls, measured once before the stores.
pub(crate) struct Limits(Vec<((Operation, Document, Load), f64)>);

impl Limits {
    pub(crate) fn measure(redis: Option<&str>) -> Self {
        let parts = Parts::new(redis);
        let mut all = vec![
            MapGet,
            MapSet,
            Seal,
            Open,
            Append,
            AppendEmpty,
            AppendAndSync,
            AppendEmptyAndSync,
            FileRead,
        ];
        if parts.redis.is_some() {
            all.extend([RedisGet, RedisSet, RedisDelete]);
        }
        all.extend([MapInsert, MapInsertAndRemove]);
        let mut times = Vec::new();
        for operation in all {
            for document in Document::ALL {
                let call = || parts.call(operation, document, Load::Hot);
                times.push(((operation, document, Load::Hot), time(call())));
                if document == Document::Login {
                    let pair = time_pair([call(), call()].map(|call| move || call));
                    times.push(((operation, document, Load::TwoThreads), pair));
                    let cold = time(parts.call(operation, document, Load::Cold));
                    times.push(((operation, document, Load::Cold), cold));
                }
                if operation == MapInsert {
                    parts.map.retain(|key, _| *key < KEYS);
                }
            }
        }
        Self(times)
    }

    /// Returns the name and the time of the limit of a store's figure, in ns.
    pub(crate) fn of(
        &self,
        store: &str,
        job: Job,
        document: Document,
        load: Load,
    ) -> Option<(&'static str, f64)> {
        let (name, operations) = limit(store, job, load)?;
        let time = |operation: &Operation| {
            let key = (*operation, document, load);
            Some(self.0.iter().find(|(it, _)| *it == key)?.1)
        };
        let times: Option<Vec<f64>> = operations.iter().map(time).collect();
        Some((name, times?.iter().sum()))
    }
}

type BareCall = Box<dyn FnMut() + Send>;

/// The parts below the stores.
struct Parts {
    map: Arc<DashMap<u64, Vec<u8>>>,
    /// The first key of the next call.
    next: AtomicU64,
    folder: Scratch,
    redis: Option<redis::Client>,
}

impl Parts {
    fn new(redis: Option<&str>) -> Self {
        let value = || vec![b'x'; Document::Login.bytes()];
        Self {
            map: Arc::new((0..KEYS).map(|key| (key, value())).collect()),
            next: AtomicU64::new(0),
            folder: Scratch::new("limits"),
            redis: redis.and_then(redis::connect),
        }
    }

    /// Returns a call of an operation. The calls of two threads have different keys.
    fn call(&self, operation: Operation, document: Document, load: Load) -> BareCall {
        let number = self.next.fetch_add(1, Relaxed);
        match operation {
            MapGet | MapSet | MapInsert | MapInsertAndRemove => {
                self.map_call(operation, number, document, load)
            }
            Seal => seal(document),
            Open => open(document),
            Append | AppendEmpty | AppendAndSync | AppendEmptyAndSync | FileRead => {
                self.file_call(operation, document)
            }
            RedisGet | RedisSet | RedisDelete => {
                redis::call(self.redis.as_ref(), operation, number, document)
            }
        }
    }

    fn map_call(
        &self,
        operation: Operation,
        number: u64,
        document: Document,
        load: Load,
    ) -> BareCall {
        let map = Arc::clone(&self.map);
        let value = vec![b'x'; document.bytes()];
        let step = if load == Load::Cold { 7919 } else { 0 };
        let mut key = number % KEYS;
        // A replaced value has the length of the document.
        map.insert(key, value.clone());
        let mut new = (number + 1) << 40;
        match operation {
            MapGet => Box::new(move || {
                key = (key + step) % KEYS;
                black_box(map.get(&key).map(|it| it.len()));
            }),
            MapSet => Box::new(move || {
                key = (key + step) % KEYS;
                let mut found = map.get_mut(&key).expect("the key is in the map");
                *found = black_box(found.clone());
            }),
            _ => Box::new(move || {
                new += 1;
                let key = new.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                map.insert(key, value.clone());
                if operation == MapInsertAndRemove {
                    map.remove(&key);
                }
            }),
        }
    }

    fn file_call(&self, operation: Operation, document: Document) -> BareCall {
        let path: PathBuf = self.folder.path().join("records");
        let mut options = File::options();
        options.read(true).append(true).create(true);
        let mut file = options.open(path).expect("the directory is writable");
        let bytes = match operation {
            AppendEmpty | AppendEmptyAndSync => 0,
            _ => document.bytes(),
        };
        let mut record = vec![b'x'; OVERHEAD + bytes];
        file.write_all(&record).expect("the disk has room");
        match operation {
            FileRead => Box::new(move || read_at(&file, &mut record)),
            AppendAndSync | AppendEmptyAndSync => Box::new(move || {
                file.write_all(&record).expect("the disk has room");
                file.sync_data().expect("the disk works");
            }),
            _ => Box::new(move || file.write_all(&record).expect("the disk has room")),
        }
    }
}

fn cipher() -> (Aes256GcmSiv, Nonce) {
    (Aes256GcmSiv::new(&[7; 32].into()), Nonce::default())
}

fn seal(document: Document) -> BareCall {
    let (cipher, nonce) = cipher();
    let plain = vec![b'x'; document.bytes()];
    let mut buffer = plain.clone();
    let mut text = vec![0; 2 * plain.len() + 64];
    Box::new(move || {
        buffer.copy_from_slice(&plain);
        let tag = cipher.encrypt_inout_detached(&nonce, b"", buffer.as_mut_slice().into());
        black_box(tag.expect("it is short"));
        black_box(URL_SAFE_NO_PAD.encode(&buffer, Out::from_slice(&mut text)));
    })
}

fn open(document: Document) -> BareCall {
    let (cipher, nonce) = cipher();
    let mut buffer = vec![b'x'; document.bytes()];
    let tag = cipher.encrypt_inout_detached(&nonce, b"", buffer.as_mut_slice().into());
    let tag = tag.expect("it is short");
    let sealed = URL_SAFE_NO_PAD.encode_to_string(&buffer);
    let mut text = vec![0; 2 * buffer.len() + 64];
    Box::new(move || {
        let decoded =
            URL_SAFE_NO_PAD.decode(black_box(sealed.as_bytes()), Out::from_slice(&mut text));
        let decoded = decoded.expect("it is base64");
        let opened = cipher.decrypt_inout_detached(&nonce, b"", decoded.into(), &tag);
        opened.expect("the tag is right");
    })
}

#[cfg(unix)]
fn read_at(file: &File, record: &mut [u8]) {
    use std::os::unix::fs::FileExt;

    let read = file.read_exact_at(record, 0);
    read.expect("the file has a record");
}

#[cfg(not(unix))]
fn read_at(_: &File, _: &mut [u8]) {}

#[cfg(feature = "redis")]
mod redis {
    use std::hint::black_box;

    pub(super) use fred::prelude::Client;
    use fred::prelude::{Builder, ClientLike, Config, Expiration, KeysInterface};

    use super::{BareCall, Operation};
    use crate::{documents::Document, support::drive};

    const ANSWERS: &str = "the server responds";

    pub(super) fn connect(url: &str) -> Option<Client> {
        let config = Config::from_url(url).expect("the address is valid");
        let client = Builder::from_config(config).build();
        let client = client.expect("the settings are right");
        let runtime = tokio::runtime::Handle::current();
        runtime.block_on(client.init()).expect(ANSWERS);
        Some(client)
    }

    pub(super) fn call(
        client: Option<&Client>,
        operation: Operation,
        number: u64,
        document: Document,
    ) -> BareCall {
        let client = client.expect("there is a server").clone();
        let key = format!("limit {number}");
        let value = "x".repeat(document.bytes());
        let set = move |client: &Client, key: &str| {
            let expiry = Some(Expiration::EX(7200));
            drive(client.set::<(), _, _>(key, value.as_str(), expiry, None, false)).expect(ANSWERS);
        };
        set(&client, &key);
        match operation {
            Operation::RedisGet => Box::new(move || {
                let value: String = drive(client.get(key.as_str())).expect(ANSWERS);
                black_box(value);
            }),
            Operation::RedisSet => Box::new(move || set(&client, &key)),
            _ => Box::new(move || drive(client.del::<(), _>(key.as_str())).expect(ANSWERS)),
        }
    }
}

#[cfg(not(feature = "redis"))]
mod redis {
    use super::{BareCall, Operation};
    use crate::documents::Document;

    /// A client that cannot exist without the feature `redis`.
    #[derive(Clone)]
    pub(super) enum Client {}

    pub(super) fn connect(_: &str) -> Option<Client> {
        None
    }

    pub(super) fn call(_: Option<&Client>, _: Operation, _: u64, _: Document) -> BareCall {
        panic!("a client needs the feature `redis`")
    }
}
