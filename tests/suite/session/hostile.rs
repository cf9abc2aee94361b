//! Arbitrary bytes from clients and stores: no panic, and no session of another visitor.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::COOKIE};
use http_body_util::Empty;
use hyper::service::Service;
use hyper_session::{
    Session,
    store::{Expected, ReadOutcome, Store, WriteRequest},
};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};
use std::convert::Infallible;
use tokio::runtime::{Builder, Runtime};

use crate::support::{TestServer, config, test_server};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Calls the methods that a handler may call, and ignores their results.
fn call_methods(session: &Session) {
    let _ = session.get::<Value>("a.b.0");
    let _ = session.all::<Value>();
    let _ = session.has("a");
    let _ = session
        .snapshot()
        .map(|all| all.as_json().map(str::len).ok());
    let _ = session.put("a.b", 1);
    let _ = session.put("z", "text");
    let _ = session.increment("a.c");
    let _ = session.forget("a.b");
    let _ = session.pull::<Value>("z");
    let _ = session.merge(json!({"a": {"x": [1, 2]}}));
    let _ = session.flash_messages().map(|all| all.all::<Value>().ok());
    let _ = session.reflash_only(&["a", "a.b"]);
    let _ = session.reflash_except(&["a"]);
    let _ = session.flash("m", 1);
    let _ = session.intended_url();
    let _ = session.clear();
    let _ = session.regenerate();
}

/// Sends one request with this `Cookie` line. Returns `Some(true)` if its session is fresh, and `None`
/// if HTTP does not allow the line.
async fn call(server: &TestServer, line: &[u8]) -> Option<bool> {
    let line = HeaderValue::from_bytes(line).ok()?;
    let (sender, fresh) = std::sync::mpsc::channel();
    let service = server
        .sessions
        .wrap_fn(move |_: Request<()>, session: Session| {
            let sender = sender.clone();
            async move {
                session.load().await.unwrap();
                sender.send(session.is_fresh()).unwrap();
                call_methods(&session);
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
    let mut request = Request::new(());
    request.headers_mut().insert(COOKIE, line);
    service.call(request).await.unwrap();
    fresh.try_recv().ok()
}

/// Creates a session and returns its cookie, key and record.
async fn create_session(server: &TestServer) -> (String, hyper_session::id::StoreKey, Bytes) {
    let mut browser = server.browser();
    let key = browser
        .visit(async |s| {
            s.merge(json!({"a": {"b": [1, 2]}, "text": "é\"\\", "n": 1.5}))
                .unwrap();
            s.flash("m", json!({"x": 1})).unwrap();
            s.store_key().unwrap()
        })
        .await;
    let ReadOutcome::Found(record) = server.memory.read(&key, None).await.unwrap() else {
        panic!("it was stored");
    };
    (browser.cookie().unwrap().to_owned(), key, record.data)
}

/// Replaces the record of a session with `data` and loads it.
async fn open(server: &TestServer, cookie: &str, key: &hyper_session::id::StoreKey, data: Bytes) {
    let hour = Duration::from_secs(3_600);
    let write = server
        .memory
        .write(WriteRequest::new(key, data, hour, Expected::Any));
    write.await.unwrap();
    let mut browser = server.browser();
    browser.jar.set("session", cookie);
    let visit = browser
        .request(async |s| {
            if s.load().await.is_ok() {
                call_methods(&s);
            }
        })
        .await;
    assert!(matches!(visit.status.as_u16(), 200 | 503));
    let _ = server.sessions.collection().get(key).await;
}

/// Length of the version, the kind and the lifetime at the start of a record.
const LIFETIME_END: usize = 22;

#[tokio::test]
async fn a_record_with_the_head_of_another_one_opens() {
    let server = test_server(config());
    let (cookie, key, record) = create_session(&server).await;
    // The lengths of a data text without an index, and of no flash messages.
    let rest = [&[2, 0, 0, 0][..], &[0; 12], b"{}"].concat();
    let headed = [&record[..LIFETIME_END], &rest].concat();
    let hour = Duration::from_secs(3_600);
    let write = WriteRequest::new(&key, headed, hour, Expected::Any);
    server.memory.write(write).await.unwrap();
    let mut browser = server.browser();
    browser.jar.set("session", &cookie);
    let read = async |s: Session| s.load().await.unwrap().all::<Value>().unwrap();
    assert_eq!(browser.request(read).await.value, Some(json!({})));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_as_a_cookie_header_give_a_fresh_session(bytes in vec(any::<u8>(), 0..300)) {
        runtime().block_on(async {
            let server = test_server(config());
            prop_assert_ne!(call(&server, &bytes).await, Some(false));
            let named = [b"session=", &bytes[..]].concat();
            prop_assert_ne!(call(&server, &named).await, Some(false));
            Ok(())
        })?;
    }

    #[test]
    fn any_bytes_as_a_record_are_a_session_or_an_error(data in vec(any::<u8>(), 0..200)) {
        runtime().block_on(async {
            let server = test_server(config());
            let (cookie, key, record) = create_session(&server).await;
            open(&server, &cookie, &key, data.clone().into()).await;
            // With a valid head, the rest is decoded, too.
            let headed = [&record[..LIFETIME_END], &data].concat();
            open(&server, &cookie, &key, headed.into()).await;
        });
    }

    #[test]
    fn a_record_with_damage_is_a_session_or_an_error(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        runtime().block_on(async {
            let server = test_server(config());
            let (cookie, key, data) = create_session(&server).await;
            let mut data = data.to_vec();
            for (at, byte) in &changes {
                let at = at.index(data.len());
                data[at] = *byte;
            }
            if let Some(cut) = cut {
                data.truncate(cut.index(data.len()));
            }
            open(&server, &cookie, &key, data.into()).await;
        });
    }

    #[test]
    fn any_text_as_a_path_is_a_value_or_an_error(paths in vec(".{0,24}|([a-c0-3.\\[\\]\"'\\\\]){0,12}", 1..12)) {
        runtime().block_on(async {
            let mut browser = test_server(config()).browser();
            browser.visit(async |s| {
                for path in &paths {
                    let path = path.as_str();
                    if s.put(path, 1).is_ok() {
                        assert_eq!(s.get(path).unwrap(), Some(1), "{path:?}");
                        assert!(s.has(path).unwrap(), "{path:?}");
                        s.increment(path).unwrap();
                        s.forget(path).unwrap();
                        assert!(!s.has(path).unwrap(), "{path:?}");
                        s.put(path, json!([{}])).unwrap();
                    }
                    let _ = s.flash(path, 1);
                    let _ = s.set_intended_url(path);
                    s.all::<Value>().unwrap();
                }
            }).await;
            browser.visit(async |s| s.all::<Value>()).await.unwrap();
        });
    }
}

#[test]
fn a_cookie_header_of_a_megabyte_of_separators_is_read_in_no_time() {
    let server = test_server(config());
    let started = std::time::Instant::now();
    for part in [
        &b";"[..],
        b"session",
        b"session=;",
        b" \t",
        b"=",
        b"session=A;",
    ] {
        let line: Vec<u8> = part.iter().copied().cycle().take(1 << 20).collect();
        let fresh = runtime().block_on(call(&server, &line));
        assert_ne!(fresh, Some(false));
    }
    // Linear time takes milliseconds. Quadratic time would take minutes.
    assert!(started.elapsed() < Duration::from_secs(20));
}
