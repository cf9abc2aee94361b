//! `Serialize` and `Deserialize` implementations that use the session or panic, and listeners that use
//! the session.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use hyper_session::{
    Session, SessionError, Sessions,
    session::Event,
    store::{Expected, Store, WriteRequest},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::{Value, json};

use crate::support::{Browser, Call, EventLog, config, object, test_server};

thread_local! {
    static CURRENT: RefCell<Option<Session>> = const { RefCell::new(None) };
}

/// Calls `run` with the session that the implementations below use.
fn with_current<T>(session: &Session, run: impl FnOnce() -> T) -> T {
    CURRENT.set(Some(session.clone()));
    let result = run();
    CURRENT.take();
    result
}

fn count_call<E>(custom: impl FnOnce(SessionError) -> E) -> Result<u64, E> {
    let session = CURRENT.with_borrow(Clone::clone).unwrap();
    let count = || {
        session.increment("calls")?;
        session.put("last", json!({"text": "a nested value"}))?;
        Ok(session.get("calls")?.unwrap())
    };
    count().map_err(custom)
}

/// A value that counts its conversions in the session.
#[derive(Debug)]
struct Counted(u64);

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let calls = count_call(S::Error::custom::<SessionError>)?;
        serializer.collect_map([("calls", calls), ("value", self.0)])
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let calls = count_call(D::Error::custom::<SessionError>)?;
        Value::deserialize(deserializer)?;
        Ok(Self(calls))
    }
}

/// A value that panics after a part of it was written.
struct Panicking;

impl Serialize for Panicking {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map((0..3).map(|n| {
            assert!(n < 2, "a part is written");
            (n.to_string(), n)
        }))
    }
}

impl<'de> Deserialize<'de> for Panicking {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        panic!("at {:?}", Value::deserialize(deserializer).ok());
    }
}

fn assert_panics<T>(run: impl FnOnce() -> T) {
    assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
}

#[tokio::test]
async fn a_serialize_can_use_the_session() {
    let mut browser = test_server(config()).browser();
    let all = browser
        .visit(async |s| {
            with_current(s, || {
                s.put("put", Counted(7)).unwrap();
                s.merge(json!({"put": {"more": true}})).unwrap();
                s.merge(Counted(8)).unwrap();
                s.flash("flash", Counted(9)).unwrap();
                s.flash_many(Counted(10)).unwrap();
                s.flash_all_of(Counted(11)).unwrap();
                s.flash_only_of(Counted(12), &["value"]).unwrap();
            });
            object(s)
        })
        .await;
    let put = json!({"calls": 1, "value": 7, "more": true});
    let last = json!({"text": "a nested value"});
    // The merge replaced the counter with its value at that time, which is the same.
    assert_eq!(
        all,
        json!({"calls": 6, "last": last, "put": put, "value": 8})
    );
    let stored = browser.visit(async |s| object(s)).await;
    assert_eq!(stored, all);
}

#[tokio::test]
async fn a_deserialize_can_use_the_session() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.put("a", 1).unwrap();
            s.put("b", json!([1, 2])).unwrap();
        })
        .await;
    let read = async |s: &Session| {
        with_current(s, || {
            let get = s.get::<Counted>("a").unwrap().unwrap();
            let get_or = s.get_or("b", Counted(0)).unwrap();
            let all = s.all::<Counted>().unwrap();
            let pull = s.pull::<Counted>("b").unwrap().unwrap();
            assert!(!s.has("b").unwrap(), "pull removes the value");
            [get, get_or, all, pull].map(|counted| counted.0)
        })
    };
    assert_eq!(browser.visit(read).await, [1, 2, 3, 4]);
    let stored = browser.visit(async |s| object(s)).await;
    let last = json!({"text": "a nested value"});
    assert_eq!(stored, json!({"a": 1, "calls": 4, "last": last}));
}

#[tokio::test]
async fn a_pull_removes_the_value_that_it_returns() {
    struct Replacing(u64);
    impl<'de> Deserialize<'de> for Replacing {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let value = u64::deserialize(deserializer)?;
            let session = CURRENT.with_borrow(Clone::clone).unwrap();
            if value < 3 {
                session.increment("value").unwrap();
            }
            Ok(Self(value))
        }
    }
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.put("value", 1).unwrap();
            let pulled = with_current(s, || s.pull::<Replacing>("value").unwrap());
            assert_eq!(pulled.map(|value| value.0), Some(3));
            assert_eq!(object(s), json!({}));
        })
        .await;
}

#[tokio::test]
async fn a_panic_changes_nothing() {
    let mut browser = test_server(config()).browser();
    browser.visit(async |s| s.put("kept", 1)).await.unwrap();
    browser
        .visit(async |s| {
            s.put("before", 1).unwrap();
            assert_panics(|| s.put("put", Panicking));
            assert_panics(|| s.merge(Panicking));
            assert_panics(|| s.flash("flash", Panicking));
            assert_panics(|| s.flash_many(Panicking));
            assert_panics(|| s.flash_all_of(Panicking));
            assert_panics(|| s.get::<Panicking>("kept"));
            assert_panics(|| s.all::<Panicking>());
            assert_panics(|| s.pull::<Panicking>("kept"));
            assert_eq!(object(s), json!({"kept": 1, "before": 1}));
            s.put("after", 2).unwrap();
            s.commit().await.unwrap();
            s.increment("after").unwrap();
        })
        .await;
    let (all, flash): (_, Value) = browser
        .visit(async |s| (object(s), s.flash_messages().unwrap().all().unwrap()))
        .await;
    assert_eq!(all, json!({"kept": 1, "before": 1, "after": 3}));
    assert_eq!(flash, json!({}));
}

/// The patch of the panicking request is rebased: what it recorded is applied to another record.
#[tokio::test]
async fn a_panic_leaves_nothing_in_the_recorded_changes() {
    let mut browser = test_server(config()).browser();
    browser.visit(async |s| s.put("a", 1)).await.unwrap();
    let mut other = browser.clone();
    browser
        .visit(async |s| {
            s.put("b", 2).unwrap();
            assert_panics(|| s.put("c", Panicking));
            s.put("d", 3).unwrap();
            other.visit(async |s| s.put("e", 4)).await.unwrap();
        })
        .await;
    let all = browser.visit(async |s| object(s)).await;
    assert_eq!(all, json!({"a": 1, "b": 2, "d": 3, "e": 4}));
}

/// `AsRef<str>` implementations are code of the caller too.
#[tokio::test]
async fn keys_can_use_the_session() {
    struct Key(Session, &'static str);
    impl AsRef<str> for Key {
        fn as_ref(&self) -> &str {
            self.0.increment("keys").unwrap();
            self.1
        }
    }
    let mut browser = test_server(config()).browser();
    browser.visit(async |s| s.flash("a", 1)).await.unwrap();
    browser
        .visit(async |s| {
            let keys = || [Key(s.clone(), "a")];
            s.reflash_except(&keys()).unwrap();
            s.reflash_only(&keys()).unwrap();
            s.flash_except_of(json!({"a": 1, "b": 2}), &keys()).unwrap();
            s.flash_only_of(json!({"b": 3}), &keys()).unwrap();
            assert!(s.get_or("keys", 0).unwrap() >= 4);
        })
        .await;
}

/// Sends a request whose session the listener below uses.
async fn visit(browser: &mut Browser, handler: impl AsyncFnOnce(&Session)) {
    browser
        .request(async |session| {
            CURRENT.set(Some(session.clone()));
            handler(&session).await;
        })
        .await;
    CURRENT.take();
}

/// A listener runs on the request's task, and may find the session there.
#[tokio::test]
async fn a_listener_can_use_the_session() {
    let server = test_server(config());
    let events = EventLog::default();
    let log = events.listener();
    let sessions = Sessions::builder(config())
        .store(server.store.clone())
        .listener(move |event: &Event<'_>| {
            if let Some(session) = CURRENT.with_borrow(Clone::clone) {
                let _ = session.increment("events");
                log(event);
            }
        })
        .clock(server.clock.clone())
        .build()
        .unwrap();
    let mut browser = Browser::new(&sessions);
    visit(&mut browser, async |s| {
        s.load().await.unwrap().put("n", 1).unwrap();
    })
    .await;
    let mut other = browser.clone();
    visit(&mut browser, async |s| {
        s.load().await.unwrap().increment("n").unwrap();
        other.visit(async |s| s.increment("n")).await.unwrap();
    })
    .await;
    visit(&mut browser, async |s| {
        s.load().await.unwrap().regenerate().unwrap();
    })
    .await;
    visit(&mut browser, async |s| {
        let key = s.load().await.unwrap().store_key().unwrap();
        sessions.collection().destroy(&key).await.unwrap();
        s.put("n", 1).unwrap();
    })
    .await;
    browser.jar.set("session", "no cookie of this service");
    visit(&mut browser, async |s| drop(s.csrf_token().unwrap())).await;
    let mut broken = Browser::new(&sessions);
    broken.visit(async |s| s.put("n", 1)).await.unwrap();
    server.store.fail(Call::Read);
    visit(&mut broken, async |s| assert!(s.load().await.is_err())).await;
    let key = broken.visit(async |s| s.store_key()).await.unwrap();
    let hour = Duration::from_secs(3600);
    let damaged = WriteRequest::new(&key, "damaged", hour, Expected::Any);
    server.memory.write(damaged).await.unwrap();
    visit(&mut broken, async |s| {
        s.load().await.unwrap();
    })
    .await;
    for name in [
        "initiated",
        "committed",
        "migrated",
        "destroyed",
        "conflict_resolved",
        "write_dropped",
        "record_unreadable",
        "cookie_rejected",
        "store_failed",
    ] {
        assert!(!events.with_name(name).is_empty(), "{name}");
    }
}
