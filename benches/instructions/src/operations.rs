//! Single operations: the cookie scan, the seal, documents and stores.

use std::{
    convert::Infallible,
    env, fs,
    future::{Future, pending},
    hint::black_box,
    path::PathBuf,
    pin::pin,
    process,
    sync::mpsc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header::COOKIE};
use hyper::service::Service;
use hyper_session::{
    Session, Sessions,
    cookie::{CookieName, Finder},
    document::Document,
    id::{SessionId, StoreKey},
    patch::{ChangeLimits, Patch},
    seal::{Buffer, Codec, KeyRing, SealKey},
    session::CookiePolicy,
    store::{
        Expected, FileStore, MemoryStore, Store, Tag, Tags, Version, WriteOutcome, WriteRequest,
        file::Durability,
    },
};

use crate::support::{Body, COUNTER, Call, Size, config, seed, with_cookie};

const NAME: &str = "__Host-session";
const TTL: Duration = Duration::from_secs(3600);

/// Length of a record in the rows of the stores.
const DATA: usize = 256;

/// Number of records in a store before its calls.
const RECORDS: u128 = 1_000;

/// Length of the content of an id cookie: version, id, second of the renewal, flag and lifetime.
const ID_CONTENT: usize = 42;

/// Returns an id cookie, `name=value`.
fn id_cookie() -> String {
    let config = config(CookiePolicy::WhenUsed).host_cookie();
    let sessions = Sessions::new(config, MemoryStore::new());
    let cookie = seed(&sessions.expect("the configuration is valid"), Size::Small);
    // Six characters before the sealed text claim the second of the renewal.
    let len = NAME.len() + "=".len() + 6 + Codec::sealed_len(ID_CONTENT);
    assert_eq!(
        cookie.len(),
        len,
        "an id cookie has another length; set ID_CONTENT"
    );
    cookie
}

pub(crate) fn scan() -> Call {
    scan_headers(with_cookie(&id_cookie()).headers().clone())
}

pub(crate) fn scan_look_alikes() -> Call {
    let line: Vec<String> = (0..200).map(|number| format!("{NAME}{number}=1")).collect();
    let line = HeaderValue::try_from(line.join("; ")).expect("a cookie is visible ASCII");
    scan_headers(HeaderMap::from_iter([(COOKIE, line)]))
}

fn scan_headers(headers: HeaderMap) -> Call {
    let finder = Finder::new(&CookieName::new(NAME).expect("the name is valid"));
    Box::new(move || {
        black_box(black_box(&finder).find(black_box(&headers)).count());
    })
}

fn codec() -> Codec {
    let key = SealKey::from_text("a key that is long enough to measure with").expect("it is long");
    KeyRing::new(key).codec("session id", NAME)
}

pub(crate) fn seal() -> Call {
    id_cookie();
    let (codec, mut text) = (codec(), Buffer::new());
    Box::new(move || {
        codec
            .seal(black_box(&[7; ID_CONTENT]), &mut text)
            .expect("the text is short")
    })
}

pub(crate) fn open() -> Call {
    id_cookie();
    let (codec, mut text, mut plain) = (codec(), Buffer::new(), Buffer::new());
    codec
        .seal(&[7; ID_CONTENT], &mut text)
        .expect("the text is short");
    Box::new(move || {
        black_box(codec.open(black_box(&text), &mut plain)).expect("it was sealed");
    })
}

/// A document as a store returns it.
struct Stored {
    text: Bytes,
    index: Bytes,
}

impl Stored {
    fn new(document: &Document) -> Self {
        let mut index = Vec::new();
        document.write_index(&mut index);
        Self {
            text: Bytes::copy_from_slice(document.text()),
            index: index.into(),
        }
    }

    fn load(&self, document: &mut Document) {
        let loaded = document.load(self.text.clone(), self.index.clone());
        loaded.expect("it was stored");
    }
}

fn small() -> Stored {
    let mut document = Document::new();
    for (key, value) in Size::Small.members() {
        document.put([key], &value).expect("it is small");
    }
    Stored::new(&document)
}

/// Returns a document with an array of 1,000 objects as `items` and `cart.items`.
fn large_arrays() -> Stored {
    let item = |number| format!(r#"{{"id":{number},"name":"item"}}"#);
    let items: Vec<String> = (0..1_000).map(item).collect();
    let items = items.join(",");
    let text = format!(r#"{{"items":[{items}],"cart":{{"items":[{items}]}}}}"#);
    Stored::new(&Document::parse(text.as_bytes()).expect("it is JSON"))
}

pub(crate) fn read_path() -> Call {
    read(small(), vec![COUNTER.to_owned()])
}

pub(crate) fn read_item() -> Call {
    read(large_arrays(), vec!["items.999.id".to_owned()])
}

pub(crate) fn read_items() -> Call {
    read(
        large_arrays(),
        (990..1_000)
            .map(|number| format!("items.{number}.id"))
            .collect(),
    )
}

pub(crate) fn read_items_backwards() -> Call {
    read(
        large_arrays(),
        (990..1_000)
            .rev()
            .map(|number| format!("items.{number}.id"))
            .collect(),
    )
}

pub(crate) fn push() -> Call {
    pushes("items")
}

pub(crate) fn push_nested() -> Call {
    pushes("cart.items")
}

fn pushes(path: &'static str) -> Call {
    let (stored, mut document, element) = (large_arrays(), Document::new(), small());
    let element = Document::from_parts(element.text, element.index).expect("it was stored");
    Box::new(move || {
        stored.load(&mut document);
        let element = element.get("user").expect("it is sound");
        for _ in 0..10 {
            let element = element.expect("there is a user");
            let pushed = document.push_json(&path.into(), element);
            pushed.expect("it is an array");
        }
    })
}

fn read(stored: Stored, paths: Vec<String>) -> Call {
    let mut document = Document::new();
    Box::new(move || {
        stored.load(&mut document);
        for path in &paths {
            let value = document.get(black_box(path.as_str())).expect("it is sound");
            black_box(value.expect("there is a value"));
        }
    })
}

pub(crate) fn increment() -> Call {
    let (stored, mut document) = (small(), Document::new());
    let mut patch = Patch::new(ChangeLimits::default());
    Box::new(move || {
        stored.load(&mut document);
        patch.reset();
        let added = patch.add(&mut document, black_box(COUNTER), 1);
        added.expect("it is a number");
        let mut record = Vec::with_capacity(document.text().len() + 64);
        document.write_index(&mut record);
        record.extend_from_slice(document.text());
        black_box(record);
    })
}

fn key(number: u128) -> StoreKey {
    SessionId::from_bytes(number.to_le_bytes()).store_key()
}

/// Returns the output of a future. Polls it until it is ready.
fn ready<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            return output;
        }
    }
}

fn write(store: &impl Store, key: &StoreKey, expected: Expected, tags: Tags) -> Version {
    // Built like the record of a session, with a reference count.
    let mut data = BytesMut::with_capacity(DATA);
    data.resize(DATA, b'x');
    let data = data.split().freeze();
    let request = WriteRequest::new(key, data, TTL, expected).tags(tags);
    match ready(store.write(request)) {
        Ok(WriteOutcome::Done(version)) => version,
        other => panic!("the write failed: {other:?}"),
    }
}

fn filled<S: Store>(store: S) -> S {
    for number in 0..RECORDS {
        write(&store, &key(number), Expected::Absent, Tags::new());
    }
    store
}

fn reads(store: impl Store) -> Call {
    let store = filled(store);
    let keys: Vec<StoreKey> = (0..RECORDS).map(key).collect();
    // The first read of a record may prepare others.
    for key in &keys {
        ready(store.read(key, None)).expect("the store answers");
    }
    let mut keys = keys.into_iter().cycle();
    Box::new(move || {
        let key = keys.next().expect("the cycle has no end");
        black_box(ready(store.read(&key, None))).expect("the store answers");
    })
}

fn writes(store: impl Store) -> Call {
    let store = filled(store);
    let key = key(7);
    let mut version = write(&store, &key, Expected::Any, Tags::new());
    Box::new(move || version = write(&store, &key, Expected::Version(version), Tags::new()))
}

/// Number of sessions that a call creates. The map has a random seed, and the mean of a few varies.
const CREATED: usize = 16;

/// Returns a call that creates sessions under the next keys.
fn creations<S: Store>(store: S, tags: Tags, then: fn(&S, &StoreKey)) -> Call {
    let store = filled(store);
    // The keys are computed before, so that no hash is counted.
    let mut keys = (RECORDS..10 * RECORDS)
        .map(key)
        .collect::<Vec<_>>()
        .into_iter();
    Box::new(move || {
        for key in keys.by_ref().take(CREATED) {
            write(&store, &key, Expected::Absent, tags.clone());
            then(&store, &key);
        }
    })
}

fn destroy(store: &impl Store, key: &StoreKey) {
    ready(store.destroy(key)).expect("the store answers");
}

pub(crate) fn memory_read() -> Call {
    reads(MemoryStore::new())
}

pub(crate) fn memory_write() -> Call {
    writes(MemoryStore::new())
}

pub(crate) fn memory_create() -> Call {
    creations(MemoryStore::new(), Tags::new(), |_, _| {})
}

pub(crate) fn memory_destroy() -> Call {
    creations(MemoryStore::new(), Tags::new(), destroy)
}

pub(crate) fn memory_create_tagged() -> Call {
    let mut tags = Tags::new();
    let tag = Tag::new("user:4711").expect("the tag is valid");
    tags.insert(&tag).expect("it is the only one");
    creations(MemoryStore::new(), tags, |_, _| {})
}

/// Opens a file store in a new directory.
pub(crate) fn file_store() -> FileStore {
    let directory = directory(process::id());
    // An earlier process may have had the same id.
    let _ = fs::remove_dir_all(&directory);
    FileStore::builder(directory)
        .durability(Durability::Os)
        .open()
        .expect("a new directory opens")
}

pub(crate) fn file_read() -> Call {
    reads(file_store())
}

pub(crate) fn file_write() -> Call {
    writes(file_store())
}

pub(crate) fn file_create() -> Call {
    creations(file_store(), Tags::new(), |_, _| {})
}

pub(crate) fn file_destroy() -> Call {
    creations(file_store(), Tags::new(), destroy)
}

/// Returns a call that increments a number of an open session and commits it. The session is that of a request that does
/// not end.
pub(crate) fn commit() -> Call {
    let sessions = Sessions::new(config(CookiePolicy::WhenUsed), MemoryStore::new());
    let sessions = sessions.expect("the configuration is valid");
    let request = with_cookie(&seed(&sessions, Size::Small));
    let (sender, receiver) = mpsc::channel();
    let service = sessions.wrap_fn(move |_: Request<Body>, session: Session| {
        sender.send(session).expect("the receiver exists");
        pending::<Result<Response<Body>, Infallible>>()
    });
    let mut request = Box::pin(service.call(request));
    let polled = request
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending(), "the request does not end");
    let session = receiver.recv().expect("the handler has run");
    ready(async { session.load().await.map(drop) }).expect("the store answers");
    Box::new(move || {
        let _ = &request;
        session.increment(COUNTER).expect("the value is a number");
        ready(async { session.commit().await }).expect("the store answers");
    })
}

/// Returns the directory of the file store of the process with this id.
pub(crate) fn directory(process: u32) -> PathBuf {
    env::temp_dir().join(format!("instructions-{process}"))
}
