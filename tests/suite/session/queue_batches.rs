//! The batches in which the worker of a queue stores the changes of waiting commits.

use std::{cell::Cell, time::Duration};

use hyper_session::{
    Session, SessionError,
    id::StoreKey,
    store::{
        Capabilities, ReadOutcome, Store, StoreError, StoreFuture, TooLarge, WriteOutcome,
        WriteRequest,
    },
};
use serde_json::{Value, json};

use super::{queue::visitor, queue_limits::while_a_queue_waits};
use crate::support::{
    Browser,
    Call::{self, Read, Write},
    GateStore, TestServer, Visit, config, data, increment, test_server,
};

/// A store that refuses records of more than 1 KiB.
struct SmallStore(GateStore);

impl Store for SmallStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        self.0.read(key, touch)
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        let (size, limit) = (request.data.len(), 1 << 10);
        if size > limit {
            let error = StoreError::new("small", "write", TooLarge::new(size, limit));
            return StoreFuture::ready(Err(error));
        }
        self.0.write(request)
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        self.0.destroy(key)
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        self.0.touch(key, ttl)
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
}

async fn small_visitor(server: &TestServer) -> Browser {
    let small = server.with_store(SmallStore(server.store.clone()));
    let browser = visitor(server, json!({"n": 0})).await;
    browser.with_sessions(&small)
}

/// Puts a text of this size in a request. Returns the status.
async fn put(mut browser: Browser, path: &str, bytes: usize) -> u16 {
    let put = async |s: Session| {
        let session = s.load().await.unwrap();
        session.put(path, "x".repeat(bytes)).unwrap();
    };
    browser.request(put).await.status.as_u16()
}

fn text(bytes: usize) -> Value {
    "x".repeat(bytes).into()
}

#[tokio::test]
async fn of_a_batch_that_is_too_large_for_the_store_only_the_large_change_fails() {
    let server = test_server(config());
    let browser = small_visitor(&server).await;
    let changes = [("a", 10), ("b", 2000), ("c", 10), ("d", 700), ("e", 700)];
    let requests = changes.map(|(path, bytes)| put(browser.clone(), path, bytes));
    let statuses = while_a_queue_waits(&server, &browser, requests).await;
    assert_eq!(statuses, [200, 500, 200, 200, 500]);
    let expected = json!({"n": 2, "a": text(10), "c": text(10), "d": text(700)});
    assert_eq!(data(&mut browser.clone()).await, expected);
}

#[tokio::test]
async fn a_regeneration_that_is_too_large_after_a_merge_leaves_no_new_record() {
    let server = test_server(config());
    let browser = small_visitor(&server).await;
    let (mut ours, writer) = (browser.clone(), browser.clone());
    let new = Cell::new(None);
    let fence = server.store.hold_nth(Write, 1);
    let regeneration = ours.request(async |s| {
        let session = s.load().await.unwrap();
        session.put("own", text(700)).unwrap();
        session.regenerate().unwrap();
        new.set(Some(session.store_key().unwrap()));
    });
    let (visit, ()) = tokio::join!(regeneration, async {
        fence.reached().await;
        assert_eq!(put(writer, "other", 700).await, 200);
        fence.open();
    });
    assert_eq!((visit.status.as_u16(), visit.cookies().len()), (500, 0));
    let left = server.memory.read(&new.get().unwrap(), None).await.unwrap();
    assert!(!matches!(left, ReadOutcome::Found(_)), "{left:?}");
    let expected = json!({"n": 0, "other": text(700)});
    assert_eq!(data(&mut browser.clone()).await, expected);
}

#[tokio::test]
async fn a_commit_that_is_too_large_in_a_queue_can_be_made_again() {
    let server = test_server(config());
    let browser = small_visitor(&server).await;
    let mut large = browser.clone();
    let request = async {
        large
            .visit(async |s| {
                s.put("first", 1).unwrap();
                s.put("large", text(2000)).unwrap();
                assert!(s.commit().await.unwrap_err().is_too_large());
                s.forget("large").unwrap();
            })
            .await;
        200
    };
    while_a_queue_waits(&server, &browser, [request]).await;
    let expected = json!({"n": 2, "first": 1});
    assert_eq!(data(&mut browser.clone()).await, expected);
}

/// Asserts that the only cookie of the response lives for 30 days.
fn assert_thirty_days<T>(visit: &Visit<T>) {
    let cookie = visit.cookie();
    assert!(cookie.contains("; Max-Age=2592000;"), "{cookie}");
}

#[tokio::test]
async fn after_a_commit_that_was_too_large_the_cookie_has_a_timeout_that_was_set_later() {
    type Change = fn(&Session) -> Result<(), SessionError>;
    let changes: [Change; 3] = [
        |_| Ok(()),
        |s| s.regenerate(),
        |s| s.rotate_id(Duration::from_secs(60)),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let server = test_server(config());
        let mut browser = small_visitor(&server).await;
        let mut parallel = browser.clone();
        let visit = browser.request(async |s| {
            let session = s.load().await.unwrap();
            session.put("large", text(2000)).unwrap();
            change(session).unwrap();
            assert!(s.commit().await.unwrap_err().is_too_large());
            s.forget("large").unwrap();
            s.set_max_age(Duration::from_secs(30 * 24 * 3600)).unwrap();
        });
        assert_thirty_days(&visit.await);
        if index == 2 {
            let visit = parallel.request(async |s| s.load().await.map(drop).unwrap());
            assert_thirty_days(&visit.await);
        }
        server.advance(Duration::from_secs(24 * 3600));
        assert_eq!(data(&mut browser).await, json!({"n": 0}));
    }
}

/// Each change of a batch that is too large is a write of its own. Another process writes before the
/// first one.
#[tokio::test]
async fn a_conflict_of_one_change_of_a_split_batch_keeps_the_others() {
    let server = test_server(config());
    let browser = small_visitor(&server).await;
    let mut rival = browser.clone().with_sessions(&server.sessions);
    let single = server.store.hold_nth(Write, 3);
    let requests = [("a", 2000), ("b", 10), ("c", 10)];
    let requests = requests.map(|(path, bytes)| put(browser.clone(), path, bytes));
    let (statuses, ()) = tokio::join!(while_a_queue_waits(&server, &browser, requests), async {
        single.reached().await;
        rival.visit(async |s| s.put("rival", 1)).await.unwrap();
        single.open();
    });
    assert_eq!(statuses, [500, 200, 200]);
    let expected = json!({"n": 2, "b": text(10), "c": text(10), "rival": 1});
    assert_eq!(data(&mut rival).await, expected);
}

#[tokio::test]
async fn a_batch_whose_write_fails_is_not_written_again() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 0})).await;
    server.store.fail_nth(Write, 3);
    let requests = ["a", "b"].map(|path| put(browser.clone(), path, 10));
    let statuses = while_a_queue_waits(&server, &browser, requests).await;
    assert_eq!(statuses, [503, 503]);
    assert_eq!(data(&mut browser.clone()).await, json!({"n": 2}));
}

#[tokio::test]
async fn a_batch_begins_with_the_record_that_the_store_returned_with_a_conflict() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 0})).await;
    let mut rival = browser.clone().with_sessions(&server.another_process());
    let batch = server.store.hold_nth(Write, 3);
    let requests = [increment(server.sessions.clone(), browser.jar.clone())];
    let (statuses, ()) = tokio::join!(while_a_queue_waits(&server, &browser, requests), async {
        batch.reached().await;
        server.store.calls();
        rival.visit(async |s| s.increment("n").unwrap()).await;
        batch.open();
    });
    assert_eq!(statuses, [200]);
    assert_eq!(server.store.calls(), [Read, Write, Write]);
    assert_eq!(data(&mut rival).await, json!({"n": 4}));
}

/// The commit that had the turn has written a record that the worker does not know.
#[tokio::test]
async fn a_worker_reads_the_record_again_after_a_turn() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 0})).await;
    let request = |updates: bool| {
        let mut browser = browser.clone();
        async move {
            browser
                .visit(async |s| {
                    match updates {
                        true => drop(s.update("n", |n: &mut u64| *n += 1)),
                        false => drop(s.increment("n")),
                    };
                })
                .await;
            200
        }
    };
    let requests = [false, true, false].map(request);
    while_a_queue_waits(&server, &browser, requests).await;
    let calls = server.store.calls();
    let (before, turn, after) = ([Write], [Read, Write], [Read, Write]);
    let expected = [&before[..], &turn, &after].concat();
    assert!(calls.ends_with(&expected), "{calls:?}");
    assert_eq!(data(&mut browser.clone()).await, json!({"n": 5}));
}

#[tokio::test]
async fn a_queue_of_one_session_costs_other_sessions_nothing() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 0})).await;
    let mut other = visitor(&server, json!({"n": 0})).await;
    let request = async {
        server.store.calls();
        other.visit(async |s| s.increment("n").unwrap()).await;
        assert_eq!(server.store.calls(), [Read, Write]);
        200
    };
    while_a_queue_waits(&server, &browser, [request]).await;
}

#[tokio::test]
async fn a_clear_during_a_commit_that_waits_removes_what_its_request_has_seen() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 0})).await;
    let mut clearing = browser.clone();
    let request = async {
        clearing
            .visit(async |s| {
                s.put("seen", 1).unwrap();
                let (committed, ()) = tokio::join!(s.commit(), async { s.clear().unwrap() });
                committed.unwrap();
            })
            .await;
        200
    };
    while_a_queue_waits(&server, &browser, [request]).await;
    let left = data(&mut browser.clone()).await;
    assert_eq!(left, json!({"n": 2}), "a parallel request changed `n`");
}

/// The store never answers the write of the batch.
#[tokio::test]
async fn a_commit_whose_batch_hangs_ends_at_its_deadline_with_an_unknown_outcome() {
    let server = test_server(config().commit_timeout(Duration::from_secs(2)));
    let browser = visitor(&server, json!({"n": 0})).await;
    let (mut first, mut winner, mut late) = (browser.clone(), browser.clone(), browser.clone());
    let conflicting = server.store.hold_nth(Call::Write, 0);
    let batch = server.store.hold_nth(Call::Write, 1);
    let has_ended = Cell::new(false);
    let opening = async {
        let visit = first.request(async |s| {
            s.load().await.unwrap().increment("n").unwrap();
            let error = s.commit().await.unwrap_err();
            assert!(matches!(error, SessionError::OutcomeUnknown), "{error}");
        });
        assert_eq!(visit.await.status, 503);
        has_ended.set(true);
    };
    let waiting = async {
        conflicting.reached().await;
        winner.visit(async |s| s.increment("n").unwrap()).await;
        conflicting.open();
        batch.reached().await;
        let visit = late.request(async |s| {
            s.load().await.unwrap().increment("n").unwrap();
            let error = s.commit().await.unwrap_err();
            assert!(error.is_contention(), "nothing was begun: {error}");
        });
        assert_eq!(visit.await.status, 503);
        assert!(has_ended.get(), "the first commit has the first deadline");
    };
    tokio::join!(opening, waiting);
}
