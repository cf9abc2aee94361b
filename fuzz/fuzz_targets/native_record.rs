//! Any bytes as a stored record in the native format, through a service. A damaged record is a new session
//! or an error, the methods of a session never panic, and what a request stores the next one finds. A model of the
//! format knows which records can contain data.
#![no_main]

use std::{
    convert::Infallible,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header::COOKIE, header::SET_COOKIE};
use http_body_util::Empty;
use hyper::service::Service;
use hyper_session::{
    Session, SessionConfig, SessionError, Sessions,
    clock::{Clock, Timestamp},
    id::StoreKey,
    store::{ReadOutcome, Record, Store, StoreFuture, Version, WriteOutcome, WriteRequest},
};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

/// Length of the version, the kind and the lifetime at the start of a record.
const LIFETIME_END: usize = 22;
/// Length of the head of a record, which ends with four lengths.
const HEAD_LEN: usize = LIFETIME_END + 16;
/// Length of a pending mark.
const MARK_LEN: usize = 40;

/// A store with one record, under every key.
#[derive(Clone, Default)]
struct OneRecord(Arc<Mutex<Option<Bytes>>>);

impl OneRecord {
    fn get(&self) -> Option<Bytes> {
        self.0.lock().expect("no panic").clone()
    }

    fn set(&self, record: Option<Bytes>) {
        *self.0.lock().expect("no panic") = record;
    }
}

impl Store for OneRecord {
    fn read(&self, _: &StoreKey, _: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let found = |data| ReadOutcome::Found(Record::new(data, Version::FIRST));
        StoreFuture::ready(Ok(self.get().map_or(ReadOutcome::Absent, found)))
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        self.set(Some(request.data));
        StoreFuture::ready(Ok(WriteOutcome::Done(Version::FIRST)))
    }

    fn destroy(&self, _: &StoreKey) -> StoreFuture<()> {
        self.set(None);
        StoreFuture::ready(Ok(()))
    }

    fn touch(&self, _: &StoreKey, _: Duration) -> StoreFuture<bool> {
        StoreFuture::ready(Ok(self.get().is_some()))
    }
}

/// A service, and a visitor with a session.
struct Setup {
    sessions: Sessions,
    store: OneRecord,
    cookies: Mutex<HeaderMap>,
    /// The record of the session.
    record: Bytes,
}

impl Setup {
    fn new() -> Self {
        let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        let config =
            SessionConfig::default().app_key("a key for this target, which is long enough");
        let store = OneRecord::default();
        let sessions = Sessions::builder(config).store(store.clone()).clock(clock);
        let mut setup = Self {
            sessions: sessions.build().expect("the settings are right"),
            store,
            cookies: Mutex::default(),
            record: Bytes::new(),
        };
        setup.visit(|session| {
            session
                .merge(json!({"a": {"b": [1, "x"]}}))
                .expect("it fits")
        });
        setup.visit(|session| session.flash("notice", "saved").expect("it fits"));
        setup.record = setup.store.get().expect("it is stored");
        setup
    }

    /// Sends one request and keeps its cookies. Returns `None` if the session cannot be loaded.
    fn visit<T>(&self, handler: impl Fn(&Session) -> T) -> Option<T> {
        let result = Mutex::new(None);
        let service = self.sessions.wrap_fn(|_: Request<()>, session: Session| {
            let (result, handler) = (&result, &handler);
            async move {
                if session.load().await.is_ok() {
                    *result.lock().expect("no panic") = Some(handler(&session));
                }
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        let mut request = Request::new(());
        *request.headers_mut() = self.cookies.lock().expect("no panic").clone();
        let response = ready(service.call(request)).expect("infallible");
        let set = response
            .headers()
            .get(SET_COOKIE)
            .and_then(|line| line.to_str().ok());
        if let Some((pair, _)) = set.and_then(|line| line.split_once(';')) {
            let cookies = HeaderMap::from_iter([(COOKIE, pair.parse().expect("a pair"))]);
            *self.cookies.lock().expect("no panic") = cookies;
        }
        drop(service);
        result.into_inner().expect("no panic")
    }
}

// Input: a byte that selects how the rest becomes a record.
fuzz_target!(|input: &[u8]| {
    thread_local! {
        static SETUP: Setup = Setup::new();
    }
    let [selector, rest @ ..] = input else {
        return;
    };
    SETUP.with(|setup| {
        let cookies = setup.cookies.lock().expect("no panic").clone();
        setup
            .store
            .set(Some(record(&setup.record, selector % 4, rest)));
        check(setup);
        *setup.cookies.lock().expect("no panic") = cookies;
    });
});

/// Makes a record: the bytes themselves; the bytes after the session's own lifetime; the session's record
/// with changes, which are pairs of a place and a byte; or with another kind and end.
fn record(original: &Bytes, selector: u8, bytes: &[u8]) -> Bytes {
    match selector {
        0 => Bytes::copy_from_slice(bytes),
        1 => [&original[..LIFETIME_END], bytes].concat().into(),
        3 => {
            let [kind, cut, end @ ..] = bytes else {
                return original.clone();
            };
            let len = original.len().saturating_sub(usize::from(*cut));
            let mut record = [&original[..len], end].concat();
            if let Some(byte) = record.get_mut(1) {
                *byte = kind % 4;
            }
            record.into()
        }
        _ => {
            let mut record = original.to_vec();
            for pair in bytes.chunks_exact(2) {
                let at = usize::from(pair[0]) % record.len();
                record[at] = pair[1];
            }
            record.into()
        }
    }
}

/// Returns `true` if a record can contain data: its version and kind are right, and it has the length that its
/// head and a pending mark say.
fn can_contain_data(record: &[u8]) -> bool {
    let Some((head, rest)) = record.split_first_chunk::<HEAD_LEN>() else {
        return false;
    };
    let lengths = head[LIFETIME_END..].chunks(4);
    let lengths = lengths.map(|length| u32::from_le_bytes(length.try_into().expect("four bytes")));
    let len: usize = lengths.map(|length| length as usize).sum();
    match head[..2] {
        [2, 0] => rest.len() == len,
        [2, 2] => rest.len() == len || rest.len() == len + MARK_LEN,
        _ => false,
    }
}

fn check(setup: &Setup) {
    let record = setup.store.get().expect("a record");
    let untouched = record == setup.record;
    let stored = setup.visit(|session| {
        if !can_contain_data(&record) {
            let all = session.all::<Value>();
            assert!(all.is_err() || all.is_ok_and(|all| all == json!({})));
        }
        if untouched {
            let all = session.all::<Value>();
            assert_eq!(all.ok(), Some(json!({"a": {"b": [1, "x"]}})));
            let flash = session.flash_messages().expect("they can be read");
            assert_eq!(flash.all::<Value>().ok(), Some(json!({"notice": "saved"})));
        }
        let is_sound = is_sound(session);
        call_methods(session).is_ok() && is_sound
    });
    assert!(stored == Some(true) || !untouched, "{stored:?}");
    if stored == Some(true) {
        let found = setup.visit(|session| session.get::<Value>("written").ok().flatten());
        let found = found.expect("a session that was stored can be loaded");
        assert_eq!(found, Some(json!([1, "two"])));
    }
}

/// Returns `true` if all data can be read, as a whole and by its keys. Stores detect damage, so a session
/// reads only the parts of its record that a request uses. Damage elsewhere stays unnoticed.
fn is_sound(session: &Session) -> bool {
    let Ok(Value::Object(members)) = session.all::<Value>() else {
        return false;
    };
    let is_found = |(key, value): (&String, &Value)| {
        let found = session.get::<Value>([key.as_str()]);
        found.is_ok_and(|found| found.unwrap_or(Value::Null) == *value)
    };
    let flash = session.flash_messages();
    members.iter().all(is_found) && flash.is_ok_and(|flash| flash.all::<Value>().is_ok())
}

/// Calls the methods of a session. Returns an error if a value could not be put.
fn call_methods(session: &Session) -> Result<(), SessionError> {
    let _ = session.get::<Value>("a.b[0]");
    let _ = session.has("a.b");
    let _ = session
        .flash_messages()
        .map(|flash| flash.all::<Value>().ok());
    let _ = session.reflash();
    let _ = session.increment("n");
    let _ = session.forget("a.b");
    let _ = session.merge(json!({"m": {"x": 1}}));
    session.put("written", json!([1, "two"]))
}

/// Returns the output of a future. The store answers at once, so the future does.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future is pending"),
    }
}
