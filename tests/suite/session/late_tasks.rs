//! Tasks that use a session during its final commit, and after it.

use std::{
    cell::Cell,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use hyper_session::{
    Session, SessionError, Sessions,
    patch::ChangeLimits,
    session::{Event, OnConflict, OnTooLarge},
    store::{CookieStore, MemoryStore, Store},
};
use serde_json::json;

use crate::support::{Browser, Call, TestServer, config, cookie_server::text, data, test_server};

async fn visitor(server: &TestServer) -> Browser {
    let mut browser = server.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    server.events.clear();
    browser
}

fn is_committed<T>(result: Result<T, SessionError>) -> bool {
    matches!(result, Err(SessionError::Committed))
}

/// The response is a 503, because the explicit commit is still running. Then that commit is refused.
#[tokio::test]
async fn a_commit_that_is_refused_after_the_response_does_not_open_the_session_again() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    let mut other = browser.clone();
    let gate = server.store.hold(Call::Write);
    let visit = browser.request(async |s| {
        s.load().await.unwrap().increment("n").unwrap();
        let session = s.clone();
        let task = tokio::spawn(async move { session.commit().await });
        gate.reached().await;
        (s, task)
    });
    let visit = visit.await;
    assert_eq!(visit.status, 503);
    let (s, task) = visit.value.unwrap();
    other.visit(async |s| s.put("n", "text")).await.unwrap();
    gate.open();
    assert!(task.await.unwrap().unwrap_err().is_conflict());
    assert!(is_committed(s.load().await));
    assert!(is_committed(s.put("late", 1)));
    assert_eq!(s.get("n").unwrap(), Some(2), "reads still work");
}

/// Uses a session when the store has failed.
#[derive(Clone, Default)]
struct LateListener {
    session: Arc<Mutex<Option<Session>>>,
    results: Arc<Mutex<Vec<Result<(), SessionError>>>>,
}

impl LateListener {
    fn on_event(&self, event: &Event<'_>) {
        if !matches!(event, Event::StoreFailed { .. } | Event::Conflict { .. }) {
            return;
        }
        let Some(session) = self.session.lock().unwrap().take() else {
            return;
        };
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(loaded) = pin!(session.load()).poll(&mut cx) else {
            panic!("the session is loaded");
        };
        let loaded = loaded.map(drop);
        let put = session.put("late", 1);
        let Poll::Ready(committed) = pin!(session.commit()).poll(&mut cx) else {
            panic!("the store answers at once");
        };
        *self.results.lock().unwrap() = vec![loaded, put, committed];
    }

    fn sessions(&self, store: impl Store) -> Sessions {
        let listener = self.clone();
        Sessions::builder(config())
            .store(store)
            .listener(move |event: &Event<'_>| listener.on_event(event))
            .build()
            .unwrap()
    }

    /// Returns the status of a request that makes this change.
    async fn request(&self, browser: &mut Browser, change: impl AsyncFnOnce(&Session)) -> u16 {
        let visit = browser.request(async |s| {
            change(s.load().await.unwrap()).await;
            *self.session.lock().unwrap() = Some(s);
        });
        visit.await.status.as_u16()
    }

    fn assert_closed(&self) {
        let results = self.results.lock().unwrap();
        assert_eq!(results.len(), 3);
        for result in &*results {
            assert!(is_committed(result.clone()), "{result:?}");
        }
    }
}

/// The 500 says that nothing was stored.
#[tokio::test]
async fn a_session_that_was_too_large_is_closed_before_the_listeners_are_called() {
    let listener = LateListener::default();
    let mut browser = Browser::new(&listener.sessions(CookieStore::new()));
    let put = async |s: &Session| s.put("cart", text(5000)).unwrap();
    assert_eq!(listener.request(&mut browser, put).await, 500);
    listener.assert_closed();
}

#[tokio::test]
async fn a_session_with_a_conflict_is_closed_before_the_listeners_are_called() {
    let listener = LateListener::default();
    let mut browser = Browser::new(&listener.sessions(MemoryStore::new()));
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    let mut other = browser.clone();
    let change = async |s: &Session| {
        s.increment("n").unwrap();
        other.visit(async |s| s.put("n", "text")).await.unwrap();
    };
    assert_eq!(listener.request(&mut browser, change).await, 409);
    listener.assert_closed();
    assert_eq!(data(&mut browser).await, json!({"n": "text"}));
}

/// Asserts that the session does not read as an empty one, and cannot be changed.
fn assert_unloaded(session: &Session) {
    assert!(!session.is_loaded());
    assert!(!session.is_read_only());
    let read = session.get::<i32>("n");
    assert!(matches!(read, Err(SessionError::NotLoaded)), "{read:?}");
    assert!(is_committed(session.put("late", 1)));
}

/// A renewal is due, or not.
#[tokio::test]
async fn a_session_that_was_not_loaded_cannot_be_read_after_the_response() {
    for seconds in [0, 61] {
        let server = test_server(config());
        let mut browser = visitor(&server).await;
        server.advance(Duration::from_secs(seconds));
        let visit = browser.request(async |s| s).await;
        assert_eq!(visit.status, 200);
        assert_unloaded(&visit.value.unwrap());
    }
}

#[tokio::test]
async fn a_session_whose_load_failed_cannot_be_read_after_the_response() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    let visit = browser.request(async |s| {
        server.store.fail(Call::Read);
        s.load().await.unwrap_err();
        s
    });
    let visit = visit.await;
    assert_eq!(visit.status, 503);
    assert_unloaded(&visit.value.unwrap());
}

/// The handler has not used the session, so the final commit renews it.
#[tokio::test]
async fn a_session_cannot_be_loaded_or_destroyed_while_it_is_renewed() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    server.advance(Duration::from_secs(61));
    let gate = server.store.hold(Call::Read);
    let kept = Cell::new(None);
    let request = browser.request(async |s| kept.set(Some(s)));
    let (visit, ()) = tokio::join!(request, async {
        gate.reached().await;
        let s: Session = kept.take().unwrap();
        assert!(is_committed(s.load().await));
        assert!(is_committed(s.destroy()));
        assert_unloaded(&s);
        gate.open();
    });
    assert_eq!((visit.status.as_u16(), visit.cookies().len()), (200, 1));
    assert_eq!(data(&mut browser).await, json!({"n": 1}));
}

/// Returns the status of a request, and the result of a commit after its response.
async fn commit_after(
    browser: &mut Browser,
    handler: impl AsyncFnOnce(&Session),
) -> (u16, Result<(), SessionError>) {
    let visit = browser.request(async |s| {
        handler(s.load().await.unwrap()).await;
        s
    });
    let visit = visit.await;
    let committed = visit.value.unwrap().commit().await;
    (visit.status.as_u16(), committed)
}

#[tokio::test]
async fn a_commit_after_the_response_succeeds_only_if_the_changes_are_stored() {
    for fails in [false, true] {
        let server = test_server(config());
        let mut browser = visitor(&server).await;
        let commit = commit_after(&mut browser, async |s| {
            s.increment("n").unwrap();
            if fails {
                server.store.fail(Call::Write);
            }
        });
        let (status, committed) = commit.await;
        assert_eq!(status, if fails { 503 } else { 200 });
        assert_eq!(is_committed(committed), fails);
        let n = if fails { 1 } else { 2 };
        assert_eq!(data(&mut browser).await, json!({"n": n}));
    }
}

#[tokio::test]
async fn a_commit_after_a_response_with_a_conflict_fails() {
    for (policy, status) in [(OnConflict::Error, 409), (OnConflict::DropWrite, 200)] {
        let server = test_server(config().on_conflict(policy));
        let mut browser = visitor(&server).await;
        let mut other = browser.clone();
        let commit = commit_after(&mut browser, async |s| {
            s.increment("n").unwrap();
            other.visit(async |s| s.put("n", "text")).await.unwrap();
        });
        let (answered, committed) = commit.await;
        assert_eq!(answered, status);
        assert!(is_committed(committed), "{policy:?}");
    }
}

#[tokio::test]
async fn a_commit_after_a_response_whose_session_was_too_large_fails() {
    for (policy, status) in [(OnTooLarge::Error, 500), (OnTooLarge::DropWrite, 200)] {
        let sessions = Sessions::new(config().on_too_large(policy), CookieStore::new()).unwrap();
        let put = async |s: &Session| s.put("cart", text(5000)).unwrap();
        let (answered, committed) = commit_after(&mut Browser::new(&sessions), put).await;
        assert_eq!(answered, status);
        assert!(is_committed(committed), "{policy:?}");
    }
}

/// The explicit commit is still running when the response is ready. The change that was made during it is lost.
#[tokio::test]
async fn a_second_commit_after_the_response_fails_although_the_first_one_succeeds() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    let gate = server.store.hold(Call::Write);
    let visit = browser.request(async |s| {
        s.load().await.unwrap().increment("n").unwrap();
        let session = s.clone();
        let task = tokio::spawn(async move { (session.commit().await, session.commit().await) });
        gate.reached().await;
        s.put("late", 1).unwrap();
        (s, task)
    });
    let visit = visit.await;
    assert_eq!(visit.status, 503);
    gate.open();
    let (_, task) = visit.value.unwrap();
    let (first, second) = task.await.unwrap();
    first.unwrap();
    assert!(is_committed(second));
    assert_eq!(data(&mut browser).await, json!({"n": 2}));
}

/// The explicit commit is still running when the response is ready. Then its changes are too large together with those
/// of another request. No later commit stores them.
#[tokio::test]
async fn changes_that_become_too_large_after_the_response_are_reported_as_dropped() {
    let large = "x".repeat(600);
    let server = test_server(config().limits(ChangeLimits::default().document(1 << 10)));
    let mut browser = visitor(&server).await;
    let mut other = browser.clone();
    let gate = server.store.hold(Call::Write);
    let visit = browser.request(async |s| {
        s.load().await.unwrap().put("ours", &large).unwrap();
        let session = s.clone();
        let task = tokio::spawn(async move { session.commit().await });
        gate.reached().await;
        (s, task)
    });
    let visit = visit.await;
    assert_eq!(visit.status, 503);
    other
        .visit(async |s| s.put("theirs", &large))
        .await
        .unwrap();
    gate.open();
    let (_, task) = visit.value.unwrap();
    let refused = task.await.unwrap().unwrap_err();
    assert!(refused.is_too_large(), "{refused}");
    assert_eq!(server.events.with_name("write_dropped").len(), 1);
}

/// The commit that was refused has unloaded the session. A renewal is due at the end of the request, or not.
#[tokio::test]
async fn a_refused_commit_that_is_tried_again_after_the_response_fails() {
    for seconds in [0, 61] {
        let server = test_server(config());
        let mut browser = visitor(&server).await;
        let mut other = browser.clone();
        let (status, committed) = commit_after(&mut browser, async |s| {
            s.increment("n").unwrap();
            other.visit(async |s| s.put("n", "text")).await.unwrap();
            assert!(s.commit().await.unwrap_err().is_conflict());
            server.advance(Duration::from_secs(seconds));
        })
        .await;
        assert_eq!(status, 200);
        assert!(is_committed(committed), "{seconds}");
        assert_eq!(data(&mut browser).await, json!({"n": "text"}));
    }
}

/// The final commit finds that the session has ended, or an explicit commit has found it.
#[tokio::test]
async fn a_commit_after_a_response_whose_session_had_ended_fails() {
    for explicit in [false, true] {
        let server = test_server(config());
        let mut browser = visitor(&server).await;
        let mut other = browser.clone();
        let (status, committed) = commit_after(&mut browser, async |s| {
            s.increment("n").unwrap();
            other.visit(async |s| s.destroy()).await.unwrap();
            if explicit {
                s.commit().await.unwrap();
            }
        })
        .await;
        assert_eq!(status, 200);
        assert!(is_committed(committed), "{explicit}");
    }
}

/// The explicit commit is still running when the response is ready. Then it finds that the session has ended.
#[tokio::test]
async fn a_second_commit_after_the_response_fails_although_the_session_had_ended() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    let mut other = browser.clone();
    let gate = server.store.hold(Call::Write);
    let visit = browser.request(async |s| {
        s.load().await.unwrap().increment("n").unwrap();
        let session = s.clone();
        let task = tokio::spawn(async move { (session.commit().await, session.commit().await) });
        gate.reached().await;
        (s, task)
    });
    let visit = visit.await;
    assert_eq!(visit.status, 503);
    other.visit(async |s| s.destroy()).await.unwrap();
    gate.open();
    let (_, task) = visit.value.unwrap();
    let (first, second) = task.await.unwrap();
    first.unwrap();
    assert!(is_committed(second));
}

#[tokio::test]
async fn a_load_that_ends_after_the_response_fails() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    let gate = server.store.hold(Call::Read);
    let visit = browser.request(async |s| {
        let session = s.clone();
        let task = tokio::spawn(async move { session.load().await.map(drop) });
        gate.reached().await;
        (s, task)
    });
    let visit = visit.await;
    assert_eq!(visit.status, 200);
    gate.open();
    let (_, task) = visit.value.unwrap();
    let loaded = task.await.unwrap();
    assert!(is_committed(loaded), "an empty session would be wrong");
}
